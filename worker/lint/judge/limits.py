"""What one file may cost, and what is said of a process that did not get to its end."""

import ctypes
import math
import os
import resource
import signal
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""prctl(2)."""

PAGE = resource.getpagesize()
MEBIBYTE = 1024 * 1024
DATA, RESIDENT = 5, 1
"""Fields of /proc/PID/statm, see proc(5)."""

_libc = ctypes.CDLL(None)

MOST_NICE = 19


@dataclass(frozen=True)
class Limits:
    """What one file may cost.

    Attributes:
        seconds: Of wall time; as much of processor time, should nobody be there to look at the clock.
        mebibytes: Of memory, beyond what its process shares with the judge.
        idle: Whether it gets no processor that anybody else wants.
    """

    seconds: float
    mebibytes: int
    idle: bool = False


@dataclass(frozen=True)
class Failure:
    """Why there is no result.

    Attributes:
        error: A line that names the cure.
        infrastructure: Whether it is the machine's doing.
    """

    error: str
    infrastructure: bool = False


def confine(limits: Limits, judge: int) -> None:
    """Confine the process that was just forked: it leads a session of its own and dies when the judge dies.

    The judge watches both limits. The kernel watches the time, too, but not the memory: in many places pylint goes on
    after a MemoryError, and then lacks messages.

    Args:
        limits: Those of its file.
        judge: The judge's process id.
    """
    os.setsid()
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != judge:  # it died before the line above
        os.kill(os.getpid(), signal.SIGKILL)
    if limits.idle:
        os.nice(MOST_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = math.ceil(limits.seconds) + 1
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    if most == resource.RLIM_INFINITY or most > seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # a machine without memory takes this process first
    except OSError:
        pass


def adopt_orphans() -> None:
    """Become the parent of processes whose parents die, so that they can be found and killed."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> frozenset[int]:
    """Return the processes whose parent this one is; none where the kernel does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return frozenset(map(int, file.read().split()))
    except OSError:
        return frozenset()


def statm(pid: int | str) -> list[int]:
    """Return a process' /proc/PID/statm in bytes; zeros when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return [int(field) * PAGE for field in file.read().split()]
    except (OSError, ValueError):
        return [0] * 7


def too_slow(limits: Limits) -> Failure:
    """Say that the time is up."""
    return Failure(f"pylint took more than {limits.seconds:g} s on this file: simplify the file or raise --file-time")


def too_big(limits: Limits) -> Failure:
    """Say that it took too much memory."""
    return Failure(
        f"pylint took more than {limits.mebibytes} MiB of memory on this file: simplify the file or raise --file-memory"
    )


def cannot_fork(error: OSError) -> Failure:
    """Say that there is no process to be had."""
    return Failure(
        f"no process could be started for this file ({error.strerror}): "
        "free some memory on the machine, or allow more processes",
        infrastructure=True,
    )


def of_exception(error: BaseException, limits: Limits) -> Failure:
    """Say what came out of pylint instead of a result."""
    if isinstance(error, MemoryError):
        return too_big(limits)
    if isinstance(error, RecursionError):
        return Failure("pylint recursed too deeply on this file: simplify its nesting, or exclude it with ignore-paths")
    if isinstance(error, SystemExit):
        return Failure(f"a plugin or pylint itself left with sys.exit({error.code!r}): correct the plugin")
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return Failure(f"pylint crashed on this file ({said}): correct the plugin, or upgrade pylint")


def of_exit(code: int) -> Failure:
    """Say that a process left without a result."""
    return Failure(f"pylint's process left with exit code {code} and no result: correct the plugin that ends it")


def of_signal(number: int, limits: Limits) -> Failure:
    """Say which signal killed a process that was under limits."""
    if number == signal.SIGXCPU:
        return too_slow(limits)
    if number == signal.SIGKILL:
        return Failure(
            "pylint's process was killed from outside (SIGKILL): the machine may be short of memory",
            infrastructure=True,
        )
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return Failure(f"pylint's process was killed by {name} on this file: correct the plugin, or upgrade pylint")
