"""An outcome in the order in which people read it: what a page or a terminal shows, without any markup."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from worker.lint.model import Finding, Outcome, Severity

from .columns import columns
from .excerpt import Excerpt, excerpt
from .visible import visible
from .words import left_out, low_score, trouble


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding, fit to be shown.

    Attributes:
        line: From 1.
        column: From 1.
        severity: pylint's category.
        symbol: The message's name.
        text: What it says, in one or several lines.
        fails: Whether it keeps the change from passing.
        excerpt: The line of code.
    """

    line: int
    column: int
    severity: Severity
    symbol: str
    text: str
    fails: bool
    excerpt: Excerpt | None


@dataclass(frozen=True, slots=True)
class File:
    """The findings in a file.

    Attributes:
        path: The file, as git has it.
        name: The same, fit to be shown.
        entries: By place.
    """

    path: str
    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: files with findings, or sentences.

    Attributes:
        title: Empty for the findings in changed files, which need none.
        files: By path.
        sentences: Each in one or several lines.
    """

    title: str
    files: tuple[File, ...] = ()
    sentences: tuple[str, ...] = ()


def sections(outcome: Outcome) -> list[Section]:
    """Return what there is to show, without empty sections; the one-line summary is not in it."""
    suppressions = [each for each in outcome.findings if each.message.linter == "autogate"]
    others = [each for each in outcome.findings if each.message.linter != "autogate"]
    low = [f"{visible(each.path)}: {low_score(each)}" for each in outcome.scores if not each.passes]
    page = [
        Section("", _files(each for each in others if not each.dependent)),
        Section("In files that the change does not touch", _files(each for each in others if each.dependent)),
        Section("Suppressions that the change adds", _files(suppressions)),
        Section("Not judged", sentences=tuple(f"{visible(each.path)} {trouble(each)}" for each in outcome.troubles)),
        Section("Scores below the limit", sentences=tuple(low)),
        Section("Not looked at", sentences=tuple(left_out(outcome))),
        Section("Notes", sentences=tuple(visible(note, lines=True) for note in outcome.notes)),
    ]
    return [section for section in page if section.files or section.sentences]


def _files(findings: Iterable[Finding]) -> tuple[File, ...]:
    ordered = sorted(findings, key=_place)
    return tuple(
        File(path, visible(path), tuple(map(_entry, group)))
        for path, group in groupby(ordered, key=lambda finding: finding.message.path)
    )


def _place(finding: Finding) -> tuple[str, int, int]:
    return finding.message.path, finding.message.line, finding.message.column


def _entry(finding: Finding) -> Entry:
    message = finding.message
    return Entry(
        line=message.line,
        column=columns(finding)[0] + 1,
        severity=message.severity,
        symbol=visible(message.symbol),
        text=visible(message.text, lines=True),
        fails=finding.fails,
        excerpt=excerpt(finding),
    )
