"""Why a pull request is not landed: one value for each situation that it can be in, for `review_bot.wording`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from review_bot.desk import Trouble

from .model import Attempt, AttemptKind, PullRequest, Setback, Stage, Standing, State
from .queue import is_admitted, order

_READINGS = frozenset({"read_comment", "read_pull_request"})
_ATTEMPT_WORK = frozenset({"make_candidate", "push_candidate", "land"})
_ASKING = "ask_buildbot"


@dataclass(frozen=True)
class Landed:
    """It has landed. ``sha`` is the merge commit; None when its commits were in the target already."""

    target: str
    sha: str | None


@dataclass(frozen=True)
class Closed:
    """It was closed or withdrawn without landing."""


@dataclass(frozen=True)
class Troubled:
    """Something that it needs keeps failing."""

    trouble: Trouble


@dataclass(frozen=True)
class UnknownTarget:
    """Its target is not gated; ``targets`` are."""

    target: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class NotApproved:
    """Nobody has approved its present head. ``delegates`` may, besides reviewers."""

    head: str
    delegates: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetAside:
    """It is approved and was set aside.

    Attributes:
        setback: Why.
        target: What it is to land on.
        is_being_explained: Whether it is tested, or will be, without those that landed before it.
    """

    setback: Setback
    target: str
    is_being_explained: bool = False


@dataclass(frozen=True)
class Unread:
    """Its head could not be fetched, so it is read again."""


@dataclass(frozen=True)
class WaitsFor:
    """It conflicts with another pull request that is being tested."""

    number: int


@dataclass(frozen=True)
class TargetMissing:
    """Its target's branch does not exist."""

    target: str


@dataclass(frozen=True)
class Paused:
    """Nothing starts and nothing lands in the whole repository. ``passed`` tells whether it has passed already."""

    by: str
    at: datetime
    reason: str
    passed: bool = False


@dataclass(frozen=True)
class Frozen:
    """Only more urgent pull requests land on its target.

    Attributes:
        target: The target.
        threshold: The priority that lands all the same; None when none does.
        priority: Its own.
        by: Who froze the target.
        at: When.
        reason: Why.
        passed: Whether it has passed already.
        because_of: The member of its attempt that is not urgent enough; None when it is itself.
    """

    target: str
    threshold: int | None
    priority: int
    by: str
    at: datetime
    reason: str
    passed: bool = False
    because_of: int | None = None


@dataclass(frozen=True)
class Queued:
    """It waits for its turn.

    Attributes:
        position: Its place in the target's queue, from 1.
        tested: What is being tested on the target before it.
        suspects: The members of the failed batch, itself among them, of which one at least is to blame.
    """

    position: int
    tested: tuple[int, ...] = ()
    suspects: tuple[int, ...] = ()


@dataclass(frozen=True)
class Merging:
    """Its merge is being made. ``others`` are in the same attempt."""

    attempt: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Pushing:
    """Its merge is being pushed to where Buildbot sees it. ``others`` are in the same attempt."""

    attempt: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Testing:
    """Its merge is being tested.

    Attributes:
        attempt: The attempt.
        others: What is tested together with it.
        passed: The builders that passed.
        missing: The builders without a verdict.
        builds: Builder -> the address of its newest build.
        complaint: What Buildbot lacks.
        suspects: The members of the failed batch, itself among them, of which one at least is to blame.
        trouble: Set when Buildbot cannot be asked what became of it.
    """

    attempt: int
    others: tuple[int, ...]
    passed: tuple[str, ...]
    missing: tuple[str, ...]
    builds: Mapping[str, str]
    complaint: str = ""
    suspects: tuple[int, ...] = ()
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Landing:
    """It passed, and its target is being moved."""

    target: str
    sha: str


Waiting = (
    Landed
    | Closed
    | Troubled
    | UnknownTarget
    | NotApproved
    | SetAside
    | Unread
    | WaitsFor
    | TargetMissing
    | Paused
    | Frozen
    | Queued
    | Merging
    | Pushing
    | Testing
    | Landing
)


