"""From events to effects: what lands, what does not, and why."""

import itertools
from collections.abc import Sequence
from datetime import timedelta

import pytest

from autogate.contract import Cause, Result
from review_bot.domain.answers import Done, Refused
from review_bot.domain.events import (
    BuildbotAnswered,
    BuilderStatus,
    BuildStarted,
    CandidateLost,
    Comment,
    CommentHinted,
    Configured,
    FreezeAsked,
    LandingContradicted,
    PauseAsked,
    PullRequestSeen,
    VerdictReached,
)
from review_bot.domain.model import (
    Attempt,
    AttemptKind,
    Conflicted,
    FailedAlone,
    InfrastructureFailed,
    Stage,
    Standing,
    Stopped,
    TimedOut,
    Verdict,
)

from .world import BUILDERS, POLICY, World


def landed(world: World) -> list[int]:
    return [number for number, pull in world.ended.items() if pull.standing is Standing.LANDED]


def test_an_approved_pull_request_lands_when_all_required_builders_passed() -> None:
    world = World()
    world.approve(1)
    assert world.auto.stage is Stage.TESTING
    world.verdict(Result.SUCCESS, "shop-lint")
    assert world.auto.stage is Stage.TESTING
    world.verdict(Result.WARNINGS, "shop-test")
    assert landed(world) == [1]
    assert world.ended[1].landed_as == world.tip
    assert [effect.number for effect in world.finalised] == [1]


def test_without_an_approval_nothing_is_merged() -> None:
    world = World()
    world.push(1)
    world.say(1, "@autogate r+", by="eve")
    world.say(1, "@autogate r+", by="tim")
    assert world.state.attempts == {}
    assert world.candidates == []


SAID: list[tuple[Result, Cause | None]] = list(itertools.product(Result, [None, *Cause]))
"""Every result with every cause that a master may give, whether they fit together or not."""


def judged(said: Sequence[tuple[Result, Cause | None]], order: Sequence[int]) -> tuple[World, Attempt]:
    """Return what comes of verdicts that arrive in an order, and the attempt that they were about."""
    builders = tuple(f"shop-{number}" for number in range(len(said)))
    world = World(POLICY.model_copy(update={"required_builders": builders}))
    world.approve(1)
    attempt = world.auto
    assert attempt.sha
    for place in order:
        result, cause = said[place]
        world.tested.setdefault(attempt.sha, {})[builders[place]] = result
        verdict = Verdict(builder=builders[place], result=result, cause=cause, at=world.now)
        world.take(VerdictReached(at=world.now, revision=attempt.sha, verdict=verdict))
    return world, world.attempts[attempt.id]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_only_passes_of_every_builder_land_whatever_the_results_and_their_order(count: int) -> None:
    # a third builder brings nothing new of causes, and two million cases
    every = SAID if count < 3 else [(result, None) for result in Result]
    for said in itertools.product(every, repeat=count):
        for order in itertools.permutations(range(count)):
            world, attempt = judged(said, order)
            lands = [effect.attempt for effect in world.effects if effect.kind == "land"]
            passed = all(result in {Result.SUCCESS, Result.WARNINGS} for result, _cause in said)
            assert lands == ([attempt.id] if passed else []), (said, order)
            assert attempt.stage is ended_as([said[place] for place in order]), (said, order)


def ended_as(said: Sequence[tuple[Result, Cause | None]]) -> Stage:
    """Return what becomes of an attempt, told by its verdicts in the order in which they arrive."""
    for result, _cause in said:
        if result not in {Result.SUCCESS, Result.WARNINGS, Result.RETRY}:
            return Stage.FAILED
    return Stage.TESTING if Result.RETRY in {result for result, _cause in said} else Stage.LANDING


