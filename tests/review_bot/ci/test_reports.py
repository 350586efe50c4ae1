"""From a report on the wire to an event."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate import contract
from autogate.contract import Build, Cause, Event, FailedTest, Finding, Report, Result, Severity
from autogate.judging import Refusal, Secrets, judge
from review_bot.ci import reports
from review_bot.domain.events import BuildStarted, VerdictReached
from review_bot.domain.model import KEPT_FINDINGS, KEPT_TESTS

from .reporting import NOW, SHA, SHARED, TILLS, a_report, settings, signed

KNOWN = Secrets(SHARED, {"till": TILLS})
TILL = {"repository": "till", "builder": "till-lint"}
BUILD = Build(id=1, number=2, url="https://ci/#/builders/1/builds/2", worker="w", started_at=NOW)
LATER = BUILD.model_copy(update={"id": 3, "url": "https://ci/#/builders/1/builds/3"})


def event(report: Report) -> BuildStarted | VerdictReached | None:
    return reports.event(report, reports.repository_of(report, settings()), NOW)


@pytest.mark.parametrize(
    ("changes", "secret", "status"),
    [
        ({}, SHARED, 0),
        ({}, TILLS, 403),
        ({}, "nobody's", 401),
        ({}, "", 401),
        (TILL, TILLS, 0),
        (TILL, SHARED, 403),
        ({"repository": "cafe", "builder": "cafe-lint"}, SHARED, 0),
        ({"repository": "cafe", "builder": "cafe-lint"}, TILLS, 403),
    ],
)
def test_a_repository_with_a_secret_of_its_own_believes_no_other(
    changes: dict[str, Any], secret: str, status: int
) -> None:
    report = a_report(**changes)
    body = report.to_body()
    if not status:
        assert judge(signed(body, secret), body, NOW, KNOWN) == report
        return
    with pytest.raises(Refusal) as caught:
        judge(signed(body, secret), body, NOW, KNOWN)
    assert caught.value.status == status
    assert not any(known in str(caught.value) for known in (SHARED, TILLS))


@pytest.mark.parametrize("shift", [-301, 301, -86400])
def test_an_old_timestamp_is_refused_with_every_secret(shift: int) -> None:
    for changes, secret in (({}, SHARED), (TILL, TILLS)):
        body = a_report(**changes).to_body()
        with pytest.raises(Refusal, match="clocks") as caught:
            judge(signed(body, secret, NOW + timedelta(seconds=shift)), body, NOW, KNOWN)
        assert caught.value.status == 401


def test_nothing_is_parsed_before_a_signature_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed body of brackets breaks the parser; the same body with a wrong signature never gets there."""
    body = b"[" * 100_000
    parsed: list[bytes] = []
    stock = Report.model_validate_json

    def parse(text: bytes) -> Report:
        parsed.append(text)
        return stock(text)

    monkeypatch.setattr(Report, "model_validate_json", parse)
    with pytest.raises(Refusal, match="no report") as broken:
        judge(signed(body, TILLS, delivery="x"), body, NOW, KNOWN)
    with pytest.raises(Refusal, match="same secret") as forged:
        judge(signed(body, "nobody's", delivery="x"), body, NOW, KNOWN)
    good = a_report().to_body()
    with pytest.raises(Refusal):
        judge(signed(good, "nobody's"), good, NOW, KNOWN)
    assert (broken.value.status, forged.value.status, parsed) == (400, 401, [])
    judge(signed(good), good, NOW, KNOWN)
    assert parsed == [good]


@given(st.binary(max_size=300), st.sampled_from([SHARED, TILLS, "nobody's"]), st.text(max_size=20))
def test_any_bytes_from_anybody_are_refused_and_break_nothing(body: bytes, secret: str, delivery: str) -> None:
    with pytest.raises(Refusal) as caught:
        judge(signed(body, secret, delivery=delivery), body, NOW, KNOWN)
    assert caught.value.status == (401 if secret == "nobody's" else 400)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"repository": "cafe", "builder": "cafe-lint"}, "no repository 'cafe' is configured here"),
        ({"repository": "x" * 5000}, "xxx…'"),
        ({"builder": "till-lint"}, "shop has no builder 'till-lint' here"),
        ({"builder": "shop-dance"}, "shop has no builder 'shop-dance' here"),
        ({**TILL, "builder": "till-deploy"}, "till has no builder 'till-deploy' here"),
    ],
)
def test_what_is_not_configured_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal) as caught:
        event(a_report(**changes))
    assert caught.value.status == 422
    assert says in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "changes",
    [
        {"event": Event.RETRYING, "result": Result.RETRY, "builds": (BUILD,)},
        {"branch": "main"},
        {"branch": "refs/heads/auto"},
        {"builder": "shop-deploy", "kind": "deploy", "branch": "main"},
        {"builder": "shop-deploy", "kind": "deploy"},
        {"event": Event.STARTED, "result": None, "builds": (BUILD,), "branch": ""},
    ],
)
def test_what_no_attempt_waits_for_is_no_event(changes: dict[str, Any]) -> None:
    assert event(a_report(**changes)) is None


@pytest.mark.parametrize("branch", ["auto", "try"])
def test_a_start_is_told_with_the_newest_build(branch: str) -> None:
    started = event(a_report(event=Event.STARTED, result=None, branch=branch, builds=(BUILD, LATER)))
    assert started == BuildStarted(at=NOW, revision=SHA, builder="shop-lint", url=LATER.url)


@pytest.mark.parametrize("result", [result for result in Result if result is not Result.RETRY])
def test_every_final_result_is_a_verdict(result: Result) -> None:
    cause = contract.cause(result, None)
    reached = event(a_report(result=result, cause=cause, builds=(BUILD,), summary="so it ended"))
    assert isinstance(reached, VerdictReached)
    verdict = reached.verdict
    assert (reached.at, reached.revision, verdict.builder, verdict.kind) == (NOW, SHA, "shop-lint", "lint")
    assert (verdict.result, verdict.cause, verdict.summary, verdict.url) == (result, cause, "so it ended", BUILD.url)


@pytest.mark.parametrize("result", [None, Result.RETRY])
def test_an_end_without_a_final_result_is_refused(result: Result | None) -> None:
    with pytest.raises(Refusal) as caught:
        event(a_report(result=result))
    assert caught.value.status == 400


def test_the_first_findings_and_tests_are_kept_and_the_totals_stay() -> None:
    findings = [
        Finding(path="a.py", line=line, symbol="x", severity=Severity.ERROR, text="t")
        for line in range(KEPT_FINDINGS + 9)
    ]
    tests = [FailedTest(name=f"t{number}") for number in range(KEPT_TESTS + 9)]
    reached = event(
        a_report(
            result=Result.FAILURE,
            cause=Cause.CHANGE,
            findings=findings,
            findings_total=1234,
            failed_tests=tests,
            failed_tests_total=len(tests),
        )
    )
    assert isinstance(reached, VerdictReached)
    verdict = reached.verdict
    assert (verdict.findings, verdict.findings_total) == (tuple(findings[:KEPT_FINDINGS]), 1234)
    assert (verdict.failed_tests, verdict.failed_tests_total) == (tuple(tests[:KEPT_TESTS]), KEPT_TESTS + 9)
    assert verdict.url == ""


def test_repeats_have_one_key_and_other_reports_another() -> None:
    report = a_report()
    assert reports.key(report) == reports.key(Report.model_validate_json(report.to_body()))
    assert reports.key(report) != reports.key(a_report())
