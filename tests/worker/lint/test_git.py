"""Running git for the lint program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import Repository
from worker.lint.git import GitError, Objects, failure, run


def test_git_says_what_it_found(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path)
    assert run(str(repository.tree), "rev-parse", "HEAD").decode().strip() == repository.head()
    assert run(str(repository.tree), "hash-object", "--stdin", stdin=b"") == (
        b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n"
    )
    assert run(str(repository.tree), "config", "no.thing", ok=(0, 1)) == b""


def test_a_failure_is_a_line_in_gits_words_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(GitError, match=r"^git: fatal: not a git repository.*: run it in a clone of the repository$"):
        run(str(tmp_path), "status")
    with pytest.raises(GitError, match="there is no folder"):
        run(str(tmp_path / "none"), "status")


@pytest.mark.parametrize(
    ("stderr", "cure"),
    [
        ("fatal: cannot write file x: No space left on device", "free some space"),
        ("fatal: Unable to create '/r/.git/index.lock': File exists.\n\nAnother git process seems", "another git"),
        ("error: unable to read sha1 file of a.py (e69de29)", "git fetch --unshallow"),
        ("error: unable to create file a: Permission denied", "the right to write"),
        ("fatal: no idea", ""),
    ],
)
def test_a_complaint_gets_its_cure(stderr: str, cure: str) -> None:
    error = failure(stderr, 128)
    assert cure in error.cure
    assert bool(error.cure) == bool(cure)
    assert error.is_full == ("free some space" in cure)
    assert str(failure("", 3)) == "git: ended with exit code 3 and said nothing"


def test_a_clone_of_somebody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository.create(tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to try this
    with pytest.raises(GitError, match=r"dubious ownership.*run it as the user whose clone it is"):
        run(str(repository.tree), "status")


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="install git"):
        run(str(tmp_path), "status")


def test_no_hook_and_no_monitor_runs(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path)
    ran = tmp_path / "ran"
    hook = repository.tree / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    monitor = tmp_path / "monitor"
    monitor.write_text(f"#!/bin/sh\ntouch {ran}\n")
    monitor.chmod(0o755)
    repository.git("config", "core.fsmonitor", str(monitor))
    (repository.tree / "README").write_text("more\n")
    run(str(repository.tree), "status", env={"GIT_OPTIONAL_LOCKS": "1"})
    run(str(repository.tree), "add", "README")
    assert not ran.exists()
    repository.git("add", "--renormalize", "README")
    assert ran.exists()


def test_places_that_a_hook_is_given_count_from_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository.create(tmp_path, files={"pkg/a.py": ""})
    monkeypatch.chdir(repository.tree)
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_WORK_TREE", ".")
    assert run("pkg", "rev-parse", "--show-toplevel").decode().strip() == os.path.realpath(repository.tree)


def test_objects_are_read_one_after_the_other(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path, files={"a": b"\0binary\n\n", "b": b"", "c": b"x" * 300_000})
    with Objects(str(repository.tree)) as objects:
        for name in "abcab":
            content = (repository.tree / name).read_bytes()
            assert objects.read(repository.git("rev-parse", f"HEAD:{name}")) == content
            assert objects.read("0" * 40) is None
        objects.close()
        assert objects.read(repository.git("rev-parse", "HEAD:a")) == b"\0binary\n\n"


def test_objects_of_no_repository(tmp_path: Path) -> None:
    with Objects(str(tmp_path)) as objects, pytest.raises(GitError, match="run it in a clone"):
        objects.read("0" * 40)


def test_the_modules_around_git_load_nothing_slow() -> None:
    code = (
        "import sys; from worker.lint import change, git, snapshots, submodules, trees; "
        "print({'asyncio', 'tempfile', 'shutil', 'pathlib', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
