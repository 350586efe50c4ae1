"""The checker of the rule, which must see what breaks it."""

import pytest

from tests.support.rule import assert_rule

from .case import Case


def check(case: Case, *passed: str) -> list[str]:
    return assert_rule(case.repository.bare, "main", case.begin, case.approved, passed)


def test_nothing_moved(case: Case) -> None:
    assert check(case) == []


def test_a_landing_and_a_batch(case: Case) -> None:
    members = [case.topic(number, {f"{number}": "x"}) for number in (1, 2, 3)]
    first = case.repository.merge([members[0].head])
    case.repository.push(f"{first}:main")
    second = case.repository.merge([member.head for member in members[1:]], base=first)
    case.repository.push(f"{second}:main")
    assert check(case, first, second) == [first, second]


def test_a_commit_of_its_own_is_seen(case: Case) -> None:
    tip = case.advance({"a": "1"})
    with pytest.raises(AssertionError, match="is no merge of two"):
        check(case, tip)


def test_a_head_that_nobody_approved_is_seen(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    merge = case.repository.merge([member.head])
    case.repository.push(f"{merge}:main")
    case.approved.clear()
    with pytest.raises(AssertionError, match="nobody approved"):
        check(case, merge)


def test_a_stop_inside_a_batch_is_seen(case: Case) -> None:
    members = [case.topic(number, {f"{number}": "x"}) for number in (1, 2)]
    inner = case.repository.merge([members[0].head])
    whole = case.repository.merge([member.head for member in members])
    outer = case.repository.merge([members[1].head], base=inner)
    case.repository.push(f"{inner}:main")
    case.repository.push(f"{outer}:main")
    with pytest.raises(AssertionError, match="did not pass"):
        check(case, outer, whole)


def test_a_force_that_a_later_landing_hides_is_seen(case: Case) -> None:
    members = [case.topic(number, {f"{number}": "x"}) for number in (1, 2)]
    merges = [case.repository.merge([member.head]) for member in members]
    for merge in merges:
        case.repository.push(f"{merge}:main")
    with pytest.raises(AssertionError):
        check(case, *merges)


def test_a_log_that_is_missing_is_seen(case: Case) -> None:
    (case.repository.bare / "logs" / "refs" / "heads" / "main").unlink()
    with pytest.raises(AssertionError, match="keeps no log"):
        check(case)
