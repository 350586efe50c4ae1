"""Run a command between builds, until one needs the machine or the worker ends."""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def stop(folder: Path) -> None:
    """End what earlier builds left running, and return when it is gone.

    Args:
        folder: As it was given to `leave`.
    """
    for path in folder.glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(int(path.name), signal.SIGKILL)
                fcntl.flock(file, fcntl.LOCK_EX)
            path.unlink(missing_ok=True)


def leave(command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
    """Leave a process behind that runs ``command`` and outlives the build, but not the worker.

    Nothing where the kernel cannot say that the worker has ended: Linux alone can.

    Args:
        command: The program and its arguments; no shell.
        env: Its environment.
        folder: Where `stop` finds it; what it prints is in the file ``log`` there.
    """
    if not hasattr(os, "pidfd_open"):
        return
    worker = os.pidfd_open(os.getppid())
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        try:
            _run(command, env, folder, worker)
        finally:
            os._exit(0)
    os.close(worker)


def _run(command: Sequence[str], env: Mapping[str, str], folder: Path, worker: int) -> None:
    os.setsid()  # out of the group that Buildbot ends with the build
    folder.mkdir(parents=True, exist_ok=True)
    # Locked before it is there under its name: a file that `stop` finds unlocked is a dead process'.
    fresh = folder / f".{os.getpid()}"
    lock = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX)
    path = fresh.rename(folder / str(os.getpid()))
    # Buildbot would wait until the last process lets go of the step's own streams.
    for descriptor, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(name, flags, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(1, 2)
    process = subprocess.Popen(command, env=env, pass_fds=(lock,))  # noqa: S603 - the lint program itself
    ended = os.pidfd_open(process.pid)
    select.select([worker, ended], [], [])
    path.unlink()
    if process.poll() is None:
        os.killpg(0, signal.SIGKILL)
