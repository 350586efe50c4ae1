"""What a change introduces: the messages after it minus the messages before it.

Two messages are the same when linter, symbol, wording, enclosing object and the text of the line are. Of the wording,
names count and free-standing numbers do not (``line 12``, ``(7/5)``). Of the line, white space does not count, and of
the head of a function or class only its name does, so that an old function that gets a parameter more stays old. What
is about a module as a whole has no line. Messages are counted: the same error a second time is new.

What finds no partner is looked for, where the change touches its file,

1. in another object of the file: a class was renamed, a block was wrapped;
2. in the same object, on a line that the change made into a similar one: it had this error, and has it still;
3. in the other changed files, when it stands on a line that the change adds: code that moved is added where it
   arrives, while an old line that becomes wrong is not.

So an error that is taken away in one place and written again, by the same words, in another is code that moved.

Files that the change does not touch (dependents) are compared with themselves only. Of equal messages those on lines
that the change does not touch are the old ones.

Where a file's messages were hidden before (a syntax error, ``skip-file``, a linter that did not get to its end), what
shows on lines that the change does not touch is old: the code was there.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass

from .model import ChangedFile, Message, Severity

Said = tuple[Message, str]
"""A message, and the line of code that it is about, with or without its end."""

UNPARSABLE = frozenset({"syntax-error", "parse-error", "invalid-syntax", "E902", "E999"})
"""What pylint and ruff call a file that they cannot read; they say little or nothing else of it."""

ABOUT_FILES = frozenset(
    {
        "missing-module-docstring",
        "too-many-lines",
        "missing-final-newline",
        "trailing-newlines",
        "mixed-line-endings",
        "unexpected-line-ending-format",
        "non-ascii-file-name",
        "cyclic-import",
        "duplicate-code",
        "D100",
        "D104",
        "INP001",
        "W292",
        "W391",
    }
)
"""Messages about a whole file or more that stand on some line of it."""

ABOUT_LENGTH = frozenset(
    {
        "line-too-long",
        "too-many-arguments",
        "too-many-positional-arguments",
        "too-many-ancestors",
        "E501",
        "PLR0913",
        "PLR0917",
    }
)
"""Messages whose point is how long something is: editing it makes them anew."""

SIMILAR = 0.6
"""The least likeness of two lines, from 0 to 1, of which one was made from the other."""

COMPARED_CHARACTERS = 200
COMPARED_LINES = 20

PLACE = re.compile(r"\((?:[^()\n]*, )?line \d+\)")
QUOTED = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*"|`[^`\n]*`)(?!\w)""")
NUMBER = re.compile(r"(?<!\w)(?:\d++(?:\.\d++)*+|0x[0-9a-fA-F]++)(?!\w)")
HEAD = re.compile(r"\s*(?:async\s+)?(def|class)\s+(\w+)")
KIND = re.compile(r"^(?:Function|Method) name\b")
NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
LINE_END = re.compile(r"\r\n|\r|\n")
SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the messages.

    Attributes:
        new: What the change introduces, by place.
        fixed: What it did away with, by place in the tree before.
        old: What is there after the change and was there before (or would have been, had nothing hidden it), by place.
    """

    new: tuple[Said, ...] = ()
    fixed: tuple[Message, ...] = ()
    old: tuple[Said, ...] = ()


def compare(
    before: Mapping[str, Collection[Said]],
    after: Mapping[str, Collection[Said]],
    changes: Iterable[ChangedFile],
    hidden_before: Collection[tuple[str, str]] = (),
    hidden_after: Collection[tuple[str, str]] = (),
) -> Comparison:
    """Tell what a change introduces from what was there.

    Args:
        before: Path before the change -> what linters say of the file; changed files and dependents.
        after: The same after the change.
        changes: All files that the change touches; any other file is a dependent.
        hidden_before: Files, by path, and linters (``pylint``, ``ruff``) that could say nothing of them before the
            change, but for syntax errors, which are seen here.
        hidden_after: The same after the change: what was said of them before is not fixed.
    """
    return _Comparing(before, after, tuple(changes), hidden_before, hidden_after).result()


def with_lines(messages: Iterable[Message], content: bytes | None) -> list[Said]:
    """Return messages about a file with the line of its content that each is about; empty when it is about none."""
    lines = LINE_END.split((content or b"").decode("utf-8", "replace").removeprefix("\ufeff"))
    return [
        (message, "" if _is_about_file(message) or not 0 < message.line <= len(lines) else lines[message.line - 1])
        for message in messages
    ]


def wording(text: str) -> str:
    """Return what a message says, without free-standing numbers and with white space folded."""
    text = PLACE.sub("()", text)
    parts: list[str] = []
    end = 0
    for quoted in QUOTED.finditer(text):
        parts += [NUMBER.sub("", text[end : quoted.start()]), quoted[0]]
        end = quoted.end()
    return SPACE.sub(" ", "".join([*parts, NUMBER.sub("", text[end:])])).strip()


class _Place:
    """A message with what is compared of it.

    Attributes:
        file: Its path before the change.
        line: Linter, symbol and the text of the line.
        words: The message's wording.
        words_anywhere: The same without the names of the objects and the module that it is in, which move along.
        of_object: All but the line.
        is_edited: Whether the line may have been made from another.
    """

    __slots__ = (
        *("file", "is_edited", "line", "message", "of_object", "on_added_line", "said", "source", "touched", "whole"),
        *("words", "words_anywhere"),
    )

    def __init__(self, said: Said, file: str, *, touched: bool, on_added_line: bool) -> None:
        self.said = said
        self.message = message = said[0]
        self.file = file
        self.touched = touched
        self.on_added_line = on_added_line
        self.whole = _is_about_file(message)
        self.line = (message.linter, message.symbol, "" if self.whole else _anchor(message.symbol, said[1]))
        self.source = said[1]
        self.words = wording(message.text)
        self.of_object = (file, message.linter, message.symbol, self.words, message.scope)
        self.is_edited = on_added_line and not self.whole and message.symbol not in ABOUT_LENGTH
        self.words_anywhere = _without_own_names(self.words, message)


class _Comparing:
    """Pairs off messages, pass after pass."""

    def __init__(
        self,
        before: Mapping[str, Collection[Said]],
        after: Mapping[str, Collection[Said]],
        changes: tuple[ChangedFile, ...],
        hidden_before: Collection[tuple[str, str]],
        hidden_after: Collection[tuple[str, str]],
    ) -> None:
        added = {change.after: change.added_lines for change in changes if change.after is not None}
        origin = {change.after: change.before for change in changes if change.after and change.before}
        touched = {change.before for change in changes}
        unseen = _unparsable(before) | set(hidden_before)
        lost = _unparsable(after) | set(hidden_after)
        self.lost = {(origin.get(path, path), linter) for path, linter in lost}
        self.before = [
            _Place(said, path, touched=path in touched, on_added_line=False)
            for path, all_said in before.items()
            for said in all_said
        ]
        self.after: list[_Place] = []
        self.old: list[_Place] = []
        for path, all_said in after.items():
            # A path that is new in the tree is no dependent, and has no counterpart before.
            file = origin.get(path, path) if path not in added or path in origin else f"{path}\0"
            for said in all_said:
                message = said[0]
                place = _Place(said, file, touched=path in added, on_added_line=message.line in added.get(path, ()))
                revealed = (file, message.linter) in unseen and message.symbol not in UNPARSABLE
                (self.old if revealed and (place.whole or not place.on_added_line) else self.after).append(place)
        self.before.sort(key=_by_place)
        self.arrivals = Counter((place.file, *place.line) for place in self.after if place.on_added_line)
        # The first of equals are the old ones: on untouched lines, and in the file of the same path.
        self.after.sort(key=lambda place: (place.on_added_line, place.message.path != place.file, _by_place(place)))

    def result(self) -> Comparison:
        self._pair(lambda place: (place.file, *place.line, place.words, place.message.scope))
        self._pair(lambda place: (place.file, *place.line, place.words))
        self._pair(lambda place: (place.file, *place.line, place.words_anywhere))
        self._pair_edited()
        self.before = [place for place in self.before if (place.file, place.message.linter) not in self.lost]
        self._pair(lambda place: (*place.line, place.words), _moves, self._arrives)
        self._pair(lambda place: (*place.line, place.words_anywhere), _moves, self._arrives)
        return Comparison(
            tuple(place.said for place in sorted(self.after, key=_by_place)),
            tuple(place.message for place in self.before),
            tuple(place.said for place in sorted(self.old, key=_by_place)),
        )

    def _pair_edited(self) -> None:
        """Take away those before and after that say the same of one object, on similar lines."""
        waiting: dict[Hashable, list[_Place]] = defaultdict(list)
        for place in self.before:
            waiting[place.of_object].append(place)
        gone: set[_Place] = set()
        left: list[_Place] = []
        for place in self.after:
            candidates = waiting.get(place.of_object, []) if place.is_edited else []
            likeness = [_likeness(each.source, place.source) for each in candidates[:COMPARED_LINES]]
            best = max(range(len(likeness)), key=likeness.__getitem__, default=None)
            if best is None or likeness[best] < SIMILAR:
                left.append(place)
            else:
                gone.add(candidates.pop(best))
                self.old.append(place)
        self.before = [place for place in self.before if place not in gone]
        self.after = left

    def _arrives(self, place: _Place) -> bool:
        """Tell whether a message may be about code that came from elsewhere.

        Of lines with the same text git may call any added: as many as it calls so may have come.
        """
        if not _moves(place) or not self.arrivals[place.file, *place.line]:
            return False
        self.arrivals[place.file, *place.line] -= 1
        return True

    def _pair(
        self,
        key: Callable[[_Place], Hashable],
        leaves: Callable[[_Place], bool] = lambda _: True,
        arrives: Callable[[_Place], bool] = lambda _: True,
    ) -> None:
        """Take away those before and after that have the same key, one by one."""
        waiting: dict[Hashable, list[int]] = defaultdict(list)
        for index in range(len(self.before) - 1, -1, -1):
            if leaves(self.before[index]):
                waiting[key(self.before[index])].append(index)
        gone: set[int] = set()
        left: list[_Place] = []
        for place in self.after:
            candidates = waiting.get(key(place))
            if candidates and arrives(place):
                gone.add(candidates.pop())
                self.old.append(place)
            else:
                left.append(place)
        self.before = [place for index, place in enumerate(self.before) if index not in gone]
        self.after = left


def _unparsable(side: Mapping[str, Collection[Said]]) -> set[tuple[str, str]]:
    return {
        (path, message.linter)
        for path, all_said in side.items()
        for message, _ in all_said
        if message.symbol in UNPARSABLE or message.severity is Severity.FATAL
    }


def _is_about_file(message: Message) -> bool:
    return message.whole or message.symbol in ABOUT_FILES


def _moves(place: _Place) -> bool:
    return place.touched and not place.whole


def _by_place(place: _Place) -> tuple[str, int, int, str, str, str, str]:
    message = place.message
    return message.path, message.line, message.column, message.linter, message.symbol, message.text, message.scope


def _anchor(symbol: str, source: str) -> str:
    """Return what counts of the text of a line."""
    head = None if symbol in ABOUT_LENGTH else HEAD.match(source)
    return f"{head[1]} {head[2]}" if head else SPACE.sub("", source)


def _likeness(one: str, other: str) -> float:
    import difflib  # noqa: PLC0415  (rarely needed)

    first, second = (text.strip()[:COMPARED_CHARACTERS] for text in (one, other))
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()


def _without_own_names(words: str, message: Message) -> str:
    parts = message.path.removesuffix(".py").removesuffix("/__init__").split("/")
    modules = {".".join(parts[start:]) for start in range(len(parts))}
    own = modules | set(message.scope.split(".")) | {message.scope}
    words = KIND.sub("", words)
    return QUOTED.sub(lambda quoted: NAME.sub(lambda name: "@" if name[0] in own else name[0], quoted[0]), words)
