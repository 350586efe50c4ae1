"""What an event or an effect is about, for timelines."""

from collections.abc import Iterable
from typing import NamedTuple

from review_bot.domain import effects, events
from review_bot.domain.effects import Effect
from review_bot.domain.events import Event
from review_bot.domain.model import Attempt, PullRequest


class Subject(NamedTuple):
    """The number of a pull request, the id of an attempt, or neither."""

    number: int | None = None
    attempt: int | None = None


def subject(event: Event) -> Subject:
    """Return what an event says that it is about."""
    match event:
        case events.PullRequestSeen(snapshot=snapshot):
            return Subject(number=snapshot.number)
        case events.PullRequestGone(number=number):
            return Subject(number=number)
        case events.CommentHinted(comment=comment) | events.CommentRead(comment=comment):
            return Subject(number=comment.number)
        case (
            events.BuildbotAnswered(attempt=attempt)
            | events.CandidateMade(attempt=attempt)
            | events.CandidatePushed(attempt=attempt)
            | events.CandidateLost(attempt=attempt)
            | events.Landed(attempt=attempt)
            | events.LandingRefused(attempt=attempt)
            | events.LandingContradicted(attempt=attempt)
        ):
            return Subject(attempt=attempt)
        case _:
            return Subject()


def subject_found(event: Event, attempts: Iterable[Attempt], changed: Iterable[PullRequest]) -> Subject:
    """Return what an event turned out to be about when it was acted on.

    Args:
        event: The event.
        attempts: Those that were alive then.
        changed: The pull requests that it changed.
    """
    match event:
        case events.PullRequestSeen(snapshot=events.Snapshot(number=None, source=source)):
            return Subject(number=next((pull.number for pull in changed if pull.source == source), None))
        case events.BuildStarted(revision=sha) | events.VerdictReached(revision=sha):
            return Subject(attempt=next((attempt.id for attempt in attempts if attempt.sha == sha), None))
        case _:
            return subject(event)


def subject_of_effect(effect: Effect) -> Subject:
    """Return what an effect is about."""
    match effect:
        case effects.ReadComment(comment=comment):
            return Subject(number=comment.number)
        case (
            effects.MakeCandidate(attempt=attempt)
            | effects.PushCandidate(attempt=attempt)
            | effects.Land(attempt=attempt)
            | effects.CancelBuilds(attempt=attempt)
            | effects.AskBuildbot(attempt=attempt)
        ):
            return Subject(attempt=attempt)
        case (
            effects.ReadPullRequest(number=number)
            | effects.Reply(number=number)
            | effects.ShowStatus(number=number)
            | effects.Finalise(number=number)
        ):
            return Subject(number=number)
