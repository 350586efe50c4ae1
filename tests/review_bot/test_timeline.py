"""A timeline's lines: each event in words, whatever others wrote in it."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from autogate.contract import Result
from review_bot.domain import events as e
from review_bot.domain.answers import Pong
from review_bot.domain.effects import Reply
from review_bot.domain.model import Policy, Verdict
from review_bot.store.rows import Happening
from review_bot.timeline import LONGEST, line

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHA = "0123456789abcdef0123456789abcdef01234567"


def snapshot(**fields: object) -> e.Snapshot:
    given = {"number": 7, "source": "x", "target": "main", "head": SHA, "title": "Fix a typo", "read_at": NOW, **fields}
    return e.Snapshot.model_validate(given)


def comment(body: str = "@autogate ping", author: str = "ada") -> e.Comment:
    return e.Comment(id="1", number=7, author=author, body=body, written_at=NOW)


def told(event: e.Event, *, processed: bool = True, replies: tuple[Reply, ...] = ()) -> str | None:
    return line(Happening(id=1, event=event, trace="t", processed_at=NOW if processed else None, replies=replies))


VERDICT = Verdict(builder="shop-test", result=Result.FAILURE, summary="2 of 9 tests fail", at=NOW)

LINES: list[tuple[e.Event, str | None]] = [
    (e.PullRequestSeen(snapshot=snapshot(), at=NOW), "read: head 0123456789ab for main, Fix a typo"),
    (e.PullRequestSeen(snapshot=snapshot(title=""), at=NOW), "read: head 0123456789ab for main, without a title"),
    (e.PullRequestSeen(snapshot=snapshot(is_open=False), at=NOW), "closed on its forge"),
    (e.PullRequestGone(number=7, read_at=NOW, at=NOW), "gone from its forge"),
    (e.CommentHinted(comment=comment(), at=NOW), None),
    (e.CommentRead(comment=comment(), snapshot=None, at=NOW), "ada: @autogate ping"),
    (e.BuildStarted(revision=SHA, builder="shop-test", url="https://ci/1", at=NOW), "shop-test began: https://ci/1"),
    (e.VerdictReached(revision=SHA, verdict=VERDICT, at=NOW), "shop-test: failure, 2 of 9 tests fail"),
    (
        e.BuildbotAnswered(
            attempt=3,
            builders={
                "shop-test": e.BuilderStatus(status="finished", verdict=VERDICT),
                "shop-lint": e.BuilderStatus(status="running"),
            },
            at=NOW,
        ),
        "Buildbot was asked, and has verdicts of shop-test",
    ),
    (e.BuildbotAnswered(attempt=3, builders={}, at=NOW), None),
    (
        e.CandidateMade(attempt=3, base=SHA, sha=SHA, merged=(e.Merged(number=7, merge=SHA),), moved=(9,), at=NOW),
        "attempt 3: #7 merged as 0123456789ab, #9 not to be fetched",
    ),
    (
        e.CandidateMade(
            attempt=3,
            base=SHA,
            sha=None,
            conflicts=(e.Conflict(number=7, paths=("x.py",), with_base=True),),
            contained=(8,),
            at=NOW,
        ),
        "attempt 3: nothing could be merged, #7 in conflict, #8 in the target already",
    ),
    (e.CandidatePushed(attempt=3, at=NOW), "attempt 3: pushed, to be tested"),
    (e.CandidateLost(attempt=3, detail="it is gone", at=NOW), "attempt 3: to be merged again, it is gone"),
    (e.Landed(attempt=3, at=NOW), "attempt 3: landed"),
    (
        e.LandingRefused(attempt=3, base_moved=True, tip=SHA, at=NOW),
        "attempt 3: not landed, the target stands at 0123456789ab now",
    ),
    (
        e.LandingRefused(attempt=3, base_moved=True, at=NOW),
        "attempt 3: not landed, the target stands at nothing now",
    ),
    (e.LandingRefused(attempt=3, gone=(7,), at=NOW), "attempt 3: not landed, a member is not what was approved"),
    (
        e.LandingContradicted(attempt=3, tip=None, at=NOW),
        "attempt 3: the target does not read as it was pushed",
    ),
    (e.TimePassed(at=NOW), None),
    (e.Configured(policy=Policy(), at=NOW), None),
]


@pytest.mark.parametrize(("event", "expected"), LINES, ids=[event.kind for event, _line in LINES])
def test_an_event_in_words(event: e.Event, expected: str | None) -> None:
    assert told(event) == expected


def test_every_event_that_is_about_a_pull_request_has_words() -> None:
    kinds = {kind.model_fields["kind"].default for kind in get_args(get_args(e.Event)[0])}
    of_the_repository = {"target_seen", "freeze_asked", "pause_asked", "time_passed", "configured", "comment_hinted"}
    assert kinds - of_the_repository == {event.kind for event, expected in LINES if expected}


def test_a_comment_that_waits_is_told_and_an_answer_stands_with_its_question() -> None:
    assert told(e.CommentHinted(comment=comment(), at=NOW), processed=False) == (
        "ada wrote, which is not read yet: @autogate ping"
    )
    reply = Reply(number=7, to="ada", comment="1", answer=Pong())
    assert told(e.CommentRead(comment=comment(), snapshot=None, at=NOW), replies=(reply,)) == (
        "ada: @autogate ping → I am here."
    )


@pytest.mark.parametrize("text", ["a\nb\r\nc", "\u2028x\u2029y", "\U0001f600" * 1000, "x" * 100_000])
def test_what_others_write_stays_one_line(text: str) -> None:
    shown = told(e.CommentRead(comment=comment(text, text), snapshot=None, at=NOW))
    assert shown is not None
    assert len(shown.splitlines()) == 1
    assert len(shown) <= 2 * LONGEST + 2
