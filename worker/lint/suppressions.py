"""Which suppressions a change adds: comments that tell a linter to be silent.

Each name in a comment counts for itself. A suppression that moved with its code, also to another file, is not new, but
one that reaches to the end of a module is that module's, as what is about a whole file is. Whether a comment is one is
seen by Python's own tokenizer; behind a place that it cannot read, every ``#`` begins one.

How far a comment reaches is what pylint 4.1 makes of it: behind code it is for that line alone, but behind a head
without an expression (``try:``, ``else:``, ``class Cart:``) it is for that whole block; ``disable-next`` is for the
next line, and ``all`` in a ``disable`` for the file.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from .model import ChangedFile, Finding, Message, Severity


class Policy(StrEnum):
    """What a suppression that a change adds is to the gate."""

    ALLOW = "allow"
    """Nothing."""

    WARN = "warn"
    """Reported."""

    FAIL = "fail"
    """Reported; wide ones fail."""


class Reach(StrEnum):
    """How much a suppression silences."""

    LINE = "line"
    BLOCK = "block"
    MODULE = "module"


@dataclass(frozen=True, slots=True)
class Suppression:
    """One name in a comment.

    Attributes:
        line: Of the comment, from 1.
        column: Of the comment, from 0.
        linter: ``pylint`` or ``ruff``.
        name: What is silenced: a message, a group of them, or ``all``.
        reach: Where.
        spelling: As one would write it, such as ``disable=unused-import``.
    """

    line: int
    column: int
    linter: str
    name: str
    reach: Reach
    spelling: str

    @property
    def is_wide(self) -> bool:
        """Whether it silences more than named messages on one line."""
        return self.reach is not Reach.LINE or self.name == ALL or not _is_one_message(self.name)


ALL = "all"

PRAGMA = re.compile(r"\bpylint:\s*([^;#\n]+)")
WORD = re.compile(r"[\w-]+|=")
WHOLE_FILE = {"skip-file", "disable-all"}
SILENCING = {"disable", "disable-msg", "disable-next"}
LOUD = {"enable", "enable-msg"}

NOQA = re.compile(
    r"#\s*(?P<file>(?:ruff|flake8)\s*:\s*)?noqa(?:\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*))?",
    re.IGNORECASE,
)
CODE = re.compile(r"[A-Z]+[0-9]+")
BRACKETED = re.compile(r"#\s*ruff\s*:\s*(ignore|disable|file-ignore)\s*\[([^\]]*)\]")

NUMBERED = re.compile(r"[A-Z]{1,4}[0-9]{2,}", re.IGNORECASE)
UNDIVIDED = {"fatal", "fixme", "reimported", "unreachable"}
"""pylint's messages whose names have no hyphen; any other such word is a category or a checker."""

BARE_HEAD = re.compile(r"\s*(?:try|else|finally|except|class\s+\w+\s*(?:\(\s*\))?)\s*:")
HINT = re.compile(rb"pylint:")
COOKIE = re.compile(rb"coding[:=][ \t]*([-\w.]+)")
PLAIN = {b"utf-8", b"utf8", b"ascii", b"us-ascii", b"latin-1", b"latin1", b"iso-8859-1", b"iso-8859-15", b"cp1252"}
"""Encodings in which ``pylint:`` is itself; in others, such as unicode_escape, it may be written otherwise."""

RUFF_HINT = re.compile(rb"noqa|ruff\s*:", re.IGNORECASE)


def found(content: bytes, *, ruff: bool = False) -> list[Suppression]:
    """Return the suppressions in a file's content, in order, those of ruff too when asked for."""
    plain = all(name.lower() in PLAIN for line in content.split(b"\n", 2)[:2] for name in COOKIE.findall(line))
    if plain and not (HINT.search(content) or (ruff and RUFF_HINT.search(content))):
        return []
    return [
        Suppression(line, column, *silenced)
        for line, column, comment, reach in _comments(content)
        for silenced in _silenced(comment, reach, ruff=ruff)
    ]


def added(
    before: Mapping[str, Iterable[Suppression]],
    after: Mapping[str, Iterable[Suppression]],
    changes: Iterable[ChangedFile],
) -> list[tuple[str, Suppression]]:
    """Return path and suppression of those that a change adds, by place.

    Args:
        before: Path before the change -> what `found` finds there, for changed files.
        after: The same after the change.
        changes: All files that the change touches.
    """
    old: Counter[tuple[str, ...]] = Counter()
    candidates = []
    for change in changes:
        if change.before is not None:
            old.update(_key(change.before, each) for each in before.get(change.before, ()))
        if change.after is not None:
            origin = change.before or f"{change.after}\0"
            candidates += [
                (each.line in change.added_lines, change.after, each.line, each.column, each, _key(origin, each))
                for each in after.get(change.after, ())
            ]
    new = []
    for _, path, _, _, each, key in sorted(candidates, key=lambda candidate: candidate[:4]):
        if old[key]:
            old[key] -= 1
        else:
            new.append((path, each))
    return sorted(new, key=lambda place: (place[0], place[1].line, place[1].column))


