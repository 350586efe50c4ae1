"""``autogate-lint`` as the benchmarks run it: a whole process a time, on a ground of the recipe."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.merges import Ground

PROGRAM = Path(sys.executable).parent / "autogate-lint"
STILL_SECONDS = 1.5
"""A server that takes no processor time for so long has nothing to build; it pauses for up to a second."""

LOOK_SECONDS = 0.05
JUDGED = {0, 1}
"""Exit codes of a run in which every file was judged."""


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Attributes:
        seconds: Wall time of the whole process.
        report: What it printed as JSON.
    """

    seconds: float
    report: dict[str, Any]


@dataclass(frozen=True)
class Lint:
    """The program with a cache folder and servers of its own.

    Attributes:
        ground: Where it lints.
        cache: Its cache folder, which need not be there.
    """

    ground: Ground
    cache: Path

    def run(self, *options: str, raw: Path | None = None) -> Run:
        """Lint what is staged against ``HEAD``.

        Args:
            options: Further words.
            raw: Where every judgement of the run is written to.

        Raises:
            SystemExit: It could not judge every file.
        """
        told = [f"--raw={raw}"] if raw else []
        done, seconds = self._call("--base=HEAD", "--format=json", *told, *options)
        if done.returncode not in JUDGED:
            sys.exit(f"bench: autogate-lint ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
        return Run(seconds, json.loads(done.stdout))

    def warm(self) -> float:
        """Bring server and results to ``HEAD``; return the seconds until the server has nothing more to build."""
        if self._aside.exists():
            shutil.rmtree(self._results, ignore_errors=True)
            self._aside.rename(self._results)
        done, seconds = self._call("--warm", "--base=HEAD")
        if done.returncode:
            sys.exit(f"bench: autogate-lint --warm ended with {done.returncode}: {done.stderr[-2000:]}")
        server, begun = self.server(), time.perf_counter()
        spent, still = -1.0, begun
        while time.perf_counter() - still < STILL_SECONDS:
            time.sleep(LOOK_SECONDS)
            times = server.cpu_times()
            if times.user + times.system != spent:
                spent, still = times.user + times.system, time.perf_counter()
        return seconds + still - begun

    def put_results_aside(self) -> None:
        """Have a cold result cache until the next `warm`, and leave the server as it is."""
        self._results.rename(self._aside)

    @property
    def _results(self) -> Path:
        return self.cache / "store" / "results"

    @property
    def _aside(self) -> Path:
        return self.cache / "results-aside"

    def server(self) -> psutil.Process:
        """Find the server, by its cache folder."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if "judge/__main__.py" in words and str(self.cache) in words:
                    return process
        sys.exit(f"bench: no server uses {self.cache}")

    def stop(self) -> None:
        """Stop the server."""
        self._call("--stop-server")

    def drop(self) -> None:
        """Stop the server and remove the cache."""
        if self.cache.exists():
            self.stop()
            shutil.rmtree(self.cache)

    def _call(self, *options: str) -> tuple[subprocess.CompletedProcess[str], float]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYLINT"))}
        command: list[str | Path] = [PROGRAM, f"--cache={self.cache}", f"--python={self.ground.python}", *options]
        begun = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=self.ground.tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, time.perf_counter() - begun