@pytest.mark.parametrize(("result", "cause"), SAID)
def test_only_a_failure_that_nothing_else_explains_is_blamed_on_the_change(result: Result, cause: Cause | None) -> None:
    world, attempt = judged([(result, cause)], [0])
    again = world.state.live(AttemptKind.AUTO, "main")
    if result in {Result.SUCCESS, Result.WARNINGS, Result.RETRY}:
        assert attempt.is_live
    elif result is Result.FAILURE and cause in {None, Cause.CHANGE}:
        assert isinstance(world.state.pulls[1].setback, FailedAlone)
        assert again is None
    else:
        assert world.state.pulls[1].setback is None
        assert attempt.outcome
        assert attempt.outcome.reason == "infrastructure"
        assert again
        assert (again.numbers, again.tries) == ((1,), 1)


def test_all_skipped_is_not_green_and_nobodys_fault() -> None:
    world = World()
    world.approve(1)
    for _ in range(POLICY.infrastructure_retries + 1):
        world.verdict(Result.SKIPPED, "shop-lint")
    assert isinstance(world.state.pulls[1].setback, InfrastructureFailed)
    assert world.landings == []


# The head


def test_a_push_after_the_approval_voids_it_and_discards_the_attempt() -> None:
    world = World()
    world.approve(1)
    world.push(1)
    assert world.state.pulls[1].approval is None
    assert world.state.attempts == {}
    world.run()
    assert len(world.cancelled) == 1


def test_a_push_that_nobody_noticed_is_found_before_landing() -> None:
    world = World()
    world.approve(1)
    attempt = world.auto
    world.push(1, seen=False)
    world.passes(attempt)
    assert world.landings == []
    assert world.state.pulls[1].head == world.topics[1]
    assert world.state.pulls[1].approval is None


def test_r_plus_with_another_sha_or_a_short_one_or_older_than_the_push_is_refused() -> None:
    world = World()
    old = world.push(1)
    new = world.push(1)
    assert world.say(1, f"@autogate r+ {old}") == [Refused(command="r+", reason="wrong_sha", detail=new)]
    assert world.say(1, f"@autogate r+ {new[:12]}") == [Refused(command="r+", reason="short_sha", detail=new)]
    early = world.now - timedelta(seconds=100)
    assert world.say(1, "@autogate r+", at=early) == [Refused(command="r+", reason="head_moved", detail=new)]
    assert world.state.pulls[1].approval is None
    assert world.say(1, f"@autogate r+ {new}", at=early) == [Done(command="r+", detail=new)]


def test_r_plus_for_a_head_that_the_bot_has_not_seen_yet_is_refused() -> None:
    world = World()
    world.push(1)
    written_at = world.now
    unseen = world.push(1, seen=False)
    assert world.say(1, "@autogate r+", at=written_at) == [Refused(command="r+", reason="head_moved", detail=unseen)]


# The base


def test_a_push_to_the_target_in_mid_build_discards_the_attempt_and_builds_anew() -> None:
    world = World()
    world.approve(1)
    first = world.auto
    tip = world.human_pushes()
    world.target_seen()
    assert world.auto.id != first.id
    assert world.auto.base == tip
    world.passes(first)
    assert world.landings == []
    world.passes()
    assert landed(world) == [1]


def test_a_push_to_the_target_that_nobody_noticed_is_found_at_the_landing() -> None:
    world = World()
    world.approve(1)
    tip = world.human_pushes()
    world.passes()
    assert world.landings == []
    assert world.auto.base == tip


def test_a_target_that_contradicts_an_accepted_push_is_frozen() -> None:
    world = World()
    world.approve(1)
    attempt = world.auto
    for builder in BUILDERS:
        verdict = Verdict(builder=builder, result=Result.SUCCESS, at=world.now)
        world.take(VerdictReached(at=world.now, revision=attempt.sha or "", verdict=verdict))
    world.effects.clear()
    world.take(LandingContradicted(at=world.now, attempt=attempt.id, tip="f" * 40))
    freeze = world.state.target("main").freeze
    assert freeze
    assert freeze.by == "autogate"
    assert world.state.attempts == {}


