"""Every way in which a request can end, as Buildbot ends it: what is reported, in both protocols."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from autogate.contract import Cause, Event, FailedTest, Finding, Report, Result, Severity
from tests.support.gate import RESULTS, SECRET, SHA, Gate, finished, told
from tests.support.receiver import Receiver
from tests.support.waiting import wait_for

OTHER_SHA = "f" * 40
FINDING = Finding(path="a b.py", line=3, column=4, symbol="unused-import", severity=Severity.WARNING, text="Unused é")
FAILED = FailedTest(name="tests.test_a.TestA.test_b", path="tests/test_a.py", line=9, excerpt="AssertionError: 1 != 2")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def gate(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path_factory.mktemp("results") / "gate", receiver)
    gate.start()
    yield gate
    gate.stop()


def end_of(receiver: Receiver, request: int) -> Report:
    return wait_for(lambda: finished(receiver, request), f"the report that request {request} ended")


def about(receiver: Receiver, request: int) -> list[tuple[Event, Result | None]]:
    return [(report.event, report.result) for report in receiver.reports() if report.request == request]


@pytest.mark.parametrize(
    ("give", "cause"),
    [
        ("success", None),
        ("warnings", None),
        ("failure", Cause.CHANGE),
        ("exception", Cause.INFRASTRUCTURE),
        ("cancelled", Cause.SUPERSEDED),
    ],
)
def test_a_build_ends_with(gate: Gate, receiver: Receiver, give: str, cause: Cause | None) -> None:
    request = gate.ask(give=give)
    report = end_of(receiver, request)
    assert about(receiver, request) == [(Event.STARTED, None), (Event.FINISHED, Result(give))]
    assert (report.result, report.cause, report.revision, report.branch) == (Result(give), cause, SHA, "auto")
    assert (report.repository, report.builder, report.kind) == ("shop", "shop-test", "test")
    build = report.builds[-1]
    assert build.result == give
    assert build.worker == "here"
    assert build.url == f"{gate.url}#/builders/{_builder(gate, 'shop-test')}/builds/{build.number}"
    assert build.finished_at is not None
    assert build.finished_at >= build.started_at
    assert report.summary == gate.get(f"builds/{build.id}")["builds"][0]["state_string"]


def _builder(gate: Gate, name: str) -> int:
    return next(int(row["builderid"]) for row in gate.get("builders")["builders"] if row["name"] == name)


def test_a_build_that_asks_for_retries_ends_as_an_exception(gate: Gate, receiver: Receiver) -> None:
    request = gate.ask(give="retry")
    report = end_of(receiver, request)
    started, again = (Event.STARTED, None), (Event.RETRYING, Result.RETRY)
    assert about(receiver, request) == [
        *(started, again, started, again),
        *(started, (Event.FINISHED, Result.EXCEPTION)),
    ]
    assert report.cause is Cause.INFRASTRUCTURE
    assert [build.result for build in report.builds] == [Result.RETRY, Result.RETRY, Result.EXCEPTION]
    assert report.summary == "a step asked for a retry 3 times"


def test_a_skipped_build(gate: Gate, receiver: Receiver) -> None:
    request = gate.ask("shop-skip")
    report = end_of(receiver, request)
    assert (report.result, report.cause, len(report.builds)) == (Result.SKIPPED, Cause.SUPERSEDED, 1)


def test_requests_that_end_without_a_build(gate: Gate, receiver: Receiver) -> None:
    holding = [gate.ask("shop-collapse", OTHER_SHA, hold="let the queue go") for _ in range(1)]
    wait_for(lambda: about(receiver, holding[0]), "the build that keeps the worker busy")
    gate.do("pause")
    skipped, cancelled = gate.ask("shop-collapse"), gate.ask("shop-lint")
    kept = gate.ask("shop-collapse")
    gate.do("cancel", request=cancelled)
    for request, result in ((skipped, Result.SKIPPED), (cancelled, Result.CANCELLED)):
        report = end_of(receiver, request)
        assert about(receiver, request) == [(Event.FINISHED, result)]
        assert (report.cause, report.builds, report.revision) == (Cause.SUPERSEDED, (), SHA)
        assert report.summary == f"{result} before a build began"
    (gate.folder / "let the queue go").touch()
    gate.do("unpause")
    assert end_of(receiver, kept).result is Result.SUCCESS
    assert end_of(receiver, holding[0]).result is Result.SUCCESS


def test_a_build_that_is_cancelled(gate: Gate, receiver: Receiver) -> None:
    request = gate.ask(hold="for ever")
    wait_for(lambda: about(receiver, request), "the report that it started")
    gate.do("cancel", request=request)
    report = end_of(receiver, request)
    assert (report.result, report.cause) == (Result.CANCELLED, Cause.SUPERSEDED)


def test_the_causes_that_steps_set(gate: Gate, receiver: Receiver) -> None:
    wanted = {
        ("failure", "infrastructure"): Cause.INFRASTRUCTURE,
        ("failure", "superseded"): Cause.SUPERSEDED,
        ("failure", "nonsense"): Cause.CHANGE,
        ("exception", "change"): Cause.INFRASTRUCTURE,
        ("success", "change"): None,
    }
    requests = {key: gate.ask(give=key[0], set_autogate_cause=key[1]) for key in wanted}
    assert {key: end_of(receiver, request).cause for key, request in requests.items()} == wanted


def test_the_revision_is_what_was_asked_for_or_what_was_got(gate: Gate, receiver: Receiver) -> None:
    got = gate.ask(revision=None, set_got_revision=OTHER_SHA)
    assert end_of(receiver, got).revision == OTHER_SHA
    assert about(receiver, got) == [(Event.FINISHED, Result.SUCCESS)], "at the start nobody knew the commit"
    both = gate.ask(set_got_revision=OTHER_SHA)
    assert end_of(receiver, both).revision == SHA
    nobody_knows = gate.ask(revision="HEAD")
    wait_for(
        lambda: f"finished of request {nobody_knows} on shop-test is not reported" in gate.log(), "the log of a skip"
    )
    assert about(receiver, nobody_knows) == []
    # it is settled: no comparison asks for it again
    settled = f"SELECT COUNT(*) FROM autogate_outbox WHERE buildrequestid = {nobody_knows} AND settled_at IS NOT NULL"
    wait_for(lambda: gate.do("query", text=settled) == [[2]], "the note that it will never be reported")


def test_findings_and_failed_tests(gate: Gate, receiver: Receiver) -> None:
    many = [FINDING.model_copy(update={"line": line}).to_test_result() for line in range(1, 1203)]
    store: list[Any] = [
        ("code_issue", "json", many),
        ("code_issue", "message", [{"value": "of another step", "test_name": "x"}]),
        ("test_fail", "json", [FAILED.to_test_result(), {"value": "not JSON", "test_name": "x"}]),
    ]
    report = end_of(receiver, gate.ask(give="failure", store=store))
    assert report.findings == tuple(FINDING.model_copy(update={"line": line}) for line in range(1, 1001))
    assert report.findings_total == 1202
    assert report.failed_tests == (FAILED,)
    assert report.failed_tests_total == 2
    assert "is left out of the report" in gate.log()


def test_other_builders_are_not_reported(gate: Gate, receiver: Receiver) -> None:
    other = gate.ask("unreported")
    wait_for(lambda: gate.complete(other), "the end of the request")
    end_of(receiver, gate.ask())
    assert about(receiver, other) == []


def test_nothing_else_was_told(gate: Gate, receiver: Receiver) -> None:
    """Reads what the tests above left."""
    silent = {
        (event, number)
        for event, number in gate.do("query", text="SELECT event, number FROM autogate_outbox WHERE note <> ''")
    }
    assert len(silent) == 3
    gate.wait_for_all(but=silent)
    assert set(told(receiver.reports()).values()) == {1}, "with a receiver that works nothing is told twice"
    for delivery in receiver.accepted:
        assert delivery.report.to_body() == delivery.body


class Homu:
    """How Homu reads ``POST /buildbot``, from the description of its protocol."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.slot = True
        self.verdicts: dict[tuple[str, int], bool] = {}
        self.ignored = 0

    def read(self, body: bytes) -> None:
        form = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True)
        for packet in json.loads(form["packets"][0]):
            build = packet["payload"]["build"]
            properties = {row[0]: row[1] for row in build["properties"]}
            key = properties["revision"], properties["buildnumber"]
            if packet["event"] == "buildStarted":
                self.slot = False
            elif packet["event"] == "buildFinished":
                if "retry" in build["text"]:
                    self.ignored += 1
                    continue
                assert form["secret"] == [self.secret]
                passed = "successful" in build["text"] or build["results"] == 0
                assert "interrupted" not in build["text"]
                self.verdicts[f"{build['builderName']}/{key[1]}", packet["payload"]["build"]["results"]] = passed


