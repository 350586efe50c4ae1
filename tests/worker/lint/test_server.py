"""The lint server: how it is started, shared, replaced and ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tests.support.judges import BAD, Courtroom, is_alive
from tests.support.waiting import wait_for
from worker.lint.connection import PROGRAM, JudgeConnection, JudgeError


@pytest.fixture
def room() -> Iterator[Courtroom]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders have names too long for a socket
        room = Courtroom.create(Path(folder))
        yield room
        room.clear()


def socket_file(room: Courtroom) -> Path:
    (path,) = Path(room.settings.runtime_folder).glob("*.socket")
    return path


def log(room: Courtroom) -> str:
    (path,) = Path(room.settings.runtime_folder).glob("*.log")
    return path.read_text()


def connect(room: Courtroom) -> socket.socket:
    """Connect to the server without the client's help, and take its hello."""
    bare = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bare.connect(str(socket_file(room)))
    bare.settimeout(30)
    assert b'"hello"' in bare.recv(1 << 16)
    return bare


def job(room: Courtroom, path: str) -> bytes:
    place = {"job": path, "root": str(room.tree), "path": path, "seconds": 60, "mebibytes": 512, "idle": False}
    return json.dumps(place).encode() + b"\n"


def read(bare: socket.socket, count: int) -> list[dict[str, Any]]:
    """Read until so many files are done, and return what was said of their beginnings."""
    lines = bare.makefile("rb")
    begun = []
    while count:
        message = json.loads(next(lines))
        count -= "done" in message
        begun += [message] if "begun" in message else []
    return begun


def test_one_server_serves_run_after_run_and_outlives_them(room: Courtroom) -> None:
    with room.open() as first:
        assert (first.shared, first.started) == (True, True)
        assert room.ask(first, "a.py", "b.py") == {"a.py": "ok", "b.py": "ok"}
        pid = first.hello["pid"]
        assert first.hello["facts"]["pylint"].startswith("4.")
    with room.open() as second:
        assert (second.shared, second.started, second.hello["pid"]) == (True, False, pid)
        assert room.ask(second, "a.py") == {"a.py": "ok"}
        assert os.getsid(pid) == pid != os.getsid(0)
        assert {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in (0, 1)} == {os.devnull}


def test_a_judge_sees_the_paths_that_the_script_pylint_sees(room: Courtroom) -> None:
    scripts = str(Path(sys.executable).parent)
    with room.open() as connection:
        path = connection.hello["facts"]["sys_path"]
    assert path[:2] == [".", scripts]  # the first is the configuration's
    assert str(Path(PROGRAM).parent) not in path


