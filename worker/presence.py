"""What Buildbot's worker does not keep: whether the master has it, and that a lost master can give no leave."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from buildbot_worker.bot import Worker
from twisted.internet.error import ReactorNotRunning

FILE = "connected"
"""In the worker's base directory. There while the master has accepted the worker, such as for a health check."""


class Stoppable(Protocol):
    """A Twisted reactor, as far as is needed here."""

    def stop(self) -> None:
        """End the process in order."""


class Presence:
    """Follows a worker's sign-ins, from before its first to the end of its process.

    An open connection alone tells nothing: it stays open after a refused password. And Buildbot's worker takes a master
    that it lost for one that it has: a graceful shutdown would wait for its leave for ever.

    Args:
        worker: Has not been started yet.
        file: Is there while the worker is signed in. Deleted now, since a worker that was killed may have left it.
        reactor: Stopped when the master is lost during a graceful shutdown: its builds are lost as well.
    """

    def __init__(self, worker: Worker, file: Path, reactor: Stoppable) -> None:
        self._file = file
        self._reactor = reactor
        self._leaving = False
        self._factory = worker.bf
        self._sign_in: Callable[[Any], None] = worker.bf.gotPerspective
        self._ask_leave: Callable[[], Any] = worker.gracefulShutdown
        file.unlink(missing_ok=True)
        # both are looked up on the object whenever they are called
        worker.bf.gotPerspective = self._signed_in  # type: ignore[method-assign]
        worker.gracefulShutdown = self._leave  # type: ignore[method-assign]

    def _signed_in(self, perspective: Any) -> None:  # noqa: ANN401  (Twisted's, without types)
        self._sign_in(perspective)
        perspective.broker.notifyOnDisconnect(self._signed_out)
        self._file.touch()

    def _signed_out(self) -> None:
        self._file.unlink(missing_ok=True)
        self._factory.perspective = None
        if self._leaving:
            # not running any more where the master gave leave and the process ends anyway
            with contextlib.suppress(ReactorNotRunning):
                self._reactor.stop()

    def _leave(self) -> Any:  # noqa: ANN401
        self._leaving = True
        return self._ask_leave()
