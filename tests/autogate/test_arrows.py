"""Who may import whom."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"autogate", "custom_steps", "master", "review_bot", "worker", "tests", "bench"}
BUILDBOT = {"buildbot", "buildbot_worker", "buildbot_www", "twisted"}
WEB = {"aiohttp", "fastapi", "flask", "klein", "starlette", "uvicorn"}

MAY_NOT_IMPORT = {
    "autogate": (ROOMS - {"autogate"}) | BUILDBOT | WEB,
    "custom_steps": ROOMS
    - {"autogate", "custom_steps", "worker"},  # the worker's lint program writes what a step reads
    "master": ROOMS - {"autogate", "master"},
    "worker": ROOMS - {"autogate", "worker"},
    "review_bot": (ROOMS - {"autogate", "review_bot"}) | BUILDBOT,
}


def imported(source: str) -> set[str]:
    """Return the top-level names of everything that Python source imports, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"importlib.import_module", "import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value).partition(".")[0])
    return found


def files(room: str) -> list[Path]:
    """Return a room's Python files, whatever they are called."""
    return sorted(path for pattern in ("*.py", "*.cfg", "*.tac") for path in (ROOT / room).rglob(pattern))


@pytest.mark.parametrize("room", MAY_NOT_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): sorted(forbidden)
        for path in files(room)
        if (forbidden := imported(path.read_text("utf-8")) & MAY_NOT_IMPORT[room])
    }
    assert wrong == {}


@pytest.mark.parametrize("room", ["autogate", "custom_steps", "master", "worker"])
def test_the_rooms_are_there(room: str) -> None:
    assert files(room)


def test_no_import_is_relative_beyond_its_room() -> None:
    for room in MAY_NOT_IMPORT:
        for path in files(room):
            depth = len(path.relative_to(ROOT).parts) - 1
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                assert not (isinstance(node, ast.ImportFrom) and node.level > depth), path


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import buildbot.process", "buildbot"),
        ("from buildbot.plugins import steps", "buildbot"),
        ("def late():\n    import master.assemble as a", "master"),
        ("import importlib\nimportlib.import_module('review_bot.web')", "review_bot"),
        ("if True:\n    from twisted import python", "twisted"),
    ],
)
def test_every_form_of_import_is_seen(source: str, name: str) -> None:
    assert name in imported(source)


def test_custom_steps_parse_without_buildbot() -> None:
    """Parsing stands in modules that import no Buildbot; at least one does, and it is no test of nothing."""
    pure = [path for path in files("custom_steps") if not imported(path.read_text("utf-8")) & BUILDBOT]
    assert [path for path in pure if path.name != "__init__.py"]


def test_names_of_rooms_are_no_modules_of_python() -> None:
    assert not ROOMS & set(sys.stdlib_module_names)
