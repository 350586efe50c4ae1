"""The one function through which everything goes."""

from dataclasses import dataclass

from . import attempts, obey, pulls
from .draft import Draft
from .effects import AskBuildbot, Effect, Land, MakeCandidate, PushCandidate
from .events import (
    BuildbotAnswered,
    BuildStarted,
    CandidateLost,
    CandidateMade,
    CandidatePushed,
    CommentHinted,
    CommentRead,
    Configured,
    Event,
    FreezeAsked,
    Landed,
    LandingContradicted,
    LandingRefused,
    PauseAsked,
    PullRequestGone,
    PullRequestSeen,
    TargetSeen,
    TimePassed,
    VerdictReached,
)
from .model import Stage, State
from .queue import is_admitted


@dataclass(frozen=True)
class Decision:
    """What comes of an event.

    Attributes:
        state: The new state, in which what has just ended still stands, for the database.
        settled: The new state without that, for the next decision.
        effects: What is to be done, in this order.
    """

    state: State
    settled: State
    effects: tuple[Effect, ...]


def decide(state: State, event: Event, trace: str = "") -> Decision:
    """Return what an event changes and what is to be done about it.

    Args:
        state: What is known.
        event: What happened; its ``at`` is the only clock.
        trace: Joins what comes of it in logs.
    """
    draft = Draft(state, event.at, trace)
    _take(draft, event)
    attempts.advance(draft)
    draft.show()
    settled = draft.state.settled() if draft.has_ended else draft.state
    return Decision(draft.state, settled, tuple(draft.effects))


def is_wanted(state: State, effect: Effect) -> bool:
    """Tell whether an effect is still to be carried out; a landing always is, since it may have happened already."""
    stages = {
        MakeCandidate: {Stage.MERGING},
        PushCandidate: {Stage.PUSHING, Stage.TESTING},
        AskBuildbot: {Stage.TESTING},
        Land: {Stage.LANDING},
    }
    if not isinstance(effect, MakeCandidate | PushCandidate | AskBuildbot | Land):
        return True
    attempt = state.attempts.get(effect.attempt)
    return attempt is not None and attempt.stage in stages[type(effect)]


def is_permitted(state: State, land: Land) -> bool:
    """Tell whether an attempt may still be pushed to its target: asked in the last moment before it is."""
    if state.repository.pause is not None or land.target not in state.repository.policy.targets:
        return False
    for member in land.members:
        pull = state.pulls.get(member.number)
        if pull is None or pull.approval is None or not pull.head == pull.approval.head == member.head:
            return False
        if pull.target != land.target or not is_admitted(state, pull):
            return False
    return True


def _take(draft: Draft, event: Event) -> None:  # noqa: PLR0912  (one arm an event)
    match event:
        case Configured():
            pulls.configured(draft, event)
        case PullRequestSeen():
            pulls.seen(draft, event.snapshot)
        case PullRequestGone():
            pulls.gone(draft, event)
        case TargetSeen():
            pulls.target_seen(draft, event)
        case CommentHinted():
            obey.hinted(draft, event)
        case CommentRead():
            obey.read(draft, event)
        case FreezeAsked():
            obey.freeze_asked(draft, event)
        case PauseAsked():
            obey.pause_asked(draft, event)
        case CandidateMade():
            attempts.made(draft, event)
        case CandidatePushed():
            attempts.pushed(draft, event)
        case CandidateLost():
            attempts.lost(draft, event)
        case BuildStarted():
            attempts.build_started(draft, event)
        case VerdictReached():
            attempts.verdict_reached(draft, event)
        case BuildbotAnswered():
            attempts.buildbot_answered(draft, event)
        case Landed():
            attempts.landed(draft, event)
        case LandingRefused():
            pulls.landing_refused(draft, event)
        case LandingContradicted():
            attempts.contradicted(draft, event)
        case TimePassed():
            attempts.time_passed(draft)
