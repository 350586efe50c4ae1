"""Turn what a candidate merges into staged changes."""

from typing import ClassVar

from buildbot.process.results import SUCCESS

from autogate.names import BASE_TRAILER

from .step import WorkerStep

SHORT = 12


class SoftReset(WorkerStep):
    """Move HEAD to the commit that the candidate was merged onto, and leave what it merges staged.

    For a plain merge that is its first parent (of an octopus merge too, so that all it merges is staged); for a batch
    it is the commit that HEAD's trailer ``Autogate-Base`` names, when HEAD and every commit down to it along the first
    parents is a merge. Anything else ends the build as FAILURE with the cause "change"; a shallow clone, or no
    repository to reset, as FAILURE with the cause "infrastructure".

    Sets the property ``autogate_base``, the commit that HEAD is on afterwards.
    """

    name = "reset"
    program: ClassVar[str] = "custom_steps.on_worker.soft_reset"
    needs: ClassVar[tuple[str, ...]] = ("autogate.gitwords",)
    defaults: ClassVar[dict[str, object]] = {"timeout": 300, "maxTime": 600}

    async def perform(self) -> int:
        """Reset."""
        report = await self.ask_worker({"trailer": BASE_TRAILER})
        self.note("autogate_base", report["base"])
        files = report["files"]
        staged = "nothing is staged" if files == 0 else f"{files} file{'s' if files > 1 else ''} staged"
        self.summarise(f"reset to {report['base'][:SHORT]}: {staged}")
        return SUCCESS
