"""Results that nobody may believe, posted to a bot that waits for the true ones: nothing changes and nothing lands."""

import json
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from autogate.cli.local import LocalInstallation
from autogate.contract import (
    DELIVERY_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Cause,
    Event,
    Report,
    Result,
    sign,
)
from tests.support.held import FILES, SETTINGS, holding
from tests.support.team import Team
from tests.support.waiting import wait_for

PATIENT = SETTINGS + "[gate]\nask_interval = 3600\n"
OWN_SECRET = "vault_results"
HUNDRED_MEGABYTES = 100 * 1024 * 1024
TABLES = ("repositories", "pull_requests", "attempts", "effects")


@dataclass
class Held:
    """Two repositories, each with a change whose build is made to wait.

    Attributes:
        shop: One whose results are signed with the secret that all share.
        vault: One with a secret of its own.
        number: The held change of the shop.
        sha: Its candidate.
        vault_number: The held change of the vault.
        vault_sha: Its candidate.
        landed: The candidate of a change of the shop that has landed.
        superseded: The held change's first candidate, which was discarded when its base moved.
        release: Once it is there, what is held passes.
    """

    shop: Team
    vault: Team
    number: int
    sha: str
    vault_number: int
    vault_sha: str
    landed: str
    superseded: str
    release: Path

    @property
    def installation(self) -> LocalInstallation:
        """Where both are gated."""
        return self.shop.installation

    def post(self, content: bytes | Iterator[bytes], headers: Mapping[str, str]) -> httpx.Response:
        """Post to the bot as a master would."""
        url = f"{self.installation.bot_url}/buildbot"
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        return httpx.post(url, content=content, headers=encoded, timeout=60)

    def send(self, report: Report, secret: str = "bot_secret", *, age: int = 0) -> httpx.Response:
        """Post a report that is signed."""
        body = report.to_body()
        return self.post(body, signed(body, self.installation.secret(secret), str(report.delivery), age))

    def send_packets(self, packets: object, secret: str) -> httpx.Response:
        """Post what a Buildbot 0.8 master posts to Homu."""
        form = {"packets": packets if isinstance(packets, str) else json.dumps(packets), "secret": secret}
        return httpx.post(f"{self.installation.bot_url}/buildbot", data=form, timeout=60)

    def seen(self) -> dict[str, Any]:
        """Return what the bot knows, has decided and shows, and where the branches stand, when nothing is left to do.

        Where the database has it, it has no word of events: that they came may be remembered.
        """
        wait_for(lambda: not self.unfinished(), "everything to be acted on")
        teams = ((self.shop, self.number), (self.vault, self.vault_number))
        return {
            "rows": {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES},
            "shown": [(team.show(number), team.detail(number)["attempts"]) for team, number in teams],
            "refs": [team.repository.refs() for team, _number in teams],
        }

    def unfinished(self) -> list[Any]:
        """Return the events and effects that nobody has seen to yet."""
        events = self.rows("SELECT id, kind FROM events WHERE processed_at IS NULL")
        return events + self.rows("SELECT id, kind FROM effects WHERE done_at IS NULL")

    def asks(self) -> list[int]:
        """Return how often the bot asked Buildbot for each attempt that is tested."""
        documents = [json.loads(row[-1]) for row in self.rows("SELECT * FROM attempts")]
        return [each["asks"] for each in documents if each["stage"] == "testing"]

    def rows(self, query: str) -> list[Any]:
        """Ask the bot's database."""
        path = self.installation.places.state / "bot" / "bot.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
            return database.execute(query).fetchall()


def signed(body: bytes, secret: str, delivery: str, age: int = 0) -> dict[str, str]:
    now = int(time.time()) - age
    return {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: str(now),
        SIGNATURE_HEADER: sign(secret, now, body),
        DELIVERY_HEADER: delivery,
    }


def report(revision: str, repository: str = "shop", **fields: Any) -> Report:
    """Return the report of a test that passed."""
    said = {
        "delivery": uuid.uuid4(),
        "event": Event.FINISHED,
        "repository": repository,
        "builder": f"{repository}-test",
        "kind": "test",
        "branch": "auto",
        "revision": revision,
        "request": 4711,
        "result": Result.SUCCESS,
        "occurred_at": datetime.now(UTC),
    }
    return Report.model_validate(said | fields)


def packet(revision: str, event: str = "buildFinished", builder: str = "shop-test", **build: Any) -> dict[str, Any]:
    """Return a packet as a Buildbot 0.8 master posts it of a build that passed: it leaves out results that are 0."""
    properties = [["revision", revision, "Source"], ["buildnumber", 7, "Build"], ["branch", "auto", "Build"]]
    said = {"builderName": builder, "properties": properties, "text": ["build", "successful"], "steps": []}
    return {"id": 1, "timestamp": "x", "project": "", "event": event, "payload": {"build": said | build}}


