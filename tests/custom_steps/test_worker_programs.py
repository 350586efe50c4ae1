"""What the programs on the worker stand on: they travel as text, and hold locks while anything of theirs lives."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from base64 import b64decode
from pathlib import Path

import pytest

from custom_steps.bundle import program, source
from custom_steps.checkout import CheckoutExact
from custom_steps.commit_hook import CommitHookPylint
from custom_steps.diff_pylint import DiffPylint
from custom_steps.on_worker.run_tests import Ran, judge
from custom_steps.on_worker.shared import Stop, existed_before, locked, remove, run
from custom_steps.parsing.summary import Summary
from custom_steps.run_tests import RunTests
from custom_steps.soft_reset import SoftReset
from custom_steps.step import WorkerStep
from custom_steps.virtualenv import Virtualenv
from tests.support.repository import Repository
from tests.support.waiting import wait_for

from .interpreters import VERSIONS, python

STEPS = [CheckoutExact, CommitHookPylint, DiffPylint, RunTests, SoftReset, Virtualenv]
MARKER = "marker:"


def perform(interpreter: str, text: str, folder: Path) -> tuple[dict[str, object], str]:
    """Run a program as a step does, in an empty environment, and return its report and what it printed."""
    command, env = [interpreter, "-I", "-"], {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, input=text.encode(), cwd=folder, env=env, capture_output=True, check=False)
    chunks = re.findall(rf"^{MARKER}(.*)$", done.stderr.decode(), re.MULTILINE)
    assert chunks, done.stderr.decode()
    assert chunks[-1] == "."
    return json.loads(zlib.decompress(b64decode("".join(chunks[:-1])))), done.stdout.decode()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("step", STEPS)
def test_a_program_needs_nothing_but_the_standard_library(step: type[WorkerStep], version: str, tmp_path: Path) -> None:
    # What stands in the folder it runs in must not be taken for the standard library's.
    for name in ("json.py", "re.py", "custom_steps.py", "autogate.py"):
        (tmp_path / name).write_text("raise SystemExit('the repository was imported')\n")
    name = step.program
    text = program(name, step.needs, {}, MARKER).replace(
        f"sys.modules[{name!r}].main", "lambda given: {'given': given}"
    )
    report, _ = perform(python(version), text, tmp_path)
    assert report == {"given": {}}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_names_all_that_its_program_imports(step: type[WorkerStep]) -> None:
    """No more, either: what is sent for nothing is paid for in each build."""
    names = {"custom_steps.on_worker.shared", *step.needs}
    used = set()
    for name in (step.program, *names):
        for package, imported in re.findall(r"^from ([\w.]+) import (.+)$", source(name), re.MULTILINE):
            if package.startswith(("custom_steps", "autogate")):
                used |= {package} if package in names else {f"{package}.{word.strip()}" for word in imported.split(",")}
    assert used <= names
    assert set(step.needs) <= used


def test_parameters_and_reports_of_any_content(tmp_path: Path) -> None:
    given = {"text": "'\"\\\n\0é\udcff{}%s", "list": [1, 2.5, None, True], "big": "x" * 100_000}
    text = program("custom_steps.on_worker.soft_reset", ("autogate.gitwords",), given, MARKER)
    text = text.replace("sys.modules['custom_steps.on_worker.soft_reset'].main", "lambda given: {'given': given}")
    report, out = perform(sys.executable, text, tmp_path)
    assert report == {"given": given}
    assert out == ""


def test_an_older_python_is_told_what_is_wrong(tmp_path: Path) -> None:
    text = program("custom_steps.on_worker.soft_reset", ("autogate.gitwords",), {}, MARKER)
    text = text.replace("sys.version_info < (3, 11)", "sys.version_info < (99, 0)")
    done = subprocess.run([sys.executable, "-I", "-"], input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 1
    assert b"need Python 3.11 or later" in done.stderr


def test_a_full_or_forbidden_disk_is_the_workers_trouble(tmp_path: Path) -> None:
    text = program("custom_steps.on_worker.soft_reset", ("autogate.gitwords",), {}, MARKER)
    raising = "lambda given: open('/dev/full', 'w').write('x' * 10000)"
    text = text.replace("sys.modules['custom_steps.on_worker.soft_reset'].main", raising)
    report, _ = perform(sys.executable, text, tmp_path)
    stop = report["stop"]
    assert isinstance(stop, dict)
    assert stop["reason"] == "infrastructure"
    assert "No space left on device" in stop["message"]


def test_a_lock_excludes_and_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "deep/lock"
    with locked(path, exclusive=False) as one, locked(path, exclusive=False, wait=False) as two:
        assert one is not None
        assert two is not None
        with locked(path, exclusive=True, wait=False) as three:
            assert three is None
    with locked(path, exclusive=True, wait=False) as four:
        assert four is not None


WAITER = """\
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from custom_steps.on_worker.shared import locked
with locked(Path(sys.argv[1]), exclusive=True):
    print("have it", flush=True)
    sys.stdin.read()
