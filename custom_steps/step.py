"""What the steps share: a program sent to the worker, its report read back, a summary, and a cause."""

import base64
import json
import re
import secrets
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from buildbot.config.errors import error as config_error
from buildbot.interfaces import IRenderable
from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.results import CANCELLED, EXCEPTION, FAILURE
from twisted.internet import defer

from autogate.contract import CAUSE_PROPERTY, VALUE_UNIT, Cause, FailedTest, Finding

from .bundle import program

ENDS = {
    "change": (FAILURE, Cause.CHANGE),
    # Buildbot puts a worker that ends a build with EXCEPTION into quarantine: right when the worker or what it reaches
    # is in trouble, wrong when every worker would find the same mistake in the configuration.
    "configuration": (FAILURE, Cause.INFRASTRUCTURE),
    "infrastructure": (EXCEPTION, Cause.INFRASTRUCTURE),
    "superseded": (CANCELLED, Cause.SUPERSEDED),
}
"""Result and cause of a build that a step ends early, by the reason that its program on the worker gives."""

MAX_SUMMARY = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_submissions: WeakKeyDictionary[Any, defer.DeferredLock] = WeakKeyDictionary()


class Stopped(Exception):  # noqa: N818 - the step's ordinary early end
    """The step ends here, for a reason (a key of `ENDS`) and with a message whose first line is the summary."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ReportingCommand(RemoteShellCommand):
    """A shell command that keeps the report of a program on the worker out of the log."""

    def __init__(self, *, marker: str, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]  # Buildbot leaves it without types
        self.marker = marker
        self.chunks: list[str] = []

    def add_stderr_lines(self, data: str, is_flushed: bool) -> defer.Deferred[None]:  # noqa: FBT001 - Buildbot's own
        """Collect the report's lines and pass the others on."""
        others = []
        for line in data.splitlines(keepends=True):
            if line.startswith(self.marker):
                self.chunks.append(line.removeprefix(self.marker).strip())
            else:
                others.append(line)
        if not others:
            return defer.succeed(None)
        return super().add_stderr_lines("".join(others), is_flushed)

    @property
    def report(self) -> dict[str, Any] | None:
        """What the program sent; None when it was cut short."""
        if not self.chunks or self.chunks[-1] != ".":
            return None
        report: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode("".join(self.chunks[:-1]))))
        return report


