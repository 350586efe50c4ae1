"""A request is built at most three times when worker or master are lost, on real worker processes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate.contract import Cause, Event, Report, Result
from master.retries import MAX_BUILDS, Loss, verdict
from tests.support.gate import SECRET, Gate, finished
from tests.support.processes import Worker
from tests.support.receiver import Receiver
from tests.support.waiting import wait_for


def test_a_request_is_given_up_after_three_losses() -> None:
    assert verdict([]) is None
    assert verdict([Loss.WORKER] * 2) is None
    assert verdict([Loss.WORKER] * 3) == "worker lost 3 times"
    assert verdict([Loss.STEP] * 3) == "a step asked for a retry 3 times"
    assert verdict([Loss.MASTER] * 4) == "master lost 4 times"
    assert verdict([Loss.MASTER, Loss.WORKER, Loss.WORKER]) == "lost 3 times: worker 2, master 1"


@given(st.lists(st.sampled_from(Loss)))
def test_a_master_that_is_stopped_does_not_count(losses: list[Loss]) -> None:
    counted = [loss for loss in losses if loss is not Loss.SHUTDOWN]
    assert verdict(losses) == verdict(counted)
    assert (verdict(losses) is not None) == (len(counted) >= MAX_BUILDS)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as receiver:
        yield receiver


class Site:
    """A master and workers that are started, killed and started again."""

    def __init__(self, folder: Path, receiver: Receiver, names: tuple[str, ...]) -> None:
        self.receiver = receiver
        self.gate = Gate(folder / "gate", receiver, local=False, workers=names)
        self.gate.start()
        self.workers = {name: Worker(folder / name, self.gate, name) for name in names}
        for worker in self.workers.values():
            worker.start()
        for name in names:
            self.wait_for_worker(name)

    def wait_for_worker(self, name: str) -> None:
        wait_for(
            lambda: any(row["name"] == name and row["connected_to"] for row in self.gate.get("workers")["workers"]),
            f"{name} to connect",
        )

    def told(self, request: int, event: Event) -> list[Report]:
        return [r for r in self.receiver.reports() if r.request == request and r.event is event]

    def running_on(self, request: int, nth: int) -> str:
        """Wait for the nth build of a request; return its worker's name."""

        def begun() -> list[str]:
            # a report that is told twice is one build
            return list(
                {
                    report.builds[-1].id: report.builds[-1].worker for report in self.told(request, Event.STARTED)
                }.values()
            )

        wait_for(lambda: len(begun()) >= nth, f"build {nth}")
        return begun()[nth - 1]

    def close(self) -> None:
        for worker in self.workers.values():
            worker.kill()
        self.gate.stop()


def test_a_lost_worker(tmp_path: Path, receiver: Receiver) -> None:
    """Three stories on one master, one after the other, to save its starts."""
    site = Site(tmp_path, receiver, ("worker-1", "worker-2", "worker-3"))
    try:
        # rebuilt on another worker
        request = site.gate.ask(hold="first")
        lost = site.running_on(request, 1)
        site.workers[lost].kill()
        assert site.running_on(request, 2) != lost
        [again] = site.told(request, Event.RETRYING)
        assert (again.result, again.cause, again.builds[-1].worker) == (Result.RETRY, None, lost)
        (site.gate.folder / "first").touch()
        report = wait_for(lambda: finished(receiver, request), "the end")
        assert [build.result for build in report.builds] == [Result.RETRY, Result.SUCCESS]
        site.workers[lost].start()
        site.wait_for_worker(lost)

        # given up at the third loss, with no worker left that could build
        request = site.gate.ask(hold="second")
        for nth in (1, 2, 3):
            site.workers[site.running_on(request, nth)].kill()
        report = wait_for(lambda: finished(receiver, request), "the end, without any worker")
        assert not any(row["connected_to"] for row in site.gate.get("workers")["workers"])
        assert (report.result, report.cause) == (Result.EXCEPTION, Cause.INFRASTRUCTURE)
        assert report.summary == "worker lost 3 times"
        assert [build.result for build in report.builds] == [Result.RETRY, Result.RETRY, Result.EXCEPTION]
        assert len({build.worker for build in report.builds}) == 3
        assert len(site.told(request, Event.RETRYING)) == 2

        # a master that is stopped does not count, one that dies does
        site.workers["worker-1"].start()
        request = site.gate.ask(hold="third")
        site.running_on(request, 1)
        site.gate.stop()
        site.gate.start()
        site.running_on(request, 2)
        site.workers["worker-1"].kill()
        site.workers["worker-1"].start()
        for nth in (3, 4):
            site.running_on(request, nth)
            site.gate.signal(signal.SIGKILL)
            site.gate.wait_until_dead()
            site.gate.start()
        report = wait_for(lambda: finished(receiver, request), "the end")
        assert (report.result, report.cause) == (Result.EXCEPTION, Cause.INFRASTRUCTURE)
        assert report.summary == "exception lost 3 times: worker 1, master 2"
        assert [build.result for build in report.builds] == [Result.RETRY] * 4 + [Result.EXCEPTION]
        site.gate.wait_for_all()
    finally:
        site.close()


def test_a_request_that_is_cancelled_as_its_build_begins(tmp_path: Path, receiver: Receiver) -> None:
    gate = Gate(tmp_path / "gate", receiver)
    try:
        gate.start()
        gate.do("cancel_as_it_begins")
        request = gate.ask()
        report = wait_for(lambda: finished(receiver, request), "the end")
        assert (report.result, report.cause) == (Result.CANCELLED, Cause.SUPERSEDED)
        assert report.summary == "cancelled (just in time)"
        # the worker is free again
        another = gate.ask()
        assert wait_for(lambda: finished(receiver, another), "the next").result is Result.SUCCESS
    finally:
        gate.stop()