# Batches


def test_approved_pull_requests_share_an_attempt_up_to_the_most() -> None:
    world = World(POLICY.model_copy(update={"batch_max": 3}))
    world.approve(1, 2, 3, 4, 5)
    world.passes()
    assert [*world.auto.numbers] == [2, 3, 4]
    world.passes()
    assert [*world.auto.numbers] == [5]
    world.passes()
    assert landed(world) == [1, 2, 3, 4, 5]


def test_with_batches_of_one_each_is_tested_alone() -> None:
    world = World(POLICY.model_copy(update={"batch_max": 1}))
    world.approve(1, 2, 3)
    world.builds(lambda _numbers: False)
    assert len(world.candidates) == 3
    assert landed(world) == [1, 2, 3]


def test_a_conflict_sets_only_that_pull_request_aside() -> None:
    world = World()
    world.approve(1)
    world.conflicts.add(3)
    world.approve(2, 3, 4)
    world.passes()
    assert [*world.auto.numbers] == [2, 4]
    setback = world.state.pulls[3].setback
    assert isinstance(setback, Conflicted)
    assert setback.paths == ("file-3.py",)
    world.passes()
    assert landed(world) == [1, 2, 4]


def test_a_conflict_with_another_member_waits_for_what_becomes_of_that_one() -> None:
    world = World()
    world.approve(1)
    world.clashes.add(frozenset({2, 3}))
    world.approve(2, 3)
    world.passes()
    assert [*world.auto.numbers] == [2]
    assert world.state.pulls[3].waits_for == 2
    world.fails()
    assert [*world.auto.numbers] == [3]


def test_a_failed_batch_is_searched_and_only_the_culprits_are_ejected() -> None:
    world = World()
    world.approve(1)
    world.approve(*range(2, 9))
    bad = {4, 7}
    world.builds(lambda numbers: bool(numbers & bad))
    assert sorted(landed(world)) == [1, 2, 3, 5, 6, 8]
    for number in bad:
        setback = world.state.pulls[number].setback
        assert isinstance(setback, FailedAlone)
        assert world.attempts[setback.attempt].numbers == (number,)


def test_pull_requests_that_fail_only_together_are_told_so() -> None:
    world = World()
    world.approve(1)
    world.approve(2, 3)
    world.builds(lambda numbers: {2, 3} <= numbers)
    assert landed(world) == [1, 2]
    setback = world.state.pulls[3].setback
    assert isinstance(setback, FailedAlone)
    assert setback.landed_before == (2,)
    assert setback.passes_without_them is True


def test_a_culprit_is_told_that_it_fails_without_the_others_too() -> None:
    world = World()
    world.approve(1)
    world.approve(2, 3)
    world.builds(lambda numbers: 3 in numbers)
    setback = world.state.pulls[3].setback
    assert isinstance(setback, FailedAlone)
    assert setback.passes_without_them is False


def test_a_verdict_that_names_a_file_points_at_who_changed_it() -> None:
    world = World()
    world.approve(1)
    world.approve(2, 3, 4, 5)
    world.passes()
    world.fails(path="file-4.py")
    assert [*world.auto.numbers] == [2, 3, 5]
    world.passes()
    assert [*world.auto.numbers] == [4]
    world.fails(excerpt='File "file-4.py", line 1')
    assert isinstance(world.state.pulls[4].setback, FailedAlone)


def test_a_search_is_given_up_when_a_suspect_changes() -> None:
    world = World()
    world.approve(1)
    world.approve(2, 3, 4, 5)
    world.passes()
    world.fails()
    assert [*world.auto.numbers] == [2, 3]
    world.passes()
    world.push(5)
    assert world.state.target("main").hunt is not None
    world.run()
    world.passes()
    assert landed(world) == [1, 2, 3, 4]
    assert world.state.target("main").hunt is None


