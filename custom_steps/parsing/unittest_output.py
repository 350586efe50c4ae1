"""What ``python -m unittest`` prints at the end of a run."""

import re
from typing import Any

from custom_steps.parsing.summary import MAX_EXCERPT, MAX_KEPT, Summary

_DOUBLE = "=" * 70
_SINGLE = "-" * 70
_TITLE = re.compile(r"(?:ERROR|FAIL|UNEXPECTED SUCCESS): (?P<test>.+)")
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
        title = _TITLE.fullmatch(lines[index]) if index and lines[index - 1] == _DOUBLE else None
        if title is None:
            if found := _RAN.fullmatch(lines[index]):
                summary.total = int(found["count"])
                summary.skipped = _skipped(lines[index + 1 : index + 4])
            index += 1
            continue
        start = index + 1
        # A docstring's first line may stand between the title and the rule.
        while start < len(lines) and start <= index + 2 and lines[start] != _SINGLE:
            start += 1
        end = start + 1
        while end < len(lines) and not _is_end(lines, end):
            end += 1
        summary.failed_total += 1
        if len(summary.failed) < MAX_KEPT:
            summary.failed.append(_failure(title["test"], lines[start + 1 : end], root))
        index = end
    return summary


def _is_end(lines: list[str], index: int) -> bool:
    if lines[index] == _DOUBLE:
        return index + 1 < len(lines) and _TITLE.fullmatch(lines[index + 1]) is not None
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
