"""Virtualenv, in real builds with a real uv and a folder of wheels instead of a registry."""

import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import BIN
from tests.support.repository import Repository
from tests.support.waiting import wait_for

from .gate import Build, Gate, checkout
from .interpreters import python

MONTH = 30 * 86400


def make_wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """Write a wheel with one module ``name`` that knows its version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "1.1", "2.0"):
        make_wheel(folder, "alpha", version)
    make_wheel(folder, "beta", "1.0", requires="alpha<2")
    return folder


@pytest.fixture
def head(wheels: Path, tmp_path: Path) -> str:
    """The first lines of a requirements file that takes all from ``wheels``, and makes each test's files its own."""
    return f"# {tmp_path}\n--no-index\n--find-links {wheels}\n"


@pytest.fixture
def repository(tmp_path: Path, head: str) -> Repository:
    return Repository.create(tmp_path, files={"requirements.txt": head + "alpha==1.0\n"})


def build(gate: Gate, repository: Repository, files: dict[str, str | bytes | None], *arguments: str) -> Build:
    return gate.candidate(repository, f"steps.Virtualenv({', '.join(arguments)})", files)


def assert_made(build: Build) -> Path:
    assert build.result == "success", build.last
    assert build.cause is None
    assert build.last.summary.startswith("made a virtual environment with Python 3.")
    return Path(build.properties["virtualenv"])


def assert_reused(build: Build) -> Path:
    assert build.result == "success", build.last
    assert build.last.summary.startswith("reused a virtual environment with Python 3.")
    return Path(build.properties["virtualenv"])


def assert_refused(build: Build, result: str, cause: str, summary: str) -> None:
    assert (build.result, build.last.result, build.cause) == (result, result, cause), build.last
    assert re.fullmatch(summary, build.last.summary), build.last.summary
    assert "virtualenv" not in build.properties
    assert "Traceback" not in "".join(build.last.logs.values())


def version_of(folder: Path, module: str = "alpha") -> str:
    return subprocess.check_output(
        [folder / "bin/python", "-c", f"import {module}; print({module}.VERSION)"], text=True
    ).strip()


def test_made_once_and_used_by_later_steps(gate: Gate, repository: Repository) -> None:
    content = "import unittest, alpha\nclass T(unittest.TestCase):\n  def test_v(self):\n"
    tests: dict[str, str | bytes | None] = {
        "tests/test_it.py": content + "    self.assertEqual(alpha.VERSION, '1.0')\n"
    }
    recipe = "steps.Virtualenv(), steps.RunTests()"
    first = gate.candidate(repository, recipe, tests)
    assert first.result == "success", first.steps
    assert first.steps["virtualenv"].summary.startswith("made ")
    second = gate.candidate(repository, recipe, tests | {"other": "x"})
    assert second.result == "success"
    assert second.steps["virtualenv"].summary.startswith("reused ")
    assert first.properties["virtualenv"] == second.properties["virtualenv"]


def test_what_the_name_of_an_environment_depends_on(gate: Gate, repository: Repository, head: str) -> None:
    files: dict[str, str | bytes | None] = {
        "requirements.txt": head + "-r more/base.txt\n-c limits.txt\n",
        "more/base.txt": "-r deeper.txt\n",
        "more/deeper.txt": "alpha\n",
        "limits.txt": "alpha<2\n",
    }
    first = assert_made(build(gate, repository, files))
    assert version_of(first) == "1.1"
    assert assert_reused(build(gate, repository, files | {"README": "x"})) == first
    seen = {first}
    changes: list[tuple[dict[str, str | bytes | None], tuple[str, ...], str]] = [
        ({"limits.txt": "alpha<1.1\n"}, (), "1.0"),
        ({"more/deeper.txt": "alpha==1.1\n"}, (), "1.1"),
        ({}, ("packages=['beta']",), "1.1"),
        ({}, ("env={'UV_RESOLUTION': 'lowest'}",), "1.0"),
        ({"pyproject.toml": "[tool.uv.pip]\nresolution = 'lowest'\n"}, (), "1.0"),
        ({}, (f"python={python('3.13')!r}",), "1.1"),
    ]
    for change, arguments, version in changes:
        folder = assert_made(build(gate, repository, files | change, *arguments))
        assert folder not in seen
        assert version_of(folder) == version
        seen.add(folder)