def being_built(team: Team, number: int, kind: str = "auto") -> dict[str, Any]:
    """Return the attempt that is tested, once its build has begun."""

    def found() -> dict[str, Any] | None:
        for attempt in team.detail(number)["attempts"]:
            if attempt["kind"] == kind and attempt["stage"] == "testing" and attempt["builders"][0]["url"]:
                return dict(attempt)
        return None

    return wait_for(found, f"#{number} to be built")


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    folder = tmp_path_factory.mktemp("forged")
    installation = LocalInstallation(folder / "in", workers=3)
    installation.add_secret(OWN_SECRET)
    shop = Team.create(folder, installation, FILES, more=PATIENT)
    own = f'report_secret = "{OWN_SECRET}"\n'
    vault = Team.create(folder, installation, FILES, name="vault", more=own + PATIENT, people=())
    vault.tokens = shop.tokens
    release = folder / "release"
    try:
        installation.start()
        first = shop.propose("first", {"first.txt": "1"})
        shop.approve(first)
        shop.wait_until_landed(first)
        landed = shop.repository.tip("main")
        number = shop.propose("held", holding(release))
        shop.approve(number)
        superseded = being_built(shop, number)["sha"]
        shop.human_pushes({"human.txt": "by hand"})
        shop.ask("POST", "poke")
        shop.wait_until_cancelled(superseded)
        vault_number = vault.propose("held", holding(release))
        vault.approve(vault_number)
        sha, vault_sha = being_built(shop, number)["sha"], being_built(vault, vault_number)["sha"]
        assert sha != superseded
        held = Held(shop, vault, number, sha, vault_number, vault_sha, landed, superseded, release)
        # what is due by the clock soon after a push is over then: the next time is in an hour
        wait_for(lambda: held.asks() == [1, 1], "the bot to ask once for the builds")
        yield held
    finally:
        installation.kill()


# What is believed to come from the master, and still means nothing


@pytest.mark.parametrize("result", [Result.SUCCESS, Result.FAILURE])
@pytest.mark.parametrize("which", ["landed", "superseded", "unknown", "head"])
def test_a_verdict_for_another_commit_than_a_live_candidate_changes_nothing(
    held: Held, which: str, result: Result
) -> None:
    before = held.seen()
    shas = {"landed": held.landed, "superseded": held.superseded, "unknown": "0" * 40}
    revision = shas.get(which) or held.shop.show(held.number)["head"]
    cause = None if result is Result.SUCCESS else Cause.CHANGE
    assert held.send(report(revision, result=result, cause=cause)).status_code == 200
    assert held.seen() == before


def test_a_verdict_of_another_repositorys_candidate_changes_nothing(held: Held) -> None:
    before = held.seen()
    assert held.send(report(held.vault_sha)).status_code == 200
    assert held.send(report(held.sha, "vault"), OWN_SECRET).status_code == 200
    assert held.seen() == before


@pytest.mark.parametrize("builder", ["shop-lint", "shop-deploy", "shop-style", "vault-test", "shop-test ", "SHOP-TEST"])
def test_a_verdict_from_a_builder_that_is_not_required_is_refused(held: Held, builder: str) -> None:
    before = held.seen()
    assert held.send(report(held.sha, builder=builder)).status_code == 422
    assert held.seen() == before


@pytest.mark.parametrize("branch", ["main", "refs/heads/auto", "topic"])
def test_a_verdict_of_another_branch_changes_nothing(held: Held, branch: str) -> None:
    before = held.seen()
    assert held.send(report(held.sha, branch=branch)).status_code == 200
    assert held.seen() == before


def test_a_build_that_runs_again_has_said_nothing_yet(held: Held) -> None:
    before = held.seen()
    assert held.send(report(held.sha, event=Event.RETRYING, result=Result.RETRY)).status_code == 200
    assert held.send(report(held.sha, result=Result.RETRY)).status_code == 400
    assert held.send(report(held.sha, result=None)).status_code == 400
    assert held.seen() == before


# What nobody believes


def test_a_wrong_secret_is_refused(held: Held) -> None:
    before = held.seen()
    forged = report(held.sha)
    for secret in ("", "x", held.installation.secret("poke_secret"), held.installation.secret("worker-1")):
        headers = signed(forged.to_body(), secret, str(forged.delivery))
        assert held.post(forged.to_body(), headers).status_code == 401
    assert held.seen() == before


