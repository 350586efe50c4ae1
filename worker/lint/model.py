"""What the parts of the lint program tell each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Side(StrEnum):
    """The two trees that are compared."""

    BEFORE = "before"
    AFTER = "after"


class Severity(StrEnum):
    """pylint's categories, the lightest first."""

    INFO = "info"
    CONVENTION = "convention"
    REFACTOR = "refactor"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Message:
    """What a linter says of a place in a file.

    Attributes:
        path: The file, relative to the tree's root, with slashes.
        line: From 1.
        column: From 0.
        end_line: The last line that it is about; None where the linter does not say.
        end_column: Behind the last character on that line, from 0.
        symbol: Its name, such as ``unused-import``, or ruff's code.
        code: Its number, such as ``W0611``; ruff's code again.
        severity: pylint's category.
        text: What it says, in one or several lines.
        scope: The object around it as pylint names it, such as ``Cart.total``; empty for the module itself.
        whole: Whether it is about the module as a whole, so that the text of its line says nothing.
        linter: ``pylint``, ``ruff``, or ``autogate`` for findings of our own.
    """

    path: str
    line: int
    column: int
    end_line: int | None
    end_column: int | None
    symbol: str
    code: str
    severity: Severity
    text: str
    scope: str = ""
    whole: bool = False
    linter: str = "pylint"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of linting one file in one tree.

    Attributes:
        messages: In pylint's order.
        score: pylint's score of the file, at most 10; None when it has no statement, or was not linted to the end.
        error: Why the linter did not get to its end (it crashed, exited, took too long or too much memory), in a line
            that names the cure; empty when it did. Such a judgement passes nothing and is never cached.
        infrastructure: Whether the error is the machine's (killed from outside, no process left), not the file's.
    """

    messages: tuple[Message, ...] = ()
    score: float | None = None
    error: str = ""
    infrastructure: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a judgement depends on besides the file itself, its configuration and its environment.

    Attributes:
        own: Files of the tree that astroid read, and their blob ids: path -> sha.
        names: What was looked for in the tree: (folder, stem) -> the entries of that folder, sorted, whose names up to
            the first dot are that stem, folders with a slash at their end. The root's folder is the empty string.
        foreign: Files outside the tree that astroid read: absolute path -> (size in bytes, mtime in ns).
    """

    own: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    foreign: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class Tree(Protocol):
    """The files of one side, as git knows them or as they stand on disk."""

    def blob(self, path: str) -> str | None:
        """Return a file's blob id, of the file that a symbolic link leads to; None when there is no such file."""

    def entries(self, folder: str, stem: str) -> tuple[str, ...]:
        """Return the entries of a folder as `Loaded.names` has them; none when there is no such folder."""

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None when there is no such file."""

    def is_settled(self, path: str) -> bool:
        """Tell whether what anybody reads of a file now is what its blob id stands for."""


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that a change touches.

    Attributes:
        before: Its path before; None when the change adds it.
        after: Its path after; None when the change deletes it.
        added_lines: The lines of the file after the change that the change adds or alters, from 1.
    """

    before: str | None
    after: str | None
    added_lines: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """A message that the change is answerable for.

    Attributes:
        message: What a linter says after the change.
        source: The line of code that it is about, without its end; empty when it is about none.
        fails: Whether it keeps the change from passing.
        dependent: Whether it is in a file that the change does not touch.
    """

    message: Message
    source: str = ""
    fails: bool = True
    dependent: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """A file that could not be judged.

    Attributes:
        path: The file.
        side: In which tree.
        error: `Judgement.error`.
        infrastructure: `Judgement.infrastructure`.
    """

    path: str
    side: Side
    error: str
    infrastructure: bool = False


FOR_TIME = "for time"
"""Why a dependent was left out: there was none left."""

FAR = "it uses nothing that changed by name"
"""Why a dependent was left out: it loads what changed, and names nothing of it."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that depends on the change and was not looked at.

    Attributes:
        path: The file.
        reason: `FOR_TIME`, `FAR`, or words for the reader.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Score:
    """pylint's score of a changed file beside the limit.

    Attributes:
        path: The file.
        score: At most 10.
        limit: The least that passes.
    """

    path: str
    score: float
    limit: float

    @property
    def passes(self) -> bool:
        """Whether the score is high enough."""
        return self.score >= self.limit


@dataclass(frozen=True, slots=True)
class Figures:
    """What the run cost.

    Attributes:
        files: Changed Python files.
        dependents: Files looked at that the change does not touch.
        linted: Judgements that a linter made.
        cached: Judgements that were looked up.
        seconds: Wall time of the program so far.
        server: ``warm`` (one was there), ``started``, ``none`` (not asked for, or none would start), ``unused``.
        server_seconds: What starting it took; 0 when it was there.
    """

    files: int = 0
    dependents: int = 0
    linted: int = 0
    cached: int = 0
    seconds: float = 0.0
    server: str = "unused"
    server_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the lint program found.

    Attributes:
        scope: ``introduced``, ``lines`` or ``files``.
        base: The commit that the change is compared with.
        findings: By path and place.
        fixed: Messages that the change did away with.
        old: How many messages were there before, and are there still, in changed files.
        scores: Of the changed files, where a limit was asked for.
        troubles: Files that could not be judged: nothing passes with one of them in the tree after the change.
        left_out: Dependents that were not looked at.
        notes: Further sentences for the reader.
        figures: What it cost.
    """

    scope: str
    base: str
    findings: tuple[Finding, ...] = ()
    fixed: tuple[Message, ...] = ()
    old: int = 0
    scores: tuple[Score, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    figures: Figures = field(default_factory=Figures)

    @property
    def exit_code(self) -> int:
        """0 when the change passes, 1 when it does not, 3 when a file could not be judged."""
        if self.troubles:
            return 3
        return int(any(each.fails for each in self.findings) or not all(each.passes for each in self.scores))
