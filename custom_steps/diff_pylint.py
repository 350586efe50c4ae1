"""Lint what a change introduces, and nothing else."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildbot.config.errors import error as config_error
from buildbot.interfaces import IRenderable
from buildbot.process.logobserver import LogLineObserver
from buildbot.process.results import FAILURE, SUCCESS

from autogate import linelinks
from autogate.contract import FINDINGS_CATEGORY, MAX_FINDINGS, Cause
from worker.lint.model import Outcome, Severity
from worker.lint.output import json as wire
from worker.lint.output import text
from worker.lint.output.visible import visible

from .cache import check_cache, default_cache
from .lint_page import page
from .parsing.lint_findings import findings
from .step import Stopped, WorkerStep, check_positive, check_relative

CHOICES: Mapping[str, tuple[str, ...]] = {
    "scope": ("introduced", "lines", "files"),
    "fail_on": (*Severity, "nothing"),
    "config_from": ("base", "merge"),
    "suppressions": ("allow", "warn", "fail"),
    "dependents": ("near", "all", "none"),
}
"""What the lint program takes, by the name of the step's argument."""

LINTERS = ("ruff",)
MAX_SCORE = 10
PROGRESS = "autogate-lint: "
"""What a line that tells what the lint program does begins with."""

MAX_PROGRESS = 100


