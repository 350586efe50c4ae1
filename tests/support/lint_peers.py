"""What others say of a change: git-pylint-commit-hook and diff-quality, run for real, with all their faults."""

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.repository import IDENTITY

HOOK = "git-pylint-commit-hook"

LAUNCH = f"""\
import configparser, runpy, sys
from pathlib import Path
import pylint.config

def find_pylintrc():
    files = pylint.config.find_default_config_files()
    return next((str(file) for file in files if file.name.endswith("pylintrc")), None)

if not hasattr(pylint.config, "find_pylintrc"):
    pylint.config.find_pylintrc = find_pylintrc
if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser
sys.argv[0] = str(Path(sys.executable).parent / "{HOOK}")
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Starts the hook as it is on disk, with the two names that pylint 3 and Python 3.12 have dropped, and no more."""


@dataclass(frozen=True)
class Answer:
    """What one of them says.

    Attributes:
        passes: Whether it lets the change pass; None when it had to be ended.
        seconds: Wall time of its whole process.
        output: What it printed.
    """

    passes: bool | None
    seconds: float
    output: str


def hook(
    tree: Path,
    base: str = "HEAD",
    *,
    python: Path,
    limit: float = 8.0,
    pylintrc: str | None = None,
    patience: float | None = None,
) -> Answer:
    """Run git-pylint-commit-hook 2.6.1: one pylint process a file, one after the other.

    Args:
        tree: A work tree with a staged change.
        base: What ``HEAD`` is soft-reset to first: the hook compares the index with ``HEAD``.
        python: The interpreter of an environment that has the hook and pylint, as an absolute path.
        limit: The score that each file needs.
        pylintrc: Relative to the tree; by default the one that pylint finds.
        patience: Seconds after which it is ended; None for never.
    """
    if base != "HEAD":
        subprocess.run(["git", "reset", "--quiet", "--soft", base, "--"], cwd=tree, check=True)
    options = [f"--limit={limit}", *([f"--pylintrc={pylintrc}"] if pylintrc else [])]
    return _run(tree, python, [str(python), "-I", "-c", LAUNCH, *options], patience)


def diff_quality(tree: Path, base: str = "HEAD", *, python: Path, patience: float | None = None) -> Answer:
    """Run diff-cover's ``diff-quality``: pylint's messages on changed lines, which must be none.

    Args:
        tree: A work tree.
        base: The commit that the tree, staged or not, is compared with.
        python: The interpreter of an environment that has diff-cover and pylint, as an absolute path.
        patience: Seconds after which it is ended; None for never.
    """
    options = ["--violations=pylint", f"--compare-branch={base}", "--fail-under=100"]
    return _run(tree, python, [str(python.parent / "diff-quality"), *options], patience)


def _run(tree: Path, python: Path, command: list[str], patience: float | None) -> Answer:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYLINT"))}
    environment |= IDENTITY | {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as home:  # pylint notes each file's last score
        environment["PYLINTHOME"] = home
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=patience)
            passes = process.returncode == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the pylint that it waits for, too
            output, _ = process.communicate()
            passes = None
        seconds = time.perf_counter() - begun
    return Answer(passes, seconds, output)
