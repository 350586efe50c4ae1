"""What the bot answers to a command; `review_bot.wording` puts it into words."""

from typing import Annotated, Literal

from pydantic import Field

from .model import Value


class Done(Value):
    """A command took effect.

    Attributes:
        command: As `review_bot.domain.commands` names it.
        detail: What the wording needs to know besides.
    """

    kind: Literal["done"] = "done"
    command: str
    detail: str = ""


class Refused(Value):
    """A command that is known was not obeyed.

    Attributes:
        command: The command, as written.
        reason: ``not_permitted``, ``head_moved``, ``wrong_sha``, ``short_sha``, ``closed``, ``unknown_target``,
            ``nothing_to_retry``, ``nothing_to_cancel``, ``no_try``, ``no_author``, ``not_approved``, ``withdrawn``,
            ``landing``.
        detail: What the wording needs to know besides, such as the present head.
    """

    kind: Literal["refused"] = "refused"
    command: str
    reason: str
    detail: str = ""


class Unknown(Value):
    """A word that is no command. ``instead`` says what to write, where that is known."""

    kind: Literal["unknown"] = "unknown"
    word: str
    instead: str = ""


class Pong(Value):
    """The answer to ``ping``."""

    kind: Literal["pong"] = "pong"


class Help(Value):
    """The answer to ``help``."""

    kind: Literal["help"] = "help"


Answer = Annotated[Done | Refused | Unknown | Pong | Help, Field(discriminator="kind")]