def test_rollup_never_is_tested_alone() -> None:
    world = World()
    world.approve(1)
    world.push(2)
    world.say(2, "@autogate r+ rollup=never")
    world.approve(3, 4)
    world.passes()
    assert [*world.auto.numbers] == [2]
    world.passes()
    assert [*world.auto.numbers] == [3, 4]


def test_priority_goes_first() -> None:
    world = World(POLICY.model_copy(update={"batch_max": 1}))
    world.approve(1, 2, 3)
    world.say(3, "@autogate p=5", by="tim")
    world.passes()
    assert [*world.auto.numbers] == [3]


# Tries


def test_a_try_attempt_never_lands_whatever_comes() -> None:
    world = World()
    world.push(1)
    world.say(1, "@autogate try", by="tim")
    trial = world.trial
    assert trial.kind is AttemptKind.TRY
    world.say(1, "@autogate r+")
    auto = world.auto
    assert auto.sha != trial.sha
    world.passes(trial)
    assert world.landings == []
    assert world.attempts[trial.id].stage is Stage.GREEN
    world.passes(auto)
    assert landed(world) == [1]


def test_try_minus_ends_the_try_and_the_approval_stays() -> None:
    world = World()
    world.approve(1)
    world.say(1, "@autogate try")
    assert world.say(1, "@autogate try-") == [Done(command="try-")]
    assert world.state.live(AttemptKind.TRY) is None
    world.passes()
    assert landed(world) == [1]


def test_tries_wait_for_each_other() -> None:
    world = World()
    world.push(1)
    world.push(2)
    world.say(1, "@autogate try")
    world.say(2, "@autogate try")
    assert [*world.trial.numbers] == [1]
    world.fails(world.trial)
    assert [*world.trial.numbers] == [2]


# People


def test_r_minus_in_mid_build_discards_the_attempt_and_spares_its_mates() -> None:
    world = World()
    world.approve(1)
    world.approve(2, 3)
    world.passes()
    attempt = world.auto
    world.say(2, "@autogate r-")
    assert [*world.auto.numbers] == [3]
    world.passes(attempt)
    assert landed(world) == [1]


def test_the_author_may_take_the_approval_back_and_a_stranger_may_not() -> None:
    world = World()
    world.approve(1)
    assert world.say(1, "@autogate r-", by="mallory") == [
        Refused(command="r-", reason="not_permitted", detail="mallory")
    ]
    assert world.say(1, "@autogate r-", by="eve") == [Done(command="r-")]


def test_a_delegate_may_approve_until_the_delegation_is_withdrawn() -> None:
    world = World()
    world.push(1)
    world.say(1, "@autogate delegate+")
    world.say(1, "@autogate r+", by="eve")
    attempt = world.auto
    world.say(1, "@autogate delegate-")
    assert world.state.attempts == {}
    world.passes(attempt)
    assert world.landings == []
    assert world.state.pulls[1].approval is None


def test_one_answer_for_a_comment_full_of_what_its_author_may_not_do() -> None:
    world = World()
    world.push(1)
    answers = world.say(1, "@autogate r+ p=5 try retry", by="mallory")
    assert answers == [Refused(command="r+", reason="not_permitted", detail="mallory")]


def test_the_bot_never_obeys_itself_nor_edited_comments() -> None:
    world = World()
    world.push(1)
    assert world.say(1, "@autogate r+", by="Autogate") == []
    comment = Comment(id="9", number=1, author="ada", body="@autogate r+", written_at=world.now, is_new=False)
    world.take(CommentHinted(at=world.now, comment=comment))
    world.run()
    assert world.state.pulls[1].approval is None


def test_cancel_sets_aside_until_retry() -> None:
    world = World()
    world.approve(1)
    world.say(1, "@autogate cancel", by="tim")
    assert world.state.pulls[1].setback == Stopped(by="tim")
    assert world.state.attempts == {}
    world.say(1, "@autogate retry")
    world.passes()
    assert landed(world) == [1]


