"""What the formats for forges put beside lines of code."""

import hashlib
from collections import Counter
from collections.abc import Iterable

from worker.lint.introduced import wording
from worker.lint.model import Finding, Message, Outcome, Severity

from .visible import visible
from .words import low_score, trouble


def low_scores(outcome: Outcome) -> list[Finding]:
    """Return a finding for each score below the limit."""
    return [
        _about_file(each.path, "score-below-limit", Severity.ERROR, low_score(each))
        for each in outcome.scores
        if not each.passes
    ]


def troubles(outcome: Outcome) -> list[Finding]:
    """Return a finding for each file that could not be judged."""
    return [
        _about_file(each.path, "not-judged", Severity.FATAL, f"{visible(each.path)} {trouble(each)}")
        for each in outcome.troubles
    ]


def fingerprints(findings: Iterable[Finding]) -> list[str]:
    """Return what each finding is known by from run to run, unique in its run, and the same when its line moves."""
    seen: Counter[str] = Counter()
    known = []
    for finding in findings:
        message = finding.message
        line = "" if message.whole else " ".join(finding.source.split())
        parts = (message.path, message.symbol, wording(message.text), message.scope, line)
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        seen[digest] += 1
        known.append(f"{digest}:{seen[digest]}")
    return known


def _about_file(path: str, symbol: str, severity: Severity, text: str) -> Finding:
    message = Message(path, 1, 0, None, None, symbol, "", severity, text, whole=True, linter="autogate")
    return Finding(message)
