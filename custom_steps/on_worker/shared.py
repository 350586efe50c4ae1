"""What the programs on the worker share: a way to stop with a reason, locks, processes, and the report back."""

import base64
import collections
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

Reason = Literal["change", "configuration", "infrastructure", "superseded"]
Report = dict[str, Any]

CHUNK = 3000
"""Characters of a line of the report: Buildbot breaks lines of more than 4096."""

TAIL_BYTES = 64 * 1024
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies."""


class Stop(Exception):  # noqa: N818 - no error of the program's: it is how a program ends early
    """The step ends here, for a reason that people can act on.

    Attributes:
        reason: Who is to act: the change's author, whoever configures the gate, whoever runs it, or nobody.
        message: The first line is the step's summary; what follows says what to do.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Done:
    """A process that ended.

    Attributes:
        code: Its exit code; the negative number of the signal that killed it.
        out: What it printed on standard output (both streams, when it was echoed).
        err: What it printed on standard error.
    """

    code: int
    out: str
    err: str = ""


def say(text: str) -> None:
    """Print a line for whoever reads the step's log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(
    args: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, hold: Sequence[int] = ()
) -> Done:
    """Run a program and wait until it ends.

    Args:
        args: The program and its arguments; no shell.
        cwd: Where.
        env: Its environment; this process' own by default.
        hold: Locks that stay held for as long as the program lives, should this process be killed alone.
    """
    # Files, not pipes: a daemon that the program leaves behind (ssh's shared connection) would keep a pipe open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = subprocess.run(  # noqa: S603 - the callers pass constants, and what they do not choose stands after "--"
            args, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=tuple(hold), check=False
        ).returncode
        return Done(code, _text(out), _text(err))


def run_aloud(
    args: Sequence[str], *, cwd: Path, env: Mapping[str, str], hold: Sequence[int] = (), title: str = ""
) -> Done:
    """Run a program that leaves no daemons, show both its streams as it goes, and keep the end of them."""
    say(f"$ {title or ' '.join(args)}")
    tail: collections.deque[bytes] = collections.deque()
    kept = 0
    with subprocess.Popen(  # noqa: S603 - as in `run`
        args,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=tuple(hold),
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        for line in process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
            tail.append(line)
            kept += len(line)
            while kept > TAIL_BYTES and len(tail) > 1:
                kept -= len(tail.popleft())
    return Done(process.returncode, b"".join(tail)[-TAIL_BYTES:].decode("utf-8", "replace"))


@contextlib.contextmanager
def locked(path: Path, *, exclusive: bool, wait: bool = True) -> Iterator[int | None]:
    """Hold the lock file ``path``; yield its descriptor, or None when it is taken and ``wait`` is false.

    The lock goes with the process, however it dies. The file may be unlinked by whoever holds it exclusively.
    """
    how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    yield None
                    return
                say(f"waiting for another build to let go of {path}")
                fcntl.flock(descriptor, how)
            if not _still_there(path, descriptor):
                continue
            yield descriptor
            return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def using_virtualenv(path: str) -> Iterator[None]:
    """Keep a virtual environment of the ``Virtualenv`` step from being evicted; nothing for any other, or none."""
    lock = Path(path + ".lock")
    if not path or not lock.exists():
        yield
        return
    with locked(lock, exclusive=False):
        yield


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with all that is in it, whatever its permissions; nothing when it is gone.

    Raises:
        OSError: something in it belongs to somebody else.
    """
    if path.is_dir() and not path.is_symlink():
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)  # noqa: PTH101 - a folder below may be closed to its owner
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def existed_before(path: str) -> bool:
    """Tell whether the commit that is built, or the one it was merged onto, has the file: the change removed it."""
    return any(
        run(["git", "cat-file", "-e", "--end-of-options", f"{commit}:{path}"]).code == 0 for commit in ("HEAD", "HEAD^")
    )


def serve(main: Callable[[Report], Report], parameters: Report, marker: str) -> None:
    """Run a program and send what it returns to the step that waits for it.

    Args:
        main: The program.
        parameters: What the step gave it.
        marker: What the step tells the report's lines from any others by.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]  # both are text files
    for name in GIT_LOCATIONS:
        os.environ.pop(name, None)
    _die_with_the_worker()
    try:
        report = main(parameters)
    except Stop as stop:
        report = {"stop": {"reason": stop.reason, "message": stop.message}}
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}:
            raise
        message = f"the worker's disk: {error}\nFree some space, or give the worker's user the right to write there."
        report = {"stop": {"reason": "infrastructure", "message": message}}
    text = base64.b64encode(zlib.compress(json.dumps(report).encode("ascii"))).decode("ascii")
    sys.stdout.flush()
    for start in range(0, len(text), CHUNK):
        sys.stderr.write(f"{marker}{text[start : start + CHUNK]}\n")
    sys.stderr.write(f"{marker}.\n")
    sys.stderr.flush()


GIT_LOCATIONS = {
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
}
"""Variables that would point git at another repository than the build's."""


def _die_with_the_worker() -> None:
    """Have this process and all it started killed when the worker dies: the next build uses the same folder.

    Linux alone can do it; elsewhere they end by themselves.
    """
    if os.getpgrp() != os.getpid() or not sys.platform.startswith("linux"):
        return
    signal.signal(signal.SIGUSR2, lambda *_: os.killpg(os.getpgrp(), signal.SIGKILL))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR2)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
