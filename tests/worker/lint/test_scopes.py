"""What each scope answers from messages, scores and added lines."""

import pytest

from worker.lint.introduced import Said, compare
from worker.lint.model import ChangedFile, Judgement, Message, Score, Severity
from worker.lint.scopes import fails, files, introduced, lines, scores


def said(
    line: int = 1, severity: Severity = Severity.WARNING, path: str = "a.py", symbol: str = "unused-import"
) -> Said:
    return Message(path, line, 0, None, None, symbol, "W0611", severity, f"message {symbol}"), f"import {symbol}"


CHANGED = [ChangedFile("a.py", "a.py", frozenset({3, 4})), ChangedFile("gone.py", None)]
BROKEN = said(9, Severity.ERROR, symbol="syntax-error")


@pytest.mark.parametrize("fail_on", Severity)
def test_what_is_at_least_as_severe_fails_but_information_never_does(fail_on: Severity) -> None:
    order = list(Severity)
    failing = [severity for severity in order if fails(said(severity=severity)[0], fail_on)]
    assert failing == [severity for severity in order[order.index(fail_on) :] if severity is not Severity.INFO]


def test_every_severity_fails_by_default() -> None:
    assert [severity for severity in Severity if not fails(said(severity=severity)[0])] == [Severity.INFO]


@pytest.mark.parametrize("fail_on", [None, Severity.FATAL])
def test_what_cannot_be_read_fails_whatever_is_asked_for(fail_on: Severity | None) -> None:
    assert fails(BROKEN[0], fail_on)
    assert fails(said(severity=Severity.FATAL)[0], fail_on)
    assert not fails(said(severity=Severity.ERROR)[0], fail_on)


def test_introduced_are_the_new_ones_wherever_they_show() -> None:
    before = {"a.py": [said(1)], "other.py": []}
    after = {"a.py": [said(2), said(8, symbol="new-one")], "other.py": [said(5, Severity.ERROR, "other.py")]}
    found = introduced(compare(before, after, CHANGED), CHANGED, Severity.ERROR)
    assert [(each.message.path, each.message.line, each.fails, each.dependent) for each in found] == [
        ("a.py", 8, False, False),
        ("other.py", 5, True, True),
    ]
    assert found[0].source == "import new-one"


def test_lines_added_to_a_file_that_could_not_be_read_before_either_do_not_pass() -> None:
    both = {"a.py": [BROKEN]}
    (found,) = introduced(compare(both, both, CHANGED), CHANGED)
    assert found.fails
    for untouched in ([], [ChangedFile("a.py", "a.py")]):
        assert introduced(compare(both, both, untouched), untouched) == ()


def test_lines_are_those_that_begin_on_an_added_line_and_all_that_cannot_be_read() -> None:
    after = {"a.py": [said(2), said(3), said(4, Severity.CONVENTION), said(5), BROKEN], "b.py": [said(3)]}
    found = lines(after, CHANGED, Severity.WARNING)
    assert [(each.message.line, each.fails) for each in found] == [(3, True), (4, False), (9, True)]


def test_files_fail_by_their_score() -> None:
    after = {"a.py": [said(1), said(2, Severity.INFO)], "b.py": [said(1, path="b.py")]}
    both = [*CHANGED, ChangedFile(None, "b.py")]
    scored = (Score("a.py", 7.99, 8.0), Score("b.py", 8.0, 8.0))
    assert [each.fails for each in files(after, both, scored)] == [True, False, False]
    assert [each.fails for each in files(after, both, scored, Severity.WARNING)] == [True, False, True]
    assert [each.fails for each in files({"a.py": [BROKEN]}, CHANGED, ())] == [True]


def test_scores_are_of_changed_files_that_have_one_as_pylint_prints_them() -> None:
    judgements = {
        "a.py": Judgement(score=7.996),
        "empty.py": Judgement(),
        "other.py": Judgement(score=1.0),
    }
    changes = [*CHANGED, ChangedFile(None, "empty.py"), ChangedFile(None, "words.txt")]
    found = scores(judgements, changes, 8.0)
    assert found == (Score("a.py", 8.0, 8.0),)
    assert found[0].passes
    assert not scores(judgements, CHANGED, 8.01)[0].passes
