"""What a build leaves running: it outlives the build, ends when the next one needs the machine, and with the worker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from custom_steps.on_worker import idle_time
from tests.support.waiting import wait_for

WORKER = """\
import subprocess, sys
command = [sys.executable, "-c", *sys.argv[1:]]
subprocess.run(command, start_new_session=True, stdout=subprocess.PIPE)
print("the build has ended", flush=True)
sys.stdin.read()
"""

STEP = """\
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from custom_steps.on_worker import idle_time
script = "tail -f /dev/null & echo $$ $! >$0.new; mv $0.new $0; wait"
idle_time.leave(["sh", "-c", script, sys.argv[3]], os.environ, Path(sys.argv[2]))
"""


@dataclass
class Left:
    """What a worker's build left running."""

    worker: subprocess.Popen[str]
    folder: Path
    processes: list[psutil.Process]

    def is_gone(self) -> bool:
        return not any(process.is_running() and process.status() != "zombie" for process in self.processes)


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    folder, note = tmp_path / "idle", tmp_path / "pids"
    command = [sys.executable, "-c", WORKER, STEP, str(Path.cwd()), str(folder), str(note)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout
    assert worker.stdout.readline() == "the build has ended\n", "nothing holds on to the step's own streams"
    pids = wait_for(lambda: note.read_text().split() if note.exists() else [], "the command to run")
    yield Left(worker, folder, [psutil.Process(int(pid)) for pid in pids])
    worker.kill()
    worker.communicate()
    idle_time.stop(folder)


def test_it_outlives_the_build_and_the_next_one_stops_it(left: Left) -> None:
    assert not left.is_gone()
    groups = {os.getpgid(process.pid) for process in left.processes}
    assert os.getpgid(left.worker.pid) not in groups
    idle_time.stop(left.folder)
    wait_for(left.is_gone, "all of it to end")
    assert [path.name for path in left.folder.iterdir()] == ["log"]
    idle_time.stop(left.folder)


def test_it_ends_with_the_worker_however_that_dies(left: Left) -> None:
    left.worker.send_signal(signal.SIGKILL)
    wait_for(left.is_gone, "all of it to end")


def test_a_file_of_a_dead_process_is_no_process(tmp_path: Path) -> None:
    """Nobody is killed whose number was somebody else's before."""
    bystander = subprocess.Popen(["tail", "-f", "/dev/null"], start_new_session=True)
    (tmp_path / str(bystander.pid)).touch()
    idle_time.stop(tmp_path)
    assert bystander.poll() is None
    assert list(tmp_path.iterdir()) == []
    bystander.kill()
    bystander.wait()


def test_without_anything_left_there_is_nothing_to_stop(tmp_path: Path) -> None:
    idle_time.stop(tmp_path / "nowhere")
