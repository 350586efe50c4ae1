"""Judges as real processes, and a tree whose files make pylint do what their names say."""

import contextlib
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from worker.lint.connection import JudgeConnection, JudgeSettings

from .waiting import wait_for

PYLINTRC = """\
[MAIN]
init-hook=import sys; sys.path.insert(0, '.')
load-plugins=acting
disable=all
enable=undefined-variable,acting
"""

ACTING = """\
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pylint.checkers import BaseChecker


def loop():
    while True:
        pass


def eat():
    kept = []
    while True:
        kept.append(b"x" * ((1 << 20) + len(kept)))


def chatter():
    while True:
        print("chatter" * 1000)


def fork(**how):
    process = subprocess.Popen(["sleep", "1000"], **how)
    Path("forked").write_text(str(process.pid))


def wait():
    Path("waiting.new").write_text(str(os.getpid()))
    os.rename("waiting.new", "waiting")
    while not os.path.exists("go"):
        time.sleep(0.02)


def scribble():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"x" * 100)
        except OSError:
            pass


ACTS = {
    "loops": loop,
    "eats": eat,
    "chatters": chatter,
    "prints": lambda: print("a plugin talks"),
    "exits": lambda: (print("a plugin is tired"), sys.exit("enough")),
    "leaves": lambda: os._exit(7),
    "interrupts": lambda: os.kill(os.getpid(), signal.SIGINT),
    "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "suicides": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stops": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "murders": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "forks": fork,
    "daemons": lambda: fork(start_new_session=True),
    "waits": wait,
    "scribbles": scribble,
}


class Acting(BaseChecker):
    name = "acting"
    msgs = {"W9999": ("acting", "acting", "acting")}

    def visit_module(self, node):
        ACTS.get(node.name.rstrip("0123456789"), lambda: None)()


def register(linter):
    linter.register_checker(Acting(linter))
"""

BAD = "print(missing)\n"


@dataclass
class Courtroom:
    """A tree with a configuration, and what judges of it need.

    Attributes:
        tree: The folder of the tree.
        settings: To open connections with.
    """

    tree: Path
    settings: JudgeSettings

    @classmethod
    def create(cls, folder: Path) -> "Courtroom":
        """Make one in a folder, which must have a short name."""
        tree = folder / "tree"
        tree.mkdir()
        (tree / ".pylintrc").write_text(PYLINTRC)
        (tree / "acting.py").write_text(ACTING)
        settings = JudgeSettings(
            python=sys.executable,
            arguments=("--rcfile=.pylintrc",),
            folder=str(tree),
            home=str(tree),
            key="a repository",
            runtime_folder=str(folder / "run"),
            fingerprint="of today",
            jobs=2,
            file_seconds=60,
        )
        return cls(tree, settings)

    def open(self, *, server: bool = True, **changed: object) -> JudgeConnection:
        """Open a connection, with some settings changed."""
        return JudgeConnection.open(replace(self.settings, **changed), server=server)  # type: ignore[arg-type]

    def ask(self, connection: JudgeConnection, *paths: str) -> dict[str, str]:
        """Have files judged that all have one undefined variable; return ``ok`` or the error of each."""
        for path in paths:
            (self.tree / path).write_text(BAD)
        return {str(job): verdict(result) for job, result in connection.lint(self.job(path) for path in paths)}

    def job(self, path: str) -> tuple[str, str, str]:
        """Return a job that is called like its file."""
        return path, str(self.tree), path

    def processes(self) -> list[int]:
        """Return all judges, and the processes that they forked."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and str(self.tree.parent).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return [pid for pid in found if pid != os.getpid()]

    def wait_until_empty(self) -> None:
        """Wait until no process is left."""
        wait_for(lambda: not self.processes(), lambda: f"the end of {self.processes()}")

    def forked(self) -> int:
        """Return the process that a plugin started."""
        return int((self.tree / "forked").read_text())

    def waiting(self) -> int:
        """Wait until a plugin waits; return its process."""
        wait_for((self.tree / "waiting").exists, "a plugin to wait")
        return int((self.tree / "waiting").read_text())

    def clear(self) -> None:
        """Kill what is left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait_until_empty()


def verdict(result: dict[str, object]) -> str:
    """Return ``ok`` where pylint found the undefined variable, or the error, marked when it is the machine's."""
    if result.get("error"):
        return ("machine: " if result.get("infrastructure") else "") + str(result["error"])
    messages = result["messages"]
    assert isinstance(messages, list)
    return "ok" if [each["symbol"] for each in messages] == ["undefined-variable"] else repr(messages)


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
