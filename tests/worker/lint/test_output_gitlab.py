"""GitLab's code quality report."""

import json
from typing import Any

from hypothesis import given

from tests.support.outcomes import ALL, OUTCOMES, PATIENT, message
from worker.lint.model import Finding, Message, Outcome, Severity
from worker.lint.output import render


def report(outcome: Outcome) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = json.loads(render("gitlab", outcome))
    return objects


def test_the_report_has_what_gitlab_requires() -> None:
    first = report(Outcome("introduced", "HEAD", (Finding(message(line=12, end=4), "totl"),)))[0]
    assert len(first.pop("fingerprint")) > 32
    assert first == {
        "description": "Undefined variable 'totl'",
        "check_name": "undefined-variable",
        "severity": "critical",
        "location": {"path": "shop/cart.py", "lines": {"begin": 12, "end": 12}},
    }


def test_troubles_and_low_scores_are_in_it_and_severities_are_gitlabs() -> None:
    assert [(each["check_name"], each["severity"]) for each in report(ALL)] == [
        ("not-judged", "blocker"),
        ("not-judged", "blocker"),
        ("score-below-limit", "critical"),
        ("undefined-variable", "critical"),
        ("unused-import", "major"),
        ("no-member", "critical"),
        ("new-suppression", "major"),
    ]
    lighter = tuple(Finding(message(severity=each)) for each in (Severity.REFACTOR, Severity.CONVENTION, Severity.INFO))
    assert [each["severity"] for each in report(Outcome("introduced", "HEAD", lighter))] == ["minor", "minor", "info"]


def test_a_change_that_brings_nothing_has_an_empty_report() -> None:
    assert report(Outcome("introduced", "HEAD", old=3)) == []


def test_a_finding_over_several_lines_ends_on_its_last() -> None:
    place = Message("a.py", 3, 4, 9, 2, "s", "W1", Severity.WARNING, "t")
    (only,) = report(Outcome("introduced", "HEAD", (Finding(place),)))
    assert only["location"]["lines"] == {"begin": 3, "end": 9}


def test_names_that_are_no_utf_8_and_control_characters_are_escaped() -> None:
    (only,) = report(Outcome("introduced", "HEAD", (Finding(message("\udcff\n.py", text="a\x1b\nb")),)))
    assert only["location"]["path"] == r"\xff\n.py"
    assert only["description"] == "a\\x1b\nb"


@PATIENT
@given(OUTCOMES)
def test_no_two_findings_share_a_fingerprint(outcome: Outcome) -> None:
    known = [each["fingerprint"] for each in report(outcome)]
    assert len(set(known)) == len(known)
