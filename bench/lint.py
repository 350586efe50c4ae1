"""``autogate-lint`` beside git-pylint-commit-hook, on real merges, side by side in one run.

Each merge is staged on its first parent, as the builder does it; whole processes are timed. A merge after the other is
linted in these states, and by the hook at the end, when the files have been read by then:

- warm: the server was brought to the base by ``--warm``, no result is cached; scope introduced with dependents
- files: the same with scope files, with a server of its own that has not seen the merge either
- cached: all of the first run's results are there (the median of three)
- first: nothing is there, no server, no snapshot, no result
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import Progress

from bench.lint_program import Lint
from bench.merges import Ground, Merge, prepared, spread
from bench.table import RESULTS, Row, publish
from tests.support.lint_peers import hook
from worker.lint.model import FOR_TIME

AGAIN = 3
"""Runs with everything cached, which are so short that one says little."""

MAX_CACHED_SECONDS = 0.15
MAX_SHARED = 600.0
MAX_PRIVATE = 80.0
MIB = 1024 * 1024
LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Times:
    """What a merge took, in seconds.

    Attributes:
        merge: Which.
        files: How many files it changes that are linted.
        dependents: How many more were.
        left_out: How many dependents were not looked at for time.
        warming: ``--warm``; where this is the project's first merge, that starts the server and lints the whole base.
        hook: git-pylint-commit-hook.
        warm: With a warm server and no results.
        whole_files: The same with scope files.
        cached: With all results there, the median of `AGAIN`.
        first: With nothing there.
    """

    merge: str
    files: int
    dependents: int
    left_out: int
    warming: float
    hook: float
    warm: float
    whole_files: float
    cached: float
    first: float


@dataclass(frozen=True)
class Target:
    """What is wanted of a state: so many times the hook's speed.

    Attributes:
        name: Of the state, for people.
        seconds: Of one merge's times.
        median: The least median ratio.
        least: The least ratio of all; None where none is asked for.
    """

    name: str
    seconds: Callable[[Times], float]
    median: float
    least: float | None


TARGETS = (
    Target("warm server, no results, introduced with dependents", lambda times: times.warm, 10, 3),
    Target("warm server, no results, scope files", lambda times: times.whole_files, 20, 4),
    Target("everything cached", lambda times: times.cached, 200, None),
    Target("first run ever", lambda times: times.first, 3, None),
)


@dataclass(frozen=True)
class Memory:
    """What a warm server takes, in MiB.

    Attributes:
        modules: Modules of the repository that are warm.
        resident: All of the server's.
        shared: What its children share with it, which is there once.
        private: The most that one child had of its own.
        children: How many were seen.
    """

    modules: int
    resident: float
    shared: float
    private: float
    children: int


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="lint", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--merges", type=int, help="so many, evenly spread (default: all)")
    parser.add_argument("--project", help="only those of projects whose name has this in it")
    given = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    times: list[Times] = []
    memory: dict[str, Memory] = {}
    with prepared() as found, tempfile.TemporaryDirectory(prefix="autogate-bench-") as folder:
        named = [merge for merge in found if (given.project or "") in merge.ground.project.name]
        merges = spread(named, given.merges) if given.merges else named
        benches = {merge.ground.tree: Bench(merge.ground, Path(folder)) for merge in merges}
        last = {merge.ground.tree: merge for merge in merges}
        try:
            with Progress(console=console) as progress:
                bar = progress.add_task("merges", total=len(merges))
                for merge in merges:
                    measured = benches[merge.ground.tree].measure(merge)
                    times.append(measured)
                    console.print(line(measured), markup=False)
                    progress.advance(bar)
            for tree, merge in last.items():
                memory[merge.ground.project.name] = benches[tree].memory(merge)
        except KeyboardInterrupt:
            console.print("interrupted: these are the figures so far")
        finally:
            for bench in benches.values():
                bench.drop()
    if not times:
        sys.exit("bench: no merge was measured")
    publish("lint", [*speed(times), *costs(times), *sizes(memory)])
    text = json.dumps([asdict(each) for each in times], indent=2)
    (RESULTS / "lint-merges.json").write_text(text + "\n", "utf-8")


class Bench:
    """A project's own program folders.

    Args:
        ground: Where it is linted.
        folder: Where caches are made.
    """

    def __init__(self, ground: Ground, folder: Path) -> None:
        place = folder / ground.tree.parent.name
        self._introduced = Lint(ground, place / "introduced")
        self._files = Lint(ground, place / "files")
        self._first = Lint(ground, place / "first")

    def measure(self, merge: Merge) -> Times:
        """Lint a merge in each state, and with the hook."""
        merge.ground.stage(merge.sha)
        warming = self._introduced.warm()
        self._introduced.put_results_aside()
        warm = self._introduced.run()
        cached = [self._introduced.run().seconds for _ in range(AGAIN)]
        self._files.warm()
        self._files.put_results_aside()
        files = self._files.run("--scope=files")
        self._first.drop()
        first = self._first.run()
        self._first.drop()
        if {warm.report["figures"]["server"], files.report["figures"]["server"]} != {"warm"}:
            sys.exit(f"bench: {merge.name} met no warm server: was the program changed meanwhile?")
        theirs = hook(merge.ground.tree, python=merge.ground.python)
        figures = warm.report["figures"]
        return Times(
            merge=merge.name,
            files=figures["files"],
            dependents=figures["dependents"],
            left_out=sum(each["reason"] == FOR_TIME for each in warm.report["left_out"]),
            warming=warming,
            hook=theirs.seconds,
            warm=warm.seconds,
            whole_files=files.seconds,
            cached=statistics.median(cached),
            first=first.seconds,
        )

    def memory(self, merge: Merge) -> Memory:
        """Lint a merge once more, and look at the server and its children meanwhile."""
        merge.ground.stage(merge.sha)
        self._introduced.warm()
        self._introduced.put_results_aside()
        server = self._introduced.server()
        with _watched(server) as peaks:
            self._introduced.run()
        own = smaps(server.pid)
        modules = merge.ground.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()
        return Memory(
            modules=sum(path.endswith(".py") for path in modules),
            resident=own["Rss"],
            shared=own["Pss"],
            private=max(peaks.values(), default=0.0),
            children=len(peaks),
        )

    def drop(self) -> None:
        """Stop servers and remove caches."""
        for lint in (self._introduced, self._files, self._first):
            lint.drop()


def line(times: Times) -> str:
    """Return what a merge took, for people."""
    ratios = "  ".join(
        f"{name} {seconds:.2f} s ({times.hook / seconds:.0f}x)"
        for name, seconds in (
            ("warm", times.warm),
            ("files", times.whole_files),
            ("cached", times.cached),
            ("first", times.first),
        )
    )
    left_out = f" (-{times.left_out})" if times.left_out else ""
    return f"{times.merge}: {times.files}+{times.dependents}{left_out} files  hook {times.hook:.1f} s  {ratios}"


def speed(times: Sequence[Times]) -> Iterator[Row]:
    """Give the rows that compare us with the hook."""
    hooks = statistics.median(each.hook for each in times)
    for target in TARGETS:
        ratios = [each.hook / target.seconds(each) for each in times]
        median, least = statistics.median(ratios), min(ratios)
        ours = statistics.median(map(target.seconds, times))
        wanted = f"median at least {target.median} times"
        yield Row(f"{target.name}: median", ours, hooks, median, "s", wanted, median >= target.median)
        slowest = min(times, key=lambda each: each.hook / target.seconds(each))
        yield Row(
            f"{target.name}: least ({slowest.merge})",
            target.seconds(slowest),
            slowest.hook,
            least,
            "s",
            f"at least {target.least} times" if target.least else "",
            least >= target.least if target.least else None,
        )
        fastest = max(times, key=lambda each: each.hook / target.seconds(each))
        yield Row(
            f"{target.name}: most ({fastest.merge})",
            target.seconds(fastest),
            fastest.hook,
            max(ratios),
            "s",
            "",
            None,
        )
    longest = max(each.cached for each in times)
    wanted = f"at most {MAX_CACHED_SECONDS} s"
    yield Row("everything cached: longest", longest, None, None, "s", wanted, longest <= MAX_CACHED_SECONDS)


def costs(times: Sequence[Times]) -> Iterator[Row]:
    """Give the rows on what a warm server's start and its keeping up cost, and on what was looked at."""
    seen: set[str] = set()
    later: list[float] = []
    for each in times:
        project = each.merge.partition(" ")[0]
        if project in seen:
            later.append(each.warming)
        else:
            seen.add(project)
            yield Row(
                f"starting the server of {project}, and linting the whole base", each.warming, None, None, "s", "", None
            )
    if later:
        yield Row(
            "bringing server and results to the next base, median", statistics.median(later), None, None, "s", "", None
        )
    yield Row("merges", len(times), None, None, "", "", None)
    yield Row("changed files", sum(each.files for each in times), None, None, "", "", None)
    yield Row("dependents looked at", sum(each.dependents for each in times), None, None, "", "", None)
    yield Row("dependents left out for time", sum(each.left_out for each in times), None, None, "", "", None)


