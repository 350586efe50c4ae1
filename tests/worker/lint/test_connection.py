"""The client's side: whatever becomes of the processes that judge, each file gets its answer, and nothing is left."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.judges import BAD, Courtroom, is_alive, verdict
from tests.support.waiting import wait_for
from worker.lint import connection as module
from worker.lint.connection import JobId, JudgeConnection, judge_environment

WITHOUT = ", and the run went on without"


@pytest.fixture
def room() -> Iterator[Courtroom]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders have names too long for a socket
        room = Courtroom.create(Path(folder))
        yield room
        room.clear()


def place(room: Courtroom) -> Path:
    """Return where the server's socket is to be, in a folder that is there."""
    return Path(module._socket_path(room.settings))


def in_the_background(
    room: Courtroom, connection: JudgeConnection, *paths: str
) -> tuple[threading.Thread, dict[str, str]]:
    said: dict[str, str] = {}
    thread = threading.Thread(target=lambda: said.update(room.ask(connection, *paths)))
    thread.start()
    return thread, said


@pytest.mark.parametrize("server", [True, False], ids=["server", "own"])
def test_a_judge_that_is_killed_in_the_middle_is_made_good_for(room: Courtroom, server: bool) -> None:
    with room.open(server=server) as connection:
        pid = connection.hello["pid"]
        thread, said = in_the_background(room, connection, "waits.py", "a.py", "b.py", "c.py")
        child = room.waiting()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(child), "its child to be killed")
        (room.tree / "go").touch()
        thread.join()
        assert said == dict.fromkeys(["waits.py", "a.py", "b.py", "c.py"], "ok")
        assert connection.hello["pid"] != pid
        (note,) = connection.notes
        assert note.startswith("the lint server failed (" if server else "the process that judges files failed (")
    if not server:
        room.wait_until_empty()


def test_a_judge_that_dies_of_every_try_of_a_file_costs_that_file_alone(room: Courtroom) -> None:
    with room.open() as connection:
        said = room.ask(connection, "a.py", "murders.py", "b.py", "c.py")
    cause = said.pop("murders.py")
    assert cause == "the judge's own process dies whenever it judges murders.py: correct the plugin, if any"
    assert said == dict.fromkeys(["a.py", "b.py", "c.py"], "ok")
    room.wait_until_empty()


@pytest.mark.parametrize("server", [True, False], ids=["server", "own"])
def test_a_module_that_cannot_be_built_ahead_costs_no_file(room: Courtroom, server: bool) -> None:
    acting = room.tree / "acting.py"
    transform = (
        "    MANAGER.register_transform(nodes.Module, lambda _: eat(), lambda module: module.name == 'hostile')\n"
    )
    acting.write_text(f"from astroid import nodes\nfrom astroid.manager import AstroidManager\n{acting.read_text()}")
    with acting.open("a") as file:  # its last lines are `register`
        file.write(transform.replace("MANAGER", "AstroidManager()"))
    (room.tree / "hostile.py").write_text("x = 1\n")
    names = [f"importer{number}.py" for number in range(6)]
    with room.open(server=server, server_mebibytes=100) as connection:
        for name in names:
            (room.tree / name).write_text("import hostile\n" + BAD)
        said = {job: verdict(result) for job, result in connection.lint(map(room.job, names))}
        assert said == dict.fromkeys(names, "ok")
        assert len(connection.notes) == 1
        assert "failed (it ended)" in connection.notes[0]


def test_a_process_that_is_killed_from_outside_is_tried_once_more(room: Courtroom) -> None:
    with room.open() as connection:
        thread, said = in_the_background(room, connection, "waits.py", "a.py")
        os.kill(room.waiting(), signal.SIGKILL)
        (room.tree / "go").touch()
        thread.join()
        assert said == {"waits.py": "ok", "a.py": "ok"}
        assert connection.notes == ["a process was killed from outside; its file was tried again"]


