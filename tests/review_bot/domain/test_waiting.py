"""Why a pull request waits: every situation is told, and every one can come about."""

from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from review_bot.desk import Trouble
from review_bot.domain import model
from review_bot.domain import waiting as w
from review_bot.domain.queue import order
from tests.review_bot.domain.world import BEGIN, World
from tests.review_bot.situations import SITUATIONS, situations


def told(name: str) -> w.Waiting:
    seen = SITUATIONS[name]()
    return w.why(seen.state, seen.pull, seen.troubles)


def test_every_situation_that_there_is_a_value_for_can_come_about() -> None:
    seen = [w.why(one.state, one.pull, one.troubles) for _name, one in situations()]
    assert {type(waiting) for waiting in seen} == set(get_args(w.Waiting))
    setbacks = {type(waiting.setback) for waiting in seen if isinstance(waiting, w.SetAside)}
    assert setbacks == set(get_args(get_args(model.Setback)[0]))


def test_the_place_in_the_queue_is_that_of_the_queue() -> None:
    world = World()
    world.approve(1, 2, 3, 4)
    world.say(4, "@autogate p=5")
    places = {}
    for number in (2, 3, 4):
        waiting = w.why(world.state, world.state.pulls[number])
        assert isinstance(waiting, w.Queued)
        assert waiting.tested == (1,)
        places[waiting.position] = number
    assert [places[place] for place in (1, 2, 3)] == order(world.state, "main") == [4, 2, 3]


def test_a_place_that_the_caller_knows_is_not_counted_again() -> None:
    seen = SITUATIONS["third_in_the_queue"]()
    assert w.why(seen.state, seen.pull, position=7) == w.Queued(position=7, tested=(1,))


def test_a_setback_is_told_before_a_pause_that_would_keep_it_back_too() -> None:
    seen = SITUATIONS["failed"]()
    pause = model.Pause(by="bob", at=BEGIN)
    paused = seen.state.with_repository(seen.state.repository.model_copy(update={"pause": pause}))
    assert isinstance(w.why(paused, seen.pull), w.SetAside)


def test_a_missing_approval_is_told_before_a_freeze() -> None:
    seen = SITUATIONS["frozen"]()
    assert isinstance(w.why(seen.state, seen.pull), w.Frozen)
    other = seen.state.pulls[2]
    assert w.why(seen.state, other) == w.NotApproved(other.head)


def test_what_passed_says_so_when_it_is_kept_from_landing() -> None:
    paused, frozen = told("passed_but_paused"), told("passed_but_frozen")
    assert isinstance(paused, w.Paused)
    assert isinstance(frozen, w.Frozen)
    assert (paused.passed, frozen.passed, frozen.because_of) == (True, True, None)


def test_an_urgent_one_that_passed_with_one_that_is_not_names_the_other() -> None:
    frozen = told("passed_with_one_that_is_frozen")
    assert isinstance(frozen, w.Frozen)
    assert (frozen.because_of, frozen.priority, frozen.threshold) == (2, 0, 10)


def test_the_builders_that_passed_and_those_that_are_missing() -> None:
    testing = told("being_tested")
    assert isinstance(testing, w.Testing)
    assert (testing.passed, testing.missing) == (("shop-lint",), ("shop-test",))
    assert testing.builds == {"shop-test": "https://ci.example.com/#/builders/2/7"}


@pytest.mark.parametrize("what", ["reply", "show_status", "finalise", "cancel_builds", "ask_buildbot"])
def test_a_failing_effect_that_nothing_waits_for_is_not_the_reason(what: str) -> None:
    seen = SITUATIONS["being_tested"]()
    live = seen.state.attempt_of(1)
    assert live
    trouble = Trouble(what, 1, live.id, "no route to host", BEGIN, BEGIN + timedelta(minutes=1))
    assert isinstance(w.why(seen.state, seen.pull, [trouble]), w.Testing)


def test_trouble_of_another_pull_request_or_attempt_is_not_the_reason() -> None:
    seen = SITUATIONS["being_pushed"]()
    other = Trouble("push_candidate", None, 99, "no route to host", BEGIN, BEGIN)
    of_another = replace(other, what="read_comment", number=2, attempt=None)
    of_its_own = replace(other, attempt=seen.pull.last_attempt)
    of_all = replace(other, what="read_forge", attempt=None)
    plain = w.why(seen.state, seen.pull)
    assert w.why(seen.state, seen.pull, [other, of_another]) == plain
    assert w.why(seen.state, seen.pull, [other, of_its_own]) == w.Troubled(of_its_own)
    assert w.why(seen.state, seen.pull, [of_all]) == w.Troubled(of_all)


def test_one_that_waits_for_another_goes_on_by_itself() -> None:
    world = World()
    world.approve(1)
    world.clashes.add(frozenset({2, 3}))
    world.approve(2, 3)
    world.passes()
    assert w.why(world.state, world.state.pulls[3]) == w.WaitsFor(2)
    world.clashes.clear()
    world.passes()
    assert isinstance(w.why(world.state, world.state.pulls[3]), w.Testing)
