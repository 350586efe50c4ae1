"""The Python that judges is the one that a user would expect, and what is installed for it counts."""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import astroid
import pylint
import pytest

from worker.lint.environment import CURE, Interpreter, InterpreterError, environment_id, find_interpreter
from worker.lint.store import FRESH

PACKAGES = str(Path(pylint.__path__[0]).parent)
"""Where the pylint is that these tests are run with."""

STARTS = "import os\nwith open({path!r}, 'a') as file:\n    file.write('started\\n')\n"


class Environment:
    """A virtual environment that notes each start of its Python."""

    def __init__(self, folder: Path, packages: str = "") -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.folder = folder
        self.python = str(folder / "bin" / "python")
        (self.site,) = folder.glob("lib/python*/site-packages")
        self._starts = folder / "starts"
        (self.site / "sitecustomize.py").write_text(STARTS.format(path=str(self._starts)))
        if packages:
            (self.site / "packages.pth").write_text(f"{packages}\n")

    def starts(self) -> int:
        return len(self._starts.read_text().splitlines()) if self._starts.exists() else 0

    def script(self, name: str, first_lines: str) -> Path:
        path = self.folder / "bin" / name
        path.write_text(f"{first_lines}\nprint('never run')\n")
        path.chmod(0o755)
        return path


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "with pylint", PACKAGES)


@pytest.fixture
def bare(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "bare")


def find(
    tmp_path: Path, option: str | None = None, *, path: Iterable[Path] = (), **variables: str | os.PathLike[str]
) -> Interpreter:
    environ = {"PATH": os.pathsep.join(map(str, path)), "HOME": str(tmp_path)}
    environ |= {name: os.fspath(value) for name, value in variables.items()}
    return find_interpreter(option, environ, str(tmp_path / "memory"))


def install(environment: Environment, name: str, version: str, content: str = "") -> None:
    """Do what an installer does."""
    (environment.site / name).mkdir()
    (environment.site / name / "__init__.py").write_text(f"__version__ = {version!r}\n{content}")
    (environment.site / f"{name}-{version}.dist-info").mkdir()


def test_what_is_named_counts_before_all_else(tmp_path: Path, environment: Environment, bare: Environment) -> None:
    found = find(tmp_path, environment.python, VIRTUAL_ENV=bare.folder)
    assert (found.python, found.found) == (environment.python, "--python")
    assert (found.pylint, found.astroid, found.version) == (pylint.__version__, astroid.__version__, sys.version)
    assert found.prefix == str(environment.folder)
    assert found.sys_path[-2:] == (str(environment.site), PACKAGES)
    assert found.sys_path == tuple(found.listings)
    by_name = find(tmp_path, "python", path=[environment.folder / "bin"])
    assert by_name.python == environment.python


def test_an_active_environment_counts_when_it_has_pylint(
    tmp_path: Path, environment: Environment, bare: Environment
) -> None:
    bare.script("pylint", f"#!{environment.python}")
    active = find(tmp_path, VIRTUAL_ENV=environment.folder, path=[bare.folder / "bin"])
    assert (active.python, active.found) == (environment.python, "VIRTUAL_ENV")
    for lacking in (bare.folder, tmp_path / "gone"):
        other = find(tmp_path, VIRTUAL_ENV=lacking)
        assert (other.python, other.found) == (sys.executable, "this Python")


@pytest.mark.parametrize(
    "first_lines",
    [
        "#!{link}",
        "#! {link} -s",
        "#!/usr/bin/env python",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''",
        "#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''",
    ],
)
def test_a_pylint_on_path_names_its_python(tmp_path: Path, environment: Environment, first_lines: str) -> None:
    link = tmp_path / "short"
    link.symlink_to(environment.folder)
    script = environment.script("pylint", first_lines.format(link=link / "bin/python", python=environment.python))
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "pylint").symlink_to(script)
    found = find(tmp_path, path=[tmp_path / "none", folder, environment.folder / "bin"])
    assert found.found == "pylint"
    assert Path(found.python).parent.samefile(environment.folder / "bin")


@pytest.mark.parametrize("first_lines", ["#!/bin/bash", "#!/bin/sh\n'''exec' \"open", "\x7fELF", ""])
def test_a_pylint_of_another_kind_is_passed_over(tmp_path: Path, bare: Environment, first_lines: str) -> None:
    bare.script("pylint", first_lines)
    assert find(tmp_path, path=[bare.folder / "bin"]).found == "this Python"


def test_no_pylint_is_told_with_the_cure(tmp_path: Path, bare: Environment) -> None:
    with pytest.raises(InterpreterError) as told:
        find(tmp_path, bare.python)
    assert CURE in str(told.value)
    assert f"--python: {bare.python}: ModuleNotFoundError: No module named 'pylint'" in str(told.value)


@pytest.mark.parametrize(
    ("option", "words"), [("/bin/sh", "no Python"), ("/gone", "No such file"), ("gone", "on PATH")]
)
def test_what_is_no_python_is_told(tmp_path: Path, option: str, words: str) -> None:
    with pytest.raises(InterpreterError, match=words):
        find(tmp_path, option)