"""


def test_a_lock_whose_file_was_deleted_meanwhile_is_taken_again(tmp_path: Path) -> None:
    """As when another build evicts an environment while this one waits for it."""
    path = tmp_path / "lock"
    with locked(path, exclusive=True):
        waiting = subprocess.Popen(
            [sys.executable, "-c", WAITER, path, str(Path.cwd())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert waiting.stdout
        assert "waiting for another build" in waiting.stdout.readline()
        path.unlink()
    assert waiting.stdout.readline() == "have it\n"
    with locked(path, exclusive=True, wait=False) as taken:
        assert taken is None
    waiting.communicate("")


HOLDER = """\
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from custom_steps.on_worker.shared import locked, run
with locked(Path(sys.argv[1]), exclusive=True) as held:
    run(["sh", "-c", "echo $$ >$1.pid; exec tail -f /dev/null", "sh", sys.argv[1]], hold=(held,))
"""


def test_a_lock_is_held_while_the_program_that_it_protects_lives(tmp_path: Path) -> None:
    """When the kernel kills a step's program alone, the git it started goes on writing."""
    path, note = tmp_path / "lock", tmp_path / "lock.pid"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path, str(Path.cwd())])
    child = int(wait_for(lambda: note.read_text().strip() if note.exists() else "", "the program to run"))
    try:
        holder.kill()
        holder.wait()
        with path.open("r+") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, signal.SIGKILL)

    def free() -> bool:
        with locked(path, exclusive=True, wait=False) as taken:
            return taken is not None

    wait_for(free, "the lock to be let go")


def test_remove_whatever_it_is(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = tmp_path / "folder"
    (folder / "closed/in").mkdir(parents=True)
    (folder / "closed/in/file").touch()
    (folder / "closed/in").chmod(0)
    (folder / "closed").chmod(0)
    (folder / "link").symlink_to(outside)
    link = tmp_path / "link"
    link.symlink_to(outside)
    for path in (folder, link, tmp_path / "nothing"):
        remove(path)
        assert not path.is_symlink()
        assert not path.exists()
    assert (outside / "kept").exists()


def test_a_program_may_leave_a_daemon_behind(tmp_path: Path) -> None:
    """ssh does, when connections are shared; its end must not be waited for."""
    note = tmp_path / "pid"
    done = run(["sh", "-c", f"tail -f /dev/null & echo $! >{note}; echo said; echo complained >&2; exit 3"])
    os.kill(int(note.read_text()), signal.SIGKILL)
    assert (done.code, done.out, done.err) == (3, "said\n", "complained\n")


def test_who_removed_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository.create(tmp_path, files={"a b.txt": "x"})
    repository.candidate({"a b.txt": None})
    monkeypatch.chdir(repository.tree)
    assert existed_before("a b.txt")
    assert not existed_before("c.txt")
    repository.git("reset", "-q", "--soft", "HEAD^")
    assert existed_before("a b.txt")


FAILURE = {"name": "t", "path": "", "line": 0, "excerpt": "e"}


@pytest.mark.parametrize("code", [0, 1, 2, 5, -11, 255])
@pytest.mark.parametrize("late", ["", "stopped"])
@pytest.mark.parametrize("problem", ["", "no report"])
@pytest.mark.parametrize(
    "summary",
    [
        None,
        Summary(total=0),
        Summary(total=None),
        Summary(total=3),
        Summary(total=3, skipped=3),
        Summary(total=3, failed_total=1, failed=[FAILURE]),
    ],
)
def test_nothing_but_a_clean_run_passes(code: int, late: str, problem: str, summary: Summary | None) -> None:
    report = judge(Ran(code, "text", late), summary, problem, "command")
    clean = code == 0 and not late and not problem
    tested = summary is None or (summary.total != 0 and not summary.failed_total)
    if clean and tested:
        assert report["verdict"] == ("warnings" if summary and summary.skipped else "success")
        assert report["failed"] == []
    else:
        assert report["verdict"] == "failure"
        assert report["failed"]
        assert report["failed_total"] >= 1
        assert report["summary"]


def test_a_kill_from_outside_is_nobodys_failing_test() -> None:
    with pytest.raises(Stop, match="SIGKILL"):
        judge(Ran(-9, ""), None, "", "command")