def findings(
    new: Iterable[tuple[str, Suppression]], contents: Mapping[str, bytes], policy: Policy = Policy.FAIL
) -> tuple[Finding, ...]:
    """Return what is to be said of suppressions that a change adds: one finding a comment and reach.

    Args:
        new: What `added` returned.
        contents: Path after the change -> content.
        policy: What they are to the gate.
    """
    if policy is Policy.ALLOW:
        return ()
    comments: dict[tuple[str, int, int, bool], list[Suppression]] = {}
    for path, each in new:
        comments.setdefault((path, each.line, each.column, each.is_wide), []).append(each)
    return tuple(
        Finding(
            Message(
                path=path,
                line=line,
                column=column,
                end_line=None,
                end_column=None,
                symbol="wide-suppression" if wide else "new-suppression",
                code="AG0002" if wide else "AG0001",
                severity=Severity.WARNING if wide else Severity.INFO,
                text=_text(each),
                linter="autogate",
            ),
            _line(contents[path], line),
            fails=wide and policy is Policy.FAIL,
        )
        for (path, line, column, wide), each in comments.items()
    )


def _text(together: list[Suppression]) -> str:
    first = together[0]
    names = sorted({each.name for each in together})
    where = {
        Reach.LINE: "on one line",
        Reach.BLOCK: "in the rest of a block",
        Reach.MODULE: "in the whole file" if first.linter == "ruff" or ALL in names else "in the rest of the file",
    }[first.reach]
    groups = any(name != ALL and not _is_one_message(name) for name in names)
    what = "everything" if ALL in names else f"{'all of ' if groups else ''}{', '.join(names)}"
    spelling = ", ".join(dict.fromkeys(each.spelling for each in together))
    said = f"{spelling} silences {what} {where}"
    if not first.is_wide:
        return said
    narrow = "# noqa: CODE" if first.linter == "ruff" else "# pylint: disable=MESSAGE"
    return (
        f"{said}: correct what it hides, or name each message on the one line that needs it, with `{narrow}` behind it"
    )


def _line(content: bytes, number: int) -> str:
    lines = re.split(rb"\r\n|\r|\n", content)
    return lines[number - 1].decode("utf-8", "replace") if number <= len(lines) else ""


def _key(origin: str, each: Suppression) -> tuple[str, ...]:
    file = origin if each.reach is Reach.MODULE else ""
    return file, each.linter, each.name, each.reach


def _is_one_message(name: str) -> bool:
    return "-" in name or name in UNDIVIDED or NUMBERED.fullmatch(name) is not None


def _silenced(comment: str, reach: Reach, *, ruff: bool) -> Iterator[tuple[str, str, Reach, str]]:
    """Give linter, name, reach and spelling of all that a comment silences."""
    for pragma in PRAGMA.finditer(comment):
        action = ""
        for word in WORD.findall(pragma[1]):
            if word in WHOLE_FILE:
                yield "pylint", ALL, Reach.MODULE, word
            elif word in SILENCING or word in LOUD:
                action = word
            elif action in SILENCING and word != "=":
                spelling = f"{action}={word}"
                if action == "disable-next":
                    yield "pylint", word, Reach.LINE, spelling
                else:
                    yield "pylint", word, Reach.MODULE if word == ALL else reach, spelling
    if not ruff:
        return
    for noqa in NOQA.finditer(comment):
        silent = CODE.findall((noqa["codes"] or "").upper()) or [ALL]
        word, reaches = ("ruff: noqa", Reach.MODULE) if noqa["file"] else ("noqa", Reach.LINE)
        for code in silent:
            yield "ruff", code, reaches, word if code == ALL else f"{word}: {code}"
    for action, rules in BRACKETED.findall(comment):
        reaches = {"ignore": Reach.LINE, "disable": reach, "file-ignore": Reach.MODULE}[action]
        for rule in re.findall(r"[\w-]+", rules):
            yield "ruff", rule, reaches, f"ruff: {action}[{rule}]"


def _comments(content: bytes) -> Iterator[tuple[int, int, str, Reach]]:
    """Give line, column and text of the comments, and how far pylint lets each reach."""
    import tokenize  # noqa: PLC0415  (most runs need none)

    skipped = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.COMMENT}
    waiting: list[tuple[int, int, str]] = []
    depth = brackets = code_line = last = 0
    try:
        for token in tokenize.tokenize(io.BytesIO(content).readline):
            last = token.start[0]
            if token.type == tokenize.INDENT:
                depth += 1
            elif token.type == tokenize.DEDENT:
                depth -= 1
            elif token.type == tokenize.COMMENT:
                if brackets > 0 or code_line == token.start[0]:
                    bare = BARE_HEAD.fullmatch(token.line[: token.start[1]].rstrip())
                    yield *token.start, token.string, Reach.BLOCK if bare else Reach.LINE
                else:
                    waiting.append((*token.start, token.string))
            elif token.type not in skipped:
                for comment in waiting:
                    # It stands in the block of the statement that follows it.
                    yield *comment, Reach.BLOCK if depth else Reach.MODULE
                waiting.clear()
                code_line = token.end[0]
                if token.type == tokenize.OP:
                    brackets += (token.string in "([{") - (token.string in ")]}")
    except (tokenize.TokenError, SyntaxError, ValueError):
        yield from ((*comment, Reach.MODULE) for comment in waiting)
        for number, line in enumerate(content.splitlines()[last:], last + 1):
            if b"#" in line:
                column = line.index(b"#")
                text = line[column:].decode("utf-8", "replace")
                yield number, column, text, Reach.LINE if line[:column].strip() else Reach.MODULE
