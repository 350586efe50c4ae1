"""What the parts of the lint program tell each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


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
        error: Why the linter did not get to its end (it crashed, took too long, too much memory, or exited), in a line
            that names the cure; empty when it did. Such a judgement passes nothing and is never cached.
        infrastructure: Whether the error is the machine's (killed from outside, no process could be made), not the file's.
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
        """Return a file's blob id (of the file a symbolic link in the tree leads to); None when there is no such file."""

    def entries(self, folder: str, stem: str) -> tuple[str, ...]:
        """Return the entries of a folder as `Loaded.names` has them; none when there is no such folder."""

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None when there is no such file."""


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


Json = Mapping[str, Any]
Jobs = Sequence[tuple[Side, str]]
