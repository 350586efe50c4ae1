"""Where the command prints: results on the standard output, everything about them on the standard error."""

import re
import sys

from rich.console import Console
from rich.text import Text

from autogate.settings import Settings

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PIPE_WIDTH = 240
"""Columns where there is no terminal: paths in a log should not be folded."""


def out() -> Console:
    """Return the console of the standard output, as it is now."""
    return _console(stderr=False)


def err() -> Console:
    """Return the console of the standard error, as it is now."""
    return _console(stderr=True)


def say(line: str, style: str = "") -> None:
    """Print a line on the standard error, unfolded, with nothing in it taken as markup."""
    err().print(plain(line, style), soft_wrap=True)


def fail(message: str, cure: str = "") -> None:
    """Print what went wrong and what to do about it."""
    line = Text.assemble(("error: ", "bold red"), plain(message))
    if cure:
        line.append_text(Text.assemble((" → ", "bold"), plain(cure)))
    err().print(line, soft_wrap=True)


def warn(message: str) -> None:
    """Print something that does not stop the command."""
    err().print(Text.assemble(("warning: ", "bold yellow"), plain(message)), soft_wrap=True)


def warn_of_problems(settings: Settings) -> None:
    """Say which repositories are left out, and why."""
    for problem in settings.problems:
        warn(f"left out: {problem}")


def plain(text: str, style: str = "") -> Text:
    """Return text that cannot command the terminal, whoever wrote it."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n")), style=style)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _PIPE_WIDTH, highlight=False)
