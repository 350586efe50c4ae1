"""Every situation that a pull request can wait in, reached through `decide`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from autogate.contract import Cause, FailedTest, Finding, Result, Severity
from review_bot.desk import Trouble
from review_bot.domain.events import (
    BuildbotAnswered,
    BuilderStatus,
    BuildStarted,
    CandidateMade,
    Comment,
    CommentHinted,
    Conflict,
    FreezeAsked,
    PauseAsked,
    TargetSeen,
    VerdictReached,
)
from review_bot.domain.model import Attempt, PullRequest, Stage, State, Verdict
from tests.review_bot.domain.world import BEGIN, POLICY, World

FINDINGS = tuple(
    Finding(
        path=f"shop/cart_{n}.py", line=n, symbol="unused-import", severity=Severity.WARNING, text="Unused import os"
    )
    for n in range(1, 24)
)
TESTS = tuple(
    FailedTest(
        name=f"tests.test_cart.TestCart.test_total_{n}",
        path="tests/test_cart.py",
        line=10 + n,
        excerpt="    def test_total(self):\n>       assert total([2, 3]) == 5\nE       assert 6 == 5",
    )
    for n in range(1, 13)
)


@dataclass(frozen=True)
class Situation:
    """A moment in a repository's life, seen from one pull request."""

    state: State
    pull: PullRequest
    attempts: tuple[Attempt, ...] = ()
    troubles: tuple[Trouble, ...] = ()


SITUATIONS: dict[str, Callable[[], Situation]] = {}
_Build = Callable[[], Situation]


def _situation(build: _Build) -> _Build:
    SITUATIONS[build.__name__] = build
    return build


def _seen(world: World, number: int = 1, *troubles: Trouble) -> Situation:
    pull = world.state.pulls.get(number) or world.ended[number]
    return Situation(world.state, pull, tuple(world.attempts.values()), troubles)


def _world(batch_max: int = 8) -> World:
    return World(POLICY.model_copy(update={"batch_max": batch_max}))


def _approve_until(world: World, number: int, kind: str) -> None:
    """Approve, and stop before an effect of a kind is carried out."""
    world.push(number)
    comment = Comment(id=f"r{number}", number=number, author="ada", body="@autogate r+", written_at=world.now)
    world.take(CommentHinted(at=world.now, comment=comment))
    while world.effects[0].kind != kind:
        world.step()


@_situation
def not_approved() -> Situation:
    world = _world()
    world.push(1)
    return _seen(world)


@_situation
def not_approved_but_delegated() -> Situation:
    world = _world()
    world.push(1)
    world.say(1, "@autogate delegate=eve delegate+ delegate=mallory")
    return _seen(world)


@_situation
def its_target_is_not_gated() -> Situation:
    world = _world()
    world.targets[1] = "legacy"
    world.push(1)
    return _seen(world)


@_situation
def being_merged() -> Situation:
    world = _world()
    _approve_until(world, 1, "make_candidate")
    return _seen(world)


@_situation
def being_pushed() -> Situation:
    world = _world()
    _approve_until(world, 1, "push_candidate")
    return _seen(world)


@_situation
def being_tested() -> Situation:
    world = _world()
    world.approve(1)
    world.verdict(Result.SUCCESS, "shop-lint", summary="nothing to report", url="https://ci.example.com/#/builders/1/2")
    sha, url = world.auto.sha or "", "https://ci.example.com/#/builders/2/7"
    world.take(BuildStarted(at=world.now, revision=sha, builder="shop-test", url=url))
    return _seen(world)


@_situation
def being_tested_together() -> Situation:
    return _seen(_batch(), 3)


@_situation
def being_tested_while_buildbot_lacks_a_builder() -> Situation:
    world = _world()
    world.approve(1)
    world.time_passes(60)
    unknown = {"shop-test": BuilderStatus(status="unknown_builder")}
    world.take(BuildbotAnswered(at=world.now, attempt=world.auto.id, builders=unknown))
    return _seen(world)


@_situation
def being_tested_while_buildbot_is_silent() -> Situation:
    world = _world()
    world.approve(1)
    return _seen(world, 1, _trouble("ask_buildbot", attempt=world.auto.id, error="connection refused"))


@_situation
def next_in_the_queue() -> Situation:
    world = _world()
    world.approve(1, 2)
    return _seen(world, 2)


@_situation
def third_in_the_queue() -> Situation:
    world = _world()
    world.approve(1, 2, 3, 4)
    return _seen(world, 4)


