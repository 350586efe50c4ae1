"""A report as people read it."""

from rich.text import Text

from autogate.contract import Event, Report, Result

from .console import plain
from .receiver import Received

SHOWN_FINDINGS = 20
SHOWN_TESTS = 10
SHOWN_EXCERPT_LINES = 12

_STYLES = {
    Result.SUCCESS: "bold green",
    Result.WARNINGS: "bold yellow",
    Result.FAILURE: "bold red",
    Result.EXCEPTION: "bold magenta",
    Result.RETRY: "magenta",
    Result.SKIPPED: "cyan",
    Result.CANCELLED: "cyan",
}


def render(received: Received) -> Text:
    """Return a report in a line, and its findings and failing tests below."""
    report = received.report
    lines = [_headline(received)]
    lines += [
        plain(f"    {found.path}:{found.line}:{found.column}: {found.severity} {found.symbol}: {found.text}")
        for found in report.findings[:SHOWN_FINDINGS]
    ]
    lines += _more(report.findings_total, min(len(report.findings), SHOWN_FINDINGS), "findings")
    for test in report.failed_tests[:SHOWN_TESTS]:
        where = f"  {test.path}:{test.line}" if test.path else ""
        lines.append(plain(f"    {test.name}{where}", "bold"))
        lines += [plain(f"        {line}", "dim") for line in test.excerpt.splitlines()[-SHOWN_EXCERPT_LINES:]]
    lines += _more(report.failed_tests_total, min(len(report.failed_tests), SHOWN_TESTS), "failing tests")
    if report.builds:
        lines.append(plain(f"    {report.builds[-1].url}", "dim"))
    return Text("\n").join(lines)


def _headline(received: Received) -> Text:
    report = received.report
    line = Text.assemble(
        f"{received.at.astimezone():%H:%M:%S}  ",
        plain(report.builder, "bold"),
        "  ",
        (_word(report), _STYLES.get(report.result, "blue") if report.result else "blue"),
        plain(f"  {report.branch} {report.revision[:12]}"),
    )
    if report.cause:
        line.append_text(plain(f"  [{report.cause}]"))
    if report.summary:
        line.append_text(plain("  " + " ".join(report.summary.split())))
    if received.repeated:
        line.append("  (repeated)", "dim")
    return line


def _word(report: Report) -> str:
    if report.event is Event.FINISHED and report.result:
        return report.result.value
    return report.event.value


def _more(total: int, shown: int, what: str) -> list[Text]:
    return [plain(f"    and {total - shown} more {what}")] if total > shown else []
