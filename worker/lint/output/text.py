"""The format for people."""

from collections.abc import Iterator

from worker.lint.model import Outcome, Severity

from .excerpt import Excerpt
from .sections import Entry, File, Section, sections
from .words import figures, summary

BOLD, RED, YELLOW, BLUE, GREEN = "1", "31", "33", "36", "32"
COLOURS = {Severity.FATAL: RED, Severity.ERROR: RED, Severity.WARNING: YELLOW}
INDENT = "    "


def render(outcome: Outcome, *, colour: bool = False) -> str:
    """Return the findings by file, each with its line of code, what else is to be said, and the summary as last line.

    Lines and columns count from 1, columns in characters.

    Args:
        outcome: What the lint program found.
        colour: Whether to use a terminal's colours.
    """
    page = _Page(colour=colour)
    parts = [page.section(section) for section in sections(outcome)]
    passes = GREEN if outcome.exit_code == 0 else RED
    parts.append(f"{page.paint(summary(outcome), BOLD, passes)} ({figures(outcome.figures)})\n")
    return "\n".join(parts)


class _Page:
    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def paint(self, text: str, *styles: str) -> str:
        return f"\x1b[{';'.join(styles)}m{text}\x1b[0m" if self._colour else text

    def section(self, section: Section) -> str:
        title = f"{self.paint(section.title, BOLD)}:\n" if section.title else ""
        files = "\n".join("".join(self._file(file)) for file in section.files)
        return title + files + "".join(f"{_indented(sentence, '  ')}\n" for sentence in section.sentences)

    def _file(self, file: File) -> Iterator[str]:
        for entry in file.entries:
            yield self._entry(file.name, entry)
            if entry.excerpt:
                yield self._excerpt(entry.excerpt)

    def _entry(self, name: str, entry: Entry) -> str:
        place = self.paint(f"{name}:{entry.line}:{entry.column}", BOLD)
        severity = self.paint(entry.severity, COLOURS.get(entry.severity, BLUE))
        text = _indented(entry.text, INDENT).strip()
        return f"{place}: {severity}: {text} ({entry.symbol}{'' if entry.fails else ', let pass'})\n"

    def _excerpt(self, excerpt: Excerpt) -> str:
        line = f"{excerpt.before}{excerpt.marked}{excerpt.after}".rstrip()
        caret = self.paint("^" * excerpt.width, RED)
        return f"{INDENT}| {line}\n{INDENT}| {' ' * excerpt.indent}{caret}\n"


def _indented(text: str, indent: str) -> str:
    return "\n".join(f"{indent}{line}".rstrip() for line in text.split("\n"))
