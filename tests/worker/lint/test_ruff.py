"""ruff itself, on files of any name, with the configuration that it is given."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.processes import BIN
from worker.lint.model import Judgement, Severity
from worker.lint.ruff import RuffError, find_configuration, find_ruff, lint, ruff_id

RUFF = find_ruff(str(BIN / "python"), os.environ)
BAD = b"import os\n"
RULES = b"""
fix = true
show-fixes = true
extend-exclude = ["made"]
[lint]
select = ["E501", "F401", "PLR2004"]
per-file-ignores = {"tests/*" = ["F401"]}
"""


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run(
    folder: Path, files: Mapping[str, bytes], configuration: str | None = None, environ: Mapping[str, str] = os.environ
) -> dict[str, list[tuple[int, str, Severity, str]]]:
    write(folder, files)
    judgements = lint(RUFF, str(folder), files, configuration=configuration, environ=environ)
    return {
        path: [(each.line, each.symbol, each.severity, each.scope) for each in judgement.messages]
        for path, judgement in judgements.items()
    }


def test_messages_have_their_place_their_object_and_their_severity(tmp_path: Path) -> None:
    content = (
        "import os\n"
        "@undefined_decorator\n"
        "class Cart:\n"
        "    async def total(self):\n"
        "        def inner():\n"
        "            é = 1\n"
        "        return 'x' is undefined_name\n"
    )
    write(tmp_path, {"pkg/a.py": content.encode(), "ruff.toml": b"lint.select = ['F']\n"})
    rules = str(tmp_path / "ruff.toml")
    (judgement,) = lint(RUFF, str(tmp_path), ["pkg/a.py"], configuration=rules, environ=os.environ).values()
    assert isinstance(judgement, Judgement)
    assert (judgement.score, judgement.error) == (None, "")
    shown = [
        (each.line, each.column, each.end_line, each.end_column, each.code, each.severity, each.scope)
        for each in judgement.messages
    ]
    assert shown == [
        (1, 7, 1, 9, "F401", Severity.WARNING, ""),
        (2, 1, 2, 20, "F821", Severity.ERROR, ""),
        (6, 12, 6, 13, "F841", Severity.WARNING, "Cart.total.inner"),
        (7, 15, 7, 36, "F632", Severity.ERROR, "Cart.total"),
        (7, 22, 7, 36, "F821", Severity.ERROR, "Cart.total"),
    ]
    assert {(each.linter, each.path) for each in judgement.messages} == {("ruff", "pkg/a.py")}
    assert judgement.messages[0].text == "`os` imported but unused"


def test_files_of_any_name_are_files_and_no_options(tmp_path: Path) -> None:
    names = [
        "a b.py",
        "grüße 日本.py",
        "--fix.py",
        "-",
        "@arguments.py",
        "'q\"\n.py",
        "script",
        os.fsdecode(b"\xff.py"),
    ]
    assert run(tmp_path, dict.fromkeys(names, BAD)) == {name: [(1, "F401", Severity.WARNING, "")] for name in names}
    assert (tmp_path / "a b.py").read_bytes() == BAD


def test_a_file_of_arguments_is_linted_and_not_obeyed(tmp_path: Path) -> None:
    shown = run(tmp_path, {"@a.py": b"--ignore=F401\n", "b.py": BAD})
    assert {line[1] for line in shown["@a.py"]} == {"invalid-syntax"}
    assert len(shown["b.py"]) == 1


def test_what_cannot_be_read_is_said_as_an_error(tmp_path: Path) -> None:
    shown = run(tmp_path, {"broken.py": b"import os\ndef f(:\n", "latin.py": b"x = '\xe9'\n", "good.py": b""})
    assert {line[1:3] for line in shown["broken.py"]} == {("invalid-syntax", Severity.ERROR)}
    assert shown["latin.py"] == [(1, "E902", Severity.ERROR, "")]
    assert shown["good.py"] == []


def test_the_configuration_of_another_tree_is_obeyed_and_not_the_files_own(tmp_path: Path) -> None:
    base, merge = tmp_path / "base", tmp_path / "merge"
    write(base, {"ruff.toml": RULES})
    quiet = b"[lint]\nselect = []\n"
    files = {
        "a.py": BAD + b"x = 5\nif x == 7:\n    print('%s')\n" % (b"x " * 50),
        "tests/t.py": BAD,
        "made/m.py": BAD,
        "sub/b.py": BAD,
        "ruff.toml": b"",
    }
    write(merge, {**files, "ruff.toml": quiet, "sub/ruff.toml": quiet})
    judgements = lint(
        RUFF,
        str(merge),
        [name for name in files if name.endswith(".py")],
        configuration=str(base / "ruff.toml"),
        environ=os.environ,
    )
    assert {
        path: [(each.line, each.symbol, each.severity) for each in judgement.messages]
        for path, judgement in judgements.items()
    } == {
        "a.py": [(1, "F401", Severity.WARNING), (3, "PLR2004", Severity.REFACTOR), (4, "E501", Severity.WARNING)],
        "tests/t.py": [],
        "made/m.py": [],
        "sub/b.py": [(1, "F401", Severity.WARNING)],
    }
    assert (merge / "a.py").read_bytes() == files["a.py"]


def test_without_configuration_neither_the_files_own_nor_the_users_counts(tmp_path: Path) -> None:
    quiet = b"[lint]\nselect = []\n"
    write(tmp_path, {"home/ruff/ruff.toml": quiet, "tree/ruff.toml": quiet})
    environ = os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "home"), "RUFF_OUTPUT_FILE": str(tmp_path / "stolen")}
    assert len(run(tmp_path / "tree", {"a.py": BAD}, environ=environ)["a.py"]) == 1
    assert not (tmp_path / "stolen").exists()


class Folder:
    """A tree on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def blob(self, path: str) -> str | None:
        raise NotImplementedError

    def entries(self, folder: str, stem: str) -> tuple[str, ...]:
        raise NotImplementedError

    def is_settled(self, path: str) -> bool:
        return True

    def read(self, path: str) -> bytes | None:
        return (self.folder / path).read_bytes() if (self.folder / path).is_file() else None


