"""What a look at the forge tells that was not known."""

from collections.abc import Iterator
from datetime import datetime

from review_bot.domain.events import Event, PullRequestGone, PullRequestSeen, Snapshot, TargetSeen
from review_bot.domain.model import PullRequest, State
from review_bot.forges.protocol import Known, Overview


def known(state: State) -> list[Known]:
    """Return the open pull requests as a forge wants to hear of them."""
    return [as_known(pull) for pull in state.pulls.values()]


def as_known(pull: PullRequest) -> Known:
    """Return a pull request as a forge wants to hear of it."""
    return Known(number=pull.number, source=pull.source, head=pull.head)


def differences(state: State, overview: Overview, read_at: datetime, at: datetime) -> Iterator[Event]:
    """Return an event for everything that is not as the bot knows it.

    Args:
        state: What the bot knows.
        overview: What the forge shows.
        read_at: When the reading began: what the bot learned later than that is newer.
        at: Now.
    """
    for name in state.repository.policy.targets:
        tip, target = overview.tips.get(name), state.target(name)
        if target.read_at is None or tip != target.tip:
            yield TargetSeen(target=name, tip=tip, read_at=read_at, at=at)
    by_number, by_source = dict(state.pulls), {pull.source: pull for pull in state.pulls.values()}
    there = set()
    for snapshot in overview.pulls:
        number = snapshot.number
        pull = by_source.get(snapshot.source) if number is None else by_number.get(number)
        if pull is not None:
            there.add(pull.number)
        if pull is None or pull.stale or _differs(snapshot, pull):
            yield PullRequestSeen(snapshot=snapshot, at=at)
    for number in state.pulls:
        if number not in there:
            yield PullRequestGone(number=number, read_at=read_at, at=at)


def _differs(snapshot: Snapshot, pull: PullRequest) -> bool:
    now = (snapshot.source, snapshot.target, snapshot.head, snapshot.title, snapshot.author, snapshot.url)
    return now != (pull.source, pull.target, pull.head, pull.title, pull.author, pull.url)