def test_another_repositorys_secret_is_refused_in_both_directions(held: Held) -> None:
    before = held.seen()
    assert held.send(report(held.sha), OWN_SECRET).status_code == 403
    assert held.send(report(held.vault_sha, "vault"), "bot_secret").status_code == 403
    assert held.seen() == before


@pytest.mark.parametrize("age", [301, 3600, -3600])
def test_a_report_of_another_hour_is_refused_though_its_signature_is_good(held: Held, age: int) -> None:
    before = held.seen()
    assert held.send(report(held.sha), age=age).status_code == 401
    assert held.seen() == before


@pytest.mark.parametrize(
    "change", ["body", "timestamp", "scheme", "none", "nothing at all", "not ASCII", "other digits"]
)
def test_a_signature_of_something_else_is_refused(held: Held, change: str) -> None:
    before = held.seen()
    genuine = report(held.landed)
    body = genuine.to_body()
    headers = signed(body, held.installation.secret("bot_secret"), str(genuine.delivery))
    match change:
        case "body":
            body = body.replace(held.landed.encode(), held.sha.encode())
        case "timestamp":
            headers[TIMESTAMP_HEADER] = str(int(headers[TIMESTAMP_HEADER]) + 1)
        case "scheme":
            headers[SIGNATURE_HEADER] = headers[SIGNATURE_HEADER].replace("sha256=", "md5=")
        case "none":
            del headers[SIGNATURE_HEADER]
        case "nothing at all":
            headers = {"Content-Type": "application/json"}
        case "not ASCII":
            headers[SIGNATURE_HEADER] = "sha256=\N{LATIN SMALL LETTER E WITH ACUTE}"
        case _:
            headers[TIMESTAMP_HEADER] = "".join(chr(0x660 + int(digit)) for digit in headers[TIMESTAMP_HEADER])
    assert held.post(body, headers).status_code == 401
    assert held.seen() == before


def test_a_good_signature_does_not_make_a_report_of_anything_else(held: Held) -> None:
    before = held.seen()
    genuine = json.loads(report(held.sha).to_body())
    bodies = [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"[" * 100_000,
        json.dumps(genuine | {"version": 2}).encode(),
        json.dumps(genuine | {"revision": "--upload-pack=touch pwned"}).encode(),
        json.dumps(genuine | {"result": "splendid"}).encode(),
        json.dumps({key: value for key, value in genuine.items() if key != "builder"}).encode(),
    ]
    for body in bodies:
        headers = signed(body, held.installation.secret("bot_secret"), genuine["delivery"])
        assert held.post(body, headers).status_code == 400, body[:80]
    other = report(held.sha)
    headers = signed(other.to_body(), held.installation.secret("bot_secret"), genuine["delivery"])
    assert held.post(other.to_body(), headers).status_code == 400
    assert held.post(other.to_body(), headers | {"Content-Type": "text/plain"}).status_code == 415
    assert httpx.get(f"{held.installation.bot_url}/buildbot").status_code == 405
    assert held.seen() == before


