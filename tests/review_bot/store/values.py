"""What the tests store."""

import signal
import subprocess
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel

from autogate.contract import FailedTest, Finding, Severity
from review_bot.domain.answers import Pong
from review_bot.domain.effects import Effect, ReadComment, Reply
from review_bot.domain.events import Comment, CommentHinted, Event
from review_bot.domain.model import Attempt, AttemptKind, Member, PullRequest, Repository, Stage, State
from review_bot.store.rows import Fence
from review_bot.store.store import Store

NOW = datetime.now(UTC)
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Address:
    """Where a database is."""

    url: str
    folder: Path

    async def open(self) -> Store:
        """Open it."""
        return await Store.open(self.url, folder=self.folder)

    def engine(self) -> sa.Engine:
        """Reach it behind the store's back."""
        url = sa.make_url(self.url)
        if url.get_backend_name() == "sqlite":
            return sa.create_engine(url.set(database=str(self.folder / str(url.database))))
        return sa.create_engine(url.set(drivername="postgresql+psycopg"))


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def comment(number: int = 1, body: str = "@autogate r+") -> Comment:
    return Comment(id=f"comment-{number}", number=number, author="ann", body=body, written_at=NOW)


def hint(number: int = 1, at: datetime = NOW) -> CommentHinted:
    return CommentHinted(at=at, comment=comment(number))


def pull(number: int = 1, **fields: object) -> PullRequest:
    values = {
        "number": number,
        "source": f"refs/for/main/topic-{number}",
        "target": "main",
        "head": f"{number:040x}",
        "head_since": NOW,
        "read_at": NOW,
        "opened_at": NOW,
    }
    return PullRequest.model_validate(values | fields)


def attempt(id_: int = 1, *numbers: int, kind: AttemptKind = AttemptKind.AUTO, stage: Stage = Stage.TESTING) -> Attempt:
    members = tuple(Member(number=number, head=f"{number:040x}") for number in numbers or (1,))
    return Attempt(id=id_, kind=kind, target="main", members=members, created_at=NOW, stage=stage, sha=f"{id_:040x}")


def reply(number: int = 1) -> Reply:
    return Reply(number=number, to="ann", comment=f"comment-{number}", answer=Pong())


def read(number: int = 1) -> ReadComment:
    return ReadComment(comment=comment(number))


async def decide(
    store: Store,
    fence: Fence,
    before: State,
    now: State,
    effects: Sequence[Effect] = (),
    event: Event | None = None,
    repository: str = "demo",
) -> None:
    """Store an event and the decision on it."""
    await store.append(repository, event or hint(), trace="trace")
    stored = await store.next_event(repository)
    assert stored is not None
    await store.commit(fence, stored, before, now, effects, NOW)


def empty(repository: str = "demo") -> State:
    return State(Repository(name=repository))


# any value of the bot's models

_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=_ZONES)  # noqa: DTZ001  (made aware by `timezones`)
_NUMBERS = st.integers(1, 2**31 - 1)
_COUNTS = st.integers(0, 2**31 - 1)
# PostgreSQL's columns of text hold no NUL; JSON writes it otherwise
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))

st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(AwareDatetime, MOMENTS)
st.register_type_strategy(
    Finding,
    st.builds(
        Finding,
        path=st.text(),
        line=_COUNTS,
        column=_COUNTS,
        symbol=st.text(),
        severity=st.sampled_from(Severity),
        text=st.text(),
    ),
)
st.register_type_strategy(
    FailedTest,
    st.builds(FailedTest, name=st.text(), path=st.text(), line=_COUNTS, excerpt=st.text(max_size=4000)),
)
PULLS = st.builds(PullRequest, number=_NUMBERS, source=TEXTS, target=TEXTS)
ATTEMPTS = st.builds(Attempt, id=_NUMBERS, target=TEXTS)


def kinds(union: object) -> list[type[BaseModel]]:
    """Return the classes of `Event` or `Effect`."""
    return list(typing.get_args(typing.get_args(union)[0]))


class Process:
    """`tests.review_bot.store.process` at work."""

    def __init__(self, address: Address, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.review_bot.store.process", address.url, str(address.folder), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def hear(self) -> str:
        """Return the next line that it says."""
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")

    def tell(self) -> None:
        """Let it go on."""
        assert self._process.stdin
        print(file=self._process.stdin, flush=True)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """``kill -9`` it."""
        self._process.kill()
        self._process.communicate()
