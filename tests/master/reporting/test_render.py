"""Reports and Homu's packets from plain records: no Buildbot."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate.contract import (
    MAX_BODY_BYTES,
    MAX_SUMMARY_CHARACTERS,
    Cause,
    Event,
    FailedTest,
    Finding,
    Result,
    Severity,
    verify,
)
from master.reporting import homu, wire
from master.reporting.records import BuildRecord, Happening, RequestRecord, Step, Subject
from master.reporting.render import (
    RevisionUnknownError,
    at_the_time,
    fit,
    happenings,
    report,
    revision,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHA = "a" * 40
SUBJECT = Subject("https://ci.example/", "shop", "shop-test", "test")


def build(number: int, result: Result | None = Result.SUCCESS, **more: Any) -> BuildRecord:
    begun = NOW + timedelta(minutes=number)
    ended = begun + timedelta(seconds=30) if result else None
    fields: dict[str, Any] = {"url": "u", "worker": "w", "started_at": begun, "finished_at": ended, "state": "done"}
    return BuildRecord(id=100 + number, number=number, result=result, **(fields | more))


def request(*builds: BuildRecord, result: Result | None = None, **more: Any) -> RequestRecord:
    ended = NOW + timedelta(hours=1) if result else None
    fields: dict[str, Any] = {"branch": "auto", "revision": SHA, "finished_at": ended, "result": result}
    return RequestRecord(id=7, builder_id=1, builds=builds, **(fields | more))


def end(record: RequestRecord) -> Happening:
    return happenings(record)[-1]


results = st.sampled_from([result for result in Result if result is not Result.RETRY])
histories = st.builds(
    lambda lost, last: request(
        *(build(n + 1, Result.RETRY) for n in range(lost)),
        *([build(lost + 1, last)] if last else []),
        result=last,
    ),
    st.integers(0, 3),
    st.none() | results,
)


@given(histories)
def test_everything_that_happened_is_told_in_its_order(record: RequestRecord) -> None:
    told = happenings(record)
    assert [h.at for h in told] == sorted(h.at for h in told)
    assert sum(h.event is Event.STARTED for h in told) == len(record.builds)
    assert sum(h.event is Event.RETRYING for h in told) == sum(b.result is Result.RETRY for b in record.builds)
    assert [h.number for h in told if h.event is Event.FINISHED] == ([7] if record.result else [])
    assert len(set(told)) == len(told)


@given(histories)
def test_a_report_is_the_same_whenever_it_is_rendered(record: RequestRecord) -> None:
    for happening in happenings(record):
        early = at_the_time(record, happening)
        assert at_the_time(early, happening) == early
        if happening.event is not Event.FINISHED:
            assert report(early, happening, SUBJECT).to_body() == report(record, happening, SUBJECT).to_body()


def test_a_start_knows_nothing_of_the_end() -> None:
    record = request(build(1, Result.RETRY), build(2, Result.FAILURE), result=Result.FAILURE)
    first, again, second, last = (report(record, happening, SUBJECT) for happening in happenings(record))
    assert [len(r.builds) for r in (first, again, second, last)] == [1, 1, 2, 2]
    assert first.builds[0].result is None
    assert first.result is None
    assert again.builds[0].result is Result.RETRY
    assert (second.builds[0].result, second.builds[1].result) == (Result.RETRY, None)
    assert (last.result, last.cause) == (Result.FAILURE, Cause.CHANGE)
    assert len({r.delivery for r in (first, again, second, last)}) == 4


@pytest.mark.parametrize(
    ("result", "said", "cause"),
    [
        (Result.SUCCESS, "change", None),
        (Result.WARNINGS, "infrastructure", None),
        (Result.FAILURE, None, Cause.CHANGE),
        (Result.FAILURE, "superseded", Cause.SUPERSEDED),
        (Result.FAILURE, "infrastructure", Cause.INFRASTRUCTURE),
        (Result.FAILURE, ["a", "list"], Cause.CHANGE),
        (Result.EXCEPTION, "change", Cause.INFRASTRUCTURE),
        (Result.CANCELLED, "change", Cause.SUPERSEDED),
        (Result.SKIPPED, None, Cause.SUPERSEDED),
    ],
)
def test_who_is_to_blame(result: Result, said: object, cause: Cause | None) -> None:
    record = request(build(1, result, properties={"autogate_cause": said}), result=result)
    assert report(record, end(record), SUBJECT).cause is cause


def test_summaries() -> None:
    for record, expected in (
        (request(result=Result.SKIPPED), "skipped before a build began"),
        (request(build(1, state="all  is\nwell"), result=Result.SUCCESS), "all is well"),
        (
            request(build(1, Result.RETRY, state="lost"), result=Result.CANCELLED),
            "cancelled after build 1 (lost)",
        ),
        (request(build(1, state="x" * 999), result=Result.SUCCESS), "x" * (MAX_SUMMARY_CHARACTERS - 1) + "…"),
    ):
        assert report(record, end(record), SUBJECT).summary == expected


@pytest.mark.parametrize(
    ("asked", "got", "expected"),
    [
        (SHA, "b" * 40, SHA),
        (None, "b" * 40, "b" * 40),
        ("HEAD", "b" * 64, "b" * 64),
        ("aaaaaaa", {"": "b" * 40}, "b" * 40),
        (None, None, None),
        (None, {}, None),
        (None, "B" * 40, None),
        (None, 12, None),
    ],
)
def test_the_revision(asked: str | None, got: object, expected: str | None) -> None:
    record = request(build(1, properties={"got_revision": got}), revision=asked, result=Result.SUCCESS)
    if expected is None:
        with pytest.raises(RevisionUnknownError):
            revision(record)
    else:
        assert revision(record) == expected


def test_a_report_that_is_too_large_loses_excerpts_first() -> None:
    worst = "\x01"  # six bytes in JSON
    findings = tuple(
        Finding(path=worst * 1000, line=1, symbol="s", severity=Severity.ERROR, text=worst * 9000) for _ in range(1000)
    )
    tests = tuple(FailedTest(name=str(n), excerpt="begin" + worst * 3990 + "end") for n in range(200))
    last = build(1, Result.FAILURE, findings=findings, findings_total=5000, failed_tests=tests, failed_tests_total=300)
    record = request(last, result=Result.FAILURE)
    sent = report(record, end(record), SUBJECT)
    assert len(sent.to_body()) < MAX_BODY_BYTES
    assert (sent.findings_total, sent.failed_tests_total) == (5000, 300)

    few = sent.model_copy(update={"findings": findings[:3], "failed_tests": tests})
    smaller = fit(few, 500_000)
    assert len(smaller.to_body()) < 500_000
    assert len(smaller.findings) == 3, "findings are the last to go"
    assert len(smaller.failed_tests) == 200
    assert smaller.failed_tests[0].excerpt.endswith("end")
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        fit(few, 10)


@pytest.mark.parametrize(
    ("result", "text", "number"),
    [
        (Result.SUCCESS, ["build", "successful"], 0),
        (Result.WARNINGS, ["build", "successful"], 1),
        (Result.FAILURE, ["failed", "second"], 2),
        (Result.SKIPPED, ["failed", "skipped"], 3),
        (Result.EXCEPTION, ["exception"], 4),
        (Result.RETRY, ["retry"], 5),
        (Result.CANCELLED, ["exception"], 6),
    ],
)
def test_homus_packets(result: Result, text: list[str], number: int) -> None:
    steps = (Step("first", "fine", Result.SUCCESS), Step("second", "bad", Result.FAILURE), Step("third", "", None))
    lost = result is Result.RETRY
    record = request(build(1, result, steps=steps), result=None if lost else result)
    told = happenings(record)
    [started] = homu.packets(record, told[0], SUBJECT)
    [ended] = homu.packets(record, told[1], SUBJECT)
    properties = [["revision", SHA, "Build"], ["buildnumber", 1, "Build"]]
    assert started["event"] == "buildStarted"
    assert started["payload"]["build"] == {
        "builderName": "shop-test",
        "properties": properties,
        "text": [],
        "steps": [],
    }
    assert ended["event"] == "buildFinished"
    assert ended["payload"]["build"] == {
        "builderName": "shop-test",
        "properties": properties,
        "text": text,
        "results": number,
        "steps": [{"name": step.name, "text": [step.state]} for step in steps],
    }


def test_homu_may_fail_warnings() -> None:
    record = request(build(1, Result.WARNINGS), result=Result.WARNINGS)
    [ended] = homu.packets(record, end(record), SUBJECT, warnings_pass=False)
    assert ended["payload"]["build"]["text"] == ["warnings"]
    assert ended["payload"]["build"]["results"] != 0


def test_homu_is_told_of_a_start_that_never_was() -> None:
    record = request(result=Result.CANCELLED)
    started, ended = homu.packets(record, end(record), SUBJECT)
    assert (started["event"], ended["event"]) == ("buildStarted", "buildFinished")
    assert ended["payload"]["build"]["properties"][1] == ["buildnumber", 0, "Build"]


def test_envelopes() -> None:
    record = request(build(1), result=Result.SUCCESS)
    stored = wire.content("homu", record, end(record), SUBJECT, warnings_pass=True)
    assert b"s&cret=" not in stored
    sent = wire.envelope("homu", stored, "id", "s&cret=é", 1)
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = parse_qs(sent.body.decode(), strict_parsing=True)
    assert form["secret"] == ["s&cret=é"]
    assert json.loads(form["packets"][0]) == json.loads(stored)

    stored = wire.content("autogate", record, end(record), SUBJECT, warnings_pass=True)
    at = int(NOW.timestamp())
    sent = wire.envelope("autogate", stored, "id", "secret", at)
    assert sent.body == stored
    verify("secret", sent.headers["Autogate-Timestamp"], sent.headers["Autogate-Signature"], sent.body, NOW)
    assert sent.headers["Autogate-Delivery"] == "id"
    assert sent.headers["Content-Type"] == "application/json"
