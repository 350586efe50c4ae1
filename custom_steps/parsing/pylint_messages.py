"""Pylint's messages, as its ``json2`` reporter writes them, become findings."""

from collections.abc import Iterable, Mapping
from typing import Any

from autogate.contract import Finding, Severity

from .text import clean

MAX_PATH = 500
MAX_SYMBOL = 200
MAX_TEXT = 4000


def findings(messages: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return a finding for each message, in the same order.

    Args:
        messages: Objects with the keys ``path``, ``line``, ``column``, ``symbol``, ``type``, ``message``; what is
            missing or of another type is taken for unknown, so that no message is lost.
    """
    return [
        Finding(
            path=clean(message.get("path"), MAX_PATH),
            line=_number(message.get("line")),
            column=_number(message.get("column")),
            symbol=clean(message.get("symbol"), MAX_SYMBOL) or "unknown",
            severity=_severity(message.get("type")),
            text=clean(message.get("message"), MAX_TEXT),
        )
        for message in messages
    ]


def readable(found: Iterable[Finding], total: int) -> str:
    """Return the findings as text, one a line, and how many there were when not all are shown."""
    lines = [
        f"{finding.path}:{finding.line}:{finding.column}: {finding.severity.value}: "
        f"{' '.join(finding.text.split())} ({finding.symbol})"
        for finding in found
    ]
    if total > len(lines):
        lines.append(f"… and {total - len(lines)} more")
    return "\n".join(lines) + "\n"


def _severity(kind: object) -> Severity:
    try:
        return Severity(str(kind))
    except ValueError:
        return Severity.ERROR


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0
