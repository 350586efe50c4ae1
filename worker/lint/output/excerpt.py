"""A line of source, cut to what fits on a line, with the place that it is about."""

import unicodedata
from dataclasses import dataclass

from worker.lint.model import Finding

from .columns import columns
from .visible import shown

WIDTH = 100
LEAD = 40
TAB = 4


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A line in three parts, fit to be shown; ``…`` stands for what was cut off.

    Attributes:
        before: What stands in front of the place.
        marked: The place itself; empty when it is behind the line's end.
        after: What stands behind it.
    """

    before: str
    marked: str
    after: str

    @property
    def indent(self) -> int:
        """How many columns of a terminal stand in front of the place."""
        return _width(self.before)

    @property
    def width(self) -> int:
        """How many columns of a terminal the place takes, at least one."""
        return max(1, _width(self.marked))


def excerpt(finding: Finding) -> Excerpt | None:
    """Return the line that a finding is about; None when it is about none."""
    source = finding.source
    if not source.strip() or finding.message.whole:
        return None
    start, end = columns(finding)
    start = min(start, len(source))
    end = min(max(end or 0, start + 1), len(source))
    # a line may be megabytes long
    first, last = max(0, start - WIDTH), min(len(source), start + WIDTH)
    cells = _cells(source[first:last])
    widths = [_width(cell) for cell in cells]
    left, right = _window(widths, start - first)
    middle, stop = start - first, min(end - first, right)
    return Excerpt(
        before="…" * (first + left > 0) + "".join(cells[left:middle]),
        marked="".join(cells[middle:stop]),
        after="".join(cells[stop:right]) + "…" * (first + right < len(source)),
    )


def _cells(text: str) -> list[str]:
    """Return what to show for each character."""
    cells: list[str] = []
    column = 0
    for character in text:
        cell = " " * (TAB - column % TAB) if character == "\t" else shown(character)
        column += _width(cell)
        cells.append(cell)
    return cells


def _window(widths: list[int], place: int) -> tuple[int, int]:
    """Return the first cell to show and the one behind the last, so that they fit round the place."""
    if sum(widths) <= WIDTH:
        return 0, len(widths)
    left = right = place
    used = 0
    while left > 0 and used + widths[left - 1] <= LEAD:
        left -= 1
        used += widths[left]
    while right < len(widths) and used + widths[right] <= WIDTH:
        used += widths[right]
        right += 1
    while left > 0 and used + widths[left - 1] <= WIDTH:
        left -= 1
        used += widths[left]
    return left, right


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
