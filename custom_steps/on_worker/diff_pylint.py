"""Run the lint program on what a merge changes, and bring its server and cache to the merge in idle time."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_steps.on_worker import idle_time
from custom_steps.on_worker.shared import Report, Stop, run_aloud, using_virtualenv

PROGRAM = "autogate-lint"
PASSED = 0
FAILED = 1
USAGE_ERROR = 2
NOT_JUDGED = 3
JUDGED = {PASSED, FAILED, NOT_JUDGED}
"""Exit codes of the lint program that come with a report."""

MAX_KEPT = 10_000
"""Entries of each list of the report that reach the master."""


def main(parameters: Report) -> Report:
    """Lint, and return the lint program's ``report``; of a list that is too long, what fails the change comes first.

    Args:
        parameters: ``arguments`` of the lint program; ``virtualenv``, the environment's folder or an empty string;
            ``cache``, the lint program's folder; ``ahead``, the arguments that warm it for the next merge, or none.
    """
    # looked up before the virtual environment, which the change may fill, is put into the PATH
    program = shutil.which(PROGRAM)
    if program is None:
        raise Stop(
            "infrastructure",
            f"{PROGRAM} is not on the worker's PATH\nInstall autogate on the worker, such as with `pip install .` in a "
            "clone of it, into the environment that the worker runs in.",
        )
    cache = Path(parameters["cache"])
    idle = cache / "idle"
    idle_time.stop(idle)
    python, env = _environment(parameters["virtualenv"])
    common = [f"--cache={cache}", *python]
    with using_virtualenv(parameters["virtualenv"]):
        code, report = _lint([program, *common, *parameters["arguments"]], env)
    if code == PASSED and parameters["ahead"]:
        idle_time.leave([program, *common, *parameters["ahead"]], env, idle)
    return {"report": _short(report)}


def _environment(virtualenv: str) -> tuple[list[str], Mapping[str, str]]:
    """Return how to name the virtual environment's Python, and the variables of a process that works in it."""
    # Buildbot ends what a build started with the build. The lint server stays, and ends with the worker.
    env = {**os.environ, "AUTOGATE_LINT_OWNER": str(os.getppid())}
    if not virtualenv:
        return [], env
    path = f"{virtualenv}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return [f"--python={virtualenv}/bin/python"], {**env, "PATH": path, "VIRTUAL_ENV": virtualenv}


def _lint(command: Sequence[str], env: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Run the lint program, and return its exit code and its report.

    Raises:
        Stop: it did not do its work.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        done = run_aloud([*command, "--format=json", f"--output={path}", "--progress"], cwd=Path.cwd(), env=env)
        complaint = _complaint(done.out, done.code)
        if done.code == USAGE_ERROR:
            raise Stop("configuration", f"{complaint}\n\n{done.out}")
        try:
            report = json.loads(path.read_bytes())
            if done.code in JUDGED and report["exit_code"] == done.code:
                return done.code, dict(report)
        except (OSError, ValueError, KeyError, TypeError):
            pass
    how = f"was killed by signal {-done.code}" if done.code < 0 else f"ended with exit code {done.code}"
    raise Stop(
        "infrastructure",
        f"{PROGRAM} {how} and left no report: {complaint}\nIs the worker short of memory, or of another release of "
        f"Autogate than the master?\n\n{done.out}",
    )


def _complaint(said: str, code: int) -> str:
    """Return what the lint program said last in its own name, when it ended of its own accord; else the last line."""
    lines = said.splitlines() or ["it said nothing"]
    own = [line.removeprefix(f"{PROGRAM}: ") for line in lines if line.startswith(f"{PROGRAM}: ")]
    return own[-1] if own and code in {USAGE_ERROR, NOT_JUDGED} else lines[-1]


def _short(report: dict[str, Any]) -> dict[str, Any]:
    report.get("findings", []).sort(key=lambda finding: not finding.get("fails"))
    lists = {key: value for key, value in report.items() if isinstance(value, list)}
    cut = {key: value[:MAX_KEPT] for key, value in lists.items()}
    notes = [f"Of {len(lists[key])} {key}, {MAX_KEPT} are shown." for key in lists if len(lists[key]) > MAX_KEPT]
    return {**report, **cut, "notes": [*cut.get("notes", []), *notes]}