class DiffPylint(WorkerStep):
    """Judge a change by what pylint says after it and did not say before, also in files that it does not touch.

    Runs ``autogate-lint``, which is to be on the worker's ``PATH``, on the work tree against the property
    ``autogate_base``: run `SoftReset` before. pylint itself, and ruff, are those of the virtual environment of
    `Virtualenv` when there is one. A lint server and a cache on the worker make it fast, and change no answer.

    Ends as FAILURE with the cause "change" when the change introduces what fails it, or brings a file on which a linter
    does not get to its end; as EXCEPTION with the cause "infrastructure" when the worker has no ``autogate-lint`` or
    the machine gave way; as FAILURE with the cause "infrastructure" when the configuration is at fault.

    What is left out is as the lint program has it: ``autogate-lint --help`` says how.

    Args:
        scope: ``introduced``, ``lines`` or ``files``.
        limit: The lowest score, up to 10, that a changed file passes with.
        fail_on: The lightest severity that fails the change: ``info``, ``convention``, ``refactor``, ``warning``,
            ``error``, ``fatal`` or ``nothing``.
        also: Further linters: ``("ruff",)``.
        config_from: Whose pylint configuration is obeyed: ``base`` or ``merge``.
        suppressions: What becomes of new comments that switch messages off: ``allow``, ``warn`` or ``fail``.
        dependents: Which files that use what changed are judged too: ``near``, ``all`` or ``none``.
        dependents_time: Seconds that they may take.
        pylintrc: A pylintrc relative to the repository's root; by default the one that pylint finds.
        file_time: Seconds that one file may take.
        file_memory: MiB that one file may take.
        link: Address of a line at the forge, such as ``https://git.example.com/{revision}/{path}#L{line}``.
        warm_ahead: Whether a change that passed is made ready to be the next one's base, in the worker's idle time.
        cache: The worker's folder for server and cache; ``autogate-cache`` in the worker's base directory by default.
        kwargs: What `WorkerStep` takes.
    """

    name = "lint"
    program: ClassVar[str] = "custom_steps.on_worker.diff_pylint"
    needs: ClassVar[tuple[str, ...]] = ("custom_steps.on_worker.idle_time",)
    defaults: ClassVar[dict[str, object]] = {"haltOnFailure": False, "timeout": 1200, "maxTime": 3600}
    renderables: Sequence[str] = ["limit", "pylintrc", "link", "cache"]

    def __init__(  # noqa: PLR0913 - the lint program's own options
        self,
        *,
        scope: str | None = None,
        limit: object = None,
        fail_on: str | None = None,
        also: Sequence[str] = (),
        config_from: str | None = None,
        suppressions: str | None = None,
        dependents: str | None = None,
        dependents_time: float | None = None,
        pylintrc: object = None,
        file_time: float | None = None,
        file_memory: int | None = None,
        link: object = None,
        warm_ahead: bool = True,
        cache: object = None,
        **kwargs: object,
    ) -> None:
        chosen = {
            "scope": scope,
            "fail_on": fail_on,
            "config_from": config_from,
            "suppressions": suppressions,
            "dependents": dependents,
        }
        for name, value in chosen.items():
            if value is not None and value not in CHOICES[name]:
                config_error(f"DiffPylint: {name}={value!r} must be one of {', '.join(CHOICES[name])}")
        if isinstance(also, str) or not all(linter in LINTERS for linter in also):
            config_error(f"DiffPylint: also={also!r} must be a list or tuple of {', '.join(LINTERS)}")
        if limit is not None and not IRenderable.providedBy(limit) and not _is_score(limit):
            config_error(f"DiffPylint: limit={limit!r} must be a number, at most {MAX_SCORE}")
        amounts = {"dependents_time": dependents_time, "file_time": file_time, "file_memory": file_memory}
        for name, amount in amounts.items():
            if amount is not None:
                check_positive("DiffPylint", name, amount)
        if isinstance(file_memory, float):
            config_error(f"DiffPylint: file_memory={file_memory!r} must be a whole number")
        if pylintrc is not None:
            check_relative("DiffPylint", "pylintrc", pylintrc)
        if link is not None and not IRenderable.providedBy(link) and (fault := linelinks.fault(link)):
            config_error(f"DiffPylint: link={link!r} {fault}")
        check_cache("DiffPylint", cache)
        super().__init__(**kwargs)
        self.options: dict[str, object] = {**chosen, **amounts}
        self.also = tuple(also)
        self.limit = limit
        self.pylintrc = pylintrc
        self.link = link
        self.warm_ahead = warm_ahead
        self.cache = cache
        self._progress = ""
        observer: Any = _Progress(self)
        self.addLogObserver("stdio", observer)

    def getCurrentSummary(self) -> dict[str, str]:  # noqa: N802 - Buildbot's name
        """Return the line that stands for the running step."""
        return {"step": self._progress or "running"}

    def show_progress(self, line: str) -> None:
        """Show what the lint program has done last; Buildbot passes on one such line a second."""
        self._progress = line if len(line) <= MAX_PROGRESS else line[: MAX_PROGRESS - 1] + "…"
        self.updateSummary()

    async def perform(self) -> int:
        """Lint, store the findings, show them, and judge."""
        base, revision = str(self.noted("autogate_base") or ""), str(self.noted("got_revision") or "")
        if not base:
            raise Stopped(
                "configuration", "the base is not known\nRun SoftReset before DiffPylint: it sets autogate_base."
            )
        configured = self._configured()
        answer = await self.ask_worker(
            {
                "arguments": [f"--base={base}", *configured],
                "ahead": ["--warm", f"--base={revision}", *configured] if self.warm_ahead and revision else [],
                "virtualenv": self.virtualenv(),
                "cache": f"{self.cache or default_cache(self)}/lint",
            }
        )
        try:
            outcome = wire.load(json.dumps(answer["report"]))
        except ValueError as error:
            raise Stopped("infrastructure", f"the lint program's report cannot be read: {error}") from None
        return await self._judge(outcome, str(answer["report"]["summary"]), revision)

    async def _judge(self, outcome: Outcome, summary: str, revision: str) -> int:
        if _is_nothing(outcome):
            self.summarise("nothing to lint")
            return SUCCESS
        await self.store("lint", FINDINGS_CATEGORY, findings(outcome)[:MAX_FINDINGS])
        await self.addHTMLLog("page", page(outcome, summary, str(self.link or ""), revision))
        await self.addCompleteLog("findings", text.render(outcome))
        if machine := next((each for each in outcome.troubles if each.infrastructure), None):
            raise Stopped("infrastructure", visible(f"{machine.path} could not be judged: {machine.error}"))
        self.summarise(visible(summary))
        if outcome.exit_code:
            self.blame(Cause.CHANGE)
            return FAILURE
        return SUCCESS

    def _configured(self) -> list[str]:
        """Return the options that are the same for linting and for warming ahead."""
        options = {**self.options, "limit": self.limit, "pylintrc": self.pylintrc}
        given = {name.replace("_", "-"): value for name, value in options.items() if value is not None}
        return [*(f"--{name}={value}" for name, value in given.items()), *(f"--also={each}" for each in self.also)]


class _Progress(LogLineObserver):
    """Has the step show the lines that tell how far the lint program is.

    Anything that runs on the worker may print such a line: it is shown, and decides nothing.
    """

    def __init__(self, step: DiffPylint) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._lint = step

    def outLineReceived(self, line: str) -> None:  # noqa: N802 - Buildbot's name
        """Take a line of standard output."""
        if line.startswith(PROGRESS):
            self._lint.show_progress(line.removeprefix(PROGRESS))


def _is_nothing(outcome: Outcome) -> bool:
    told = (outcome.findings, outcome.fixed, outcome.scores, outcome.troubles, outcome.left_out, outcome.notes)
    return not outcome.figures.files and not any(told)


def _is_score(value: Any) -> bool:  # noqa: ANN401 - whatever somebody wrote
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value <= MAX_SCORE
