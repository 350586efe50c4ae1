"""A repository, a mirror of it, and the pull requests of a test."""

import asyncio
import os
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from autogate.git import Git
from review_bot.domain.effects import Land, MakeCandidate, PushCandidate
from review_bot.domain.model import AttemptKind, Member
from review_bot.forges.protocol import RefDeletion
from review_bot.merging.landing import LandingResult
from review_bot.merging.merger import Candidate, Identity
from review_bot.merging.mirror import Mirror
from tests.support.repository import Files, Repository
from tests.support.rule import assert_rule

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
IDENTITY = Identity("Autogate", "autogate@example.org")

T = TypeVar("T")

_WRAPPER = """\
#!/bin/sh
if [ "$1" = "{command}" ] && mv "{folder}/armed" "{folder}/fired" 2>/dev/null; then
  {script}
fi
exec "{git}" "$@"
"""


@dataclass
class Case:
    """What a test of the mirror works with.

    Attributes:
        folder: The test's own.
        repository: The server's repository and a work tree.
        mirror: The bot's.
        approved: Heads of the topics that were made.
        begin: The target's tip at the beginning.
    """

    folder: Path
    repository: Repository
    mirror: Mirror
    approved: set[str] = field(default_factory=set)
    begin: str = ""
    refs: dict[int, str] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: Path, files: Files | None = None) -> "Case":
        repository = Repository.create(folder, files=files)
        mirror = Mirror(folder / "mirror", str(repository.bare), Git(), IDENTITY)
        return cls(folder, repository, mirror, begin=repository.tip("main"))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(coroutine)

    def topic(self, number: int, files: Files, base: str = "main") -> Member:
        """Push a topic ``t<number>`` and return it as an approved pull request."""
        return self.member(number, self.repository.topic(f"t{number}", files, base=base))

    def member(self, number: int, head: str) -> Member:
        self.refs[number] = f"refs/for/main/t{number}"
        self.approved.add(head)
        return Member(number=number, head=head, title=f"Title {number}", reviewer="grace")

    def advance(self, files: Files) -> str:
        """Let a human commit on the target; return the new tip."""
        self.repository.git("checkout", "-q", "main")
        head = self.repository.commit(files, "By hand")
        self.repository.push("main")
        return head

    def effect(self, *members: Member, attempt: int = 1, on: str = "main", base: str | None = None) -> MakeCandidate:
        return MakeCandidate(attempt=attempt, on=on, base=base, members=members, at=AT)

    def make(self, *members: Member, attempt: int = 1, base: str | None = None) -> Candidate:
        return self.run(self.mirror.make_candidate(self.effect(*members, attempt=attempt, base=base), self.refs))

    def push(self, candidate: Candidate, branch: str = "auto") -> None:
        assert candidate.sha is not None
        effect = PushCandidate(attempt=candidate.attempt, to=AttemptKind.AUTO, sha=candidate.sha)
        self.run(self.mirror.push_candidate(effect, branch))

    def landing(self, candidate: Candidate, *members: Member) -> Land:
        assert candidate.sha is not None
        return Land(attempt=candidate.attempt, target="main", base=candidate.base, sha=candidate.sha, members=members)

    def deletions(self, *members: Member) -> list[RefDeletion]:
        return [RefDeletion(ref=self.refs[member.number], expected=member.head) for member in members]

    def land(self, candidate: Candidate, *members: Member) -> LandingResult:
        """Land, with the topics deleted."""
        return self.run(self.mirror.land(self.landing(candidate, *members), self.deletions(*members)))

    def assert_rule(self, *passed: str | None, begin: str = "") -> list[str]:
        return assert_rule(
            self.repository.bare, "main", begin or self.begin, self.approved, {sha for sha in passed if sha}
        )

    def tip(self) -> str:
        return self.repository.tip("main")

    def show(self, revision: str, what: str = "%B") -> str:
        return self.git("log", "-1", f"--format={what}", revision)

    def git(self, *args: str) -> str:
        """Run git in the work tree, with what the mirror has made at hand."""
        self.repository.git("fetch", "-q", str(self.mirror.folder), "+refs/autogate/*:refs/made/*")
        return self.repository.git(*args)

    def server_config(self, key: str, value: str) -> None:
        """Configure the server's repository."""
        self.repository.git("-C", str(self.repository.bare), "config", key, value)

    def before(self, command: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run a shell script once, just before the bot runs ``git COMMAND`` the next time."""
        wrapper = self.folder / "bin" / "git"
        wrapper.parent.mkdir(exist_ok=True)
        real = str(shutil.which("git", path=os.defpath + ":" + os.environ["PATH"]))
        wrapper.write_text(_WRAPPER.format(command=command, folder=self.folder, script=script, git=real))
        wrapper.chmod(0o755)
        (self.folder / "armed").touch()
        monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")

    def fired(self) -> bool:
        """Tell whether what `before` prepared has come to pass."""
        return (self.folder / "fired").exists()