def test_several_files_or_none(gate: Gate, repository: Repository, head: str, tmp_path: Path) -> None:
    files: dict[str, str | bytes | None] = {"a b.txt": head + "alpha==2.0\n", "c.txt": ""}
    assert version_of(assert_made(build(gate, repository, files, "requirements=['a b.txt', 'c.txt']"))) == "2.0"
    nothing = f"requirements=(), cache={str(tmp_path / 'cache')!r}"
    folder = assert_made(build(gate, repository, {}, nothing))
    assert folder.is_relative_to(tmp_path / "cache")
    assert_reused(build(gate, repository, {}, nothing))


def test_a_requirement_that_cannot_be_installed(gate: Gate, repository: Repository, head: str) -> None:
    for line, summary in (
        ("alpha==9", r"cannot install alpha==9: .*"),
        ("no-such-thing", r"cannot install no-such-thing: .*"),
        ("beta\nalpha==2.0", r"cannot install .*beta.*"),
        ("alpha===", r"cannot install the requirements: Couldn't parse requirement in .*requirements\.txt.*"),
    ):
        refused = build(gate, repository, {"requirements.txt": head + line + "\n"})
        assert_refused(refused, "failure", "change", summary)


def test_a_package_that_cannot_be_built(gate: Gate, repository: Repository, head: str) -> None:
    files: dict[str, str | bytes | None] = {
        "requirements.txt": head + "./broken\n",
        "broken/pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
        "broken/backend.py": "raise RuntimeError('boo')\n",
    }
    refused = build(gate, repository, files)
    assert (refused.result, refused.cause) == ("failure", "change")
    assert refused.last.summary.startswith("cannot install ")


def test_requirement_files_that_are_not_there(gate: Gate, repository: Repository, head: str) -> None:
    gone = build(gate, repository, {"requirements.txt": None})
    assert_refused(gone, "failure", "change", r"requirements\.txt is gone, and the environment is made from it")
    never = build(gate, repository, {}, "requirements=['dev.txt']")
    assert_refused(never, "failure", "infrastructure", r"there is no dev\.txt in the repository")
    assert "Virtualenv(requirements=(…))" in never.last.logs["problem"]
    included = build(gate, repository, {"requirements.txt": head + "-r none.txt\n"})
    assert_refused(included, "failure", "change", r"requirements\.txt includes none\.txt, which is not there")


def test_a_registry_that_does_not_answer(gate: Gate, repository: Repository, tmp_path: Path) -> None:
    env = {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }
    refused = build(gate, repository, {"requirements.txt": "autogate-absent\n"}, f"env={env!r}")
    assert_refused(refused, "exception", "infrastructure", "cannot install the requirements: .*")
    assert "Connection refused" in refused.last.summary


def test_a_worker_without_uv_or_without_the_python(gate: Gate, repository: Repository) -> None:
    refused = build(gate, repository, {}, "env={'PATH': ['/usr/bin', '/bin']}")
    assert_refused(refused, "exception", "infrastructure", "uv is not on the worker's PATH")
    refused = build(gate, repository, {}, "python='2.6'")
    assert_refused(refused, "exception", "infrastructure", r"uv cannot make an environment with Python 2\.6")


