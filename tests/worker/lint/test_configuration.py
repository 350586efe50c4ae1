"""The configuration that is found is the one that pylint finds, and what matters in it decides its id."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylint.config.config_file_parser import _RawConfParser
from pylint.config.find_default_config_files import find_default_config_files

from worker.lint import configuration
from worker.lint.configuration import Configuration, ConfigurationError, look_into, read_configuration
from worker.lint.store import PLACE

from .plain_tree import PlainTree

PYPROJECT = b'[project]\nversion = "1.0"\n\n[tool.pylint.main]\ndisable = ["all"]\n\n[tool.ruff]\nline-length = 100\n'
SETUP = b"[metadata]\nversion = 1.0\n\n[pylint.main]\ndisable = all\n\n[tool:pytest]\naddopts = -q\n"
CONTENTS = {
    ".toml": [PYPROJECT, b"[tool.pylint]\n", b"[tool.black]\n", b"tool.pylint = 3\n", b"[tool.pylint\n", b"tool = 1 2"],
    ".cfg": [
        SETUP,
        b"[pylint]\n",
        b"[pylintish]\n",
        b"\xef\xbb\xbf[pylint]\n",
        b"x = 1\n",
        b"[pylint]\n[pylint]\n",
        b"",
    ],
    "": [b"[MAIN]\ndisable=all\n", b"", b"no section = 1\n", b"\xff"],
}
CONTENTS[".ini"] = CONTENTS[".cfg"]
NAMES = (*configuration.RC_NAMES, configuration.PYPROJECT, *configuration.SHARED_INI)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "memory"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty work tree."""
    (tmp_path / "above" / "root" / ".git").mkdir(parents=True)
    return tmp_path / "above" / "root"


