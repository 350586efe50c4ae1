"""The file that tells whether the master has accepted the worker."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from buildbot_worker.pb import BotFactory

from worker import presence


class Perspective(SimpleNamespace):
    """What the master hands out at a sign-in, as far as a worker's factory looks at it."""

    def __init__(self) -> None:
        self.ends: list[Callable[[], None]] = []
        transport = SimpleNamespace(setTcpKeepAlive=lambda _on: None)
        super().__init__(broker=SimpleNamespace(transport=transport, notifyOnDisconnect=self.ends.append))


def factory() -> Any:
    return BotFactory("127.0.0.1", 1, None, 10)


def test_the_file_is_there_while_the_worker_is_signed_in(tmp_path: Path) -> None:
    file, worker = tmp_path / presence.FILE, factory()
    presence.show(worker, file)
    for _ in range(2):
        assert not file.exists()
        perspective = Perspective()
        worker.gotPerspective(perspective)
        assert worker.perspective is perspective, "the factory's own sign-in was left out"
        assert file.exists()
        (end,) = perspective.ends
        end()
    assert not file.exists()


def test_what_a_killed_worker_left_is_deleted(tmp_path: Path) -> None:
    file = tmp_path / presence.FILE
    file.touch()
    presence.show(factory(), file)
    assert not file.exists()