def test_an_environment_that_no_hash_can_know_is_made_for_each_build(
    gate: Gate, repository: Repository, head: str
) -> None:
    pyproject = "[project]\nname = 'gamma'\nversion = '1'\n"
    pyproject += "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    backend = (
        "import zipfile\n"
        "def build_wheel(folder, *_):\n"
        "    name = 'gamma-1-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(folder + '/' + name, 'w') as wheel:\n"
        "        wheel.write('gamma.py')\n"
        "        wheel.writestr('gamma-1.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: gamma\\nVersion: 1\\n')\n"
        "        wheel.writestr('gamma-1.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n'\n"
        "                       'Tag: py3-none-any\\n')\n"
        "        wheel.writestr('gamma-1.dist-info/RECORD', '')\n"
        "    return name\n"
    )
    files: dict[str, str | bytes | None] = {
        "requirements.txt": head + ".\n",
        "pyproject.toml": pyproject,
        "backend.py": backend,
        "gamma.py": "VERSION = 1\n",
    }
    one = assert_made(build(gate, repository, files))
    assert version_of(one, "gamma") == "1"
    two = assert_made(build(gate, repository, files | {"gamma.py": "VERSION = 2\n"}))
    assert version_of(two, "gamma") == "2"
    assert one == two


def test_builds_at_once_make_it_once(gate: Gate, repository: Repository) -> None:
    revision = repository.candidate({"README": "x"})
    repository.push("auto")
    recipe = f"{checkout(repository)}, steps.Virtualenv()"
    requests = [gate.begin(recipe, revision, builder=name) for name in ("one", "two", "three")]
    builds = [gate.finish(request) for request in requests]
    assert {build.result for build in builds} == {"success"}
    assert len({build.properties["virtualenv"] for build in builds}) == 1
    assert sorted(build.last.summary.split()[0] for build in builds) == ["made", "reused", "reused"]


UV = """\
#!/bin/sh
# uv, that halts once it has installed, until it is killed.
{uv} "$@" || exit
case "$1" in pip) touch {reached}; while :; do sleep 0.05; done;; esac
"""


@pytest.fixture
def halting(tmp_path: Path) -> tuple[str, Path]:
    """An ``env`` with a uv that halts before the environment is complete, and the file that tells so."""
    folder = tmp_path / "halting"
    folder.mkdir()
    script = folder / "uv"
    script.write_text(UV.format(uv=BIN / "uv", reached=tmp_path / "reached"))
    script.chmod(0o755)
    return f"env={{'PATH': [{str(folder)!r}, '${{PATH}}']}}", tmp_path / "reached"


def test_a_build_that_is_killed_while_it_makes_one(
    gate: Gate, repository: Repository, halting: tuple[str, Path]
) -> None:
    env, reached = halting
    revision = repository.candidate({"README": "x"})
    repository.push("auto")
    request = gate.begin(f"{checkout(repository)}, steps.Virtualenv({env})", revision)
    wait_for(reached.exists, "the environment to be half made")
    (half,) = [path for path in (gate.cache / "virtualenvs").iterdir() if path.is_dir() and not complete(path)]
    (half / "half").touch()
    gate.stop_build(gate.running(request))
    killed = gate.finish(request)
    assert (killed.result, killed.cause) == ("cancelled", "superseded")
    folder = assert_made(build(gate, repository, {"README": "y"}))
    assert folder == half
    assert not (folder / "half").exists()
    assert version_of(folder) == "1.0"


def test_a_worker_that_dies_while_it_makes_one(
    gate: Gate, repository: Repository, halting: tuple[str, Path], tmp_path: Path
) -> None:
    """As `kill -9` of the step's whole process group does it, and no step to tell."""
    env, reached = halting
    revision = repository.candidate({"README": "x"})
    repository.push("auto")
    request = gate.begin(f"{checkout(repository)}, steps.Virtualenv({env})", revision)
    wait_for(reached.exists, "the environment to be half made")
    (half,) = [path for path in (gate.cache / "virtualenvs").iterdir() if path.is_dir() and not complete(path)]
    (program,) = holders(half.with_name(half.name + ".lock"))[:1]
    os.killpg(os.getpgid(program), 9)
    lost = gate.finish(request)
    assert (lost.result, lost.cause) == ("exception", "infrastructure")
    assert "ended without a report" in lost.last.summary
    assert assert_made(build(gate, repository, {"README": "y"})) == half


