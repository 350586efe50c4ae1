"""What the program on the worker found to have failed becomes the contract's failing tests."""

from collections.abc import Iterable, Mapping
from typing import Any

from autogate.contract import MAX_EXCERPT_CHARACTERS, FailedTest

from .text import clean, clean_end

MAX_NAME = 500
"""PostgreSQL's index over the names of tests takes no more than some 2,700 bytes."""

MAX_PATH = 500


def failed_tests(items: Iterable[Mapping[str, Any]]) -> list[FailedTest]:
    """Return a failing test for each item with the keys ``name``, ``path``, ``line`` and ``excerpt``."""
    return [
        FailedTest(
            name=clean(item.get("name"), MAX_NAME) or "unnamed",
            path=clean(item.get("path"), MAX_PATH),
            line=_line(item.get("line")),
            excerpt=clean_end(item.get("excerpt"), MAX_EXCERPT_CHARACTERS),
        )
        for item in items
    ]


def readable(failed: Iterable[FailedTest], total: int) -> str:
    """Return the failing tests with their excerpts as text, and how many there were when not all are shown."""
    blocks = []
    for test in failed:
        where = f" ({test.path}:{test.line})" if test.path and test.line else f" ({test.path})" if test.path else ""
        blocks.append(f"{test.name}{where}\n{'-' * 70}\n{test.excerpt.rstrip()}\n")
    if total > len(blocks):
        blocks.append(f"… and {total - len(blocks)} more\n")
    return "\n".join(blocks)


def _line(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0
