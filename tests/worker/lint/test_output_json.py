"""What the Buildbot step reads back."""

import json
from typing import Any

import pytest
from hypothesis import given

from tests.support.outcomes import ALL, OUTCOMES, PATIENT
from worker.lint.model import Outcome
from worker.lint.output import render
from worker.lint.output.json import load


def document(**changes: object) -> str:
    """Return what is printed of `ALL`, with some keys set anew."""
    return json.dumps({**json.loads(render("json", ALL)), **changes})


def finding(**changes: object) -> dict[str, object]:
    first: dict[str, object] = json.loads(render("json", ALL))["findings"][0]
    return {**first, **changes}


@PATIENT
@given(OUTCOMES)
def test_what_is_printed_is_read_back(outcome: Outcome) -> None:
    assert load(render("json", outcome)) == outcome


def test_the_object_is_laid_out_as_the_documentation_says() -> None:
    printed: dict[str, Any] = json.loads(render("json", ALL))
    assert list(printed) == [
        "version",
        "exit_code",
        "summary",
        "scope",
        "base",
        "findings",
        "fixed",
        "old",
        "scores",
        "troubles",
        "left_out",
        "notes",
        "figures",
    ]
    assert printed["version"] == 1
    assert printed["exit_code"] == 3
    assert printed["findings"][0] == {
        "path": "shop/cart.py",
        "line": 12,
        "column": 11,
        "end_line": 12,
        "end_column": 15,
        "symbol": "undefined-variable",
        "code": "E0001",
        "severity": "error",
        "text": "Undefined variable 'totl'",
        "scope": "Cart.total",
        "whole": False,
        "linter": "pylint",
        "source": "    return totl + 1",
        "fails": True,
        "dependent": False,
    }


def test_what_a_later_release_adds_is_passed_over_and_what_it_leaves_out_is_taken_for_the_usual() -> None:
    lean = {"version": 1, "scope": "introduced", "base": "HEAD", "weather": "fine", "figures": {"moons": 2}}
    assert load(json.dumps(lean)) == Outcome("introduced", "HEAD")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Expecting value"),
        ("[]", "version None"),
        ("{}", "version None"),
        (document(version=2), "version 2: use the same release"),
        ('{"version": 1, "scope": "introduced"}', "outcome: .*'base'"),
        (document(old="3"), "outcome.old is '3', which is no int"),
        (document(old=True), "outcome.old is True"),
        (document(base=None), "outcome.base is None"),
        (document(findings=None), "outcome.findings is None"),
        (document(findings=[3]), r"outcome.findings\[0\] is 3"),
        (document(findings=[finding(line=1.5)]), r"outcome.findings\[0\].message.line is 1.5"),
        (document(findings=[finding(end_line="1")]), r"outcome.findings\[0\].message.end_line is '1'"),
        (document(findings=[finding(severity="grave")]), r"outcome.findings\[0\].message.severity is 'grave'"),
        (document(findings=[finding(fails=1)]), r"outcome.findings\[0\].fails is 1"),
        (document(findings=[{}]), r"outcome.findings\[0\].message: .*'path'"),
        (document(notes="a"), "outcome.notes is 'a'"),
        (document(scores=[{"path": "a", "score": "9", "limit": 8}]), r"outcome.scores\[0\].score is '9'"),
    ],
)
def test_what_is_not_such_an_object_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        load(text)
