"""Rows as values, and back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from review_bot.domain.effects import Effect, Reply
from review_bot.domain.events import Event
from review_bot.domain.model import Attempt, PullRequest, Repository

from .errors import CorruptRowError

T = TypeVar("T")

PULL_REQUEST = TypeAdapter(PullRequest)
ATTEMPT = TypeAdapter(Attempt)
REPOSITORY = TypeAdapter(Repository)


class Fence(NamedTuple):
    """Proves that a lease is held: it counts only as long as nobody else got the lease."""

    lease: str
    number: int


@dataclass(frozen=True)
class StoredEvent:
    """An event that waits to be acted on.

    Attributes:
        id: Its place in the order of events.
        repository: Whose it is.
        event: The event.
        trace: Joins all that comes of it.
        key: Two events of a repository never have the same.
    """

    id: int
    repository: str
    event: Event
    trace: str
    key: str | None


@dataclass(frozen=True)
class StoredEffect:
    """An effect that is to be carried out.

    Attributes:
        id: Its place in the order of effects.
        repository: Whose it is.
        effect: The effect.
        key: Unique in the repository: the id of the event that caused it, and its place among that event's effects.
        trace: The trace of that event.
        tries: So often it failed.
        failing_since: When it failed first.
        not_before: When it is due.
    """

    id: int
    repository: str
    effect: Effect
    key: str
    trace: str
    tries: int
    failing_since: datetime | None
    not_before: datetime


@dataclass(frozen=True)
class Happening:
    """One line of a pull request's timeline.

    Attributes:
        id: The event's; later ones are greater.
        event: What happened.
        trace: Its trace.
        processed_at: When the bot acted on it; None while it waits.
        replies: What the bot answered under the pull request.
    """

    id: int
    event: Event
    trace: str
    processed_at: datetime | None
    replies: Sequence[Reply]


@dataclass(frozen=True)
class Backlog:
    """What a repository has before it.

    Attributes:
        unprocessed: Events that were not acted on yet.
        undone: Effects that were not carried out yet.
        failing: Those of them that failed at least once.
    """

    unprocessed: int = 0
    undone: int = 0
    failing: int = 0


def parse(adapter: TypeAdapter[T], body: str, table: str, *key: object) -> T:
    """Return the value of a row's JSON.

    Args:
        adapter: Of the value's type.
        body: The JSON.
        table: The row's table, for the error.
        key: The row's primary key, for the error.

    Raises:
        CorruptRowError: the JSON is not such a value.
    """
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CorruptRowError(
            f"row {', '.join(map(repr, key))} of the table {table} cannot be read "
            f"({where + ': ' if where else ''}{first['msg']}): put a backup of the database in its place"
        ) from None


def parsed(adapter: TypeAdapter[T], rows: Iterable[Any], table: str, *key: str) -> list[T]:
    """Return the values of many rows; ``key`` names the columns of the primary key.

    Raises:
        CorruptRowError: one is not such a value.
    """
    return [parse(adapter, row.body, table, *(getattr(row, name) for name in key)) for row in rows]
