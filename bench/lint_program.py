"""``autogate-lint`` as the benchmarks run it: a whole process a time, on a ground of the recipe."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.merges import Ground

PROGRAM = Path(sys.executable).parent / "autogate-lint"
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
        """Bring server and cache to ``HEAD``; return the seconds that it took."""
        done, seconds = self._call("--warm", "--base=HEAD")
        if done.returncode:
            sys.exit(f"bench: autogate-lint --warm ended with {done.returncode}: {done.stderr[-2000:]}")
        return seconds

    def forget_results(self) -> None:
        """Have a cold result cache, and leave the server as it is."""
        for folder in self.cache.glob("**/results"):
            shutil.rmtree(folder)

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
