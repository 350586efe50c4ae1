"""Lint the staged files with git-pylint-commit-hook."""

import re
from collections.abc import Sequence
from typing import ClassVar

from buildbot.config.errors import error as config_error
from buildbot.interfaces import IRenderable
from buildbot.process.results import FAILURE, SUCCESS

from autogate.contract import FINDINGS_CATEGORY, MAX_FINDINGS, Cause

from .bundle import source
from .parsing.pylint_messages import findings, readable
from .step import WorkerStep, check_relative, check_words

MAX_SCORE = 10
LAUNCHER = "custom_steps.on_worker.hook_launcher"


class CommitHookPylint(WorkerStep):
    """Run git-pylint-commit-hook 2.6.1 over the staged files, with pylint 3 or later and Python 3.11 or later.

    The hook is started through a launcher that gives it the names it misses in today's pylint and Python, hands it file
    names of any kind, and looks at pylint's exit code and messages itself: a file passes when the hook says so **and**
    pylint worked on it to the end and could parse it. Run `SoftReset` before.

    The hook and pylint are taken from the virtual environment of `Virtualenv` when it has them, else from the worker's
    ``PATH``. Ends as FAILURE with the cause "change" when a file scores below the limit or cannot be parsed, and as
    EXCEPTION with the cause "infrastructure" when pylint fails itself, dies, or says nothing.

    As the hook documents, ``[pre-commit-hook]`` in the pylintrc overrides ``limit`` and adds ``params``; its
    ``command`` is not obeyed.

    Args:
        limit: The lowest score, up to 10, that a file passes with.
        pylintrc: A pylintrc relative to the repository's root that must be there; by default the one that pylint finds.
        pylint_params: Further parameters of pylint, separated by spaces.
        ignore: Regular expressions: files whose path one of them finds are left out.
        suppress_report: The hook's ``--suppress-report``.
        always_show_violations: Report the messages of files that pass, too.
        kwargs: What `WorkerStep` takes.
    """

    name = "pylint"
    program: ClassVar[str] = "custom_steps.on_worker.commit_hook"
    defaults: ClassVar[dict[str, object]] = {"haltOnFailure": False, "timeout": 1200, "maxTime": 3600}
    renderables: Sequence[str] = ["limit", "pylintrc", "pylint_params", "ignore"]

    def __init__(  # the hook's own options
        self,
        *,
        limit: object = 8.0,
        pylintrc: object = None,
        pylint_params: object = "",
        ignore: object = (),
        suppress_report: bool = False,
        always_show_violations: bool = False,
        **kwargs: object,
    ) -> None:
        if not IRenderable.providedBy(limit) and (
            not isinstance(limit, (int, float)) or isinstance(limit, bool) or not limit <= MAX_SCORE
        ):
            config_error(f"CommitHookPylint: limit={limit!r} must be a number, at most {MAX_SCORE}")
        if pylintrc is not None:
            check_relative("CommitHookPylint", "pylintrc", pylintrc)
        if not IRenderable.providedBy(pylint_params) and not isinstance(pylint_params, str):
            config_error(f"CommitHookPylint: pylint_params={pylint_params!r} must be one text")
        ignore = check_words("CommitHookPylint", "ignore", ignore)
        for expression in ignore:
            if isinstance(expression, str) and (fault := _expression_fault(expression)):
                config_error(f"CommitHookPylint: ignore={expression!r} is no regular expression: {fault}")
        super().__init__(**kwargs)
        self.limit = limit
        self.pylintrc = pylintrc
        self.pylint_params = pylint_params
        self.ignore = ignore
        self.suppress_report = suppress_report
        self.always_show_violations = always_show_violations

    async def perform(self) -> int:
        """Lint, store the findings, and judge."""
        report = await self.ask_worker(
            {
                "launcher": source(LAUNCHER),
                "limit": float(str(self.limit)),
                "pylintrc": self.pylintrc or "",
                "pylint_params": self.pylint_params or "",
                "ignore": list(self.ignore),
                "suppress_report": self.suppress_report,
                "show_all": self.always_show_violations,
                "revision": str(self.noted("got_revision") or ""),
                "virtualenv": self.virtualenv(),
            },
            env=self.environment(),
        )
        if not report["files"]:
            self.summarise("nothing to lint")
            return SUCCESS
        found = findings(report["messages"])
        await self.store("pylint", FINDINGS_CATEGORY, found[:MAX_FINDINGS])
        if found:
            await self.addCompleteLog("findings", readable(found[:MAX_FINDINGS], report["total"]))
        failed = report["failed"]
        if failed:
            self.blame(Cause.CHANGE)
            first = f"{failed[0]['path']}: {failed[0]['reason']}"
            more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
            self.summarise(f"{len(failed)} of {report['files']} files failed: {first}{more}")
            return FAILURE
        count = report["files"]
        self.summarise(f"{count} file{'s' if count > 1 else ''} linted, none below the limit")
        return SUCCESS


def _expression_fault(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        return str(error)
    return ""
