"""What an answer means, and how long to wait after it: no network, no clock."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto

MAX_RETRY_AFTER_SECONDS = 3600.0
"""A receiver that asks for a longer pause is asked again after this one."""

_MAX_DOUBLINGS = 30

_NOT_BELIEVED = "do master and bot have the same secret?"
_REDIRECTED = "configure the address that it redirects to"
_WRONG_ADDRESS = "is this the address at which the bot takes reports?"
_CURES = {
    **dict.fromkeys((301, 302, 303, 307, 308), _REDIRECTED),
    **dict.fromkeys((401, 403), _NOT_BELIEVED),
    **dict.fromkeys((404, 405), _WRONG_ADDRESS),
    413: "let the bot, and a proxy before it, take bodies of 4 MiB",
}
_OTHER_CURE = "the bot's own log says why; do both sides speak the same version, and have the same secret?"


class Verdict(Enum):
    """What became of one try."""

    DELIVERED = auto()
    UNREACHABLE = auto()
    """The receiver as a whole cannot take anything now."""
    FAILED = auto()
    """This delivery failed; others may pass."""
    REFUSED = auto()
    """The receiver does not want this delivery; somebody has to put something right."""


@dataclass(frozen=True)
class Outcome:
    """What became of one try, and what is known about it.

    Attributes:
        verdict: What became of it.
        detail: For people; the same for the same kind of trouble.
        cure: What to do about it; empty when waiting is all.
        retry_after: Seconds that the receiver asked to wait.
    """

    verdict: Verdict
    detail: str = ""
    cure: str = ""
    retry_after: float | None = None


@dataclass(frozen=True)
class Pace:
    """How long to wait before the next try, in seconds.

    Attributes:
        initial: After the first failure; doubled with each further one.
        cap: The longest wait.
        refused_initial: The same for a delivery that was refused.
        refused_cap: The same for a delivery that was refused.
    """

    initial: float = 0.5
    cap: float = 30.0
    refused_initial: float = 30.0
    refused_cap: float = 600.0

    def wait(self, verdict: Verdict, failures: int, chance: float) -> float:
        """Return the wait.

        Args:
            verdict: What became of the last try.
            failures: How many in a row there were, from 1.
            chance: A random number in [0, 1): half of the wait is left to it, so that no crowd forms.
        """
        refused = verdict is Verdict.REFUSED
        initial, cap = (self.refused_initial, self.refused_cap) if refused else (self.initial, self.cap)
        return min(cap, initial * 2.0 ** min(failures - 1, _MAX_DOUBLINGS)) * (0.5 + chance / 2)


def of_status(status: int, retry_after: str | None, now: datetime) -> Outcome:
    """Return what an HTTP answer means.

    Args:
        status: The status code.
        retry_after: The value of ``Retry-After``.
        now: The clock that a date in it is compared with.
    """
    if 200 <= status < 300:  # noqa: PLR2004
        return Outcome(Verdict.DELIVERED)
    cure = ""
    match status:
        case 429 | 502 | 503 | 504:
            verdict = Verdict.UNREACHABLE
        case _ if status >= 500 or status == 408:  # noqa: PLR2004
            verdict = Verdict.FAILED
        case _:
            verdict = Verdict.REFUSED
            cure = _CURES.get(status, _OTHER_CURE)
    return Outcome(verdict, f"it answers {status}", cure, seconds_to_wait(retry_after, now))


def seconds_to_wait(retry_after: str | None, now: datetime) -> float | None:
    """Return what a ``Retry-After`` asks for, at most `MAX_RETRY_AFTER_SECONDS`; None when it says nothing useful."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_SECONDS)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), MAX_RETRY_AFTER_SECONDS)