def read(
    tree: Mapping[str, bytes],
    memory: Path,
    *,
    rcfile: str | None = None,
    root: Path = Path("/nowhere"),
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    environ = {"HOME": "/root"} if environ is None else environ
    return read_configuration(PlainTree(tree), root=str(root), rcfile=rcfile, environ=environ, folder=str(memory))


def pylints(root: Path, environ: Mapping[str, str]) -> str | None:
    """Return what a pylint that is started in a folder would read."""
    with contextlib.chdir(root), patch.dict(os.environ, environ, clear=True):
        found = next(find_default_config_files(), None)
    return None if found is None else str(found)


def write(root: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def ours(found: Configuration, root: Path) -> str | None:
    return None if found.rcfile is None else os.path.realpath(root / found.rcfile)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return {name: draw(st.sampled_from(CONTENTS[Path(name).suffix])) for name in names}


@settings(max_examples=150, deadline=None)
@given(trees())
def test_the_file_is_the_one_that_pylint_finds(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    place = tmp_path_factory.mktemp("tree")
    (place / ".git").mkdir()
    write(place, files)
    found = read(files, place / "memory", root=place)
    assert ours(found, place) == pylints(place, {"HOME": "/root"})


@pytest.mark.parametrize(
    ("files", "above", "variables"),
    [
        pytest.param({}, {}, {}, id="none"),
        pytest.param({"__init__.py": b""}, {"above/pylintrc.toml": b"", "above/.pylintrc": b""}, {}, id="a package"),
        pytest.param({"__init__.py": b""}, {"above/__init__.py": b"", ".pylintrc": b""}, {}, id="in a package"),
        pytest.param({"__init__.py": b""}, {".pylintrc": b""}, {}, id="in no package"),
        pytest.param({}, {"above/.pylintrc": b"", "above/pyproject.toml": PYPROJECT}, {}, id="above a repository"),
        pytest.param({}, {}, {"PYLINTRC": "{home}/.config/pylintrc"}, id="variable"),
        pytest.param({"pylintrc": b""}, {}, {"PYLINTRC": "{home}/.config/pylintrc"}, id="the tree before the variable"),
        pytest.param({"ci/lint.rc": b""}, {}, {"PYLINTRC": "ci/lint.rc"}, id="variable names a file of the tree"),
        pytest.param({"ci/lint.rc": b""}, {}, {"PYLINTRC": "{root}/ci/lint.rc"}, id="the same, absolute"),
        pytest.param({}, {"above/lint.rc": b""}, {"PYLINTRC": "../lint.rc"}, id="variable leads out of the tree"),
        pytest.param({}, {}, {"PYLINTRC": "{home}", "HOME": "{home}"}, id="variable names a folder"),
        pytest.param({"ci/x": b""}, {}, {"PYLINTRC": "ci", "HOME": "{home}"}, id="variable names a folder of the tree"),
        pytest.param({}, {}, {"PYLINTRC": "/gone", "HOME": "{home}"}, id="variable names nothing"),
        pytest.param({}, {}, {"PYLINTRC": "", "HOME": "{home}"}, id="empty variable"),
        pytest.param({}, {}, {"HOME": "{home}"}, id="home"),
        pytest.param({}, {"home/.pylintrc": b""}, {"HOME": "{home}"}, id="home's first"),
        pytest.param({"pyproject.toml": b""}, {}, {"HOME": "{home}"}, id="home after the tree"),
    ],
)
def test_files_elsewhere_are_found_as_pylint_finds_them(
    tmp_path: Path,
    root: Path,
    memory: Path,
    files: dict[str, bytes],
    above: dict[str, bytes],
    variables: dict[str, str],
) -> None:
    write(root, files)
    write(tmp_path, {"home/.config/pylintrc": b"[MAIN]\n", **above})
    environ = {name: value.format(home=tmp_path / "home", root=root) for name, value in variables.items()}
    environ.setdefault("HOME", "/root")
    found = read(files, memory, root=root, environ=environ)
    assert ours(found, root) == pylints(root, environ)
    if found.rcfile and Path(found.rcfile).is_absolute():  # what is in it matters
        Path(found.rcfile).write_bytes(b"[tool.pylint]\njobs=2\n")
        assert read(files, memory, root=root, environ=environ).id != found.id


def test_a_work_tree_of_a_submodule_looks_above_itself(root: Path, memory: Path) -> None:
    (root / ".git").rmdir()
    (root / ".git").write_text("gitdir: ../.git/modules/root\n")
    write(root.parent, {"pyproject.toml": PYPROJECT})
    found = read({}, memory, root=root)
    assert found.rcfile == str(root.parent / "pyproject.toml") == pylints(root, {"HOME": "/root"})
    write(root, {"pyproject.toml": b""})
    assert read({"pyproject.toml": b""}, memory, root=root).rcfile is pylints(root, {"HOME": "/root"}) is None
    write(root.parent, {"pyproject.toml": PYPROJECT.replace(b"1.0", b"1.1")})
    assert read({}, memory, root=root).id == found.id
    write(root.parent, {"pyproject.toml": PYPROJECT.replace(b"all", b"none")})
    assert read({}, memory, root=root).id != found.id


def test_the_machines_file_comes_last(tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it stands on a real machine only the name differs."""
    assert configuration.SYSTEM == "/etc/pylintrc"
    write(tmp_path, {"etc": b"[MAIN]\n", "home/.pylintrc": b""})
    monkeypatch.setattr(configuration, "SYSTEM", str(tmp_path / "etc"))
    assert read({}, memory).rcfile == str(tmp_path / "etc")
    assert read({}, memory, environ={"HOME": str(tmp_path / "home")}).rcfile == str(tmp_path / "home/.pylintrc")


def test_a_variable_cannot_lead_to_the_work_tree_past_the_tree_that_counts(root: Path, memory: Path) -> None:
    write(root, {"ci/lint.rc": b"[MAIN]\ndisable=all\n"})
    environ = {"HOME": "/root", "PYLINTRC": str(root / "ci/lint.rc")}
    assert read({}, memory, root=root, environ=environ).rcfile is None
    base = read({"ci/lint.rc": b"[MAIN]\n"}, memory, root=root, environ=environ)
    assert base.rcfile == "ci/lint.rc"
    assert base.id == read({"ci/lint.rc": b"[MAIN]\n"}, memory, rcfile="ci/lint.rc").id


@pytest.mark.parametrize(
    ("name", "content", "idle", "active"),
    [
        ("pyproject.toml", PYPROJECT, (b"1.0", b"1.1"), (b'"all"', b'"no-member"')),
        ("pyproject.toml", PYPROJECT, (b"100", b"120"), (b'["all"]', b'"all"')),
        ("setup.cfg", SETUP, (b"1.0", b"1.1"), (b"= all", b"= no-member")),
        ("tox.ini", SETUP, (b"-q", b"-v"), (b"pylint.main", b"pylint-main")),
        ("setup.cfg", SETUP, (b"[tool", b"# words\n[tool"), (b"[metadata]", b"[DEFAULT]\njobs = 2\n[metadata]")),
        ("pylintrc", b"[MAIN]\n", (b"", b""), (b"[", b"# words\n[")),
    ],
)
def test_only_what_pylint_reads_matters(
    memory: Path, name: str, content: bytes, idle: tuple[bytes, bytes], active: tuple[bytes, bytes]
) -> None:
    for rcfile in (None, name):
        first = read({name: content, "setup.py": b""}, memory, rcfile=rcfile)
        assert first.rcfile == name
        assert read({name: content.replace(*idle), "setup.py": b"x"}, memory, rcfile=rcfile).id == first.id
        assert read({name: content.replace(*active)}, memory, rcfile=rcfile).id != first.id


SECTIONS = {
    "ini": ["[pylint]", "[pylint.main]", "[pylintish]", "[DEFAULT]", "[other]"],
    "toml": ["[tool.pylint]", "[tool.pylint.main]", "[tool.other]"],
}
VALUES = {
    "ini": ["jobs = 2 ; two", "jobs = 2", "disable = all", "  no-member", "enable: %(jobs)s", "\tall", "", "broken"],
    "toml": ["jobs = 2", 'jobs = "2"', "jobs = 2.0", "enable = ['a', 'b']", "enable = 'a,b'", "fail-on = 2020-01-01"],
}


@st.composite
def parts(draw: st.DrawFn, kind: str) -> list[str]:
    """Draw a section's header and what stands below it."""
    values = st.sampled_from([*VALUES[kind], "# words"])
    return [draw(st.sampled_from(SECTIONS[kind])), *draw(st.lists(values, max_size=3))]


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(["ini", "toml"]), data=st.data())
def test_files_that_pylint_reads_differently_never_count_as_the_same(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("read") / ("pyproject.toml" if kind == "toml" else "setup.cfg")
    one = data.draw(parts(kind)) + data.draw(parts(kind))
    other = list(one)
    other[data.draw(st.integers(0, len(one) - 1))] = data.draw(st.sampled_from(VALUES[kind] + SECTIONS[kind]))
    said, ids = [], []
    for content in ("\n".join(one), "\n".join(other)):
        file.write_text(content)
        try:
            said.append(repr(_RawConfParser.parse_config_file(file, verbose=False)))
        except Exception as error:  # noqa: BLE001  (any of them is what pylint says of it)
            said.append(str(error))
        ids.append(look_into(kind, content.encode(), content)[1])
    assert said[0] == said[1] or ids[0] != ids[1]


def test_a_broken_file_is_passed_over_with_a_note(memory: Path) -> None:
    """As pylint does; its words would be lost."""
    for _ in range(2):
        found = read({"pyproject.toml": b"[tool.pylint\n", "setup.cfg": b"x = 1\n", "tox.ini": SETUP}, memory)
        assert found.rcfile == "tox.ini"
        assert [note.partition(": pylint cannot read it and passes over it: ")[0] for note in found.notes] == [
            "pyproject.toml",
            "setup.cfg",
        ]
        assert all(note[-1] not in " \n:" and "\n" not in note for note in found.notes)


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.cfg", "pylintrc", "ci/lint.toml"])
def test_a_broken_file_that_is_asked_for_has_an_id(memory: Path, name: str) -> None:
    ids = {read({name: content}, memory, rcfile=name).id for content in (b"[pylint", b"[pylint.x", b"[pylint\xff")}
    assert len(ids) == 3


def test_what_pylints_search_chokes_on_is_left_for_the_judge_to_tell(memory: Path) -> None:
    assert read({"setup.cfg": b"[pylint]\n\xff", "tox.ini": SETUP}, memory).rcfile == "setup.cfg"
    assert read({"pyproject.toml": b"tool = 3\n"}, memory).rcfile == "pyproject.toml"


@pytest.mark.parametrize("rcfile", ["gone", "../pylintrc", "/etc/passwd", "ci", ""])
def test_a_file_that_is_asked_for_must_be_in_the_tree(memory: Path, rcfile: str) -> None:
    with pytest.raises(ConfigurationError, match="correct the setting pylintrc"):
        read({"ci/pylintrc": b"", "../pylintrc": b""}, memory, rcfile=rcfile)


def test_a_file_elsewhere_that_cannot_be_read_is_told(memory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"/proc/\d+/mem cannot be read: Input/output error; "):
        read({}, memory, environ={"PYLINTRC": "/proc/self/mem"})


def test_what_was_parsed_once_is_remembered(memory: Path) -> None:
    """Neither the file nor a parser is needed again; damage is no harm."""

    class Unread(PlainTree):
        def read(self, path: str) -> bytes | None:
            raise AssertionError(path)

    def warm() -> Configuration:
        tree = Unread({"pyproject.toml": b"[tool.black]\n", "setup.cfg": SETUP})
        return read_configuration(tree, root="/nowhere", rcfile=None, environ={}, folder=str(memory))

    first = read({"pyproject.toml": b"[tool.black]\n", "setup.cfg": SETUP}, memory)
    assert warm() == first
    for file in files(memory):
        file.write_bytes(b"damage")
    with pytest.raises(AssertionError, match=r"pyproject\.toml"):
        warm()
    assert read({"pyproject.toml": b"[tool.black]\n", "setup.cfg": SETUP}, memory) == first


def files(memory: Path) -> Iterator[Path]:
    return (path for path in (memory / PLACE).rglob("*") if path.is_file())


def test_plugins_are_part_of_the_id_once_they_are_known(memory: Path) -> None:
    tree = PlainTree({".pylintrc": b"", "ci/plugin.py": b"one", "ci/other.py": b"", "a.py": b""})
    found = read(tree, memory)
    assert found.with_plugins(tree, "environment") is None
    final = found.remember_plugins(tree, "environment", ["ci/plugin.py"])
    assert found.with_plugins(tree, "environment") == final
    assert read(tree | {"a.py": b"2"}, memory).with_plugins(PlainTree(tree | {"a.py": b"2"}), "environment") == final
    assert found.with_plugins(tree, "another environment") is None
    for change in ({"ci/plugin.py": b"two"}, {"ci/plugin/__init__.py": b"shadows"}, {"ci/plugin.so": b""}):
        assert found.with_plugins(PlainTree(tree | change), "environment") is None
    del (gone := PlainTree(tree))["ci/plugin.py"]
    assert found.with_plugins(gone, "environment") is None


def test_plugins_that_change_are_known_again_when_they_change_back(memory: Path) -> None:
    one = PlainTree({"plugin.py": b"one"})
    two = PlainTree({"plugin.py": b"two, which imports", "helper.py": b""})
    found = read(one, memory)
    finals = [
        found.remember_plugins(one, "", ["plugin.py"]),
        found.remember_plugins(two, "", ["helper.py", "plugin.py"]),
    ]
    assert [found.with_plugins(each, "") for each in (one, two)] == finals
    assert len({*finals, found.id, found.without_plugins}) == 4
    assert found.with_plugins(PlainTree(two | {"helper.py": b"changed"}), "") is None


@pytest.mark.parametrize("added", ["ci/plugin.py", "ci/plugin/__init__.py", "ci/plugin.cpython-311.so"])
def test_a_plugin_that_was_missing_is_noticed_when_it_is_there(memory: Path, added: str) -> None:
    tree = PlainTree({".pylintrc": b"[MAIN]\nload-plugins=ci.plugin\n"})
    found = read(tree, memory)
    final = found.remember_plugins(tree, "", ["ci/plugin"])
    assert found.with_plugins(PlainTree(tree | {"ci/other.py": b""}), "") == final
    assert found.with_plugins(PlainTree(tree | {added: b""}), "") is None


def test_a_configuration_without_plugins_says_so_once(memory: Path) -> None:
    tree = PlainTree({"a.py": b""})
    found = read(tree, memory)
    assert found.with_plugins(tree, "") is None
    assert found.remember_plugins(tree, "", []) == found.without_plugins
    assert found.with_plugins(PlainTree({"b.py": b""}), "") == found.without_plugins
