"""Follows what the bot shows, through its restarts."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from . import console
from .botclient import BotUnreachableError

PATIENCE_SECONDS = 600
"""So long a bot that was there before may be away."""

_AGAIN_SECONDS = 1

T = TypeVar("T")


def follow(look: Callable[[str], tuple[T, str] | None], pause: float = 0) -> Iterator[T]:
    """Yield what is shown now, and again whenever it has changed.

    Args:
        look: Given the tag of what was shown, waits a while and returns what is shown now with its tag; None when that
            is the same.
        pause: Seconds between two looks.

    Raises:
        Failure: the bot does not answer, from the beginning or for too long.
    """
    tag = ""
    away_since: float | None = None
    while True:
        try:
            found = look(tag)
        except BotUnreachableError as error:
            if not tag or (away_since and time.monotonic() - away_since > PATIENCE_SECONDS):
                raise
            if away_since is None:
                console.warn(f"{error}; trying again")
                away_since = time.monotonic()
            time.sleep(_AGAIN_SECONDS)
            continue
        away_since = None
        if found:
            shown, tag = found
            yield shown
        time.sleep(pause)
