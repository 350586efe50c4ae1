"""A cap on rebuilds: a request whose worker or master is lost again and again ends as an infrastructure failure.

Buildbot itself gives such a request back for ever. Apply the cap with one line: ``factory.buildClass = CappedBuild``.
"""

from collections import Counter
from collections.abc import Collection
from enum import StrEnum
from typing import Any, cast

from buildbot.process.build import Build
from buildbot.process.results import CANCELLED, EXCEPTION, RETRY, worst_status
from buildbot.process.workerforbuilder import AbstractWorkerForBuilder
from buildbot.util.twisted import async_to_deferred
from twisted.python import log

from autogate.contract import CAUSE_PROPERTY, Cause

MAX_BUILDS = 3
"""So many builds of one request may be lost; the last of them completes the request."""

LOSS_PROPERTY = "autogate_loss"

_SHUTDOWN_REASON = "Master Shutdown"
"""What Buildbot gives as the reason when it stops builds because somebody stopped the master."""


class Loss(StrEnum):
    """What took a build away before its end."""

    WORKER = "worker"
    """The worker died, or could not be reached."""
    STEP = "step"
    """A step asked for a retry itself."""
    MASTER = "master"
    """The master died: nobody was left to write down why the build ended."""
    SHUTDOWN = "shutdown"
    """Somebody stopped the master. Never counted: restarts are no fault of worker or change."""


def verdict(losses: Collection[Loss], limit: int = MAX_BUILDS) -> str | None:
    """Return the summary with which a request is given up, or None while it may be built again.

    Args:
        losses: What took each of its lost builds away.
        limit: So many losses are too many.
    """
    counted = Counter[Loss](loss for loss in losses if loss is not Loss.SHUTDOWN)
    total = counted.total()
    if total < limit:
        return None
    if len(counted) == 1:
        only = next(iter(counted))
        return f"a step asked for a retry {total} times" if only is Loss.STEP else f"{only} lost {total} times"
    return f"lost {total} times: " + ", ".join(f"{loss} {counted[loss]}" for loss in Loss if loss in counted)


class CappedBuild(Build):
    """A build that counts the lost builds of its request, and completes the request when they are `MAX_BUILDS`.

    It decides when a build ends, and so needs no worker for it. Builds that a crash of the master took away are counted
    when the next build of the request begins, which then ends at once; a master that was asked to stop is not counted.

    It also ends builds that Buildbot 4.3 leaves running for ever: one whose worker is lost while it is prepared, one
    that ends with an exception while its worker is gone, and one whose request is cancelled between its claim and its
    start. And it gives back the request of a build that is stopped since the master stops, which Buildbot means to do,
    but takes for cancelled when a step ends in time.
    """

    _given_up: str | None = None
    _stopped_as: int | None = None

    @async_to_deferred
    async def startBuild(self, workerforbuilder: AbstractWorkerForBuilder) -> None:  # noqa: N802  (Buildbot's name)
        """Start; see Buildbot."""
        side = cast("AbstractWorkerForBuilder", _WorkerSide(workerforbuilder))
        try:
            await super().startBuild(side)
        except Exception as error:  # noqa: BLE001  (Buildbot relies on this method never to raise)
            log.err(error, f"while starting {self}")
            if not self.finished:
                await self.buildFinished(["worker", "lost"], RETRY)
            return
        if self.stopped and not self.finished and self.do_build and self._preparation_step is None:
            await self.buildFinished(["cancelled", f"({self.stopped_reason})"], CANCELLED)

    @async_to_deferred
    async def _setup_locks(self) -> None:
        # the last place before the steps are made where Buildbot waits
        self._given_up = verdict(await self._earlier_losses())
        await super()._setup_locks()

    def setupBuild(self) -> None:  # noqa: N802  (Buildbot's name)
        """Make the steps; none when the request is given up."""
        super().setupBuild()  # type: ignore[no-untyped-call]
        if self._given_up:
            self._blame_infrastructure()
            self.steps = []
            self.text = [self._given_up]
            self.results = EXCEPTION

    @async_to_deferred
    async def stopBuild(self, reason: str = "<no reason given>", results: int = CANCELLED) -> None:  # noqa: N802
        """Stop the build; see Buildbot."""
        if not self.finished:
            self._stopped_as = results if self._stopped_as is None else worst_status(self._stopped_as, results)
        await super().stopBuild(reason, results)

    @async_to_deferred
    async def buildFinished(self, text: list[str], results: int) -> None:  # noqa: N802  (Buildbot's name)
        """End the build; a loss too many becomes an exception, which completes the request."""
        if self._stopped_as == RETRY and worst_status(self.results, results) == CANCELLED:
            results = self.results = RETRY
        if worst_status(self.results, results) == RETRY:
            try:
                if summary := await self._summary_of_loss():
                    text, results, self.results = [summary], EXCEPTION, EXCEPTION
            except Exception as error:  # noqa: BLE001  (Buildbot relies on this method never to raise)
                log.err(error, f"while counting the lost builds of {self}")
        await super().buildFinished(text, results)

    async def _summary_of_loss(self) -> str | None:
        loss = Loss.STEP if self.conn else Loss.WORKER
        if self.stopped_reason == _SHUTDOWN_REASON:
            loss = Loss.SHUTDOWN
        summary = None if loss is Loss.SHUTDOWN else verdict([*await self._earlier_losses(), loss])
        self.setProperty(LOSS_PROPERTY, loss.value, "Build")  # type: ignore[no-untyped-call]
        if summary:
            self._blame_infrastructure()
        await self._data.updates.setBuildProperties(self.buildid, self)
        return summary

    async def _earlier_losses(self) -> list[Loss]:
        losses = []
        for build in await self._data.get(("buildrequests", self.requests[0].id, "builds")):
            if build["results"] == RETRY and build["buildid"] != self.buildid:
                properties = await self._data.get(("builds", build["buildid"], "properties"))
                losses.append(Loss(properties.get(LOSS_PROPERTY, (Loss.MASTER.value,))[0]))
        return losses

    @property
    def _data(self) -> Any:  # noqa: ANN401  (has no types)
        return self.master.data if self.master else None

    def _blame_infrastructure(self) -> None:
        self.setProperty(CAUSE_PROPERTY, Cause.INFRASTRUCTURE.value, "Build")  # type: ignore[no-untyped-call]


class _WorkerSide:
    """The worker's side of a build, as Buildbot takes it to be: with a worker to its end."""

    def __init__(self, stock: AbstractWorkerForBuilder) -> None:
        self._stock = stock

    @property
    def worker(self) -> object:
        return self._stock.worker or _LostWorker()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stock, name)


class _LostWorker:
    """Needs no quarantine, and is no worker when Buildbot asks."""

    def __bool__(self) -> bool:
        return False

    def putInQuarantine(self) -> None:  # noqa: N802  (Buildbot's name)
        pass

    def resetQuarantine(self) -> None:  # noqa: N802  (Buildbot's name)
        pass
