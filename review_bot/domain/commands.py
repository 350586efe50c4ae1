"""What comments and the command line ask the bot to do.

A command stands on a line with a mention of the bot: ``@autogate r+ p=5``. `TABLE` describes every command.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby, islice

from markdown_it import MarkdownIt

from .model import Rollup

MAX_CHARACTERS = 65536
"""So much of a comment is read, which is all that GitHub lets anybody write."""

MAX_COMMANDS = 20
"""So many commands of one comment are obeyed."""

MAX_NUMBER = 1_000_000
"""Priorities lie between this and its negative."""

MAX_WORD = 100
MAX_REASON = 300
"""So many characters of a word and of a reason are kept."""


class Right(StrEnum):
    """Who may give a command, in words for people."""

    ANYONE = "anyone"
    TRY = "reviewers, try users, and delegates of the pull request"
    APPROVE = "reviewers, and delegates of the pull request"
    WITHDRAW = "reviewers, delegates of the pull request, its author, and who approved it"
    REVIEW = "reviewers"


@dataclass(frozen=True)
class Approve:
    """Approve a head.

    Attributes:
        sha: The SHA in lower case, perhaps too short; None for the head at the comment's time.
        reviewer: Who stands for it; None for the comment's author.
    """

    sha: str | None = None
    reviewer: str | None = None


@dataclass(frozen=True)
class Unapprove:
    """Take an approval back."""


@dataclass(frozen=True)
class SetPriority:
    """Set the priority."""

    value: int


@dataclass(frozen=True)
class Try:
    """Test the pull request without landing it."""


@dataclass(frozen=True)
class StopTry:
    """Stop its try build."""


@dataclass(frozen=True)
class Retry:
    """Put it back into the queue after a setback."""


@dataclass(frozen=True)
class Delegate:
    """Let somebody approve this pull request."""

    to: str


@dataclass(frozen=True)
class DelegateAuthor:
    """Let the author approve this pull request."""


@dataclass(frozen=True)
class Undelegate:
    """Take every delegation of this pull request back."""


@dataclass(frozen=True)
class SetRollup:
    """Say whether it may be tested together with others."""

    value: Rollup


@dataclass(frozen=True)
class CloseTree:
    """Freeze the pull request's target for everything below a priority."""

    priority: int
    reason: str = ""


@dataclass(frozen=True)
class OpenTree:
    """End the freeze of the pull request's target."""


@dataclass(frozen=True)
class Cancel:
    """Stop the attempt that the pull request is in, and set it aside."""


@dataclass(frozen=True)
class Ping:
    """Ask whether the bot is there."""


@dataclass(frozen=True)
class HelpAsked:
    """Ask for the list of commands."""


@dataclass(frozen=True)
class Unintelligible:
    """A word that stands where a command should and is none; at most one a comment.

    Attributes:
        word: The word, at most `MAX_WORD` characters.
        instead: What to write instead, where that is known.
    """

    word: str
    instead: str = ""


Known = (
    Approve
    | Unapprove
    | SetPriority
    | Try
    | StopTry
    | Retry
    | Delegate
    | DelegateAuthor
    | Undelegate
    | SetRollup
    | CloseTree
    | OpenTree
    | Cancel
    | Ping
    | HelpAsked
)
Command = Known | Unintelligible


@dataclass(frozen=True)
class Described:
    """A command for people.

    Attributes:
        spellings: How it is written, the plainest first.
        right: Who may give it.
        does: What it does, as a clause without subject and full stop.
    """

    spellings: tuple[str, ...]
    right: Right
    does: str


TABLE: Mapping[type[Known], Described] = {
    Approve: Described(
        ("r+", "r+ SHA", "r=NAME", "r=NAME SHA"),
        Right.APPROVE,
        "approves the newest commit, or the one that `SHA` names in full; `r=NAME` does so in somebody's name",
    ),
    Unapprove: Described(("r-",), Right.WITHDRAW, "takes the approval back"),
    SetPriority: Described(
        ("p=N",), Right.TRY, "sets the priority: higher goes first, 0 is usual, negative is allowed"
    ),
    Try: Described(("try",), Right.TRY, "merges and tests it without landing it; needs no approval"),
    StopTry: Described(("try-",), Right.TRY, "stops its try build"),
    Retry: Described(("retry",), Right.TRY, "puts it back into the queue after a failure, a timeout or `cancel`"),
    Cancel: Described(("cancel",), Right.TRY, "stops its test and sets it aside; the approval stays, `retry` goes on"),
    SetRollup: Described(
        ("rollup=never", "rollup=maybe", "rollup=always"),
        Right.TRY,
        "says whether it may be tested together with others; `rollup` is `always`, `rollup-` is `maybe`",
    ),
    Delegate: Described(("delegate=NAME",), Right.REVIEW, "lets `NAME` approve this pull request"),
    DelegateAuthor: Described(("delegate+",), Right.REVIEW, "lets the author approve this pull request"),
    Undelegate: Described(
        ("delegate-",), Right.REVIEW, "takes back who may approve it, and an approval that was given so"
    ),
    CloseTree: Described(
        ("treeclosed=N [REASON]",),
        Right.REVIEW,
        "freezes the target: only priority `N` and higher lands; the rest of the line is the reason",
    ),
    OpenTree: Described(("treeclosed-",), Right.REVIEW, "ends the freeze"),
    Ping: Described(("ping",), Right.ANYONE, "answers, to show that the bot is there"),
    HelpAsked: Described(("help",), Right.ANYONE, "shows this list"),
}