def sizes(memory: dict[str, Memory]) -> Iterator[Row]:
    """Give the rows on memory; the biggest repository is what the target is about."""
    biggest = max(memory, key=lambda name: memory[name].modules, default="")
    for name, each in memory.items():
        of = f"{name}, {each.modules} own files"
        shared, private = (
            (f"at most {MAX_SHARED:g} MiB", f"at most {MAX_PRIVATE:g} MiB") if name == biggest else ("", "")
        )
        yield Row(
            f"warm server, shared once: {of}",
            each.shared,
            None,
            None,
            "MiB",
            shared,
            each.shared <= MAX_SHARED if shared else None,
        )
        yield Row(
            f"private of a child, the most of {each.children}: {of}",
            each.private,
            None,
            None,
            "MiB",
            private,
            each.private <= MAX_PRIVATE if private else None,
        )


def smaps(pid: int) -> dict[str, float]:
    """Return the sums of a process's mappings by name, in MiB; empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except OSError:
        return {}
    lines = (each.split() for each in text.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) * 1024 / MIB for words in lines}


@contextmanager
def _watched(server: psutil.Process) -> Iterator[dict[int, float]]:
    """Note the most private memory of each of a server's children, in MiB."""
    peaks: dict[int, float] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            for child in server.children():
                peaks[child.pid] = max(peaks.get(child.pid, 0.0), smaps(child.pid).get("Private_Dirty", 0.0))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    main()