def test_a_deleted_topic_closes_and_the_same_topic_again_is_a_new_beginning() -> None:
    world = World()
    world.approve(1)
    attempt = world.auto
    del world.topics[1]
    world.later(1)
    world.see(1)
    assert world.ended[1].standing is Standing.CLOSED
    world.passes(attempt)
    assert world.landings == []
    world.push(1)
    assert world.state.pulls[1].approval is None


def test_a_retargeted_pull_request_needs_another_approval() -> None:
    world = World(POLICY.model_copy(update={"targets": ("main", "stable")}))
    world.approve(1)
    world.targets[1] = "stable"
    world.later(1)
    world.see(1)
    assert world.state.pulls[1].approval is None
    assert world.state.attempts == {}


def test_what_was_read_before_a_landing_does_not_open_it_again() -> None:
    world = World()
    world.approve(1)
    before = world.snapshot(1)
    world.passes()
    assert before
    world.take(PullRequestSeen(at=world.now, snapshot=before))
    assert world.state.pulls == {}


# Freeze and pause


def test_a_freeze_lets_only_the_urgent_through_and_a_finished_build_waits() -> None:
    world = World()
    world.approve(1)
    world.take(FreezeAsked(at=world.now, target="main", by="ada", priority=10, reason="release"))
    world.passes()
    assert world.landings == []
    assert world.auto.stage is Stage.PASSED
    world.say(1, "@autogate p=10")
    assert landed(world) == [1]
    world.approve(2)
    assert world.state.attempts == {}
    world.take(FreezeAsked(at=world.now, target="main", by="eve", thaw=True))
    assert world.state.target("main").freeze
    world.take(FreezeAsked(at=world.now, target="main", by="bob", thaw=True))
    world.run()
    assert [*world.auto.numbers] == [2]


def test_a_pause_keeps_all_from_starting_and_landing_until_resumed() -> None:
    world = World()
    world.approve(1)
    world.take(PauseAsked(at=world.now, by="ada", reason="the disk is full"))
    world.passes()
    world.approve(2)
    assert world.landings == []
    assert len(world.state.attempts) == 1
    world.take(PauseAsked(at=world.now, by="ada", resume=True))
    world.run()
    assert landed(world) == [1]
    assert [*world.auto.numbers] == [2]


# What Buildbot says, or does not


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        (Result.EXCEPTION, Cause.INFRASTRUCTURE),
        (Result.FAILURE, Cause.INFRASTRUCTURE),
        (Result.CANCELLED, Cause.SUPERSEDED),
        (Result.SKIPPED, None),
    ],
)
def test_what_is_nobodys_fault_is_tried_again_and_never_blamed(result: Result, cause: Cause | None) -> None:
    world = World()
    world.approve(1)
    for tries in range(POLICY.infrastructure_retries + 1):
        assert world.auto.tries == tries
        world.verdict(result, cause=cause)
    assert isinstance(world.state.pulls[1].setback, InfrastructureFailed)
    world.say(1, "@autogate retry")
    assert world.auto.tries == 0
    world.passes()
    assert landed(world) == [1]


def test_verdicts_that_nobody_waits_for_change_nothing() -> None:
    world = World()
    world.approve(1)
    state, sha = world.state, world.auto.sha
    world.verdict(Result.SUCCESS, "shop-test", "e" * 40)
    world.verdict(Result.FAILURE, "shop-deploy", sha)
    world.verdict(Result.RETRY, "shop-test", sha)
    assert world.state == state


def test_a_late_pass_after_a_failure_does_not_land() -> None:
    world = World()
    world.approve(1)
    attempt = world.auto
    world.fails()
    world.passes(attempt)
    world.passes(attempt)
    assert world.landings == []
    assert isinstance(world.state.pulls[1].setback, FailedAlone)


