"""Is what ``autogate-lint`` judges the same as what fresh pylint processes say? On real merges, file by file.

Each merge is linted by a warm server with a cold result cache, several files at a time, and again from the cache. Every
judgement of both runs, of changed files and of dependents, before and after, is compared with ``pylint FILE``, started
anew in the same work tree. Each difference is printed as a diff; with any, the exit code is 1.
"""

import argparse
import difflib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.lint_program import Lint
from bench.merges import Ground, Merge, prepared, spread
from bench.table import Row, publish
from tests.support.fresh_pylint import Verdict, fresh_ones, ours

MERGES = 40
SIDES = ("after", "before")
Place = tuple[str, str]
"""A side and a path."""

Yardstick = Callable[[Ground, Sequence[str]], dict[str, Verdict]]


@dataclass(frozen=True)
class Difference:
    """A file of which the two say different things.

    Attributes:
        merge: Which.
        way: ``warm`` or ``cached``.
        side: ``before`` or ``after``.
        path: The file.
        diff: From a fresh process to ours, in lines.
    """

    merge: str
    way: str
    side: str
    path: str
    diff: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """What came of a merge.

    Attributes:
        files: Judgements of changed files.
        dependents: Judgements of dependents.
        differences: What is not the same.
    """

    files: int
    dependents: int
    differences: tuple[Difference, ...]


def main() -> int:
    """Compare, print, write; return the exit code."""
    parser = argparse.ArgumentParser(prog="sameness", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--merges", type=int, help="so many, evenly spread (default: all)")
    parser.add_argument("--project", help="only those of projects whose name has this in it")
    parser.add_argument("--dependents-time", default="600", help="what dependents may take a merge (default: 600 s)")
    given = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    done: list[Compared] = []
    with prepared() as found, tempfile.TemporaryDirectory(prefix="autogate-bench-") as folder:
        named = [merge for merge in found if (given.project or "") in merge.ground.project.name]
        merges = spread(named, given.merges) if given.merges else named
        lints = {
            merge.ground.tree: Lint(merge.ground, Path(folder) / merge.ground.tree.parent.name) for merge in merges
        }
        with Progress(console=console) as progress:
            bar = progress.add_task("merges", total=len(merges))
            try:
                for merge in merges:
                    lint = lints[merge.ground.tree]
                    compared = compare(merge, lint, Path(folder), given.dependents_time)
                    done.append(compared)
                    console.print(f"{merge.name}: {compared.files + compared.dependents} judgements", markup=False)
                    for difference in compared.differences:
                        print_difference(difference)
                    progress.advance(bar)
            finally:
                for lint in lints.values():
                    lint.drop()
    differences = sum(len(each.differences) for each in done)
    publish(
        "sameness",
        [
            Row("merges", len(done), None, None, "", f"at least {MERGES}", len(done) >= MERGES),
            Row("judgements of changed files", sum(each.files for each in done), None, None, "", "", None),
            Row("judgements of dependents", sum(each.dependents for each in done), None, None, "", "", None),
            Row("differences from fresh processes", differences, None, None, "", "none", differences == 0),
        ],
    )
    return int(differences > 0)


def compare(
    merge: Merge, lint: Lint, folder: Path, dependents_time: str, yardstick: Yardstick | None = None
) -> Compared:
    """Compare what the program and fresh processes say of one merge.

    Args:
        merge: The merge.
        lint: The program, whose results so far are forgotten.
        folder: Where to write.
        dependents_time: Seconds.
        yardstick: What fresh processes say of some files of the ground as it stands; by default they are run.
    """
    measure = yardstick or _fresh
    base = merge.ground.stage(merge.sha)
    lint.warm()
    lint.put_results_aside()
    ways = {}
    for way in ("warm", "cached"):
        lint.run(f"--dependents-time={dependents_time}", raw=folder / f"{way}.json")
        ways[way] = _judgements(folder / f"{way}.json")
    truth: dict[Place, Verdict] = {}
    for side, commit in zip(SIDES, (merge.sha, base), strict=True):
        merge.ground.check_out(commit)
        paths = sorted({path for judged in ways.values() for place, path in judged if place == side})
        truth |= {(side, path): verdict for path, verdict in measure(merge.ground, paths).items()}
    changed = _changed(merge)
    files = [place for place in ways["warm"] if place[1] in changed]
    differences = [
        Difference(merge.name, way, side, path, tuple(_diff(truth[side, path].lines(), verdict.lines())))
        for way, judged in ways.items()
        for (side, path), verdict in judged.items()
        if truth[side, path] != verdict
    ]
    differences += [
        Difference(merge.name, "cached", side, path, ("judged in one run only",))
        for side, path in ways["warm"].keys() ^ ways["cached"].keys()
    ]
    return Compared(len(files), len(ways["warm"]) - len(files), tuple(differences))


def print_difference(difference: Difference) -> None:
    """Print it as a diff."""
    print(f"--- fresh pylint {difference.path}", f"+++ {difference.way}", sep="\n")
    print(f"# {difference.merge}, {difference.side}", *difference.diff, sep="\n", flush=True)


def _fresh(ground: Ground, paths: Sequence[str]) -> dict[str, Verdict]:
    return fresh_ones(ground.tree, paths, python=ground.python, jobs=os.cpu_count() or 1)


def _judgements(file: Path) -> dict[Place, Verdict]:
    told = json.loads(file.read_text("utf-8"))
    return {(each["side"], each["path"]): ours(each) for each in told}


def _changed(merge: Merge) -> set[str]:
    listed = merge.ground.git("diff-tree", "-r", "-z", "--name-only", "--no-renames", f"{merge.sha}^1", merge.sha, "--")
    return set(listed.split("\0"))


def _diff(theirs: Sequence[str], mine: Sequence[str]) -> Iterable[str]:
    return list(difflib.unified_diff(theirs, mine, lineterm="", n=0))[2:]


if __name__ == "__main__":
    sys.exit(main())
