"""A page about a lint run for Buildbot's UI: a piece of HTML without script, in which all text is escaped."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape

from autogate import linelinks
from worker.lint.model import Figures, Message, Outcome
from worker.lint.output.sections import Entry, File, Section, sections
from worker.lint.output.visible import visible
from worker.lint.output.words import count, figures

MAX_ENTRIES = 1000
"""Buildbot's UI shows the page as a whole."""

# Buildbot shows the piece within its own page, so that each rule names it; the colours are the browser's.
STYLE = """\
<style>
.autogate-lint { color-scheme: light dark; background: Canvas; color: CanvasText; padding: 1em; line-height: 1.5 }
.autogate-lint h3 { font-size: 1.2em; margin: 1.2em 0 .3em }
.autogate-lint h4 { font: bold 1em monospace; margin: .9em 0 .3em; overflow-wrap: anywhere }
.autogate-lint a { color: LinkText }
.autogate-lint ul { list-style: none; margin: 0; padding: 0 }
.autogate-lint li { border-left: 4px solid GrayText; margin: .4em 0; padding-left: .7em; overflow-wrap: anywhere }
.autogate-lint li.fatal, .autogate-lint li.error { border-color: #d33 }
.autogate-lint li.warning { border-color: #d80 }
.autogate-lint .lines { white-space: pre-wrap }
.autogate-lint .faint { opacity: .75 }
.autogate-lint pre { background: none; color: inherit; margin: 0; overflow-x: auto }
.autogate-lint code { color: inherit }
.autogate-lint mark { background: none; color: inherit; font-weight: bold; text-decoration: underline }
</style>
"""


def page(outcome: Outcome, summary: str, link: str, revision: str) -> str:
    """Return the page, in ASCII.

    Args:
        outcome: What the lint program found.
        summary: Its line for all of it.
        link: Address of a line at the forge, a template of `autogate.linelinks`; empty for none.
        revision: The commit that is judged. What was fixed is shown at the outcome's base.
    """
    shown = replace(outcome, findings=outcome.findings[:MAX_ENTRIES])
    now, before = _Links(link, revision), _Links(link, outcome.base)
    cost = f"Compared with {_text(visible(outcome.base))}: {_text(_cost(outcome.figures))}"
    parts = [
        f"<p><strong>{_text(visible(summary))}</strong></p>\n<p class='faint'>{cost}</p>\n",
        *(_section(section, now) for section in sections(shown)),
        _more(len(outcome.findings)),
        _fixed(outcome.fixed, before),
    ]
    if outcome.old:
        parts.append(f"<h3>Old</h3>\n<p>{outcome.old} in changed files were there before, and are left alone.</p>\n")
    text = f'<div class="autogate-lint">\n{STYLE}{"".join(parts)}</div>\n'
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


class _Links:
    """Addresses at the forge.

    Args:
        template: As `page` has it.
        revision: The commit that they show.
    """

    def __init__(self, template: str, revision: str) -> None:
        self._template = template
        self._revision = revision

    def to(self, shown: str, path: str, line: int) -> str:
        """Return a link with a text that is HTML already; the text alone when there is no template."""
        if not self._template:
            return shown
        address = linelinks.fill(self._template, self._revision, path, line)
        return f'<a href="{escape(address)}" rel="noopener noreferrer">{shown}</a>'


def _section(section: Section, links: _Links) -> str:
    title = f"<h3>{_text(section.title or 'Findings')}</h3>\n"
    files = "".join(_file(file, links) for file in section.files)
    return title + files + _list(f"<li>{_text(sentence)}</li>\n" for sentence in section.sentences)


def _file(file: File, links: _Links) -> str:
    title = f"<h4>{links.to(_text(file.name), file.path, 1)}</h4>\n"
    return title + _list(_entry(entry, file.path, links) for entry in file.entries)


def _entry(entry: Entry, path: str, links: _Links) -> str:
    place = links.to(f"{entry.line}:{entry.column}", path, entry.line)
    passed = "" if entry.fails else " <span class='faint'>let pass</span>"
    line = entry.excerpt
    source = f"<pre>{escape(line.before)}<mark>{escape(line.marked)}</mark>{escape(line.after)}</pre>" if line else ""
    return (
        f'<li class="{entry.severity.value}">{place} {entry.severity.value}: {_text(entry.text)} '
        f"<code>{_text(entry.symbol)}</code>{passed}{source}</li>\n"
    )


def _fixed(messages: Sequence[Message], links: _Links) -> str:
    if not messages:
        return ""
    items = (
        f"<li>{links.to(f'{_text(visible(each.path))}:{each.line}', each.path, each.line)} "
        f"{_text(visible(each.text, lines=True))} <code>{_text(visible(each.symbol))}</code></li>\n"
        for each in messages[:MAX_ENTRIES]
    )
    return f"<h3>Fixed</h3>\n{_list(items)}{_more(len(messages))}"


def _more(total: int) -> str:
    left = total - MAX_ENTRIES
    return f"<p>… and {left} more</p>\n" if left > 0 else ""


def _list(items: Iterable[str]) -> str:
    text = "".join(items)
    return f"<ul>\n{text}</ul>\n" if text else ""


def _cost(cost: Figures) -> str:
    return f"{count(cost.files, 'changed file')}, {count(cost.dependents, 'dependent file')}, {figures(cost)}"


def _text(text: str) -> str:
    return f'<span class="lines">{escape(text)}</span>' if "\n" in text else escape(text)
