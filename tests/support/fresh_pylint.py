"""What a fresh pylint process says of one file: the yardstick of the lint program's judge."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CRASHES = frozenset({"astroid-error", "fatal"})
USAGE_ERROR = 32

Said = tuple[Any, ...]
"""A message: path, line, column, end line, end column, symbol, code, severity, text, scope."""


@dataclass(frozen=True)
class Verdict:
    """What came of linting a file.

    Attributes:
        messages: In pylint's order.
        score: At most 10; None when the file has no statement, or was not linted to the end.
        failed: Whether pylint failed itself.
    """

    messages: tuple[Said, ...]
    score: float | None
    failed: bool

    def lines(self) -> list[str]:
        """Return it as lines of text, to be compared by eye."""
        told = [
            f"{path}:{line}:{column}-{end}:{end_column}: {code} {symbol} ({severity}) [{scope}] {text}"
            for path, line, column, end, end_column, symbol, code, severity, text, scope in self.messages
        ]
        return [*told, f"score {self.score}", *(["pylint failed"] if self.failed else [])]


def fresh(tree: Path, path: str, *, python: Path, options: Sequence[str] = ()) -> Verdict:
    """Run ``pylint FILE`` at a tree's root, in a process of its own.

    Args:
        tree: The root.
        path: The file, relative to it.
        python: The interpreter of an environment that has pylint.
        options: pylint's, such as ``--rcfile=…``.
    """
    with tempfile.NamedTemporaryFile() as text:
        # the text is for the score, which the JSON gives files without a statement, too
        forms = ["--persistent=n", f"--output-format=json2,text:{text.name}"]
        done = subprocess.run(
            [python.parent / "pylint", *options, *forms, "--", path],
            cwd=tree,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        rated = b"Your code has been rated at" in text.read()
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = None
    if report is None or done.returncode & USAGE_ERROR or done.returncode < 0:
        return Verdict((), None, failed=True)
    messages = tuple(_said(each) for each in report["messages"])
    failed = any(symbol in CRASHES for _, _, _, _, _, symbol, *_ in messages)
    score = None if failed or not rated else float(report["statistics"]["score"])
    return Verdict(messages, score, failed)


def fresh_ones(
    tree: Path, paths: Iterable[str], *, python: Path, options: Sequence[str] = (), jobs: int = 0
) -> dict[str, Verdict]:
    """Run a process for each of several files, several at a time; see `fresh`."""
    wanted = list(paths)
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        verdicts = pool.map(lambda path: fresh(tree, path, python=python, options=options), wanted)
        return dict(zip(wanted, verdicts, strict=True))


def ours(judgement: Mapping[str, Any]) -> Verdict:
    """Return one of ``autogate-lint --raw``'s judgements in the same words."""
    fields = ("path", "line", "column", "end_line", "end_column", "symbol", "code", "severity", "text", "scope")
    messages = tuple(tuple(each[field] for field in fields) for each in judgement["messages"])
    return Verdict(messages, judgement["score"], bool(judgement["error"]))


def _said(each: Mapping[str, Any]) -> Said:
    fields = ("path", "line", "column", "endLine", "endColumn", "symbol", "messageId", "type", "message", "obj")
    return tuple(each[field] for field in fields)
