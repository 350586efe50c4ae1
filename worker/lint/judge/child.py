"""One file, judged in a process of its own."""

import contextlib
import fcntl
import gc
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from . import limits
from .limits import Failure, Limits

if TYPE_CHECKING:
    from .linting import Linting

LENGTH = struct.Struct("!Q")
MAX_RESULT = 256 * 1024 * 1024
MAX_PRINTED = 4096
CHUNK = 1 << 20
"""Bytes; a pipe holds fewer."""


class Child:
    """The process, seen from the judge.

    Attributes:
        pid: Also the id of its process group.
        root: The folder of the tree.
        path: The file, relative to it.
        report: Where its result comes from; -1 when it was closed.
        output: Where what is printed in it comes from; -1 when it was closed.
        idle: Whether it is nice.
    """

    def __init__(self, pid: int, root: str, path: str, limits_: Limits, report: int, output: int) -> None:
        self.pid = pid
        self.root = root
        self.path = path
        self.report = report
        self.output = output
        self.idle = limits_.idle
        self._limits = limits_
        self._deadline = time.monotonic() + limits_.seconds
        self._inherited = limits.statm("self")[limits.DATA]
        self._frame = bytearray()
        self._printed = bytearray()

    @classmethod
    def start(cls, linting: "Linting", root: str, path: str, bounds: Limits, closing: Iterable[int]) -> "Child":
        """Fork it.

        Args:
            linting: pylint, ready.
            root: The folder of the tree.
            path: The file, relative to it.
            bounds: What it may cost.
            closing: Descriptors of the judge's that are none of its business.

        Raises:
            OSError: No process or no descriptor is to be had.
        """
        judge = os.getpid()
        report, reported = os.pipe()
        try:
            output, printed = os.pipe()
        except OSError:
            os.close(report)
            os.close(reported)
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # the collector would touch, and so copy, every page
        try:
            pid = os.fork()
        except OSError:
            for descriptor in (report, reported, output, printed):
                os.close(descriptor)
            raise
        if pid == 0:
            try:
                for descriptor in (report, output, *closing):
                    os.close(descriptor)
                _run(linting, root, path, bounds, reported, printed, judge)
            finally:
                os._exit(1)
        os.close(reported)
        os.close(printed)
        for descriptor in (report, output):
            fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK)
        return cls(pid, root, path, bounds, report, output)

    def read_report(self) -> dict[str, Any] | Failure | None:
        """Read on; return the result, or why there is none, once there is one to be had."""
        if self.report >= 0:
            chunk = _all_there_is(self.report)
            if chunk == b"":
                os.close(self.report)
                self.report = -1
            self._frame += chunk or b""
        return self._result()

    def read_output(self) -> None:
        """Read on, and keep the end."""
        if self.output >= 0:
            chunk = _all_there_is(self.output)
            if chunk == b"":
                os.close(self.output)
                self.output = -1
            self._printed += chunk or b""
            del self._printed[:-MAX_PRINTED]

    def printed(self) -> str:
        """Return the end of what was printed, in one line."""
        self.read_output()
        return " ".join(self._printed.decode("utf-8", "replace").split())[-300:]

    def ended(self) -> Failure | None:
        """Return why there will be no result: it is dead, or has reached a limit."""
        # It is not waited for yet: until it is, its process group cannot become anybody else's.
        ending = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ending is not None:
            if ending.si_code == os.CLD_EXITED:
                return limits.of_exit(ending.si_status)
            return limits.of_signal(ending.si_status, self._limits)
        if time.monotonic() > self._deadline:
            return limits.too_slow(self._limits)
        grown = limits.statm(self.pid)[limits.DATA] - self._inherited
        if grown > self._limits.mebibytes * limits.MEBIBYTE:
            return limits.too_big(self._limits)
        return None

    def kill(self) -> None:
        """Kill it and every process of its group; it is still to be waited for."""
        for kill in (os.killpg, os.kill):  # it has no group of its own in its first moment
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)
        for descriptor in (self.report, self.output):
            if descriptor >= 0:
                os.close(descriptor)
        self.report = self.output = -1

    def _result(self) -> dict[str, Any] | Failure | None:
        if len(self._frame) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._frame)
        if len(self._frame) < LENGTH.size + length <= MAX_RESULT:
            return None
        try:
            body = bytes(self._frame[LENGTH.size :])
            answer = json.loads(body)
            if "failure" in answer:
                return Failure(str(answer["failure"]))
            return {"messages": list(answer["result"]["messages"]), **answer["result"]}
        except (ValueError, KeyError, TypeError, RecursionError):
            return Failure(
                "what pylint's process said of this file cannot be read: correct the plugin that disturbs it"
            )


def _all_there_is(descriptor: int) -> bytes | None:
    """Read what a pipe holds, in one go, however fast its other end writes; None when it holds nothing."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return None


def _run(linting: "Linting", root: str, path: str, bounds: Limits, reported: int, printed: int, judge: int) -> NoReturn:
    """Judge the file in this process, which was forked for it, and end."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.close(printed)
        limits.confine(bounds, judge)
        answer: dict[str, Any] = {"result": linting.lint(root, path)}
    except BaseException as error:  # noqa: BLE001  (a plugin may raise anything, SystemExit above all)
        answer = {"failure": limits.of_exception(error, bounds).error}
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # a plugin may have put anything in its place
            stream.flush()
    body = json.dumps(answer).encode()
    rest = memoryview(LENGTH.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(reported, rest) :]
    os._exit(0)
