"""Git processes of the master's pollers: through Buildbot's ``runprocess``, capped in number, and stoppable."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from buildbot.master import BuildMaster
from buildbot.util.eventual import eventually
from buildbot.util.runprocess import RunProcess
from buildbot.util.service import SharedService
from twisted.internet import defer

from autogate import gitwords
from autogate.git import GitError

T = TypeVar("T")

_PROGRESS = re.compile(r"\r|remote: (?:Enumerating|Counting|Compressing|Total)")


class Interrupted(Exception):  # noqa: N818  nothing is wrong
    """The poller was stopped or reconfigured; what has not been stored yet will be seen again."""


class GitSlots(SharedService):
    """The common cap on git processes of all pollers of a master.

    Scheduled polls leave a quarter of the slots free, so that a poke is served at once while many hosts hang.

    Args:
        limit: How many run at a time.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.all = defer.DeferredSemaphore(limit)
        self.scheduled = defer.DeferredSemaphore(max(1, limit - limit // 4))


class GitProcess(RunProcess):
    """A git process that the log calls by its subcommand only: its command line may hold a password in a URL."""

    subcommand = ""

    def __repr__(self) -> str:
        return f"<git {self.subcommand}>"


@dataclass
class GitRunner:
    """Runs git for one poller until it is stopped.

    Attributes:
        master: Whose reactor and whose slots are used.
        gitbin: The git program.
        ssh_command: The value of ``GIT_SSH_COMMAND``; empty to leave ssh as it is.
        timeout: Seconds after which a process that says nothing is killed.
        slots: The cap that is shared with all runners of the master that name the same number.
        urgent: Whether the slots that scheduled polls leave free may be used.
    """

    master: BuildMaster
    gitbin: str
    ssh_command: str
    timeout: float
    slots: int
    urgent: bool = False
    _stopped: bool = False
    _abandon: Callable[[], object] | None = None

    def stop(self) -> None:
        """Kill the process that runs, give up a wait that `wait` waits for, and let nothing else begin."""
        self._stopped = True
        if self._abandon:
            self._abandon()

    def check(self) -> None:
        """Raise `Interrupted` if stopped."""
        if self._stopped:
            raise Interrupted

    async def wait(self, waiting: defer.Deferred[T]) -> T:
        """Wait for something that is given up when the runner is stopped.

        Raises:
            Interrupted: it was stopped.
        """
        self.check()
        self._abandon = waiting.cancel
        try:
            return await waiting
        except defer.CancelledError:
            raise Interrupted from None
        finally:
            self._abandon = None

    async def run(self, *args: str, stdin: bytes | None = None, limit: float | None = None) -> bytes:
        """Run ``git ARGS`` and return its standard output.

        Args:
            args: Options, a subcommand and its arguments.
            stdin: What it reads.
            limit: Seconds after which it is killed also when it says something; by default the timeout.

        Raises:
            GitError: it failed, or was killed for taking too long.
            Interrupted: the runner was stopped.
        """
        slots: GitSlots = await GitSlots.getService(self.master, self.slots)
        if self.urgent:
            return await self._within(slots.all, lambda: self._run(args, stdin, limit))
        return await self._within(
            slots.scheduled, lambda: self._within(slots.all, lambda: self._run(args, stdin, limit))
        )

    async def _within(self, slots: defer.DeferredSemaphore, work: Callable[[], Awaitable[bytes]]) -> bytes:
        await self.wait(slots.acquire())
        try:
            return await work()
        finally:
            # In a turn of its own: what waits for the slot would else run within this, and hundreds may wait.
            eventually(slots.release)

    async def _run(self, args: tuple[str, ...], stdin: bytes | None, limit: float | None) -> bytes:
        process = GitProcess(  # type: ignore[no-untyped-call]
            self.master.reactor,
            [self.gitbin, *args],
            env=gitwords.environment(self.ssh_command),
            io_timeout=self.timeout,
            runtime_timeout=limit or self.timeout,
            sigterm_timeout=2,
            initial_stdin=stdin,
        )
        process.subcommand = subcommand = next(arg for arg in args if not arg.startswith("-"))
        self._abandon = lambda: process.kill("the poller stops")  # type: ignore[no-untyped-call]
        out: bytes
        try:
            code, out, err = await process.start()  # type: ignore[no-untyped-call]
        except OSError as error:
            raise GitError(subcommand, 127, f"{self.gitbin}: {error.strerror}") from None
        finally:
            self._abandon = None
        self.check()
        if process.killed:
            raise GitError(subcommand, None, f"no answer within {self.timeout:g} s")
        if code:
            raise GitError(subcommand, code, without_progress(err))
        return out


def without_progress(stderr: bytes) -> str:
    """Return what ``git fetch --progress`` printed, without the progress."""
    lines = stderr.decode("utf-8", "replace").split("\n")
    return "\n".join(line for line in lines if not _PROGRESS.search(line))
