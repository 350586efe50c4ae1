"""Whether the master has the worker, and leaving when there is no master to ask."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from buildbot_worker import pb
from buildbot_worker.bot import Worker
from twisted.internet.error import ReactorNotRunning

from worker.presence import FILE, Presence


class Perspective:
    """What the master hands out at a sign-in, as far as a worker looks at it."""

    def __init__(self) -> None:
        self.ends: list[Callable[[], None]] = []
        self.asked: list[str] = []
        transport = SimpleNamespace(setTcpKeepAlive=lambda _on: None)
        self.broker = SimpleNamespace(transport=transport, notifyOnDisconnect=self.ends.append)

    def callRemote(self, method: str) -> Any:  # noqa: N802
        self.asked.append(method)
        return SimpleNamespace(addErrback=lambda _errback: None)

    def end(self) -> None:
        for end in self.ends:
            end()


class Reactor:
    def __init__(self) -> None:
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


@pytest.fixture
def reactor(monkeypatch: pytest.MonkeyPatch) -> Reactor:
    reactor = Reactor()
    monkeypatch.setattr(pb, "reactor", reactor)
    return reactor


@pytest.fixture
def worker(tmp_path: Path, reactor: Reactor) -> Any:
    (tmp_path / FILE).touch()  # as a killed worker leaves it
    worker = Worker("127.0.0.1", 1, "worker-1", "pass", str(tmp_path), keepalive=0, allow_shutdown="signal")
    Presence(worker, tmp_path / FILE, reactor)
    return worker


def test_the_file_is_there_while_the_worker_is_signed_in(worker: Any, tmp_path: Path) -> None:
    for _ in range(2):
        assert not (tmp_path / FILE).exists()
        perspective = Perspective()
        worker.bf.gotPerspective(perspective)
        assert worker.bf.perspective is perspective
        assert (tmp_path / FILE).exists()
        perspective.end()
    assert not (tmp_path / FILE).exists()


def test_the_master_is_asked_for_leave(worker: Any, reactor: Reactor) -> None:
    perspective = Perspective()
    worker.bf.gotPerspective(perspective)
    worker.gracefulShutdown()
    assert perspective.asked == ["shutdown"]
    assert reactor.stops == 0


def test_a_worker_that_never_had_a_master_leaves_at_once(worker: Any, reactor: Reactor) -> None:
    worker.gracefulShutdown()
    assert reactor.stops == 1


def test_a_worker_that_lost_its_master_leaves_at_once(worker: Any, reactor: Reactor) -> None:
    perspective = Perspective()
    worker.bf.gotPerspective(perspective)
    perspective.end()
    assert reactor.stops == 0
    worker.gracefulShutdown()
    assert reactor.stops == 1


def test_a_worker_that_loses_its_master_while_it_waits_for_leave_leaves(worker: Any, reactor: Reactor) -> None:
    perspective = Perspective()
    worker.bf.gotPerspective(perspective)
    worker.gracefulShutdown()
    perspective.end()
    assert reactor.stops == 1


def test_a_worker_that_got_leave_ends_once(worker: Any, reactor: Reactor) -> None:
    perspective = Perspective()
    worker.bf.gotPerspective(perspective)
    worker.gracefulShutdown()
    reactor.stop()  # the master's answer
    perspective.end()
    assert reactor.stops == 2
