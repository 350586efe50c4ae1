"""Small sentences about an outcome, shared by the formats."""

from worker.lint.model import FAR, FOR_TIME, Figures, Finding, Outcome, Score, Severity, Side, Trouble

from .visible import visible

SHOWN_NAMES = 10


def summary(outcome: Outcome) -> str:
    """Return the outcome in a line, such as "3 new findings (1 error), 2 fixed, 14 old untouched"."""
    low = sum(not each.passes for each in outcome.scores)
    late = sum(each.reason != FAR for each in outcome.left_out)
    parts = [
        _lost(outcome),
        f"{count(low, 'score')} below the limit" if low else "",
        _found(outcome),
        f"{len(outcome.fixed)} fixed" if outcome.fixed else "",
        f"{outcome.old} old untouched" if outcome.old else "",
        f"{count(late, 'dependent file')} not looked at" if late else "",
    ]
    return ", ".join(filter(None, parts))


def figures(cost: Figures) -> str:
    """Return what a run cost, such as "1.2 s, 12 of 14 results cached, server started in 3.0 s"."""
    judged = cost.linted + cost.cached
    server = {
        "warm": "warm server",
        "started": f"server started in {cost.server_seconds:.1f} s",
        "none": "no server",
    }
    parts = [
        f"{cost.seconds:.2f} s",
        f"{cost.cached} of {count(judged, 'result')} cached" if judged else "",
        server.get(cost.server, ""),
    ]
    return ", ".join(filter(None, parts))


def trouble(of: Trouble) -> str:
    """Return why a file could not be judged, and in which tree."""
    where = " before the change" if of.side is Side.BEFORE else ""
    return f"could not be judged{where}: {visible(of.error, lines=True)}"


def low_score(of: Score) -> str:
    """Return that a score is below the limit."""
    return f"the score is {of.score:.2f}, below the limit of {of.limit:.2f}"


def left_out(outcome: Outcome) -> list[str]:
    """Return a sentence for each reason for which dependents were not looked at."""
    paths: dict[str, list[str]] = {}
    for each in outcome.left_out:
        paths.setdefault(each.reason, []).append(visible(each.path))
    return [_not_looked_at(reason, names) for reason, names in paths.items()]


def count(number: int, thing: str) -> str:
    """Return a number and what it counts, such as "2 files"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _lost(outcome: Outcome) -> str:
    lost = len({each.path for each in outcome.troubles})
    return f"{count(lost, 'file')} could not be judged" if lost else ""


def _found(outcome: Outcome) -> str:
    findings = outcome.findings
    kind, where = {"files": ("finding", ""), "lines": ("finding", " on changed lines")}.get(
        outcome.scope, ("new finding", "")
    )
    if not findings:
        return f"no {kind}s{where}"
    errors = sum(each.message.severity in {Severity.ERROR, Severity.FATAL} for each in findings)
    passed = sum(not each.fails for each in findings)
    remarks = [count(errors, "error") if errors else "", _let_pass(passed, findings) if passed else ""]
    remark = ", ".join(filter(None, remarks))
    return f"{count(len(findings), kind)}{where}{f' ({remark})' if remark else ''}"


def _let_pass(passed: int, findings: tuple[Finding, ...]) -> str:
    return "let pass" if passed == len(findings) else f"{passed} let pass"


def _not_looked_at(reason: str, names: list[str]) -> str:
    few = len(names) == 1
    files, were = count(len(names), "file"), "was" if few else "were"
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    listed = f"{', '.join(names[:SHOWN_NAMES])}{more}"
    if reason == FAR:
        load, name = ("loads", "names") if few else ("load", "name")
        return (
            f"{files} that {load} what changed, but {name} nothing of it, {were} not looked at: {listed}; "
            "--dependents all looks at them"
        )
    cure = "; a larger --dependents-time looks at more" if reason == FOR_TIME else ""
    return (
        f"{files} that {'uses' if few else 'use'} what changed {were} not looked at, {visible(reason)}: {listed}{cure}"
    )
