"""A pull request's timeline in words: pure."""

from collections.abc import Iterable

from . import wording
from .domain import events as e
from .store.rows import Happening

SHORT_SHA = 12
LONGEST = 200


def line(happening: Happening) -> str | None:
    """Return what happened, in a line of plain text; None for what nobody needs to read."""
    told = _told(happening)
    if told is None:
        return None
    replies = [_short(wording.answer(reply.answer)) for reply in happening.replies]
    return " → ".join([told, *replies])


def _told(happening: Happening) -> str | None:  # noqa: PLR0911  (one a kind of event)
    match happening.event:
        case e.PullRequestSeen(snapshot=e.Snapshot(is_open=False)):
            return "closed on its forge"
        case e.PullRequestSeen(snapshot=seen):
            return f"read: head {_sha(seen.head)} for {_short(seen.target)}, {_short(seen.title) or 'without a title'}"
        case e.PullRequestGone():
            return "gone from its forge"
        case e.CommentHinted(comment=comment) if happening.processed_at is None:
            return f"{_short(comment.author)} wrote, which is not read yet: {_short(comment.body)}"
        case e.CommentRead(comment=comment):
            return f"{_short(comment.author)}: {_short(comment.body)}"
        case e.BuildStarted(builder=builder, url=url):
            return f"{_short(builder)} began: {_short(url)}"
        case e.VerdictReached(verdict=verdict):
            return f"{_short(verdict.builder)}: {verdict.result}" + (
                f", {_short(verdict.summary)}" * bool(verdict.summary)
            )
        case e.BuildbotAnswered() as answered:
            found = [name for name, builder in answered.builders.items() if builder.verdict]
            return f"Buildbot was asked, and has verdicts of {_names(found)}" if found else None
        case _:
            return _attempted(happening.event)


def _attempted(event: e.Event) -> str | None:  # noqa: PLR0911  (one a kind of event)
    match event:
        case e.CandidateMade(sha=None, attempt=attempt):
            return f"attempt {attempt}: nothing could be merged{_left_out(event)}"
        case e.CandidateMade(sha=str(sha), attempt=attempt, merged=merged):
            members = _numbers(member.number for member in merged)
            return f"attempt {attempt}: {members} merged as {_sha(sha)}{_left_out(event)}"
        case e.CandidatePushed(attempt=attempt):
            return f"attempt {attempt}: pushed, to be tested"
        case e.CandidateLost(attempt=attempt, detail=detail):
            return f"attempt {attempt}: to be merged again, {_short(detail)}"
        case e.Landed(attempt=attempt):
            return f"attempt {attempt}: landed"
        case e.LandingRefused(attempt=attempt, base_moved=True, tip=tip):
            return f"attempt {attempt}: not landed, the target stands at {_sha(tip or 'nothing')} now"
        case e.LandingRefused(attempt=attempt):
            return f"attempt {attempt}: not landed, a member is not what was approved"
        case e.LandingContradicted(attempt=attempt):
            return f"attempt {attempt}: the target does not read as it was pushed"
        case _:
            return None


def _left_out(made: e.CandidateMade) -> str:
    parts = [
        ("in conflict", [conflict.number for conflict in made.conflicts]),
        ("in the target already", made.contained),
        ("not to be fetched", made.moved),
    ]
    return "".join(f", {_numbers(numbers)} {why}" for why, numbers in parts if numbers)


def _numbers(numbers: Iterable[int]) -> str:
    return _names(f"#{number}" for number in numbers)


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(_short, names))


def _sha(sha: str) -> str:
    return sha[:SHORT_SHA]


def _short(text: str) -> str:
    line = " ".join(text[: 2 * LONGEST].split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
