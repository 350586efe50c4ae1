"""What the bot learns from a real Buildbot master, and what it tells it."""

import asyncio
import hashlib
import itertools
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from autogate.cli.local import LocalInstallation, free_port
from autogate.contract import (
    FAILED_TESTS_CATEGORY,
    FINDINGS_CATEGORY,
    VALUE_UNIT,
    Cause,
    FailedTest,
    Finding,
    Result,
    Severity,
)
from review_bot.ci import buildbot as asking
from review_bot.ci import rest
from review_bot.ci.buildbot import Buildbot
from review_bot.ci.rest import BuildbotError
from review_bot.domain.events import BuilderStatus
from review_bot.domain.model import KEPT_FINDINGS
from tests.support.closed_gate import PASSWORDS, ClosedGate
from tests.support.repository import Repository
from tests.support.waiting import wait_for

PAGES = "https://ci.example/"
T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClosedGate]:
    gate = ClosedGate(tmp_path_factory.mktemp("asked") / "gate")
    gate.start()
    yield gate
    gate.stop()
    assert not any(password in gate.log() for password in PASSWORDS.values())


class Asked:
    """The bot's view of a master, for tests that are not asynchronous."""

    def __init__(
        self, runner: asyncio.Runner, url: str, user: str | None = "bot", password: str | None = None, poke: str = ""
    ) -> None:
        self.runner = runner
        self.client = httpx.AsyncClient(timeout=60)
        self.buildbot = Buildbot(
            url,
            pages=PAGES,
            user=user,
            password=password or PASSWORDS.get(user or ""),
            poke_password=poke or None,
            client=self.client,
        )

    def ask(self, sha: str, *builders: str) -> dict[str, BuilderStatus]:
        return self.runner.run(self.buildbot.ask(sha, builders))

    def cancel(self, sha: str, *builders: str) -> int:
        return self.runner.run(self.buildbot.cancel(sha, builders))

    def poke(self, repository: str) -> None:
        self.runner.run(self.buildbot.poke(repository))

    def wait(self, sha: str, builder: str, status: str) -> BuilderStatus:
        def reached() -> BuilderStatus | None:
            found = self.ask(sha, builder)[builder]
            return found if found.status == status else None

        return wait_for(reached, f"{builder} to be {status}")


@pytest.fixture
def asked(runner: asyncio.Runner, gate: ClosedGate) -> Iterator[Asked]:
    asked = Asked(runner, gate.url)
    yield asked
    runner.run(asked.client.aclose())


_numbers = itertools.count()


@pytest.fixture
def sha() -> str:
    """A commit that no other test knows."""
    return hashlib.sha1(str(next(_numbers)).encode()).hexdigest()


def test_a_verdict_that_never_arrived_is_found_whole(gate: ClosedGate, asked: Asked, sha: str) -> None:
    findings = [
        Finding(path="shop/cart.py", line=line, symbol="unused-import", severity=Severity.WARNING, text="Unused é")
        for line in range(1, KEPT_FINDINGS + 11)
    ]
    test = FailedTest(name="tests.Till.test_sum", path="tests/till.py", line=7, excerpt="1 != 2")
    foreign = [{"value": "3", "test_name": "speed", "test_code_path": "x", "line": None}]
    gate.asked(
        "shop-lint",
        sha,
        give="failure",
        set_autogate_cause="infrastructure",
        store=[
            (FINDINGS_CATEGORY, VALUE_UNIT, [finding.to_test_result() for finding in findings]),
            (FAILED_TESTS_CATEGORY, VALUE_UNIT, [test.to_test_result()]),
            (FINDINGS_CATEGORY, "ms", foreign),
        ],
    )
    status = asked.wait(sha, "shop-lint", "finished")
    verdict = status.verdict
    assert verdict is not None
    assert (verdict.builder, verdict.kind) == ("shop-lint", "lint")
    assert (verdict.result, verdict.cause, verdict.summary) == (
        Result.FAILURE,
        Cause.INFRASTRUCTURE,
        "failed finished (failure)",
    )
    assert status.url == verdict.url
    assert verdict.url.startswith(f"{PAGES}#/builders/")
    assert verdict.findings == tuple(findings[:KEPT_FINDINGS])
    assert verdict.findings_total == len(findings)
    assert (verdict.failed_tests, verdict.failed_tests_total) == ((test,), 1)