def cancelled_before_its_build(gate: Gate) -> int:
    gate.do("pause")
    request = gate.ask("shop-lint")
    gate.do("cancel", request=request)
    # else it may be built all the same
    wait_for(lambda: gate.complete(request), "the end of the cancelled request")
    gate.do("unpause")
    return request


def test_homu(gate: Gate, receiver: Receiver) -> None:
    """The last of this module: it changes the protocol, while a report in the other one waits."""
    receiver.stop()
    before = gate.tries()
    waiting = gate.ask(give="failure")
    wait_for(lambda: gate.tries() > before, "a refused try")
    receiver.secret = None
    receiver.received.clear()
    receiver.accepted.clear()
    gate.tell(protocol="homu")
    gate.reconfigure()
    receiver.start()
    cancelled = cancelled_before_its_build(gate)
    requests = {name: gate.ask(give=name) for name in RESULTS if name not in {"skipped", "retry"}}
    requests |= {"skipped": gate.ask("shop-skip"), "retry": gate.ask(give="retry")}
    outbox = "SELECT COUNT(*) FROM autogate_outbox WHERE (settled_at IS NULL OR protocol <> 'homu')"
    everything = [waiting, cancelled, *requests.values()]
    asked = f"SELECT COUNT(*) FROM autogate_outbox WHERE event = 'finished' AND buildrequestid >= {min(everything)}"
    wait_for(lambda: gate.do("query", text=asked) == [[len(everything)]], "the ends of all requests")
    wait_for(
        lambda: gate.do("query", text=f"{outbox} AND buildrequestid >= {min(everything)}") == [[0]], "their delivery"
    )

    packets: dict[int | str, list[Any]] = {}
    homu = Homu(SECRET)
    for delivery in receiver.accepted:
        assert delivery.headers["Content-Type"] == "application/x-www-form-urlencoded"
        form = parse_qs(delivery.body.decode(), strict_parsing=True)
        assert set(form) == {"packets", "secret"}
        assert form["secret"] == [SECRET]
        for packet in json.loads(form["packets"][0]):
            assert set(packet) == {"id", "timestamp", "project", "started", "event", "payload"}
            assert set(packet["payload"]) == {"build"}
            assert packet["project"] == "shop"
            packets.setdefault(packet["event"], []).append(packet["payload"]["build"])
        homu.read(delivery.body)

    for build in packets["buildStarted"]:
        assert set(build) == {"builderName", "properties", "text", "steps"}
    ends: dict[int, list[Any]] = {}
    for build in packets["buildFinished"]:
        assert set(build) == {"builderName", "properties", "text", "results", "steps"}
        assert [row[::2] for row in build["properties"]] == [["revision", "Build"], ["buildnumber", "Build"]]
        assert build["properties"][0][1] == SHA
        ends.setdefault(build["results"], []).append(build)
    texts = {RESULTS[number]: {tuple(build["text"]) for build in builds} for number, builds in ends.items()}
    assert texts == {
        "success": {("build", "successful")},
        "warnings": {("build", "successful")},
        "failure": {("failed", "give")},
        "skipped": {("failed", "skipped")},
        "exception": {("exception",)},
        "retry": {("retry",)},
        "cancelled": {("exception",)},
    }
    assert {name: len(ends[RESULTS.index(name)]) for name in RESULTS} == {
        **dict.fromkeys(RESULTS, 1),
        "failure": 2,
        "retry": 2,
        "exception": 2,
        "cancelled": 2,
    }
    assert [step["name"] for step in ends[2][0]["steps"]] == ["worker_preparation", "give"]
    assert homu.ignored == 2
    assert homu.slot is False
    assert {result for (_, result), passed in homu.verdicts.items() if passed} == {0, 1}
    # every end is preceded by its start, the unbuilt one's too
    assert len(packets["buildStarted"]) == len(packets["buildFinished"])
    unbuilt = [build for build in packets["buildFinished"] if build["properties"][1][1] == 0]
    assert [build["results"] for build in unbuilt] == [RESULTS.index("cancelled")]
    assert SECRET not in gate.log()