def test_a_process_that_is_killed_from_outside_twice_is_the_machines_fault(room: Courtroom) -> None:
    with room.open() as connection:
        said = room.ask(connection, "suicides.py", "a.py")
    assert said["a.py"] == "ok"
    assert said["suicides.py"].startswith("machine: pylint's process was killed from outside (SIGKILL)")


def test_a_server_that_was_stopped_is_done_without(room: Courtroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 1.0)
    with room.open() as connection:
        pid = connection.hello["pid"]
        os.kill(pid, signal.SIGSTOP)
        assert room.ask(connection, "a.py") == {"a.py": "ok"}
        assert connection.notes == [
            "the lint server failed (it did not answer in time), and the run went on without it"
        ]
        wait_for(lambda: not is_alive(pid), "the server that hung to be killed")


def test_a_server_that_was_stopped_before_its_hello_is_replaced(
    room: Courtroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    with room.open() as connection:
        pid = connection.hello["pid"]
    os.kill(pid, signal.SIGSTOP)
    os.utime(place(room), (0, 0))  # it was started long ago
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    with room.open() as connection:
        assert (connection.shared, connection.started, connection.notes) == (True, True, [])
        assert room.ask(connection, "a.py") == {"a.py": "ok"}
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not is_alive(pid), "the server that has lost its place to end")


HELLO = {"protocol": module.PROTOCOL, "fingerprint": "of today", "facts": {}}


@pytest.mark.parametrize(
    ("words", "cause"),
    {
        "garbage": ([b"\x00\xff\n"], "no lint server could be had (it said something that is no message)"),
        "a list": ([b"[]\n"], "no lint server could be had (it said something that is no message)"),
        "no hello": ([b"{}\n"], "no lint server could be had (it said something that is no hello)"),
        "then garbage": (
            [{"hello": HELLO}, b"\xff\n"],
            "the lint server failed (it said something that is no message)",
        ),
        "no result": (
            [{"hello": HELLO}, {"done": "a.py", "result": 1}],
            "the lint server failed (it said something that is no result)",
        ),
        "half a line": ([{"hello": HELLO}, b'{"done": "a.p'], "the lint server failed (it ended)"),
    }.values(),
)
def test_whoever_else_listens_there_is_done_without(
    room: Courtroom, words: list[bytes | dict[str, object]], cause: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(place(room)))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                for each in words:
                    peer.sendall(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n")
                    if isinstance(each, dict) and "hello" in each:
                        peer.recv(1 << 16)

        thread = threading.Thread(target=serve)
        thread.start()
        with room.open() as connection:
            assert room.ask(connection, "a.py") == {"a.py": "ok"}
            thread.join()
            (note,) = connection.notes or [""]
            if connection.shared:  # it was found out at once, and replaced
                assert note == ""
                assert "no lint server" in cause
            else:
                assert note.startswith(cause + WITHOUT)


def test_a_socket_of_nobodys_is_replaced(room: Courtroom) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(place(room)))
    with room.open() as connection:
        assert (connection.shared, connection.notes) == (True, [])


def test_a_folder_that_is_not_ours_alone_is_made_so_or_done_without(room: Courtroom) -> None:
    runtime = Path(room.settings.runtime_folder)
    runtime.mkdir(mode=0o777)
    runtime.chmod(0o777)
    with room.open() as connection:
        assert connection.shared
        assert runtime.stat().st_mode & 0o777 == 0o700
    other = runtime.with_name("link")
    other.symlink_to(runtime)
    with room.open(runtime_folder=str(other)) as connection:
        assert not connection.shared
        assert connection.notes == [
            f"no lint server could be had ({other} is no folder of this user's: remove it){WITHOUT} one"
        ]
        assert room.ask(connection, "a.py") == {"a.py": "ok"}
    if os.getuid() == 0:
        os.chown(runtime, 65534, -1)
        with room.open() as connection:
            assert (connection.shared, len(connection.notes)) == (False, 1)
        os.chown(runtime, 0, -1)