def why(state: State, pull: PullRequest, troubles: Sequence[Trouble] = (), *, position: int | None = None) -> Waiting:
    """Tell why a pull request is not landed.

    Args:
        state: What is known of its repository.
        pull: The pull request; one that has ended need not be in ``state``.
        troubles: What keeps failing in the repository.
        position: Its place in its target's `queue.order`, from 1, where the caller has that at hand.
    """
    if pull.standing is Standing.LANDED:
        return Landed(pull.target, pull.landed_as)
    if pull.standing is Standing.CLOSED:
        return Closed()
    live = state.attempt_of(pull.number)
    if trouble := _trouble(pull, live, troubles):
        return Troubled(trouble)
    if live:
        return _under_way(state, pull, live, troubles)
    return _kept_back(state, pull) or _halted(state, pull) or _queued(state, pull, position)


def _trouble(pull: PullRequest, live: Attempt | None, troubles: Sequence[Trouble]) -> Trouble | None:
    for trouble in troubles:
        of_the_repository = trouble.number is None and trouble.attempt is None
        of_its_attempt = live is not None and trouble.attempt == live.id and trouble.what in _ATTEMPT_WORK
        of_its_reading = trouble.number == pull.number and trouble.what in _READINGS
        if of_the_repository or of_its_attempt or of_its_reading:
            return trouble
    return None


def _under_way(state: State, pull: PullRequest, attempt: Attempt, troubles: Sequence[Trouble]) -> Waiting:
    others = tuple(number for number in attempt.numbers if number != pull.number)
    match attempt.stage:
        case Stage.MERGING:
            return Merging(attempt.id, others)
        case Stage.PUSHING:
            return Pushing(attempt.id, others)
        case Stage.TESTING:
            return Testing(
                attempt=attempt.id,
                others=others,
                passed=tuple(builder for builder in attempt.required if builder in attempt.verdicts),
                missing=attempt.missing,
                builds=attempt.builds,
                complaint=attempt.complaint,
                suspects=_suspects(state, pull),
                trouble=next((one for one in troubles if (one.what, one.attempt) == (_ASKING, attempt.id)), None),
            )
        case Stage.PASSED:
            return _passed(state, pull, attempt, others)
        case _:
            return Landing(attempt.target, attempt.sha or "")


def _passed(state: State, pull: PullRequest, attempt: Attempt, others: Sequence[int]) -> Waiting:
    if halted := _halted(state, pull):
        return replace(halted, passed=True)
    members = (state.pulls[number] for number in others if number in state.pulls)
    for member in members:
        if isinstance(halted := _halted(state, member), Frozen):
            return replace(halted, passed=True, because_of=member.number)
    return Landing(attempt.target, attempt.sha or "")


def _kept_back(state: State, pull: PullRequest) -> Waiting | None:
    """Return what of its own keeps it out of the queue."""
    targets = state.repository.policy.targets
    if pull.target not in targets:
        return UnknownTarget(pull.target, targets)
    if pull.approval is None:
        return NotApproved(pull.head, tuple(sorted(pull.delegates)))
    if pull.setback is not None:
        return SetAside(pull.setback, pull.target, _is_being_explained(state, pull))
    if pull.stale:
        return Unread()
    if pull.waits_for is not None:
        return WaitsFor(pull.waits_for)
    return None


def _is_being_explained(state: State, pull: PullRequest) -> bool:
    running = state.attempt_of(pull.number, AttemptKind.TRY)
    asked = [request.diagnosis_of for request in state.repository.tries if request.member.number == pull.number]
    failed = getattr(pull.setback, "attempt", None)
    return failed is not None and failed in [*asked, running.diagnosis_of if running else None]


def _halted(state: State, pull: PullRequest) -> Paused | Frozen | None:
    pause, freeze = state.repository.pause, state.target(pull.target).freeze
    if pause:
        return Paused(by=pause.by, at=pause.at, reason=pause.reason)
    if freeze is None or is_admitted(state, pull):
        return None
    return Frozen(
        target=pull.target,
        threshold=freeze.priority,
        priority=pull.priority,
        by=freeze.by,
        at=freeze.at,
        reason=freeze.reason,
    )


def _queued(state: State, pull: PullRequest, position: int | None) -> Queued | TargetMissing:
    live, target = state.live(AttemptKind.AUTO, pull.target), state.target(pull.target)
    if target.tip is None and target.read_at is not None:
        return TargetMissing(pull.target)
    return Queued(
        position=position or order(state, pull.target).index(pull.number) + 1,
        tested=live.numbers if live else (),
        suspects=_suspects(state, pull),
    )


def _suspects(state: State, pull: PullRequest) -> tuple[int, ...]:
    search = state.target(pull.target).hunt
    return search.numbers if search and pull.number in search.numbers else ()