@pytest.mark.parametrize("chunked", [True, False])
def test_a_hundred_megabytes_are_refused(held: Held, chunked: bool) -> None:
    before = held.seen()
    megabyte = bytes(1024 * 1024)
    chunks = (megabyte for _ in range(HUNDRED_MEGABYTES // len(megabyte)))
    headers = signed(b"", held.installation.secret("bot_secret"), str(uuid.uuid4()))
    if not chunked:
        headers["Content-Length"] = str(HUNDRED_MEGABYTES)
    assert held.post(chunks, headers).status_code == 413
    assert held.seen() == before


# Homu's packets


def test_packets_that_nobody_may_believe_change_nothing(held: Held) -> None:
    before = held.seen()
    secret = held.installation.secret("bot_secret")
    for wrong in ("", "x", held.installation.secret("poke_secret")):
        assert held.send_packets([packet(held.sha), packet(held.sha, "buildStarted")], wrong).status_code == 401
    for broken in ("{", "{}", "null", '"x"', "[" * 100_000):
        assert held.send_packets(broken, secret).status_code == 400
    assert held.seen() == before
    meaningless = [
        packet(held.landed),
        packet(held.superseded),
        packet("0" * 40),
        packet(held.sha, text=["retry"]),
        packet(held.sha, properties=[["revision", held.sha, ""], ["buildnumber", 8, ""], ["branch", "main", ""]]),
        packet(held.sha, "buildETAUpdate"),
    ]
    assert "skipped" not in held.send_packets(meaningless, secret).raise_for_status().json()
    skipped = [
        packet(held.sha, builder="shop-style"),
        packet(held.sha, builder="shop-lint"),
        packet(held.vault_sha, builder="vault-test"),  # its results have a secret of their own
        packet(held.sha, properties=[["buildnumber", 8, ""]]),
        packet(held.sha, properties=[["revision", held.sha, ""]]),
        packet("HEAD; touch pwned"),
        {"event": "buildFinished"},
        17,
    ]
    assert len(held.send_packets(skipped, secret).raise_for_status().json()["skipped"]) == len(skipped)
    of_the_shop = held.send_packets([packet(held.sha)], held.installation.secret(OWN_SECRET))
    assert len(of_the_shop.raise_for_status().json()["skipped"]) == 1
    assert held.seen() == before


# What is true after all


def test_a_try_that_passed_is_a_try_that_passed_and_nothing_lands(held: Held) -> None:
    held.shop.say(held.number, "@autogate try")
    trial = being_built(held.shop, held.number, "try")
    before = held.shop.show(held.number), held.shop.repository.tip("main")
    for branch in ("auto", "try"):
        assert held.send(report(trial["sha"], branch=branch)).status_code == 200
    shown = wait_for(
        lambda: [each for each in held.shop.detail(held.number)["attempts"] if each["stage"] == "green"], "a green try"
    )
    assert [each["id"] for each in shown] == [trial["id"]]
    held.seen()
    assert (held.shop.show(held.number), held.shop.repository.tip("main")) == before


def test_what_was_held_ends_truthfully_and_lands(held: Held) -> None:
    assert being_built(held.shop, held.number)["sha"] == held.sha
    held.release.touch()
    held.shop.wait_until_landed(held.number)
    held.vault.wait_until_landed(held.vault_number)
    assert held.shop.repository.tip("main") == held.sha
    assert held.vault.repository.tip("main") == held.vault_sha


def test_what_is_told_three_times_happens_once(held: Held, tmp_path: Path) -> None:
    release, shop = tmp_path / "thrice", held.shop
    number = shop.propose("thrice", holding(release))
    comment = {"id": str(uuid.uuid4()), "body": f"@autogate r+ {shop.show(number)['head']}"}
    shop.approved.add(shop.show(number)["head"])
    answers = [shop.ask("POST", f"pulls/{number}/comments", json=comment).json() for _ in range(3)]
    assert [answer["refused"] for answer in answers] == [False] * 3
    assert len({(answer["trace"], *answer["answers"]) for answer in answers}) == 1
    attempt = being_built(shop, number)
    told = report(attempt["sha"])
    assert [held.send(told).json()["status"] for _ in range(3)] == ["accepted", "repeated", "repeated"]
    shop.wait_until(number, "landed")
    assert [held.send(told).json()["status"] for _ in range(3)] == ["repeated"] * 3
    held.seen()
    kinds = Counter(kind for (kind,) in held.rows(f"SELECT kind FROM events WHERE attempt = {attempt['id']}"))
    assert kinds["landed"] == kinds["candidate_made"] == 1
    [[told_by_report]] = held.rows(f"SELECT count(*) FROM events WHERE key = 'report:{told.delivery}'")
    [[hinted]] = held.rows(f"SELECT count(*) FROM events WHERE kind = 'comment_hinted' AND number = {number}")
    assert (told_by_report, hinted) == (1, 1)
    assert [each["id"] for each in shop.detail(number)["attempts"]] == [attempt["id"]]
    release.touch()
    shop.wait_until_cancelled(attempt["sha"])
    shop.check()


def test_a_master_of_the_old_kind_lands_and_rejects_by_its_packets(held: Held, tmp_path: Path) -> None:
    secret, release = held.installation.secret("bot_secret"), tmp_path / "later"
    number = held.shop.propose("packets", holding(release))
    held.shop.approve(number)
    attempt = being_built(held.shop, number)
    failed = packet(attempt["sha"], text=["failed", "trial"], results=2)
    assert held.send_packets([packet(attempt["sha"], "buildStarted")], secret).json() == {"status": "accepted"}
    assert held.send_packets([failed], secret).json() == {"status": "accepted"}
    assert "failed trial" in held.shop.wait_until(number, "aside")["waiting"]
    held.shop.say(number, "@autogate retry")
    again = being_built(held.shop, number)
    assert again["sha"] != attempt["sha"]
    for expected in ("accepted", "repeated", "repeated"):
        assert held.send_packets([packet(again["sha"])], secret).json() == {"status": expected}
    held.shop.wait_until(number, "landed")
    assert held.shop.repository.tip("main") == again["sha"]
    # Buildbot 4, which builds the same here, comes to the same result
    release.touch()
    held.shop.wait_until_cancelled(again["sha"])
    held.shop.check()