def test_the_configuration_is_found_as_ruff_finds_it(tmp_path: Path) -> None:
    steps: list[tuple[str, bytes, str | None]] = [
        ("pyproject.toml", b"[tool.pylint]\n", None),
        ("pyproject.toml", b"# ruff is not used\n[tool.other]\n", None),
        ("pyproject.toml", b"[tool.ruff]\n", "pyproject.toml"),
        ("pyproject.toml", b"[tool.ruff.lint]\nselect = []\n", "pyproject.toml"),
        ("ruff.toml", b"", "ruff.toml"),
        (".ruff.toml", b"", ".ruff.toml"),
    ]
    for name, content, expected in steps:
        (tmp_path / name).write_bytes(content)
        assert find_configuration(Folder(tmp_path)) == expected


def test_a_configuration_that_ruff_does_not_understand_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"ruff.toml": b"[lint]\nselect = ['NONSENSE']\n"})
    with pytest.raises(RuffError, match=r"ended with 2 with .*ruff\.toml: correct what it says"):
        run(tmp_path, {"a.py": BAD}, str(tmp_path / "ruff.toml"))


def test_ruff_that_is_not_there_that_dies_and_that_is_too_slow(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path)}
    python = str(tmp_path / "venv/bin/python")
    with pytest.raises(RuffError, match="pip install ruff"):
        find_ruff(python, environ)
    fake = tmp_path / "ruff"
    fake.write_text("#!/bin/sh\nkill -KILL $$\n")
    fake.chmod(0o755)
    assert find_ruff(python, environ) == str(fake)
    write(tmp_path, {"a.py": BAD})
    for script, words in (
        ("kill -KILL $$", "ended with -9"),
        ("exit 0", "printed no JSON"),
        ("exec tail -f /dev/null", "took more than"),
    ):
        fake.write_text(f"#!/bin/sh\n{script}\n")
        with pytest.raises(RuffError, match=words):
            lint(str(fake), str(tmp_path), ["a.py"], configuration=None, environ=os.environ, seconds=0.5)
    with pytest.raises(RuffError, match="does not start"):
        lint(str(tmp_path / "gone"), str(tmp_path), ["a.py"], configuration=None, environ=os.environ)


def test_another_ruff_has_another_id(tmp_path: Path) -> None:
    fake = tmp_path / "ruff"
    fake.write_text("one")
    first = ruff_id(str(fake))
    assert ruff_id(str(fake)) == first
    fake.write_text("another")
    assert ruff_id(str(fake)) != first
