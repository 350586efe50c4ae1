"""What ``python -m unittest`` prints at the end of a run."""

import re
from typing import Any

from custom_steps.parsing.summary import MAX_EXCERPT, MAX_KEPT, Summary

_DOUBLE = "=" * 70
_SINGLE = "-" * 70
_TITLE = re.compile(r"(?:ERROR|FAIL): (?P<test>.+)")
_SURPRISE = re.compile(r"UNEXPECTED SUCCESS: (?P<test>.+)")
_METHOD = re.compile(r"(?P<method>[^\s()]+) \((?P<owner>[^()]*)\)(?P<rest>.*)", re.DOTALL)
_RAN = re.compile(r"Ran (?P<count>\d{1,9}) tests? in [\d.]+s")
_COUNT = re.compile(r"(?P<what>[a-z ]+)=(?P<count>\d{1,9})")
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d{1,9})')


def parse(text: str, root: str = "") -> Summary:
    """Read the output of a run, or its end.

    Args:
        text: Both streams, in any mixture with what the tests printed themselves.
        root: The folder that the tests ran in; a failure's path is told relative to it.
    """
    lines = text.splitlines()
    summary = Summary()
    index = 0
    while index < len(lines):
        before = lines[index - 1] if index else ""
        if before == _SINGLE and (ran := _RAN.fullmatch(lines[index])):
            summary.total = int(ran["count"])
            summary.skipped = _skipped(lines[index + 1 : index + 4])
        elif before == _DOUBLE and (title := _TITLE.fullmatch(lines[index])):
            index, body = _block(lines, index + 1)
            _add(summary, _failure(title["test"], body, root))
            continue
        elif (before == _DOUBLE or _SURPRISE.fullmatch(before)) and (title := _SURPRISE.fullmatch(lines[index])):
            _add(summary, _failure(title["test"], ["It was expected to fail, and passed."], root))
        index += 1
    return summary


def _add(summary: Summary, failure: dict[str, Any]) -> None:
    summary.failed_total += 1
    if len(summary.failed) < MAX_KEPT:
        summary.failed.append(failure)


def _block(lines: list[str], index: int) -> tuple[int, list[str]]:
    """Return where a failure's block ends, and what stands in it below the rule."""
    # A docstring's first line may stand between the title and the rule.
    start = next((at for at in range(index, min(index + 3, len(lines))) if lines[at] == _SINGLE), index)
    end = start + 1
    while end < len(lines) and not _is_end(lines, end):
        end += 1
    return end, lines[start + 1 : end]


def _is_end(lines: list[str], index: int) -> bool:
    if lines[index] == _DOUBLE:
        return index + 1 < len(lines) and bool(
            _TITLE.fullmatch(lines[index + 1]) or _SURPRISE.fullmatch(lines[index + 1])
        )
    return lines[index] == _SINGLE and index + 1 < len(lines) and _RAN.fullmatch(lines[index + 1]) is not None


def _failure(test: str, body: list[str], root: str) -> dict[str, Any]:
    path, line = _where(body, root)
    return {"name": _name(test), "path": path, "line": line, "excerpt": "\n".join(body).strip()[-MAX_EXCERPT:]}


def _name(test: str) -> str:
    """Return ``module.Class.method`` from ``method (module.Class.method)`` or the older ``method (module.Class)``."""
    found = _METHOD.fullmatch(test)
    if found is None:
        return test
    method, owner = found["method"], found["owner"]
    name = owner if owner.rpartition(".")[2] == method else f"{owner}.{method}" if owner else method
    # A failing subtest says which one behind the closing bracket.
    return f"{name}{found['rest']}"


def _where(body: list[str], root: str) -> tuple[str, int]:
    """Return the innermost frame that is in the repository."""
    prefix = root.rstrip("/") + "/" if root else ""
    place = ("", 0)
    for line in body:
        if found := _FRAME.match(line):
            file = found["file"].removeprefix(prefix)
            if not file.startswith(("/", "<")) and "site-packages/" not in file:
                place = (file, int(found["line"]))
    return place


def _skipped(lines: list[str]) -> int:
    for line in lines:
        if line.startswith(("OK", "FAILED", "NO TESTS RAN")):
            return sum(int(found["count"]) for found in _COUNT.finditer(line) if found["what"].strip() == "skipped")
    return 0