@_situation
def suspected_and_tested() -> Situation:
    world = _batch()
    world.fails()
    return _seen(world, world.auto.numbers[0])


@_situation
def suspected_and_queued() -> Situation:
    world = _batch()
    _fails(world)
    return _seen(world, next(number for number in (2, 3, 4) if number not in world.auto.numbers))


@_situation
def landing() -> Situation:
    world = _world()
    world.approve(1)
    _passes_until_landing(world)
    return _seen(world)


@_situation
def landed() -> Situation:
    world = _world()
    world.approve(1)
    world.passes()
    return _seen(world)


@_situation
def contained_in_its_target() -> Situation:
    world = _world()
    _approve_until(world, 1, "make_candidate")
    made = CandidateMade(at=world.now, attempt=world.auto.id, base=world.tip, sha=None, contained=(1,))
    world.take(made)
    return _seen(world)


@_situation
def closed() -> Situation:
    world = _world()
    world.push(1)
    del world.topics[1]
    world.see(1)
    return _seen(world)


@_situation
def in_conflict() -> Situation:
    world = _world()
    world.conflicts.add(1)
    world.approve(1)
    return _seen(world)


@_situation
def in_conflict_in_many_files() -> Situation:
    world = _world()
    _approve_until(world, 1, "make_candidate")
    conflict = Conflict(number=1, paths=tuple(f"shop/part_{n}.py" for n in range(25)), with_base=True)
    made = CandidateMade(at=world.now, attempt=world.auto.id, base=world.tip, sha=None, conflicts=(conflict,))
    world.take(made)
    return _seen(world)


@_situation
def in_conflict_with_another() -> Situation:
    world = _world()
    world.approve(1)
    world.clashes.add(frozenset({2, 3}))
    world.approve(2, 3)
    world.passes()
    return _seen(world, 3)


@_situation
def failed() -> Situation:
    world = _world()
    world.approve(1)
    world.verdict(Result.SUCCESS, "shop-lint", summary="nothing to report")
    _fails(world, FINDINGS, TESTS)
    return _seen(world)


@_situation
def failed_after_others_landed() -> Situation:
    return _seen(_red_together(), 3)


@_situation
def failed_only_together_with_what_landed() -> Situation:
    world = _red_together()
    world.passes(world.trial)
    return _seen(world, 3)


@_situation
def failed_with_and_without_what_landed() -> Situation:
    world = _red_together()
    world.fails(world.trial)
    return _seen(world, 3)


@_situation
def failed_after_others_landed_and_nobody_knows_why() -> Situation:
    world = _red_together()
    world.say(3, "@autogate try-")
    return _seen(world, 3)


@_situation
def timed_out() -> Situation:
    world = _world()
    world.approve(1)
    world.verdict(Result.SUCCESS, "shop-lint")
    world.time_passes(POLICY.timeout)
    return _seen(world)


@_situation
def failed_for_no_fault_of_its_own() -> Situation:
    world = _world()
    world.approve(1)
    for _attempt in range(1 + POLICY.infrastructure_retries):
        summary = "the worker was lost"
        world.verdict(Result.EXCEPTION, "shop-test", cause=Cause.INFRASTRUCTURE, summary=summary)
    return _seen(world)


@_situation
def cancelled() -> Situation:
    world = _world()
    world.approve(1)
    world.say(1, "@autogate cancel", by="tim")
    return _seen(world)


@_situation
def not_to_be_fetched() -> Situation:
    world = _world()
    _approve_until(world, 1, "make_candidate")
    world.take(CandidateMade(at=world.now, attempt=world.auto.id, base=world.tip, sha=None, moved=(1,)))
    return _seen(world)


@_situation
def its_target_is_missing() -> Situation:
    world = _world()
    world.take(TargetSeen(at=world.now, target="main", tip=None, read_at=world.now))
    world.approve(1)
    return _seen(world)


@_situation
def paused() -> Situation:
    world = _world()
    world.take(PauseAsked(at=world.now, by="bob", reason="the workers move house"))
    world.approve(1)
    return _seen(world)


@_situation
def passed_but_paused() -> Situation:
    world = _world()
    world.approve(1)
    world.take(PauseAsked(at=world.now, by="bob"))
    world.passes()
    return _seen(world)


@_situation
def frozen() -> Situation:
    world = _world()
    world.push(2)
    world.say(2, "@autogate treeclosed=100 release week")
    world.approve(1)
    return _seen(world)