def complete(path: Path) -> bool:
    return (path / "autogate.json").exists()


def holders(lock: Path) -> list[int]:
    """Return the processes that have a file open."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if entry.readlink() == lock:
                found.append(int(entry.parts[2]))
        except OSError:
            continue
    return found


def test_a_damaged_environment_is_made_anew(gate: Gate, repository: Repository) -> None:
    folder = assert_made(build(gate, repository, {"README": "1"}))
    (folder / "bin/python").unlink()  # as when the Python it came from is gone
    assert assert_made(build(gate, repository, {"README": "2"})) == folder
    (folder / "autogate.json").write_text("rubbish")
    assert assert_made(build(gate, repository, {"README": "3"})) == folder
    shutil.rmtree(folder / "bin")
    assert assert_made(build(gate, repository, {"README": "4"})) == folder
    assert version_of(folder) == "1.0"


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in (folder / "autogate.json", folder.with_name(folder.name + ".lock")):
        if path.exists():
            os.utime(path, (then, then))


def test_old_environments_are_deleted_unless_they_are_used(
    gate: Gate, repository: Repository, head: str, tmp_path: Path
) -> None:
    cache = f"cache={str(tmp_path / 'cache')!r}"
    folders = {}
    for name in ("old", "used", "half", "young"):
        content = f"{head}# {name}\nalpha==1.0\n"
        folders[name] = assert_made(build(gate, repository, {"requirements.txt": content}, cache))
    (folders["half"] / "autogate.json").unlink()
    for name in ("old", "used", "half"):
        age(folders[name], MONTH)
    with folders["used"].with_name(folders["used"].name + ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        new = assert_made(build(gate, repository, {"requirements.txt": head + "# new\n"}, cache, "max_age_days=20"))
    left = {path for path in (tmp_path / "cache/virtualenvs").iterdir() if path.is_dir()}
    assert left == {folders["used"], folders["young"], new}
    assert {path.with_suffix("") for path in (tmp_path / "cache/virtualenvs").glob("*.lock")} == left
    # A hit is a use.
    again = build(gate, repository, {"requirements.txt": f"{head}# used\nalpha==1.0\n"}, cache)
    assert assert_reused(again) == folders["used"]
    assert_made(build(gate, repository, {"requirements.txt": head + "# newer\n"}, cache, "max_age_days=20"))
    assert folders["used"].is_dir()


def test_a_step_that_uses_an_environment_holds_it(gate: Gate, repository: Repository, tmp_path: Path) -> None:
    wait = (
        "import pathlib, time, unittest\n"
        "class T(unittest.TestCase):\n"
        "  def test_wait(self):\n"
        f"    pathlib.Path({str(tmp_path / 'reached')!r}).touch()\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.05)\n"
    )
    revision = repository.candidate({"tests/test_wait.py": wait})
    repository.push("auto")
    request = gate.begin(f"{checkout(repository)}, steps.Virtualenv(), steps.RunTests()", revision)
    try:
        wait_for((tmp_path / "reached").exists, "the tests to run")
        folder = gate.get(f"builds/{gate.running(request)}/properties")["properties"][0]["virtualenv"][0]
        with Path(folder + ".lock").open("r+") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        (tmp_path / "go").touch()
    assert gate.finish(request).result == "success"
    with Path(folder + ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_is_kept_about_an_environment(gate: Gate, repository: Repository) -> None:
    folder = assert_made(build(gate, repository, {"README": "1"}))
    told = json.loads((folder / "autogate.json").read_text())["python"]
    assert (
        told
        == subprocess.check_output(
            [folder / "bin/python", "-c", "import platform; print(platform.python_version())"], text=True
        ).strip()
    )
