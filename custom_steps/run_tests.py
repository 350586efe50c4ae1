"""Run a repository's tests and keep what failed."""

from collections.abc import Sequence
from typing import ClassVar

from buildbot.config.errors import error as config_error
from buildbot.interfaces import IRenderable
from buildbot.process.results import FAILURE, SUCCESS, WARNINGS

from autogate.contract import FAILED_TESTS_CATEGORY, MAX_FAILED_TESTS, Cause

from .parsing.failed_tests import failed_tests, readable
from .step import WorkerStep, check_positive, check_relative, check_words

FRAMEWORKS = ("unittest", "pytest")
GRACE = 120
"""Seconds that Buildbot gives the step's program to stop the tests and report."""


class RunTests(WorkerStep):
    """Run the tests, and keep each failing one with the end of what it said.

    Runs ``python3 -m unittest discover`` or ``python3 -m pytest`` over a folder, or any command, with the programs of
    `Virtualenv`'s environment first in the ``PATH``. Passes only when the command exits with 0, its JUnit report (when
    there is one) names no failure, and at least one test ran: no test at all is FAILURE, all of them skipped is
    WARNINGS. What the tests leave running is killed.

    A failure, a report that is missing or unreadable, and tests that take too long have the cause "change"; a program
    that is not installed on the worker and one killed with SIGKILL end as EXCEPTION with the cause "infrastructure".

    Args:
        command: A list (run as it is) or a text (run by ``/bin/sh``) instead of a framework.
        framework: ``unittest`` or ``pytest``, when there is no command.
        directory: Where the framework looks for tests, relative to the repository's root.
        arguments: Further arguments for the framework, such as ``("-x",)``.
        junit: Where ``command`` writes its JUnit XML report, relative to the repository's root.
        silence: Seconds without output after which the tests are stopped.
        duration: Seconds after which they are stopped in any case.
        kwargs: What `WorkerStep` takes; ``timeout`` and ``maxTime`` follow from ``silence`` and ``duration``.
    """

    name = "test"
    program: ClassVar[str] = "custom_steps.on_worker.run_tests"
    needs: ClassVar[tuple[str, ...]] = (
        "custom_steps.parsing.summary",
        "custom_steps.parsing.junit",
        "custom_steps.parsing.unittest_output",
    )
    defaults: ClassVar[dict[str, object]] = {"haltOnFailure": False, "warnOnWarnings": True}
    renderables: Sequence[str] = ["command_line", "directory", "arguments", "junit"]

    def __init__(
        self,
        command: object = None,
        *,
        framework: str = "unittest",
        directory: object = "tests",
        arguments: object = (),
        junit: object = None,
        silence: float = 1200,
        duration: float = 3600,
        **kwargs: object,
    ) -> None:
        if command is not None and not IRenderable.providedBy(command):
            if isinstance(command, (list, tuple)) and command:
                command = list(check_words("RunTests", "command", command))
            elif not isinstance(command, str) or not command.strip():
                config_error(f"RunTests: command={command!r} must be a list of texts, or a text for the shell")
        if framework not in FRAMEWORKS:
            config_error(f"RunTests: framework={framework!r} must be one of {', '.join(FRAMEWORKS)}")
        check_relative("RunTests", "directory", directory)
        arguments = check_words("RunTests", "arguments", arguments)
        if junit is not None:
            check_relative("RunTests", "junit", junit)
            if command is None:
                config_error("RunTests: junit goes with a command: pytest's own report is read anyway")
        silence = check_positive("RunTests", "silence", silence)
        duration = check_positive("RunTests", "duration", duration)
        for name in ("timeout", "maxTime"):
            if name in kwargs:
                config_error(f"RunTests: use {'silence' if name == 'timeout' else 'duration'}= instead of {name}=")
        # The program stops the tests itself, to report what they said; Buildbot's own limits are for when that fails.
        super().__init__(**{"timeout": silence + GRACE, "maxTime": duration + GRACE} | kwargs)
        self.command_line = command
        self.framework = framework
        self.directory = directory
        self.arguments = arguments
        self.junit = junit
        self.silence = silence
        self.duration = duration

    async def perform(self) -> int:
        """Run the tests, store what failed, and judge."""
        report = await self.ask_worker(
            {
                "command": self.command_line,
                "framework": self.framework,
                "directory": self.directory,
                "arguments": list(self.arguments),
                "junit": self.junit or "",
                "silence": self.silence,
                "duration": self.duration,
                "virtualenv": self.virtualenv(),
            },
            env=self.environment(),
        )
        failed = failed_tests(report["failed"])
        await self.store("tests", FAILED_TESTS_CATEGORY, failed[:MAX_FAILED_TESTS])
        if failed:
            await self.addCompleteLog("failed tests", readable(failed[:MAX_FAILED_TESTS], report["failed_total"]))
        self.summarise(report["summary"])
        verdict: str = report["verdict"]
        if verdict == "failure":
            self.blame(Cause.CHANGE)
            return FAILURE
        return WARNINGS if verdict == "warnings" else SUCCESS
