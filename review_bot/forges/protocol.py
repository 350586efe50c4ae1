"""What the bot needs of a forge, and the errors that it understands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from review_bot.domain.events import Comment, Snapshot


class ForgeError(Exception):
    """The forge cannot be reached or does not answer as it should: worth trying again. The message names the cure."""


class GoneError(ForgeError):
    """What was asked for is no longer there: trying again does not help."""


@dataclass(frozen=True)
class Overview:
    """A repository as its forge shows it at one moment.

    Attributes:
        tips: Target -> its tip; a target that does not exist is missing.
        pulls: Every open pull request.
    """

    tips: Mapping[str, str]
    pulls: Sequence[Snapshot]


@dataclass(frozen=True)
class ReadComment:
    """A comment as its forge has it, and what the forge says of its author."""

    comment: Comment
    may_write: bool


@dataclass(frozen=True)
class RefDeletion:
    """A ref that is to go in the very push that lands a change, if it still stands at ``expected``."""

    ref: str
    expected: str


@dataclass(frozen=True)
class Known:
    """A pull request as the bot knows it, by which the forge finds it.

    Attributes:
        number: The bot's number for it.
        source: Its `source`.
        head: Its head, as last read.
    """

    number: int
    source: str
    head: str


class Forge(Protocol):
    """One repository on one forge. Every call may raise `ForgeError`."""

    async def overview(self, known: Sequence[Known]) -> Overview:
        """Read everything at once. What has not moved since ``known`` need not be read in detail again."""
        ...

    async def pull_request(self, known: Known) -> Snapshot | None:
        """Read one pull request; None when it is closed or gone."""
        ...

    async def comment(self, hint: Comment) -> ReadComment:
        """Read a comment again.

        Raises:
            GoneError: it was deleted.
        """
        ...

    def fetch_ref(self, known: Known) -> str:
        """Return the ref of the repository under which the pull request's head is fetched."""
        ...

    def landing_deletions(self, known: Known) -> Sequence[RefDeletion]:
        """Return the refs that go when it lands, in the same atomic push; none where the forge does that itself."""
        ...

    async def reply(self, number: int, text: str) -> None:
        """Write an answer under a pull request, where the forge has comments."""
        ...

    async def show_status(self, number: int, text: str) -> None:
        """Write or edit the bot's one comment under a pull request, where the forge has comments."""
        ...

    async def finalise(self, known: Known, landed_as: str) -> None:
        """Do what the forge does not do by itself when a pull request has landed; doing it again changes nothing."""
        ...
