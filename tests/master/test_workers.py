"""A worker is never kept away for long, whatever the builds do to it."""

from types import SimpleNamespace

from buildbot.worker.base import Worker
from twisted.internet.task import Clock

from master.workers import LONGEST_QUARANTINE_SECONDS, GateWorker


def quarantines(worker: Worker) -> list[float]:
    """Return the seconds of eight quarantines, one after the other."""
    clock, seconds = Clock(), []
    worker.parent = SimpleNamespace(master=SimpleNamespace(reactor=clock))
    for _ in range(8):
        worker.putInQuarantine()
        assert worker.quarantine_timer is not None
        seconds.append(worker.quarantine_timer.getTime())
        worker.quarantine_timer.cancel()
        worker.quarantine_timer = None
    return seconds


def test_quarantine_soon_ends() -> None:
    assert max(quarantines(GateWorker("worker-1", "password", 2))) == LONGEST_QUARANTINE_SECONDS


def test_without_the_limit_it_would_not() -> None:
    assert max(quarantines(Worker("worker-1", "password"))) > LONGEST_QUARANTINE_SECONDS
