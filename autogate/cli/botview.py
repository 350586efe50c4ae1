"""What the bot tells, as people read it: pure."""

import re
from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autogate.botapi import Attempt, Builder, Happening, PullRequest, PullRequestDetail, Queue, Repository, Target
from autogate.contract import Result

from .console import plain

SHORT_SHA = 12
SHOWN_HAPPENINGS = 15

_STATES = {
    "open": "",
    "queued": "cyan",
    "testing": "blue",
    "passed": "green",
    "landing": "green",
    "aside": "red",
    "landed": "bold green",
    "closed": "dim",
}

_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of writing."""

_PASSED = {Result.SUCCESS, Result.WARNINGS}


def queue(shown: Queue) -> RenderableType:
    """Return a repository's queue: what holds for its targets, and a row a pull request."""
    table = Table("PR", "title", "author", "head", "approved by", "priority", "state", "why")
    for pull in shown.entries:
        state = f"{pull.state} {pull.position}" if pull.position else pull.state
        table.add_row(
            f"#{pull.number}",
            plain(_line(pull.title)),
            plain(_line(pull.author)),
            pull.head[:SHORT_SHA],
            plain(_line(pull.approved_by or "")),
            str(pull.priority or ""),
            Text(state, _STATES[pull.state]),
            plain(_line(pull.waiting)),
        )
    lines = [*repository(shown.repository), *(attempt(one) for one in shown.tries)]
    if not shown.entries:
        return Group(*lines, Text("  no open pull requests"))
    more = shown.total - len(shown.entries)
    return Group(*lines, table, *([Text(f"and {more} more: --limit shows them")] if more else []))


def repository(shown: Repository) -> list[Text]:
    """Return what holds for a repository, a line each."""
    lines = [Text(shown.name, "bold")]
    if shown.pause:
        reason = f": {_line(shown.pause.reason)}" if shown.pause.reason else ""
        lines.append(plain(f"  paused by {_line(shown.pause.by)}{reason}", "bold yellow"))
    for one in shown.targets:
        lines += _target(one)
    return lines


def attempt(shown: Attempt) -> Text:
    """Return an attempt in a line: what is in it, and what each builder says."""
    members = ", ".join(f"#{member.number}" for member in shown.members)
    line = plain(f"  attempt {shown.id} ({shown.kind} {shown.target}, {shown.stage}): {members}")
    for builder in shown.builders:
        line.append("  ").append_text(_builder(builder))
    if shown.complaint:
        line.append_text(plain(f"  {_line(shown.complaint)}", "yellow"))
    return line


def pull_request(shown: PullRequestDetail) -> RenderableType:
    """Return all about a pull request."""
    pull = shown.pull
    facts = [f"{pull.source} → {pull.target}", f"head {pull.head}", f"by {pull.author}" if pull.author else ""]
    if pull.approved_by:
        facts.append(f"approved by {pull.approved_by}")
    if pull.priority:
        facts.append(f"priority {pull.priority}")
    lines: list[RenderableType] = [
        headline(pull),
        plain("  " + _line(", ".join(fact for fact in facts if fact)), "dim"),
        *([plain(f"  {_line(pull.url)}", "dim")] if pull.url else []),
        *([Text(""), plain(shown.status.strip())] if shown.status.strip() else []),
        *([Text("")] if shown.timeline else []),
        *happenings(shown.timeline[:SHOWN_HAPPENINGS][::-1]),
    ]
    return Group(*lines)


def headline(pull: PullRequest) -> Text:
    """Return a pull request in a line."""
    return Text.assemble(
        (f"#{pull.number} ", "bold"), plain(_line(pull.title), "bold"), "  ", (pull.state, _STATES[pull.state])
    )


def origin(pull: PullRequest) -> Text:
    """Return what a pull request's head is and who wrote it, in a line."""
    return plain(f"  head {pull.head} by {_line(pull.author) or 'nobody known'}, for {_line(pull.target)}")


def happenings(shown: Iterable[Happening]) -> list[Text]:
    """Return a timeline, a line an entry."""
    return [
        Text.assemble((f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}  ", "dim"), plain(_line(entry.text)))
        for entry in shown
    ]


def progress(pull: PullRequest) -> str:
    """Return where a pull request is, in a line for a log."""
    why = _line(pull.waiting)
    return f"#{pull.number} {pull.state}" + (f": {why}" if why else "")


def changes(before: Mapping[int, str], shown: Queue) -> tuple[dict[int, str], list[str]]:
    """Return the `progress` of each pull request in a queue, and the lines that are new."""
    now = {pull.number: progress(pull) for pull in shown.entries}
    return now, [line for number, line in now.items() if before.get(number) != line]


def _target(shown: Target) -> list[Text]:
    line = plain(f"  {shown.name} at {shown.tip[:SHORT_SHA] if shown.tip else 'no commit yet'}, {shown.queued} queued")
    lines = [line]
    if shown.freeze:
        but = "" if shown.freeze.priority is None else f" below priority {shown.freeze.priority}"
        reason = f": {_line(shown.freeze.reason)}" if shown.freeze.reason else ""
        line.append_text(plain(f"  frozen{but} by {_line(shown.freeze.by)}{reason}", "bold yellow"))
    if shown.suspects:
        suspects = ", ".join(f"#{number}" for number in shown.suspects)
        lines.append(Text(f"  looking for what failed among {suspects}", "yellow"))
    if shown.attempt:
        lines.append(attempt(shown.attempt))
    return lines


def _builder(shown: Builder) -> Text:
    if shown.result is None:
        return plain(f"{_line(shown.name)} {'runs' if shown.url else 'waits'}", "blue")
    return plain(f"{_line(shown.name)} {shown.result}", "green" if shown.result in _PASSED else "red")


def _line(text: str) -> str:
    """Return outside text as one line that is read in the order in which it is shown."""
    return " ".join(_TURNS.sub("", text).split())