_WORDS: Mapping[str, Known] = {
    "r+": Approve(),
    "r=me": Approve(),
    "r-": Unapprove(),
    "try": Try(),
    "try+": Try(),
    "try-": StopTry(),
    "retry": Retry(),
    "delegate+": DelegateAuthor(),
    "delegate-": Undelegate(),
    "rollup": SetRollup(Rollup.ALWAYS),
    "rollup+": SetRollup(Rollup.ALWAYS),
    "rollup-": SetRollup(Rollup.MAYBE),
    **{f"rollup={value}": SetRollup(value) for value in Rollup},
    "treeclosed-": OpenTree(),
    "cancel": Cancel(),
    "ping": Ping(),
    "help": HelpAsked(),
}

HOMU_ONLY: Mapping[str, str] = {
    "force": "cancel",
    "clean": "retry",
    "squash": "git rebase --interactive",
    "rollup=iffy": "rollup=never",
}
"""Homu's words that do not exist here -> what to use instead."""

_INSTEAD: Mapping[str, str] = {
    **HOMU_ONLY,
    **{
        word: instead
        for instead, words in {
            "r+": "r r++ +1 approve approved approve+ lgtm merge merge+ accept land ship shipit",
            "r-": "unapprove disapprove reject merge- approve-",
            "r=NAME": "r=",
            "p=N": "p priority",
            "try": "test build",
            "try-": "untry",
            "retry": "again rebuild recheck rerun restart requeue",
            "cancel": "abort stop",
            "rollup=maybe": "rollup=",
            "delegate=NAME": "delegate delegate= d d=",
            "delegate+": "d+",
            "delegate-": "undelegate d-",
            "treeclosed=N": "treeclosed treeclosed+ freeze closetree",
            "treeclosed-": "treeopen unfreeze thaw opentree",
            "ping": "hello hi",
            "help": "? commands usage",
        }.items()
        for word in words.split()
    },
}
_INSTEAD_BEFORE_EQUALS = {
    "rollup": "rollup=maybe",
    "p": "p=N",
    "priority": "p=N",
    "treeclosed": "treeclosed=N",
    "r": "r=NAME",
    "delegate": "delegate=NAME",
    "d": "delegate=NAME",
}

_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"\w")
_NUMBER = re.compile(r"[+-]?[0-9]{1,7}")
_NAME = re.compile(r"@?([\w.+,'/@\[\]-]{1,100})")
_SHA = re.compile(r"[0-9a-f]{4,}")
_COMMAND_LIKE = re.compile(r"[a-z]+(?:[+-]|=.*)")
_PUNCTUATION = ".,;:!?*)\"'"

# the block structure is CommonMark's; words within a paragraph are read here, which is faster and is all that is needed
_BLOCKS = (
    MarkdownIt("zero", {"html": True})
    .enable(
        ["blockquote", "code", "fence", "heading", "hr", "html_block", "lheading", "list", "paragraph", "reference"]
    )
    .disable("inline", ignoreInvalid=True)
)
_GITLAB_QUOTE = ">>>"
_BACKTICKS = re.compile("`+")
_HIDING = re.compile(r"`+|<!--")
_LINK_TARGET = re.compile(r"\]\([^()\n]*\)")
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_BLANK = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


def parse(body: str, bot: str) -> tuple[Command, ...]:
    """Read the commands out of a comment in Markdown.

    Only what is written after a mention, on the mention's line, counts, up to the first word that is no command.
    Nothing counts in code, quotes, HTML comments and HTML blocks, nor on a line with characters that change the order
    of reading. A word directly after the mention that is no command gives an `Unintelligible`; in mid-sentence only if
    it resembles a command. So does a word after a command that looks like another.

    Args:
        body: The comment, as written by anybody.
        bot: The bot's name, without ``@``.

    Returns:
        The commands in order, repetitions dropped, at most `MAX_COMMANDS`.
    """
    mention = re.compile(rf"(?<![^\s(\[{{*,;:>])@{re.escape(bot)}(?=[,:.;!?)*]*(?:\s|$))[,:.;!?)*]*", re.IGNORECASE)
    text = body[:MAX_CHARACTERS]
    if f"@{bot}".lower() not in text.lower():
        return ()
    read = (command for line in _lines(text) for command in _commands(line, mention))
    return tuple(islice(_one_answer(command for command, _same in groupby(read)), MAX_COMMANDS))