def test_another_pylint_is_refused_with_the_cure(tmp_path: Path, bare: Environment) -> None:
    install(bare, "astroid", "3.3.9")
    install(bare, "pylint", "3.3.9")
    with pytest.raises(InterpreterError) as told:
        find(tmp_path, VIRTUAL_ENV=bare.folder)
    assert f"pylint 3.3.9 in {bare.python} (VIRTUAL_ENV)" in str(told.value)
    assert f"{bare.python} -m {CURE}" in str(told.value)


def test_a_broken_pylint_is_no_pylint(tmp_path: Path, bare: Environment) -> None:
    install(bare, "pylint", "4.1.0", "raise RuntimeError('half installed')\n")
    with pytest.raises(InterpreterError, match="RuntimeError: half installed"):
        find(tmp_path, bare.python)


def test_a_python_that_prints_when_it_starts_is_understood(tmp_path: Path, environment: Environment) -> None:
    with (environment.site / "sitecustomize.py").open("a") as file:
        file.write("print('hello')\n")
    assert find(tmp_path, environment.python).pylint == pylint.__version__


def test_what_a_python_said_is_remembered(tmp_path: Path, environment: Environment, bare: Environment) -> None:
    first = find(tmp_path, environment.python)
    assert find(tmp_path, environment.python) == first
    assert environment.starts() == 1
    for _ in range(2):
        assert find(tmp_path, VIRTUAL_ENV=bare.folder).found == "this Python"
    assert bare.starts() == 1
    assert not list(tmp_path.rglob(f"*{FRESH}"))


def test_a_python_is_asked_again_when_something_was_installed(tmp_path: Path, bare: Environment) -> None:
    with pytest.raises(InterpreterError):
        find(tmp_path, bare.python)
    (bare.site / "packages.pth").write_text(f"{PACKAGES}\n")
    assert find(tmp_path, bare.python).pylint == pylint.__version__
    os.utime(bare.site / "packages.pth", ns=(0, 1))
    find(tmp_path, bare.python)
    assert bare.starts() == 3


def test_a_python_is_asked_again_when_it_is_another_or_is_told_other_things(
    tmp_path: Path, environment: Environment
) -> None:
    find(tmp_path, environment.python)
    with (environment.folder / "pyvenv.cfg").open("a") as file:
        file.write("# changed\n")
    find(tmp_path, environment.python)
    assert environment.starts() == 2
    extra = tmp_path / "extra"
    extra.mkdir()
    told = find(tmp_path, environment.python, PYTHONPATH=f"{extra}{os.pathsep}relative{os.pathsep}")
    assert str(extra) in told.sys_path
    assert all(map(os.path.isabs, told.sys_path))
    assert environment.starts() == 3
    python = environment.folder / "bin" / "python"
    other = python.resolve()
    python.unlink()
    python.write_text(f'#!/bin/sh\nexec "{other}" "$@"\n')
    python.chmod(0o755)
    assert find(tmp_path, VIRTUAL_ENV=environment.folder).found == "this Python", "the other one has no pylint"


def test_a_file_beside_the_user_is_not_run(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "pylint", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run')\n")
    monkeypatch.chdir(tmp_path)
    assert find(tmp_path, environment.python, PYTHONPATH=".").pylint == pylint.__version__


def test_what_is_installed_decides_the_id(tmp_path: Path, environment: Environment) -> None:
    def ident() -> str:
        return environment_id(find(tmp_path, environment.python), [str(tmp_path / "linted")])

    ids = [ident()]
    assert (environment.site / "__pycache__").is_dir()
    (environment.folder / "share").mkdir()
    assert ident() == ids[0]
    install(environment, "helper", "1.0")
    ids.append(ident())
    (environment.site / "helper-1.0.dist-info").rename(environment.site / "helper-1.1.dist-info")
    ids.append(ident())
    os.utime(environment.site / "packages.pth", ns=(0, 1))
    ids.append(ident())
    found = find(tmp_path, environment.python)
    others = [replace(found, version="9"), replace(found, pylint="9"), replace(found, astroid="9")]
    others.append(replace(found, sys_path=found.sys_path[::-1]))
    ids += [environment_id(each, []) for each in others]
    assert len(set(ids)) == len(ids)
    assert ident() == ids[3]


def test_a_linted_tree_is_left_out_but_not_an_environment_in_it(tmp_path: Path) -> None:
    root = tmp_path / "linted"
    (root / "src").mkdir(parents=True)
    environment = Environment(root / ".venv", PACKAGES)
    (environment.site / "editable.pth").write_text(f"{root / 'src'}\n")

    def ident() -> str:
        found = find(tmp_path, environment.python)
        assert str(root / "src") in found.sys_path
        return environment_id(found, [str(root)])

    first = ident()
    (root / "src" / "new.py").write_text("")
    assert ident() == first
    assert environment.starts() == 1, "its names decide nothing about the Python"
    install(environment, "helper", "1.0")
    assert ident() != first
    found = find(tmp_path, environment.python)
    around = replace(found, prefix=str(tmp_path))
    (root / "src" / "newer.py").write_text("")
    again = replace(find(tmp_path, environment.python), prefix=str(tmp_path))
    assert environment_id(again, [str(root)]) == environment_id(around, [str(root)]), "as /usr/src below /usr"