FINAL = [result for result in Result if result is not Result.RETRY]


@pytest.mark.parametrize("result", FINAL)
def test_every_result_without_a_build(gate: ClosedGate, asked: Asked, sha: str, result: Result) -> None:
    gate.change(sha)
    gate.do("end", builder="shop-test", results=[list(Result).index(result)], revision=sha)
    status = asked.ask(sha, "shop-test")["shop-test"]
    assert status.verdict is not None
    assert (status.status, status.url, status.verdict.result) == ("finished", "", result)
    assert status.verdict.summary == f"{result} before a build began"


@pytest.mark.parametrize(
    ("given", "result", "cause"),
    [
        ("success", Result.SUCCESS, None),
        ("warnings", Result.WARNINGS, None),
        ("failure", Result.FAILURE, Cause.CHANGE),
        ("exception", Result.EXCEPTION, Cause.INFRASTRUCTURE),
        ("cancelled", Result.CANCELLED, Cause.SUPERSEDED),
        ("retry", Result.EXCEPTION, Cause.INFRASTRUCTURE),
    ],
)
def test_every_result_of_a_build(
    gate: ClosedGate, asked: Asked, sha: str, given: str, result: Result, cause: Cause | None
) -> None:
    gate.asked("shop-test", sha, give=given)
    verdict = asked.wait(sha, "shop-test", "finished").verdict
    assert verdict is not None
    assert (verdict.result, verdict.cause) == (result, cause)


def test_how_far_requests_are(gate: ClosedGate, asked: Asked, sha: str) -> None:
    assert asked.ask(sha, "shop-test")["shop-test"] == BuilderStatus(status="no_request")
    gate.change(sha)
    assert asked.ask(sha, "shop-test")["shop-test"] == BuilderStatus(status="no_request")
    gate.ask("shop-test", sha, hold="go-on")
    running = asked.wait(sha, "shop-test", "running")
    assert "/builds/" in running.url
    gate.do("pause")
    try:
        gate.ask("shop-lint", sha)
        found = asked.ask(sha, "shop-test", "shop-lint", "shop-skip", "shop-dance")
    finally:
        gate.do("unpause")
    assert {builder: status.status for builder, status in found.items()} == {
        "shop-test": "running",
        "shop-lint": "waiting",
        "shop-skip": "no_request",
        "shop-dance": "unknown_builder",
    }
    (gate.folder / "go-on").touch()
    assert asked.wait(sha, "shop-test", "finished").url == running.url
    assert asked.ask(sha) == {}


