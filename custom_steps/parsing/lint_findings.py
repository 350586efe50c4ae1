"""What the lint program found becomes findings of a report."""

from autogate.contract import Finding, Severity
from worker.lint import model
from worker.lint.output import annotations

from .text import clean

MAX_PATH = 500
MAX_SYMBOL = 200
MAX_TEXT = 4000
MAX_NUMBER = 2**31 - 1


def findings(outcome: model.Outcome) -> list[Finding]:
    """Return all that is to be known of a change: what fails it first, and by path and place within.

    Files that could not be judged and scores below the limit are findings, too.
    """
    told = [*annotations.troubles(outcome), *annotations.low_scores(outcome), *outcome.findings]
    return [_finding(each.message) for each in sorted(told, key=lambda each: not each.fails)]


def _finding(message: model.Message) -> Finding:
    return Finding(
        path=clean(message.path, MAX_PATH),
        line=_number(message.line),
        column=_number(message.column),
        symbol=clean(message.symbol, MAX_SYMBOL) or "unknown",
        severity=Severity(message.severity.value),
        text=clean(message.text, MAX_TEXT),
    )


def _number(value: int) -> int:
    return value if 0 <= value <= MAX_NUMBER else 0
