"""Run tests, stop them when they take too long, and say what failed."""

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custom_steps.on_worker.shared import Report, Stop, existed_before, say, using_virtualenv
from custom_steps.parsing import junit, unittest_output
from custom_steps.parsing.summary import MAX_EXCERPT, Summary

MAX_SHOWN = 16 * 1024 * 1024
MAX_KEPT = 4 * 1024 * 1024
SHOWN_AT_END = 64 * 1024
BLOCK = 64 * 1024
NO_TESTS = 5
"""The exit code of pytest, and of unittest from Python 3.12 on, when no test ran."""

NAMED = 3
"""Failing tests that the summary names."""


@dataclass(frozen=True)
class Ran:
    """How the command ended.

    Attributes:
        code: Its exit code; the negative number of the signal that killed it.
        text: What it printed, or the end of it.
        late: Why it was stopped; empty when it ended by itself.
    """

    code: int
    text: str
    late: str = ""


def main(parameters: Report) -> Report:
    """Run, and return the ``verdict`` (success, warnings, failure), the ``summary`` and what ``failed``.

    Args:
        parameters: ``command``, ``framework``, ``directory``, ``arguments``, ``junit``, ``silence``, ``duration``,
            ``virtualenv``: as the step has them.
    """
    framework = "" if parameters["command"] else parameters["framework"]
    if framework and not Path(parameters["directory"]).is_dir():
        raise _no_directory(parameters["directory"])
    with tempfile.TemporaryDirectory() as folder, using_virtualenv(parameters["virtualenv"]):
        report = Path(folder) / "report.xml" if framework == "pytest" else None
        if parameters["junit"]:
            report = Path(parameters["junit"])
            report.unlink(missing_ok=True)
        command = _command(parameters, framework, report)
        ran = _run(command, parameters["silence"], parameters["duration"])
        summary, problem = _read(report, ran, framework)
    if framework == "pytest" and "No module named pytest" in ran.text and summary is None:
        raise Stop(
            "configuration", 'pytest is not installed\nAdd it: Virtualenv(packages=("pytest",)), or a requirement.'
        )
    return judge(ran, summary, problem, shlex.join(command))


def judge(ran: Ran, summary: Summary | None, problem: str, command: str) -> Report:
    """Decide what a run came to.

    Args:
        ran: How the command ended.
        summary: What is known of its tests; None for a command that says nothing about tests.
        problem: Why nothing is known although it should be; an empty string otherwise.
        command: The command, to name a failure by that names no test itself.
    """
    failed = list(summary.failed) if summary else []
    failed_total = summary.failed_total if summary else 0
    bad = ran.late or _bad_exit(ran.code, summary)
    if not bad and problem:
        bad = problem
    if not bad and summary is not None:
        if failed:
            bad = "the report names failures, although the command ended with exit code 0"
        elif summary.total == 0:
            bad = "no tests ran"
    if not bad:
        return _report("warnings" if _all_skipped(summary) else "success", _counts(summary), [], 0)
    if failed_total and not ran.late:
        names = ", ".join(str(test["name"]) for test in failed[:NAMED])
        more = f" and {failed_total - NAMED} more" if failed_total > NAMED else ""
        total = summary.total if summary and summary.total else failed_total
        text = f"{failed_total} of {max(total, failed_total)} tests failed: {names}{more}"
    else:
        text = bad
    if not failed:
        failed, failed_total = [{"name": command, "path": "", "line": 0, "excerpt": f"{_end(ran.text)}\n{bad}"}], 1
    return _report("failure", text, failed, failed_total)


def _report(verdict: str, summary: str, failed: list[dict[str, object]], total: int) -> Report:
    return {"verdict": verdict, "summary": summary, "failed": failed, "failed_total": total}


def _bad_exit(code: int, summary: Summary | None) -> str:
    if code == 0:
        return ""
    if code == -signal.SIGKILL:
        raise Stop(
            "infrastructure",
            "the tests were killed with SIGKILL\nBy the kernel, when the worker runs out of memory, or by somebody.",
        )
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"the tests died of {signal.Signals(-code).name}"
    if code == NO_TESTS and (summary is None or not summary.total):
        return "no tests ran"
    return f"exit code {code}"


def _all_skipped(summary: Summary | None) -> bool:
    return summary is not None and bool(summary.total) and summary.skipped == summary.total


def _counts(summary: Summary | None) -> str:
    if summary is None:
        return "passed"
    total, skipped = summary.total or 0, summary.skipped
    tests = f"{total} test{'' if total == 1 else 's'}"
    if skipped == total:
        return f"all of {tests} were skipped"
    return f"{tests} passed" if not skipped else f"{total - skipped} of {tests} passed, {skipped} skipped"


def _no_directory(path: str) -> Stop:
    if existed_before(path):
        return Stop("change", f"the folder {path} is gone, and the tests with it\nThe change removes it: put it back.")
    return Stop(
        "configuration",
        f"there is no folder {path} in the repository\nName the one that holds the tests in the configuration: "
        "RunTests(directory=…), or give a command.",
    )


