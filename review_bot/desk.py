"""What the web side may ask of the bot; `review_bot.engine` answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from review_bot.domain.answers import Answer
from review_bot.domain.events import Event
from review_bot.domain.model import State


class UnknownRepositoryError(LookupError):
    """No repository of that name is configured."""


@dataclass(frozen=True)
class Trouble:
    """An effect that keeps failing, which may be why something waits.

    Attributes:
        what: The effect's kind.
        number: The pull request that it is about, if one.
        attempt: The attempt that it is about, if one.
        error: What went wrong the last time, with its cure.
        since: When it failed first.
        again_at: When it is tried next.
    """

    what: str
    number: int | None
    attempt: int | None
    error: str
    since: datetime
    again_at: datetime


@dataclass(frozen=True)
class Answered:
    """What became of an event that was handed in.

    Attributes:
        settled: Whether all that it directly led to is done; else the bot is still at it.
        answers: What the bot replied, in order.
    """

    settled: bool
    answers: Sequence[Answer]


class Desk(Protocol):
    """The bot, as seen by its web side. Calls with a repository's name may raise `UnknownRepositoryError`."""

    @property
    def repositories(self) -> Sequence[str]:
        """The names of the configured repositories."""
        ...

    @property
    def is_leader(self) -> bool:
        """Tell whether this process acts; else it stands by."""
        ...

    def looked_at(self, repository: str) -> datetime | None:
        """Return when the forge was last read with success; None when it has not been yet, or not by this process."""
        ...

    def stuck_seconds(self) -> float:
        """Return for how long the slowest of those that act has not come round; 0 in a process that stands by."""
        ...

    async def state(self, repository: str) -> State:
        """Return what is known now."""
        ...

    async def hand_in(self, repository: str, event: Event, *, key: str | None = None, trace: str) -> bool:
        """Store an event, to be acted on soon.

        Args:
            repository: Whose event it is.
            event: The event.
            key: Two events of a repository with the same key are one; None when repeating does no harm.
            trace: Joins all that comes of it, in logs and timelines.

        Returns:
            Whether it was new.
        """
        ...

    async def answered(self, repository: str, trace: str, timeout: float) -> Answered:  # noqa: ASYNC109  (not an error)
        """Wait until what a trace's event directly led to is done, at most ``timeout`` seconds."""
        ...

    async def look(self, repository: str) -> None:
        """Read the forge at once, and return when what was found is stored and acted on.

        Raises:
            ForgeError: it cannot be read.
        """
        ...

    async def troubles(self, repository: str) -> Sequence[Trouble]:
        """Return what keeps failing."""
        ...
