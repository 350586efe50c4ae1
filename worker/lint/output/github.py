"""Workflow commands of GitHub Actions, which show findings beside the lines of a pull request.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from collections.abc import Mapping

from worker.lint.model import Finding, Outcome, Severity

from .annotations import low_scores, troubles
from .columns import columns
from .visible import visible
from .words import figures, left_out, summary

COMMANDS = {Severity.FATAL: "error", Severity.ERROR: "error", Severity.WARNING: "warning"}
SEVERITIES = list(Severity)


def render(outcome: Outcome) -> str:
    """Return a command a finding, the gravest first, since GitHub shows ten of a kind in a step; then the summary."""
    findings = [*troubles(outcome), *low_scores(outcome), *outcome.findings]
    findings.sort(key=lambda finding: (not finding.fails, -SEVERITIES.index(finding.message.severity)))
    lines = [_annotation(finding) for finding in findings]
    lines += [_command("notice", {}, sentence) for sentence in [*left_out(outcome), *outcome.notes]]
    lines.append(f"{summary(outcome)} ({figures(outcome.figures)})")
    return "\n".join(lines) + "\n"


def _annotation(finding: Finding) -> str:
    message = finding.message
    properties: dict[str, object] = {"file": message.path, "line": message.line}
    if message.end_line is not None and message.end_line > message.line:
        properties["endLine"] = message.end_line
    elif not message.whole:
        start, end = columns(finding)
        properties["col"] = start + 1
        if end is not None and end > start:
            properties["endColumn"] = end
    properties["title"] = f"{message.linter}: {message.symbol}"
    return _command(COMMANDS.get(message.severity, "notice"), properties, message.text)


def _command(name: str, properties: Mapping[str, object], text: str) -> str:
    listed = ",".join(f"{key}={_property(visible(str(value)))}" for key, value in properties.items())
    return f"::{name}{' ' if listed else ''}{listed}::{_data(visible(text, lines=True))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