@_situation
def frozen_for_all() -> Situation:
    world = _world()
    world.take(FreezeAsked(at=world.now, target="main", by="bob", reason="main is broken"))
    world.approve(1)
    return _seen(world)


@_situation
def passed_but_frozen() -> Situation:
    world = _world()
    world.approve(1)
    world.say(1, "@autogate treeclosed=10")
    world.passes()
    return _seen(world)


@_situation
def passed_with_one_that_is_frozen() -> Situation:
    world = _batch()
    world.say(3, "@autogate p=20")
    world.say(4, "@autogate treeclosed=10 release week")
    world.passes()
    return _seen(world, 3)


@_situation
def tried_and_waiting() -> Situation:
    world = _world()
    world.push(1)
    world.push(2)
    world.say(1, "@autogate try")
    world.say(2, "@autogate try")
    return _seen(world, 2)


@_situation
def being_tried() -> Situation:
    world = _world()
    world.push(1)
    world.say(1, "@autogate try", by="tim")
    return _seen(world)


@_situation
def tried_with_success() -> Situation:
    world = _world()
    world.push(1)
    world.say(1, "@autogate try")
    world.passes(world.trial)
    return _seen(world)


@_situation
def tried_without_success() -> Situation:
    world = _world()
    world.push(1)
    world.say(1, "@autogate try")
    world.verdict(Result.FAILURE, "shop-lint", world.trial.sha, findings=FINDINGS[:1], findings_total=1)
    return _seen(world)


@_situation
def tried_and_stopped() -> Situation:
    world = _world()
    world.push(1)
    world.say(1, "@autogate try")
    world.say(1, "@autogate try-")
    return _seen(world)


@_situation
def queued_while_its_status_cannot_be_shown() -> Situation:
    world = _world()
    world.approve(1, 2)
    return _seen(
        world, 2, _trouble("show_status", number=2, error="403 Forbidden: give the token the right to comment")
    )


def _troubled(what: str, *, of_the_attempt: bool) -> Situation:
    world = _world()
    world.approve(1)
    if what == "land":
        _passes_until_landing(world)
    error = "could not read from ssh://shop/acme/shop.git: is the key still allowed to?"
    trouble = _trouble(what, error, attempt=world.auto.id) if of_the_attempt else _trouble(what, error, number=1)
    return _seen(world, 1, trouble)


SITUATIONS |= {
    f"troubled_by_{what}": partial(_troubled, what, of_the_attempt=of_the_attempt)
    for what, of_the_attempt in {
        "make_candidate": True,
        "push_candidate": True,
        "land": True,
        "read_comment": False,
        "read_pull_request": False,
    }.items()
}


def _trouble(what: str, error: str, number: int | None = None, attempt: int | None = None) -> Trouble:
    return Trouble(what, number, attempt, error, since=BEGIN, again_at=BEGIN + timedelta(minutes=5))


def _batch() -> World:
    """Let 1 land, while 2, 3 and 4 are approved and then tested together."""
    world = _world()
    world.approve(1, 2, 3, 4)
    world.passes()
    assert world.auto.numbers == (2, 3, 4)
    return world


def _red_together() -> World:
    """Let 2 and 3 be green alone and red together, so that 2 lands, and 3 is tested without it to tell why."""
    world = _world()
    world.approve(1, 2, 3)
    world.passes()
    world.fails()
    world.passes()
    while world.state.live(world.auto.kind, "main") and world.auto.numbers != (3,):
        world.passes()
    _fails(world)
    return world


def _fails(
    world: World, findings: tuple[Finding, ...] = FINDINGS[:1], failed_tests: tuple[FailedTest, ...] = TESTS[:1]
) -> None:
    world.verdict(
        Result.FAILURE,
        "shop-test",
        cause=Cause.CHANGE,
        summary=f"{len(failed_tests)} of 340 tests failed",
        url="https://ci.example.com/#/builders/2/7",
        findings=findings,
        findings_total=len(findings),
        failed_tests=failed_tests,
        failed_tests_total=len(failed_tests),
    )


def _passes_until_landing(world: World) -> None:
    for builder in POLICY.required_builders:
        verdict = Verdict(builder=builder, result=Result.SUCCESS, at=world.now)
        world.take(VerdictReached(at=world.now, revision=world.auto.sha or "", verdict=verdict))
    assert world.auto.stage is Stage.LANDING


def situations() -> Iterator[tuple[str, Situation]]:
    """Yield every situation with its name."""
    for name, build in SITUATIONS.items():
        yield name.replace("_", " "), build()