def test_the_newest_request_decides(gate: ClosedGate, asked: Asked, sha: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.asked("shop-test", sha, give="failure")
    asked.wait(sha, "shop-test", "finished")
    gate.ask("shop-test", sha, give="success")
    other = hashlib.sha1(sha.encode()).hexdigest()
    for _ in range(5):
        gate.asked("shop-test", other, give="exception")
    asked.wait(other, "shop-test", "finished")
    monkeypatch.setattr(asking, "BUILDSETS_AT_A_TIME", 2)
    verdict = asked.wait(sha, "shop-test", "finished").verdict
    assert verdict is not None
    assert verdict.result is Result.SUCCESS


def test_a_request_that_vanished_is_no_request(gate: ClosedGate, asked: Asked, sha: str) -> None:
    gate.change(sha)
    # never built: the master has nothing more to do with it
    [request] = gate.do("end", builder="shop-test", results=[0], revision=sha)
    assert asked.ask(sha, "shop-test")["shop-test"].status == "finished"
    for gone in (f"buildrequest_claims WHERE brid = {request}", f"buildrequests WHERE id = {request}"):
        gate.do("query", text=f"DELETE FROM {gone}")
    assert asked.ask(sha, "shop-test")["shop-test"].status == "no_request"


def test_what_is_under_way_is_found_without_a_change(gate: ClosedGate, asked: Asked, sha: str) -> None:
    gate.ask("shop-test", sha, hold="forced")
    asked.wait(sha, "shop-test", "running")
    (gate.folder / "forced").touch()


def test_a_builder_that_was_taken_out_of_the_configuration_is_unknown(gate: ClosedGate, asked: Asked, sha: str) -> None:
    gate.asked("unreported", sha)
    asked.wait(sha, "unreported", "finished")
    builders = gate.told["builders"]
    gate.told["builders"] = [builder for builder in builders if builder != "unreported"]
    gate.tell(reporter=False)
    gate.reconfigure()
    try:
        assert asked.ask(sha, "unreported")["unreported"] == BuilderStatus(status="unknown_builder")
    finally:
        gate.told["builders"] = builders
        gate.tell(reporter=False)
        gate.reconfigure()


def test_what_runs_and_what_waits_is_cancelled_once(gate: ClosedGate, asked: Asked, sha: str) -> None:
    other = hashlib.sha1(sha.encode()).hexdigest()
    gate.asked("shop-test", sha, hold="never")
    gate.asked("shop-collapse", other, hold="other")
    asked.wait(sha, "shop-test", "running")
    asked.wait(other, "shop-collapse", "running")
    gate.do("pause")
    try:
        gate.ask("shop-lint", sha)
        gate.ask("shop-skip", sha)
        assert asked.cancel(sha, "shop-test", "shop-lint", "shop-collapse", "shop-dance") == 2
        asked.cancel(sha, "shop-test", "shop-lint")
        for builder in ("shop-test", "shop-lint"):
            verdict = asked.wait(sha, builder, "finished").verdict
            assert verdict is not None
            assert verdict.result is Result.CANCELLED
    finally:
        gate.do("unpause")
    assert asked.cancel(sha, "shop-test", "shop-lint") == 0
    verdict = asked.wait(sha, "shop-skip", "finished").verdict
    assert verdict is not None
    assert verdict.result is Result.SKIPPED, "it was not named"
    assert asked.ask(other, "shop-collapse")["shop-collapse"].status == "running"
    (gate.folder / "other").touch()


def test_a_session_that_ended_is_renewed(gate: ClosedGate, asked: Asked, sha: str) -> None:
    asked.ask(sha, "shop-test")
    assert asked.client.cookies
    asked.client.cookies.clear()
    assert asked.ask(sha, "shop-test")["shop-test"].status == "no_request"
    asked.client.cookies.clear()
    assert asked.cancel(sha, "shop-test") == 0


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(BuildbotError) as caught:
        call()
    said = str(caught.value)
    assert not any(password in said for password in (*PASSWORDS.values(), "a wrong password"))
    assert caught.value.__cause__ is None
    return said


@pytest.mark.parametrize(
    ("user", "password", "says"),
    [
        ("bot", "a wrong password", "does not let 'bot' sign in"),
        ("nobody", "a wrong password", "does not let 'nobody' sign in"),
        (None, None, "name a user of [web.users] in bot.user"),
    ],
)
def test_a_closed_master_and_a_bot_that_cannot_get_in(
    runner: asyncio.Runner, gate: ClosedGate, sha: str, user: str | None, password: str | None, says: str
) -> None:
    asked = Asked(runner, gate.url, user, password)
    assert says in refused(lambda: asked.ask(sha, "shop-test"))


def test_a_reader_can_ask_but_not_cancel(runner: asyncio.Runner, gate: ClosedGate, asked: Asked, sha: str) -> None:
    reader = Asked(runner, gate.url, "reader")
    gate.asked("shop-test", sha, hold="read")
    assert reader.wait(sha, "shop-test", "running")
    said = refused(lambda: reader.cancel(sha, "shop-test"))
    assert "lets 'reader' cancel nothing" in said
    assert "in web.admins" in said
    assert asked.ask(sha, "shop-test")["shop-test"].status == "running"
    (gate.folder / "read").touch()


def test_an_open_master_answers_nobody_in_particular_and_obeys_only_admins(
    runner: asyncio.Runner, tmp_path: Path, sha: str
) -> None:
    gate = ClosedGate(tmp_path / "gate", anonymous="read")
    gate.start()
    try:
        nobody = Asked(runner, gate.url, None)
        gate.asked("shop-test", sha, hold="never")
        nobody.wait(sha, "shop-test", "running")
        assert "somebody who has not signed in" in refused(lambda: nobody.cancel(sha, "shop-test"))
        assert Asked(runner, gate.url).cancel(sha, "shop-test") == 1
        nobody.wait(sha, "shop-test", "finished")
    finally:
        gate.stop()


def test_what_is_not_buildbot_is_not_believed(runner: asyncio.Runner, gate: ClosedGate, sha: str) -> None:
    lost = Asked(runner, f"http://127.0.0.1:{free_port()}/")
    assert "does not answer at" in refused(lambda: lost.ask(sha, "shop-test"))
    assert "(ConnectError)" in refused(lambda: lost.cancel(sha, "shop-test"))
    beside = Asked(runner, f"{gate.url}nowhere/", poke="a poke's password")
    for call in (lambda: beside.ask(sha, "shop-test"), lambda: beside.poke("shop")):
        assert "is bot.master its address" in refused(call)


@contextmanager
def stuck(first: bytes) -> Iterator[str]:
    """Serve an address whose first answer breaks off, and whose second is that of an empty Buildbot."""
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        broken, _ = listener.accept()
        with broken:
            broken.recv(65536)
            broken.sendall(first)
            other, _ = listener.accept()
            with other:
                other.recv(65536)
                other.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"builders":[]}')
                done.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize("first", [b"", b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"build'])
def test_an_answer_that_is_stuck_is_asked_for_again(
    runner: asyncio.Runner, sha: str, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "PATIENCE_SECONDS", (0.1, 60.0))
    with stuck(first) as url:
        found = Asked(runner, url, None).ask(sha, "shop-test")
    assert found == {"shop-test": BuilderStatus(status="unknown_builder")}


REPOSITORY = 'url = "{url}"\npoll_interval = 86400\n'


def test_a_poke_brings_a_pushed_candidate_to_the_builders(runner: asyncio.Runner, tmp_path: Path) -> None:
    installation = LocalInstallation(tmp_path, "http://127.0.0.1:9/buildbot", workers=0, anonymous="nothing")
    site = installation.places.site_file
    site.write_text(site.read_text() + '[[workers]]\nname = "w"\nsecret = "w"\n')
    installation.add_secret("w")
    repository = Repository.create(tmp_path)
    installation.add_repository("shop", REPOSITORY.format(url=repository.bare))
    try:
        installation.start()
        admin = ("admin", installation.secret("web_admin_password"))
        poke = installation.secret("poke_secret")
        asked = Asked(runner, installation.url, *admin, poke=poke)
        asked.poke("shop")
        sha = repository.candidate({"new.py": "x = 1\n"})
        repository.push("auto")

        def requested() -> bool:
            asked.poke("shop")
            found = asked.ask(sha, "shop-lint", "shop-test")
            return {status.status for status in found.values()} == {"waiting"}

        wait_for(requested, "the requests")
        assert asked.cancel(sha, "shop-lint", "shop-test") == 2
        verdict = asked.wait(sha, "shop-lint", "finished").verdict
        assert verdict is not None
        assert verdict.result is Result.CANCELLED

        wrong = Asked(runner, installation.url, *admin, poke="not the password")
        assert "the same web.poke_secret" in refused(lambda: wrong.poke("shop"))
        assert "has no poller for till" in refused(lambda: asked.poke("till"))
        Asked(runner, installation.url, *admin).poke("shop")
    finally:
        installation.kill()
