"""Files that pylint does not get to the end of: each is an error of its own, and the others do not notice."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.judges import Courtroom, is_alive
from tests.support.waiting import wait_for
from worker.lint.judge import limits
from worker.lint.judge.limits import Limits


@pytest.fixture(scope="module")
def room() -> Iterator[Courtroom]:
    with tempfile.TemporaryDirectory() as folder:
        room = Courtroom.create(Path(folder))
        yield room
        room.clear()


@pytest.mark.parametrize(
    ("act", "error"),
    {
        "loops": "pylint took more than 1 s on this file: simplify the file or raise --file-time",
        "stops": "pylint took more than 1 s on this file: simplify the file or raise --file-time",
        "chatters": "pylint took more than 1 s on this file: simplify the file or raise --file-time "
        "(it printed: …chatter)",
        "eats": "pylint took more than 64 MiB of memory on this file: simplify the file or raise --file-memory",
        "exits": "a plugin or pylint itself left with sys.exit('enough'): correct the plugin "
        "(it printed: a plugin is tired)",
        "leaves": "pylint's process left with exit code 7 and no result: correct the plugin that ends it",
        "interrupts": "pylint's process was killed by SIGINT on this file: correct the plugin, or upgrade pylint",
        "crashes": "pylint's process was killed by SIGSEGV on this file: correct the plugin, or upgrade pylint",
        "scribbles": "what pylint's process said of this file cannot be read: correct the plugin that disturbs it",
        "prints": "ok",
        "forks": "ok",
        "daemons": "ok",
    }.items(),
)
def test_a_file_that_is_hostile_is_an_error_of_its_own(room: Courtroom, act: str, error: str) -> None:
    with room.open(file_seconds=1, file_mebibytes=64) as connection:
        said = room.ask(connection, "good1.py", f"{act}.py", "good2.py")
        assert connection.shared
        assert not connection.notes
    bare = said[f"{act}.py"].split("(it printed: ")
    if act == "chatters":
        assert bare[1].endswith("chatter)")
        bare[1:] = ["…chatter)"]
    assert "(it printed: ".join(bare) == error
    assert said["good1.py"] == said["good2.py"] == "ok"


@pytest.mark.parametrize("act", ["forks", "daemons"])
@pytest.mark.parametrize("server", [True, False], ids=["server", "own"])
def test_what_a_plugin_starts_dies_with_its_file(room: Courtroom, act: str, server: bool) -> None:
    (room.tree / "forked").unlink(missing_ok=True)
    with room.open(server=server) as connection:
        assert room.ask(connection, f"{act}.py") == {f"{act}.py": "ok"}
        wait_for(lambda: not is_alive(room.forked()), "the process that the plugin started to be killed")


def test_a_file_that_makes_python_recurse_without_end_is_an_error_of_its_own(room: Courtroom) -> None:
    (room.tree / "deep.py").write_text("x = " + "+".join(["1"] * 20000) + "\n")
    with room.open() as connection:
        ((_, deep),) = connection.lint([room.job("deep.py")])
        assert "pylint failed on this file" in deep["error"]
        assert not deep.get("infrastructure")
        assert room.ask(connection, "good.py") == {"good.py": "ok"}


def test_a_file_that_makes_astroid_allocate_without_end_is_an_error_of_its_own(room: Courtroom) -> None:
    (room.tree / "big.py").write_text("x = ['a'] * 99999999\nprint(x.missing)\n")
    arguments = ("--rcfile=.pylintrc", "--enable=no-member")
    with room.open(server=False, file_mebibytes=128, arguments=arguments) as connection:
        ((_, big),) = connection.lint([room.job("big.py")])
    assert big["error"].startswith("pylint took more than 128 MiB of memory")


def test_a_machine_without_processes_is_to_blame_itself() -> None:
    failure = limits.cannot_fork(BlockingIOError(11, "Resource temporarily unavailable"))
    assert failure.infrastructure
    assert "Resource temporarily unavailable" in failure.error


def test_an_exception_is_told_apart_by_its_kind() -> None:
    told = [
        limits.of_exception(error, Limits(1, 64)).error for error in (MemoryError(), RecursionError(), ValueError("x"))
    ]
    assert told[0].startswith("pylint took more than 64 MiB")
    assert told[1].startswith("pylint recursed too deeply")
    assert told[2] == "pylint crashed on this file (ValueError: x): correct the plugin, or upgrade pylint"