def test_an_attempt_without_verdicts_times_out() -> None:
    world = World()
    world.approve(1)
    world.verdict(Result.SUCCESS, "shop-lint")
    deadline = world.state.next_deadline()
    assert deadline == world.now + timedelta(seconds=10)
    world.time_passes(POLICY.timeout)
    assert world.state.pulls[1].setback == TimedOut(attempt=1, missing=("shop-test",))


def test_a_lost_verdict_is_found_by_asking_buildbot() -> None:
    world = World()
    world.approve(1)
    world.verdict(Result.SUCCESS, "shop-lint")
    world.time_passes(POLICY.ask_interval)
    [ask] = world.asked
    assert ask.builders == ("shop-test",)
    verdict = Verdict(builder="shop-test", result=Result.SUCCESS, at=world.now)
    world.tested[ask.sha]["shop-test"] = Result.SUCCESS
    status = BuilderStatus(status="finished", verdict=verdict)
    world.take(BuildbotAnswered(at=world.now, attempt=ask.attempt, builders={"shop-test": status}))
    world.run()
    assert landed(world) == [1]


def test_a_build_that_vanished_is_pushed_again_and_then_made_again() -> None:
    world = World()
    world.approve(1)
    first = world.auto
    none = {builder: BuilderStatus(status="no_request") for builder in BUILDERS}
    world.take(BuildStarted(at=world.now, revision=first.sha or "", builder="shop-test", url="https://ci/1"))
    for _ in range(2):
        world.take(BuildbotAnswered(at=world.now, attempt=first.id, builders=none))
        world.run()
        assert world.auto.id == first.id
    assert len(world.candidates) == 3
    world.take(BuildbotAnswered(at=world.now, attempt=first.id, builders=none))
    world.run()
    assert world.auto.tries == 1


def test_a_commit_that_buildbot_has_not_seen_yet_is_waited_for_as_long_as_it_may_take_to_look() -> None:
    world = World(POLICY.model_copy(update={"poll_interval": 600}))
    world.approve(1)
    first = world.auto
    none = {builder: BuilderStatus(status="no_request") for builder in BUILDERS}
    for _ in range(9):
        world.take(BuildbotAnswered(at=world.now, attempt=first.id, builders=none))
        world.run()
        world.later(60)
        assert world.auto.id == first.id
    world.later(60)
    world.take(BuildbotAnswered(at=world.now, attempt=first.id, builders=none))
    world.run()
    assert world.auto.tries == 1


def test_a_builder_that_buildbot_does_not_have_is_said_at_once() -> None:
    world = World()
    world.approve(1)
    unknown = {"shop-lint": BuilderStatus(status="unknown_builder")}
    world.take(BuildbotAnswered(at=world.now, attempt=1, builders=unknown))
    assert world.auto.complaint == "Buildbot has no builder shop-lint"


def test_a_builder_that_is_renamed_in_mid_build_begins_the_attempt_anew() -> None:
    world = World()
    world.approve(1)
    world.push(2)
    world.say(2, "@autogate try")
    first, trial = world.auto, world.trial
    renamed = POLICY.model_copy(update={"required_builders": ("shop-lint", "shop-unit")})
    world.take(Configured(at=world.now, policy=renamed))
    world.run()
    outcome = world.attempts[first.id].outcome
    assert outcome
    assert outcome.reason == "builders_changed"
    assert outcome.detail == "shop-test is no longer required; shop-unit is new"
    assert world.auto.required == ("shop-lint", "shop-unit")
    assert world.trial.id != trial.id


def test_a_candidate_that_was_lost_is_made_again() -> None:
    world = World()
    world.approve(1)
    first = world.auto
    world.take(CandidateLost(at=world.now, attempt=first.id, detail="the mirror is gone"))
    world.run()
    assert world.auto.id != first.id
    world.passes()
    assert landed(world) == [1]