def test_runs_that_begin_at_once_start_one_server(room: Courtroom) -> None:
    connections: list[JudgeConnection] = []
    threads = [threading.Thread(target=lambda: connections.append(room.open())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(connection.shared for connection in connections)
    assert len({connection.hello["pid"] for connection in connections}) == 1
    assert sum(connection.started for connection in connections) == 1
    for connection in connections:
        connection.close()


def test_clients_take_turns(room: Courtroom) -> None:
    for name in ("waits", "one1", "one2", "one3", "other1"):
        (room.tree / f"{name}.py").write_text(BAD)
    with room.open(jobs=1), connect(room) as one, connect(room) as other:
        one.sendall(b"".join(job(room, path) for path in ("waits.py", "one1.py", "one2.py", "one3.py")))
        room.waiting()
        other.sendall(job(room, "other1.py"))
        assert b"alive" in other.recv(1 << 16)  # so it stands in line
        (room.tree / "go").touch()
        begun = [message for bare, count in ((one, 4), (other, 1)) for message in read(bare, count)]
    # Their process ids tell the order in which they were forked.
    assert [each["begun"] for each in sorted(begun, key=itemgetter("group"))] == [
        "waits.py",
        "other1.py",
        "one1.py",
        "one2.py",
        "one3.py",
    ]


def test_a_client_that_vanishes_takes_its_files_along(room: Courtroom) -> None:
    with room.open(jobs=1) as connection:
        (room.tree / "waits.py").write_text(BAD)
        bare = connect(room)
        bare.sendall(job(room, "waits.py") + job(room, "never.py"))
        child = room.waiting()
        bare.close()
        wait_for(lambda: not is_alive(child), "the child to be killed")
        assert room.ask(connection, "a.py") == {"a.py": "ok"}


@pytest.mark.parametrize(
    "words",
    [b"nonsense\n", b'"a string"\n', b'{"job": 1}\n', b'{"job": [], "root": "", "path": ""}\n', b"[" * 100000 + b"\n"],
    ids=["words", "string", "half a job", "odd id", "deep"],
)
def test_a_client_that_talks_nonsense_is_left_alone(room: Courtroom, words: bytes) -> None:
    with room.open() as connection:
        with connect(room) as bare:
            bare.sendall(words)
            assert bare.recv(100) == b""
        assert room.ask(connection, "a.py") == {"a.py": "ok"}


def test_a_server_of_another_version_is_replaced_once_it_is_done(room: Courtroom) -> None:
    with room.open(fingerprint="of yesterday") as old:
        (room.tree / "waits.py").write_text(BAD)
        old.submit(*room.job("waits.py"))
        told: list[str] = []
        background = threading.Thread(target=lambda: told.extend(str(name) for name, _ in old.lint()))
        background.start()
        room.waiting()
        with room.open() as new:
            assert (new.shared, new.started, new.notes) == (True, True, [])
            assert new.hello["pid"] != old.hello["pid"]
            assert room.ask(new, "a.py") == {"a.py": "ok"}
        (room.tree / "go").touch()
        background.join()
        assert told == ["waits.py"]
        pid = old.hello["pid"]
    wait_for(lambda: not is_alive(pid), "the old server to end")
    with room.open() as again:
        assert not again.started


def test_a_server_ends_when_asked_when_idle_and_when_it_has_lost_its_place(room: Courtroom) -> None:
    with room.open() as connection:
        connection.stop()
    room.wait_until_empty()
    assert not list(Path(room.settings.runtime_folder).glob("*.socket"))
    with room.open(idle_seconds=0.2):
        pass
    room.wait_until_empty()
    assert "leaving: it was idle" in log(room)
    with room.open():
        pass
    socket_file(room).unlink()
    room.wait_until_empty()
    assert "leaving: its socket is gone" in log(room)


def test_a_server_that_has_grown_too_big_or_lost_its_snapshot_ends(room: Courtroom) -> None:
    with room.open(server_mebibytes=1) as connection:
        assert room.ask(connection, "a.py") == {"a.py": "ok"}
    room.wait_until_empty()
    assert "leaving: it has grown to" in log(room)
    with room.open():
        room.tree.rename(room.tree.with_name("elsewhere"))
    room.wait_until_empty()
    assert "leaving: its snapshot is gone" in log(room)


def test_a_server_that_is_told_to_terminate_leaves_nothing_behind(room: Courtroom) -> None:
    with room.open() as connection, connect(room) as bare:
        (room.tree / "waits.py").write_text(BAD)
        bare.sendall(job(room, "waits.py"))
        child = room.waiting()
        os.kill(connection.hello["pid"], signal.SIGTERM)
        wait_for(lambda: not is_alive(child), "the child to be killed")
        room.wait_until_empty()
    assert not list(Path(room.settings.runtime_folder).glob("*.socket"))


def test_a_killed_server_takes_its_children_along_and_its_socket_is_in_nobodys_way(room: Courtroom) -> None:
    with room.open() as connection, connect(room) as bare:
        (room.tree / "waits.py").write_text(BAD)
        bare.sendall(job(room, "waits.py"))
        child = room.waiting()
        os.kill(connection.hello["pid"], signal.SIGKILL)
        wait_for(lambda: not is_alive(child), "the child to be killed")
    assert socket_file(room).is_socket()
    with room.open() as connection:
        assert (connection.shared, connection.started, connection.notes) == (True, True, [])
        assert room.ask(connection, "a.py") == {"a.py": "ok"}


def test_a_configuration_that_pylint_refuses_is_told_as_such(room: Courtroom) -> None:
    (room.tree / ".pylintrc").write_text("[MAIN]\njobs=many\n")
    for server in (True, False):
        with pytest.raises(JudgeError, match="jobs") as refused:
            room.open(server=server)
        assert refused.value.configuration
    room.wait_until_empty()


def test_a_python_without_pylint_and_one_that_is_none_are_told_with_their_cure(room: Courtroom, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    with pytest.raises(JudgeError, match="install pylint there") as bare:
        room.open(python=str(tmp_path / "venv/bin/python"))
    assert not bare.value.configuration
    with pytest.raises(JudgeError, match="--python"):
        room.open(python=str(tmp_path / "missing"))


def test_a_start_without_end_is_cut_short(room: Courtroom) -> None:
    (room.tree / ".pylintrc").write_text("[MAIN]\ninit-hook=while True: pass\n")
    with pytest.raises(JudgeError, match="does not start pylint"):
        room.open(server=False, start_seconds=1)
    room.wait_until_empty()


def test_a_log_that_cannot_be_written_keeps_no_server_from_serving(room: Courtroom) -> None:
    """On a disk that is full; /dev/full is one."""
    with room.open() as connection:
        connection.stop()
    room.wait_until_empty()
    (path,) = Path(room.settings.runtime_folder).glob("*.log")
    path.unlink()
    path.symlink_to("/dev/full")
    with room.open() as connection:
        assert room.ask(connection, "a.py") == {"a.py": "ok"}
        assert (connection.shared, connection.notes) == (True, [])