def test_a_folder_that_cannot_be_made_or_written_to_is_done_without(room: Courtroom) -> None:
    for folder in ("/dev/null/run", "/proc/run"):
        with room.open(runtime_folder=folder) as connection:
            assert not connection.shared
            assert connection.notes[0].startswith("no lint server could be had (")
            assert room.ask(connection, "a.py") == {"a.py": "ok"}


def test_a_folder_with_a_long_name_has_its_sockets_elsewhere(room: Courtroom) -> None:
    runtime = Path(room.settings.runtime_folder) / ("long" * 40)
    with room.open(runtime_folder=str(runtime)) as connection:
        assert (connection.shared, connection.notes) == (True, [])
        connection.stop()
    room.wait_until_empty()


def test_files_may_be_added_and_given_up_on_the_way(room: Courtroom) -> None:
    for name in ("a", "b", "c", "waits"):
        (room.tree / f"{name}.py").write_text(BAD)
    with room.open(jobs=1) as connection:
        done: list[JobId] = []
        for job, _ in connection.lint([room.job("a.py")]):
            done.append(job)
            if job == "a.py":
                connection.submit(*room.job("b.py"))
        assert done == ["a.py", "b.py"]
        connection.submit(*room.job("waits.py"))
        connection.submit(*room.job("c.py"))
        thread = threading.Thread(
            target=lambda: done.extend(name for name, _ in connection.lint(deadline=time.monotonic() + 2))
        )
        thread.start()
        child = room.waiting()
        thread.join()
        assert done == ["a.py", "b.py"]
        connection.cancel(["waits.py", "c.py"])
        wait_for(lambda: not is_alive(child), "the file that was given up to be killed")
        assert room.ask(connection, "d.py") == {"d.py": "ok"}


def test_names_that_are_no_text_reach_pylint(room: Courtroom) -> None:
    name = os.fsdecode(b"\xff\xfe\xe4 odd.py")
    with room.open() as connection:
        assert list(room.ask(connection, name)) == [name]


def test_a_judge_gets_the_environment_without_secrets_and_without_one_git_calls() -> None:
    given = {
        "PATH": "/bin",
        "VIRTUAL_ENV": "/venv",
        "PYTHONPATH": "src",
        "DJANGO_SETTINGS_MODULE": "site.settings",
        "GIT_INDEX_FILE": "index.lock",
        "GITHUB_TOKEN": "x",
        "db_password": "x",
    }
    assert judge_environment(given, "/run/pylint") == {
        "PATH": "/bin",
        "VIRTUAL_ENV": "/venv",
        "PYTHONPATH": "src",
        "DJANGO_SETTINGS_MODULE": "site.settings",
        "PYLINTHOME": "/run/pylint",
    }


def test_what_a_run_of_its_own_started_ends_with_it(room: Courtroom) -> None:
    with room.open(server=False) as connection:
        (room.tree / "waits.py").write_text(BAD)
        connection.submit(*room.job("waits.py"))
        for _ in connection.lint(deadline=time.monotonic() + 1):
            raise AssertionError("it was to wait")
        child = room.waiting()
    wait_for(lambda: not is_alive(child), "the child to be killed")
    room.wait_until_empty()


CLIENT = """\
import json, sys
from worker.lint.connection import JudgeConnection, JudgeSettings
settings, job = json.loads(sys.argv[1])
with JudgeConnection.open(JudgeSettings(**settings), server=False) as connection:
    list(connection.lint([job]))
"""


def test_a_run_that_is_killed_takes_its_own_judge_along(room: Courtroom) -> None:
    (room.tree / "waits.py").write_text(BAD)
    words = json.dumps([asdict(room.settings), room.job("waits.py")])
    with subprocess.Popen([sys.executable, "-c", CLIENT, words], cwd=Path(__file__).parents[3]) as run:
        child = room.waiting()
        run.kill()
    wait_for(lambda: not is_alive(child), "the child to be killed")
    room.wait_until_empty()
