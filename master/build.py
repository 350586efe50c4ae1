"""How a build sums itself up."""

from buildbot.process.results import FAILURE, SUCCESS, WARNINGS
from twisted.internet.defer import Deferred

from master.retries import CappedBuild

JUDGES_SPEAK = [SUCCESS, WARNINGS, FAILURE]
"""A step's ``updateBuildSummaryPolicy`` when its summary is the build's, also when it passed."""


class GateBuild(CappedBuild):
    """A build whose summary is its judging step's, such as "12 tests passed".

    Buildbot puts "failed" or "build successful" before it, which the result beside it says already.
    """

    def allStepsDone(self) -> Deferred[None]:  # noqa: N802  (Buildbot's name)
        """End the build."""
        if self.text and self.results in JUDGES_SPEAK:
            return self.buildFinished(list(self.text), self.results)
        return super().allStepsDone()  # type: ignore[no-any-return, no-untyped-call]