def _one_answer(commands: Iterator[Command]) -> Iterator[Command]:
    answered = False
    for command in commands:
        if isinstance(command, Unintelligible):
            if answered:
                continue
            answered = True
        yield command


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that people read as the author's own words."""
    quoted = _gitlab_quotes(text)
    depth = 0
    for token in _BLOCKS.parse(text):
        if token.type.startswith("blockquote"):
            depth += token.nesting
        elif token.type == "inline" and depth == 0 and token.map and token.map[0] not in quoted:
            shown = _LINK_TARGET.sub("]", _without_hidden(token.content))
            for line in shown.split("\n"):
                if not _REORDERING.search(line):
                    yield _with_plain_spaces(line)


def _gitlab_quotes(text: str) -> frozenset[int]:
    """Return the numbers of the lines between two lines of ``>>>``, which GitLab shows as a quote."""
    marks = [number for number, line in enumerate(re.split(r"\r\n?|\n", text)) if line.rstrip() == _GITLAB_QUOTE]
    return frozenset(
        number for start, end in zip(marks[::2], marks[1::2], strict=False) for number in range(start, end)
    )


def _without_hidden(text: str) -> str:
    """Take the comments out of a paragraph, and make each code span a single word that mentions nobody."""
    runs: dict[int, list[int]] = defaultdict(list)
    for run in _BACKTICKS.finditer(text):
        runs[len(run[0])].append(run.start())
    last_comment_end = text.rfind("-->")
    shown: list[str] = []
    position = 0
    while found := _HIDING.search(text, position):
        shown.append(text[position : found.start()])
        mark, position = found[0], found.end()
        if _is_escaped(text, found.start()):
            position = found.start() + 1
            shown.append(mark[0])
        elif mark == "<!--":
            hides = position <= last_comment_end
            shown.append(" " if hides else mark)
            position = text.index("-->", position) + 3 if hides else position
        else:
            same = runs[len(mark)]
            index = bisect_left(same, position)
            if index == len(same):
                shown.append(mark)
                continue
            shown.append("`" + "_".join(text[position : same[index]].replace("@", "_").split()) + "`")
            position = same[index] + len(mark)
    return "".join([*shown, text[position:]])


def _is_escaped(text: str, position: int) -> bool:
    start = position
    while start and text[start - 1] == "\\":
        start -= 1
    return (position - start) % 2 == 1


def _with_plain_spaces(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line
    return "".join(" " if unicodedata.category(character) in _BLANK else character for character in line)


def _commands(line: str, mention: re.Pattern[str]) -> Iterator[Command]:
    mentions = list(mention.finditer(line))
    ends = [*(found.start() for found in mentions[1:]), len(line)]
    for found, end in zip(mentions, ends, strict=False):
        words = deque(_WORD.finditer(line, found.end(), end))
        in_sentence = bool(_LETTER.search(line, 0, found.start()))
        while words:
            here = words.popleft()
            word = _bare(here[0])
            command = _command(word)
            if command is None:
                if _deserves_an_answer(word, in_sentence=in_sentence):
                    yield Unintelligible(word, _instead(word))
                break
            if isinstance(command, CloseTree):
                yield replace(command, reason=" ".join(line[here.end() :].split())[:MAX_REASON])
                return
            if isinstance(command, Approve) and words and _SHA.fullmatch(_bare(words[0][0]).lower()):
                command = replace(command, sha=_bare(words.popleft()[0]).lower())
            yield command
            in_sentence = True


def _bare(word: str) -> str:
    return word[:MAX_WORD].rstrip(_PUNCTUATION) or word[:MAX_WORD]


def _command(word: str) -> Known | None:
    """Read a word that is a whole command, but for what may follow it."""
    plain = word.lower()
    if plain in _WORDS:
        return _WORDS[plain]
    key, equals, value = word.partition("=")
    named = _NAME.fullmatch(value) if equals else None
    number = int(value) if equals and _NUMBER.fullmatch(value) else None
    fits = number is not None and abs(number) <= MAX_NUMBER
    match key.lower():
        case "r" if named:
            return Approve(reviewer=named[1])
        case "delegate" if named:
            return Delegate(named[1])
        case "p" if number is not None and fits:
            return SetPriority(number)
        case "treeclosed" if number is not None and fits:
            return CloseTree(number)
    return None


def _deserves_an_answer(word: str, *, in_sentence: bool) -> bool:
    if _COMMAND_LIKE.fullmatch(word.lower()) or word.lower() in HOMU_ONLY:
        return True
    return not in_sentence and (bool(_LETTER.search(word)) or bool(_instead(word)))


def _instead(word: str) -> str:
    plain = word.lower()
    if plain in _INSTEAD:
        return _INSTEAD[plain]
    if plain.startswith("`"):
        quoted = plain.strip("`")
        return quoted if _command(quoted) else ""
    if plain.startswith("r+"):
        return "r+"
    return _INSTEAD_BEFORE_EQUALS.get(plain.partition("=")[0], "") if "=" in plain else ""
