"""Wait for a condition instead of for an amount of time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], what: str | Callable[[], str], timeout: float = 180) -> T:
    """Call ``condition`` until it returns something true, and return that.

    Args:
        condition: Looked at every 50 ms.
        what: Named in the error; when it is callable, what it returns in the end.
        timeout: Seconds; a safety net against a hang, never part of what is tested.

    Raises:
        AssertionError: it never did.
    """
    deadline = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what() if callable(what) else what}")
        time.sleep(0.05)
