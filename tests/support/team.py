"""A team at work: a repository, an installation, people with tokens, and a check of the rule by Buildbot's word."""

import subprocess
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from autogate.cli.local import LocalInstallation

from .repository import Files, Repository
from .rule import assert_rule
from .waiting import wait_for

REVIEWER = "ada"
PASSED = {0, 1}
"""Buildbot's SUCCESS and WARNINGS."""

TOML = """\
url = "{url}"
poll_interval = 3600
{more}
[review]
reviewers = ["ada", "bob"]
try_users = ["tim"]
"""


class AwayError(httpx.TransportError):
    """The bot answers that it cannot work just now."""


@dataclass
class Team:
    """People and their repository.

    Attributes:
        installation: Where the gate runs.
        repository: Their repository.
        name: What it is called there.
        tokens: Name -> token.
        approved: The heads that were approved, ever.
        begin: Where the target stood before the gate, or where a human moved it last.
    """

    installation: LocalInstallation
    repository: Repository
    name: str
    tokens: dict[str, str] = field(default_factory=dict)
    approved: set[str] = field(default_factory=set)
    begin: str = ""

    @classmethod
    def create(
        cls,
        folder: Path,
        installation: LocalInstallation,
        files: Files | None = None,
        name: str = "shop",
        more: str = "",
        people: tuple[str, ...] = (REVIEWER,),
    ) -> "Team":
        """Make the repository, its file in the configuration, and a token for each of ``people``."""
        repository = Repository.create(folder, name, files)
        installation.add_repository(name, TOML.format(url=repository.bare, more=more))
        tokens = {person: installation.add_token(person) for person in people}
        return cls(installation, repository, name, tokens, begin=repository.tip("main"))

    # What people do

    def push(self, topic: str, files: Files, base: str = "origin/main", target: str = "main") -> str:
        """Push a change for review, and return its head; the bot is not told."""
        self.repository.git("fetch", "-q", "origin")
        self.repository.git("checkout", "-q", "-B", topic, base)
        head = self.repository.commit(files, f"Work on {topic}")
        self.repository.git("push", "-q", "--force", "origin", f"HEAD:refs/for/{target}/{topic}")
        return head

    def propose(self, topic: str, files: Files, base: str = "origin/main") -> int:
        """Push a change for review, have the bot look, and return the pull request's number."""
        self.push(topic, files, base)
        return self.number(topic)

    def number(self, topic: str) -> int:
        """Have the bot look, and return the number of a topic's pull request."""
        self.ask("POST", "poke")
        found = self.ask("GET", "pulls", params={"source": topic}).json()
        assert len(found["pulls"]) == 1, found
        return int(found["pulls"][0]["number"])

    def say(self, number: int, body: str, by: str = REVIEWER) -> dict[str, Any]:
        """Comment, and return the bot's answer."""
        comment = {"body": body, "id": str(uuid.uuid4())}
        answer: dict[str, Any] = self.ask("POST", f"pulls/{number}/comments", by=by, json=comment).json()
        return answer

    def approve(self, number: int, by: str = REVIEWER) -> dict[str, Any]:
        """Approve the head that the bot shows."""
        head = self.show(number)["head"]
        self.approved.add(head)
        return self.say(number, f"@autogate r+ {head}", by)

    def show(self, number: int) -> dict[str, Any]:
        """Return a pull request as the bot shows it."""
        shown: dict[str, Any] = self.detail(number)["pull"]
        return shown

    def detail(self, number: int) -> dict[str, Any]:
        """Return all that the bot tells of a pull request."""
        detail: dict[str, Any] = self.ask("GET", f"pulls/{number}").json()
        return detail

    def ask(self, method: str, path: str, by: str = REVIEWER, **arguments: Any) -> httpx.Response:
        """Ask the bot's API about the repository."""
        url = f"{self.installation.bot_url}/api/v1/repositories/{self.name}/{path}"
        headers = {"Authorization": f"Bearer {self.tokens[by]}"}
        answer = httpx.request(method, url, headers=headers, timeout=60, **arguments)
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            raise AwayError(answer.text)
        assert answer.is_success, answer.text
        return answer

    # What comes of it

    def wait_until(self, number: int, *states: str) -> dict[str, Any]:
        """Wait until a pull request is in one of the states, and return it."""

        def there() -> dict[str, Any] | None:
            try:
                shown = self.show(number)
            except httpx.TransportError:  # the bot or its database is being killed
                return None
            return shown if shown["state"] in states else None

        return wait_for(there, f"#{number} to be {' or '.join(states)}", 240)

    def wait_until_building(self, number: int) -> int:
        """Wait until a pull request is being built, not only about to be, and return the attempt's id."""

        def building() -> int | None:
            for attempt in self.detail(number)["attempts"]:
                if attempt["stage"] == "testing" and any(builder["url"] for builder in attempt["builders"]):
                    return int(attempt["id"])
            return None

        return wait_for(building, f"a build of #{number}")

    def wait_until_landed(self, *numbers: int) -> None:
        """Wait until all have landed, and check the rule."""
        for number in numbers:
            shown = self.wait_until(number, "landed", "aside", "closed")
            assert shown["state"] == "landed", shown
        self.check()

    def check(self) -> list[str]:
        """Assert the rule, by the repository's own log and by Buildbot's own records."""
        return assert_rule(self.repository.bare, "main", self.begin, self.approved, self.passed())

    def wait_until_cancelled(self, sha: str) -> None:
        """Wait until Buildbot has nothing left to do on a commit."""

        def is_over() -> bool:
            sets = {row["bsid"] for row in self._rows("buildsets") if row["sourcestamps"][0]["revision"] == sha}
            requests = [row for row in self._rows("buildrequests") if row["buildsetid"] in sets]
            return bool(requests) and all(row["complete"] for row in requests)

        wait_for(is_over, f"the builds of {sha} to end")

    def human_pushes(self, files: Files) -> str:
        """Move the target past the bot."""
        self.repository.git("fetch", "-q", "origin")
        self.repository.git("checkout", "-q", "-B", "human", "origin/main")
        sha = self.repository.commit(files, "By hand")
        self.repository.git("push", "-q", "origin", "human:main")
        self.begin = sha
        return sha

    def passed(self) -> set[str]:
        """Return the commits that every required builder passed on, by Buildbot's own records."""
        required = {f"{self.name}-lint", f"{self.name}-test"}
        builders = {row["builderid"] for row in self._rows("builders") if row["name"] in required and row["masterids"]}
        sets = {row["bsid"]: row["sourcestamps"][0]["revision"] for row in self._rows("buildsets")}
        by_sha: dict[str, dict[int, int]] = defaultdict(dict)
        for request in self._rows("buildrequests"):
            if request["complete"] and request["builderid"] in builders:
                by_sha[sets[request["buildsetid"]]][request["builderid"]] = request["results"]
        return {
            sha for sha, results in by_sha.items() if results.keys() == builders and set(results.values()) <= PASSED
        }

    def _rows(self, what: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = httpx.get(f"{self.installation.url}api/v2/{what}", timeout=60).json()[what]
        return rows

    def ref(self, name: str) -> str | None:
        """Return what a ref of the repository stands at."""
        shown = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", name],
            cwd=self.repository.bare,
            capture_output=True,
            text=True,
            check=False,
        )
        return shown.stdout.strip() or None