def _command(parameters: Report, framework: str, report: Path | None) -> list[str]:
    given = parameters["command"]
    if isinstance(given, str):
        return ["/bin/sh", "-c", given]
    if given:
        return [str(word) for word in given]
    directory = parameters["directory"]
    if framework == "unittest":
        return ["python3", "-m", "unittest", "discover", "-v", "-s", directory, *parameters["arguments"]]
    # xunit1 is the family that says in which file a test is.
    report_options = [f"--junit-xml={report}", "-o", "junit_family=xunit1"]
    return ["python3", "-m", "pytest", *report_options, *parameters["arguments"], "--", directory]


def _read(report: Path | None, ran: Ran, framework: str) -> tuple[Summary | None, str]:
    if framework == "unittest":
        summary = unittest_output.parse(ran.text, str(Path.cwd()))
        if ran.code == 0:
            summary.failed, summary.failed_total = [], 0  # what looks like a failure is something that a test printed
            return summary, "" if summary.total is not None else "the run ended without unittest's summary"
        return summary, ""
    return _read_junit(report) if report else (None, "")


def _read_junit(report: Path) -> tuple[Summary | None, str]:
    try:
        with report.open("rb") as file:
            return junit.parse(file.read(junit.MAX_BYTES + 1)), ""
    except FileNotFoundError:
        return None, f"the tests wrote no report {report.name}"
    except (OSError, junit.JUnitError) as error:
        return None, f"the report {report.name} {error}"


def _run(command: Sequence[str], silence: float, duration: float) -> Ran:
    """Run a command, show what it prints, stop it when it takes too long, and leave nothing of it running."""
    say(f"$ {shlex.join(command)}")
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Without it, what a Python prints by itself would come after all that its test runner says.
            env={"PYTHONUNBUFFERED": "1"} | os.environ,
        )
    except (FileNotFoundError, PermissionError) as error:
        if "/" in command[0]:
            raise Stop(
                "change", f"cannot run {command[0]}: {error.strerror}\nIs it in the repository, and executable?"
            ) from None
        raise Stop("infrastructure", f"{command[0]} is not on the worker's PATH\nInstall it on the worker.") from None
    output = Output()
    late = _follow(process, output, silence, duration)
    if killed := _kill_group():
        say(f"killed {killed} process{'es' if killed > 1 else ''} that the tests left running")
    code = process.wait()
    output.finish()
    return Ran(code, output.text(), late)


def _follow(process: subprocess.Popen[bytes], output: "Output", silence: float, duration: float) -> str:
    """Read until the command ends (not until its last child lets go of the pipe); return why it was stopped, if so."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    stream = process.stdout.fileno()
    os.set_blocking(stream, False)
    ended, tell = os.pipe()
    threading.Thread(target=lambda: (process.wait(), os.write(tell, b".")), daemon=True).start()
    begun = heard = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            deadline = min(heard + silence, begun + duration)
            ready = {key.fd for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
            if stream in ready:
                heard = time.monotonic()
                if not output.take(stream):
                    selector.unregister(stream)
                if ended not in ready:
                    continue
            if ended in ready:
                while output.take(stream):
                    pass
                return ""
            now = time.monotonic()
            if now >= begun + duration:
                return f"stopped: the tests took more than {duration:g} s"
            if now >= heard + silence:
                return f"stopped: the tests printed nothing for {silence:g} s"


class Output:
    """What the command printed: shown as it comes, up to a limit, and its end kept."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._seen = 0

    def take(self, descriptor: int) -> bool:
        """Read one block; return false when there is none now."""
        try:
            block = os.read(descriptor, BLOCK)
        except BlockingIOError:
            return False
        if not block:
            return False
        self._show(block[: max(0, MAX_SHOWN - self._seen)])
        self._seen += len(block)
        self._kept += block
        if len(self._kept) > 2 * MAX_KEPT:
            del self._kept[:-MAX_KEPT]
        return True

    def finish(self) -> None:
        """Show the end when it was not shown already."""
        hidden = self._seen - MAX_SHOWN
        if hidden > 0:
            end = bytes(self._kept[-min(hidden, SHOWN_AT_END) :])
            say(f"\n[… {hidden - len(end)} bytes left out …]")
            self._show(end)
        if self._kept and not self._kept.endswith(b"\n"):
            say("")

    def text(self) -> str:
        """Return the end of it."""
        return self._kept[-MAX_KEPT:].decode("utf-8", "replace").replace("\r\n", "\n")

    @staticmethod
    def _show(block: bytes) -> None:
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


def _kill_group() -> int:
    """Kill all processes of this process' own group but itself; return how many there were."""
    if os.getpgrp() != os.getpid():
        return 0  # somebody else's group: not ours to clear
    killed: set[int] = set()
    # A process that is about to die may have started another one.
    while found := _group_members() - killed:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
    return len(killed)


def _group_members() -> set[int]:
    members = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, group = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        pid = int(entry.name)
        if int(group) == os.getpgrp() and state not in "ZX" and pid != os.getpid():
            members.add(pid)
    return members


def _end(text: str) -> str:
    return text.rstrip()[-MAX_EXCERPT // 2 :]