class WorkerStep(ShellMixin, BuildStep):
    """A step that is one program on the worker.

    Args:
        worker_python: The Python, 3.11 or later, that runs the step's own program on the worker.
        kwargs: What every Buildbot step takes, and of `ShellMixin`'s: ``env``, ``workdir``, ``timeout``, ``maxTime``,
            ``logEnviron``, ``interruptSignal``, ``sigtermTime``.
    """

    program: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, object]] = {}
    """What the step takes for arguments of Buildbot's that it is not given."""

    renderables: Sequence[str] = ["worker_python"]

    def __init__(self, *, worker_python: object = "python3", **kwargs: object) -> None:
        kwargs = {"haltOnFailure": True, "flunkOnFailure": True, "logEnviron": False} | self.defaults | kwargs
        kwargs = self.setupShellMixin(
            kwargs, prohibitArgs=["command", "initialStdin", "decodeRC", "logfiles", "usePTY"]
        )
        super().__init__(**kwargs)
        self.worker_python = worker_python
        self._summary = ""

    def getResultSummary(self) -> dict[str, str]:  # noqa: N802 - Buildbot's name
        """Return the line that the step ended with."""
        if not self._summary:
            return {"step": f"{self.name} was interrupted" if self.results == CANCELLED else f"{self.name} failed"}
        assert self.build is not None  # noqa: S101 - a step that ran has one
        return {"step": self.build.properties.cleanupTextFromSecrets(self._summary)}

    def run(self) -> defer.Deferred[int]:
        """Run the step; what stops it early becomes its summary, its result and the build's cause."""
        return defer.ensureDeferred(self._perform_or_stop())

    async def perform(self) -> int:
        """Do the step's work and return Buildbot's result; raise `Stopped` to end it early."""
        raise NotImplementedError

    async def ask_worker(self, parameters: Mapping[str, object], **overrides: object) -> dict[str, Any]:
        """Run the step's program on the worker and return its report.

        Raises:
            Stopped: it ended early, or did not report.
        """
        marker = f"autogate-{secrets.token_hex(12)}:"
        text = program(self.program, self.needs, dict(parameters), marker)
        command = await self._command(text, marker, overrides)
        await self.runCommand(command)
        if self.stopped or command.results() == CANCELLED:
            raise Stopped("superseded", f"{self.name} was interrupted")
        report = command.report
        if report is None:
            raise Stopped("infrastructure", self._no_report(command.rc))
        clean: dict[str, Any] = self._without_secrets(report)
        if stop := clean.get("stop"):
            raise Stopped(stop["reason"], stop["message"])
        return clean

    def blame(self, cause: Cause) -> None:
        """Say why the build did not pass."""
        self.note(CAUSE_PROPERTY, cause.value)

    def note(self, name: str, value: str) -> None:
        """Set a property of the build, with the step as its source."""
        properties: Any = self.getProperties()
        # The class itself is hidden behind one that Buildbot makes for each step.
        properties.setProperty(name, value, type(self).__mro__[2].__name__, runtime=True)

    def noted(self, name: str) -> Any:  # noqa: ANN401 - a property is any value
        """Return a property of the build; None when it is not set."""
        properties: Any = self.getProperties()
        return properties.getProperty(name)

    def summarise(self, text: str) -> None:
        """Set the line that stands for the step."""
        text = CONTROL.sub(" ", text)
        self._summary = text if len(text) <= MAX_SUMMARY else text[: MAX_SUMMARY - 1] + "…"

    def virtualenv(self) -> str:
        """Return the folder of the virtual environment that an earlier `Virtualenv` made, or an empty string."""
        return str(self.noted("virtualenv") or "")

    def environment(self) -> dict[str, Any]:
        """Return the step's ``env`` with the virtual environment's programs before all others."""
        env: dict[str, Any] = dict(self.env)
        if folder := self.virtualenv():
            rest = env.get("PATH", "${PATH}")
            env["PATH"] = [f"{folder}/bin", *(rest if isinstance(rest, list) else [rest])]
            env["VIRTUAL_ENV"] = folder
        return env

    async def store(self, description: str, category: str, items: Iterable[Finding | FailedTest]) -> None:
        """Keep findings or failing tests as a set of Buildbot's test results."""
        rows = [item.to_test_result() for item in items]
        if not rows:
            return
        number = await self.addTestResultSet(description, category, VALUE_UNIT)
        assert self.build is not None  # noqa: S101 - a step that runs has one
        builder = await self.build.getBuilderId()
        # Two builds that store the same new name at once would leave it twice, and Buildbot could not look it up again.
        master: Any = self.master
        lock = _submissions.setdefault(master, defer.DeferredLock())
        await lock.acquire()
        try:
            await master.data.updates.addTestResults(builder, number, rows)
        finally:
            lock.release()

    async def _command(self, text: str, marker: str, overrides: dict[str, Any]) -> ReportingCommand:
        log = await self.addLog("stdio")
        assert self.build is not None  # noqa: S101 - a step that runs has one
        environment = await self.build.render(self.build.env)
        settings = {
            "workdir": self.workdir,
            "env": {**environment, **self.env},
            "timeout": self.timeout,
            "maxTime": self.maxTime,
            "logEnviron": self.logEnviron,
            "interruptSignal": self.interruptSignal,
            "sigtermTime": self.sigtermTime,
            # -I: no module of the repository's may stand in for the standard library's.
            "command": [self.worker_python, "-I", "-"],
            "initialStdin": text,
            **overrides,
        }
        command = ReportingCommand(marker=marker, **settings)
        command.useLog(log, closeWhenFinished=False)
        return command

    async def _perform_or_stop(self) -> int:
        try:
            return await self.perform()
        except Stopped as stopped:
            return await self._stop(stopped)

    async def _stop(self, stopped: Stopped) -> int:
        result, cause = ENDS[stopped.reason]
        lines = stopped.message.strip().splitlines() or [""]
        self.summarise(lines[0])
        self.blame(cause)
        if not self.stopped:
            await self.addCompleteLog("problem", "\n".join(lines) + "\n")
        return result

    def _no_report(self, code: int | None) -> str:
        if self.timed_out:
            return (
                f"{self.name} took too long and was killed\nIt may take {self.timeout} s without a word and "
                f"{self.maxTime} s in all (timeout and maxTime): raise them, or see in the log what it waited for."
            )
        return (
            f"{self.name} ended without a report (exit code {code})\nIts program was killed, or {self.worker_python!r} "
            "on the worker is no Python 3.11 or later: the end of the log says which."
        )

    def _without_secrets(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        if isinstance(value, str):
            assert self.build is not None  # noqa: S101 - a step that runs has one
            return self.build.properties.cleanupTextFromSecrets(value)
        if isinstance(value, list):
            return [self._without_secrets(item) for item in value]
        if isinstance(value, dict):
            return {key: self._without_secrets(item) for key, item in value.items()}
        return value


def check_relative(step: str, argument: str, path: object) -> None:
    """Refuse, when the master reads its configuration, a path that is not below the repository's root."""
    if IRenderable.providedBy(path):
        return
    if not isinstance(path, str) or not path or path.startswith(("-", "/")) or CONTROL.search(path):
        config_error(f"{step}: {argument}={path!r} must be a path relative to the repository's root")
    elif ".." in path.split("/"):
        config_error(f"{step}: {argument}={path!r} leaves the repository")


def check_words(step: str, argument: str, values: object) -> tuple[Any, ...]:
    """Return a list or tuple of texts as a tuple, and refuse anything else, such as one text alone."""
    if not isinstance(values, (list, tuple)) or not all(
        IRenderable.providedBy(value) or (isinstance(value, str) and value) for value in values
    ):
        config_error(f"{step}: {argument}={values!r} must be a list or tuple of texts")
        return ()
    return tuple(values)


def check_positive(step: str, argument: str, value: object) -> float:
    """Return a positive number, and refuse anything else."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < float("inf"):
        config_error(f"{step}: {argument}={value!r} must be a positive number")
        return 1
    return value
