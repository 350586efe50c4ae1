"""GitLab's code quality report (https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format)."""

import json

from worker.lint.model import Message, Outcome, Severity

from .annotations import fingerprints, low_scores, troubles
from .visible import visible

SEVERITIES = {
    Severity.FATAL: "blocker",
    Severity.ERROR: "critical",
    Severity.WARNING: "major",
    Severity.REFACTOR: "minor",
    Severity.CONVENTION: "minor",
    Severity.INFO: "info",
}


def render(outcome: Outcome) -> str:
    """Return the report, a JSON array with an object a finding."""
    findings = [*troubles(outcome), *low_scores(outcome), *outcome.findings]
    report = [
        {
            "description": visible(finding.message.text, lines=True),
            "check_name": visible(finding.message.symbol),
            "fingerprint": fingerprint,
            "severity": SEVERITIES[finding.message.severity],
            "location": {"path": visible(finding.message.path), "lines": _lines(finding.message)},
        }
        for finding, fingerprint in zip(findings, fingerprints(findings), strict=True)
    ]
    return json.dumps(report, indent=1) + "\n"


def _lines(message: Message) -> dict[str, int]:
    return {"begin": message.line, "end": max(message.line, message.end_line or 0)}
