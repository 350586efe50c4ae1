"""Trees in the cache folder: always what a fresh checkout would be, whatever happened before."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import IDENTITY, Files, Repository
from tests.support.waiting import wait_for
from worker.lint.git import GitError
from worker.lint.model import Side
from worker.lint.snapshots import Snapshot, evict, snapshot

FILES: Files = {
    "a.py": "A = 1\n",
    "pkg/__init__.py": "",
    "pkg/mod.py": "M = 1\n",
    "bin/tool": "#!/usr/bin/env python3\n",
    "grüße 日本.py": "G = 1\n",
    os.fsdecode(b"latin\xe9.py"): "L = 1\n",
    "-rf\n.py": "R = 1\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path, files=FILES)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@contextlib.contextmanager
def at(cache: Path, repository: Repository, commit: str = "HEAD", side: Side = Side.BEFORE) -> Iterator[Snapshot]:
    with snapshot(str(cache), str(repository.tree), repository.git("rev-parse", commit), side=side) as found:
        yield found


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return path -> kind and permission of the owner to run it, and content, of all files and links."""
    found = {}
    for above, names, files in os.walk(folder):
        for name in [*names, *files]:
            file = Path(above, name)
            if ".git" in file.relative_to(folder).parts:
                continue
            if file.is_symlink():
                found[str(file.relative_to(folder))] = (-1, os.fsencode(file.readlink()))
            elif file.is_file():
                found[str(file.relative_to(folder))] = (file.stat().st_mode & 0o100, file.read_bytes())
    return found


def checked_out(repository: Repository, folder: Path, commit: str = "HEAD") -> dict[str, tuple[int, bytes]]:
    """Return what a fresh checkout has."""
    repository.git("worktree", "add", "-q", "--force", "--detach", str(folder), commit)
    return contents(folder)


def assert_is(found: Snapshot, expected: dict[str, tuple[int, bytes]]) -> None:
    assert contents(Path(found.path)) == expected


def state_of_clone(repository: Repository) -> dict[str, str]:
    """Return path -> digest of everything in the clone's own folder, but for the trees that tests check out."""
    folder = repository.tree / ".git"
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and not file.is_relative_to(folder / "worktrees")
    }


def test_a_snapshot_is_a_fresh_checkout_and_the_clone_stays_as_it_is(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    first = repository.head()
    (repository.tree / "bin/tool").chmod(0o755)
    (repository.tree / "link.py").symlink_to("a.py")
    (repository.tree / "outside").symlink_to("/etc")
    repository.git("mv", "pkg/mod.py", "pkg/Mod.py")
    repository.commit({"a.py": "A = 2\n", "pkg/__init__.py": None, "a/b/c.py": "C = 1\n"})
    (repository.tree / "link.py").unlink()
    repository.git("rm", "-q", "a/b/c.py")
    last = repository.commit({"link.py/now/a/folder.py": "F = 1\n", "a/b": "a file\n"})
    repository.commit({"a.py": "not committed\n"})
    repository.git("reset", "-q", "--soft", "HEAD^")
    (repository.tree / "pkg/Mod.py").write_text("not even staged\n")
    expected = {
        commit: checked_out(repository, tmp_path / f"fresh-{number}", commit)
        for number, commit in enumerate((first, f"{last}^", last))
    }
    before = state_of_clone(repository)
    paths = set()
    for commit in (first, f"{last}^", last, last, first, last, f"{last}^", first):
        with at(cache, repository, commit) as found:
            assert_is(found, expected[commit])
            paths.add(found.path)
    assert len(paths) == 1
    assert paths.pop().startswith(f"{os.path.realpath(cache)}/")
    assert state_of_clone(repository) == before


def test_trees_at_random(tmp_path: Path, cache: Path) -> None:
    """Files, folders, links and modes that take each other's place, from one tree to the next in any order."""
    chance = random.Random(4)
    repository = Repository.create(tmp_path)
    commits = []
    for number in range(8):
        for name in ("x", "X", "y", "x.py"):
            file = repository.tree / name
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)
            match chance.choice(["file", "script", "link", "folder", "nothing"]):
                case "file":
                    file.write_text(f"{chance.randrange(3)}\n")
                case "script":
                    file.write_text(f"{chance.randrange(3)}\n")
                    file.chmod(0o755)
                case "link":
                    file.symlink_to(chance.choice(["x", "y", "../..", "/tmp"]))
                case "folder":
                    (file / "x").mkdir(parents=True)
                    (file / "x" / f"{chance.randrange(2)}.py").write_text("")
                case _:
                    pass
        commits.append(repository.commit({}, f"Commit {number}"))
    expected = [checked_out(repository, tmp_path / commit, commit) for commit in commits]
    for _ in range(12):
        number = chance.randrange(len(commits))
        with at(cache, repository, commits[number]) as found:
            assert_is(found, expected[number])


def test_two_at_once_get_a_slot_each_and_the_nearest(repository: Repository, cache: Path) -> None:
    first = repository.head()
    second = repository.commit({"a.py": "A = 2\n"})
    third = repository.commit({"a.py": "A = 3\n"})
    with at(cache, repository, first) as one, at(cache, repository, second) as two:
        assert one.path != two.path
        with at(cache, repository, first, Side.AFTER) as after:
            assert after.path not in {one.path, two.path}
    with at(cache, repository, first) as found:
        assert found.path == one.path
    with at(cache, repository, second) as found:
        assert found.path == two.path
    with at(cache, repository, third) as found:
        assert found.path == two.path  # the one used last
    with at(cache, repository, first) as found, at(cache, repository, third) as other:
        assert (found.path, other.path) == (one.path, two.path)


def test_what_others_did_to_the_files_is_undone(repository: Repository, cache: Path, tmp_path: Path) -> None:
    (repository.tree / ".gitignore").write_text("*.pyc\n")
    repository.commit({})
    expected = {commit: checked_out(repository, tmp_path / commit, commit) for commit in ("HEAD", "HEAD^")}
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept\n")

    def spoil(tree: Path) -> None:
        (tree / "a.py").write_text("A = 666\n")
        (tree / "pkg/mod.py").unlink()
        (tree / "pkg/new.py").write_text("N = 1\n")
        (tree / "pkg/__pycache__").mkdir()
        (tree / "pkg/__pycache__/mod.pyc").write_text("")
        (tree / "new/closed").mkdir(parents=True)
        (tree / "new/link").symlink_to(outside)
        (tree / "bin/tool").chmod(0o755)
        shutil.rmtree(tree / "bin")
        (tree / "bin").symlink_to(outside)
        subprocess.run(["git", "init", "-q", tree / "nested"], check=True)

    for commit in ("HEAD", "HEAD", "HEAD^", "HEAD"):
        with at(cache, repository, commit) as found:
            assert_is(found, expected[commit])
            spoil(Path(found.path))
    assert (outside / "kept").read_text() == "kept\n"


def damage(slot: Path, how: str) -> None:
    (index,) = slot.glob("index-*")
    match how:
        case "no state":
            (slot / "state.json").unlink()
        case "half a state":
            (slot / "state.json").write_text('{"tree": ')
        case "other state":
            (slot / "state.json").write_text(json.dumps({"tree": "x", "unknown": 1}))
        case "index":
            index.write_bytes(b"DIRC rubbish")
        case "no index":
            index.unlink()
        case "empty index":
            index.write_bytes(b"")
        case "lock":
            index.with_name(f"{index.name}.lock").touch()
        case "no tree":
            shutil.rmtree(slot / "tree")
        case "tree is a file":
            shutil.rmtree(slot / "tree")
            (slot / "tree").write_text("")


@pytest.mark.parametrize(
    "how",
    [
        "no state",
        "half a state",
        "other state",
        "index",
        "no index",
        "empty index",
        "lock",
        "no tree",
        "tree is a file",
    ],
)
def test_a_slot_that_was_left_in_any_state_is_made_good(
    repository: Repository, cache: Path, tmp_path: Path, how: str
) -> None:
    expected = contents(repository.tree)
    with at(cache, repository) as found:
        slot = Path(found.path).parent
    (slot / "tree/half-written.py").write_text("")
    (slot / "tree/a.py").write_text("half")
    damage(slot, how)
    with at(cache, repository) as found:
        assert found.path == str(slot / "tree")
        assert_is(found, expected)


KILLED = """\
import sys
sys.path.insert(0, {here!r})
from worker.lint.model import Side
from worker.lint.snapshots import snapshot
with snapshot({cache!r}, {root!r}, {commit!r}, side=Side.BEFORE) as found:
    print(found.path)
"""


def test_a_run_that_is_killed_while_git_writes(repository: Repository, cache: Path, tmp_path: Path) -> None:
    """Git goes on writing, and holds the slot until it is done; whoever comes next finds it half-way."""
    pipe, begun = tmp_path / "pipe", tmp_path / "begun"
    os.mkfifo(pipe)
    with at(cache, repository) as found:
        first = found.path
    repository.git("config", "filter.slow.smudge", f"touch {begun}; cat {pipe} - 2>&1")
    last = repository.commit({".gitattributes": "slow.py filter=slow\n", "a.py": "A = 2\n", "slow.py": "S = 1\n"})
    code = KILLED.format(here=str(Path.cwd()), cache=str(cache), root=str(repository.tree), commit=last)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        wait_for(begun.exists, "git to write")
        process.kill()
        process.wait()
    repository.git("config", "filter.slow.smudge", "cat")
    expected = contents(repository.tree)
    with at(cache, repository, last) as found:
        assert found.path != first
        assert_is(found, expected)
    with pipe.open("w"):
        pass

    def taken_again() -> bool:
        with at(cache, repository, last) as one, at(cache, repository, last) as two:
            assert_is(one, expected)
            assert_is(two, expected)
            return first in {one.path, two.path}

    wait_for(taken_again, "git to end and let go of the slot")


def test_a_run_that_is_killed_lets_go_of_its_slot(repository: Repository, cache: Path) -> None:
    code = KILLED.format(here=str(Path.cwd()), cache=str(cache), root=str(repository.tree), commit=repository.head())
    code = code.replace("print(found.path)", "print(found.path, flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        path = process.stdout.readline().decode().strip()
        with at(cache, repository) as found:
            assert found.path != path
        process.send_signal(signal.SIGKILL)
        process.wait()
    with at(cache, repository) as one, at(cache, repository) as two:
        assert path in {one.path, two.path}


def test_how_git_converts_files_is_obeyed_and_may_change(repository: Repository, cache: Path, tmp_path: Path) -> None:
    commits = [
        repository.commit({"dos.py": "A = 1\nB = 2\n", ".gitattributes": "*.py text=auto\n"}),
        repository.commit({"pkg/.gitattributes": "*.py text eol=crlf\n", ".gitattributes": "dos.py text eol=crlf\n"}),
        repository.commit({"pkg/.gitattributes": None, ".gitattributes": "*.py ident\n", "id.py": "# $Id$\n"}),
    ]
    for number, index in enumerate([0, 1, 0, 2, 1, 1, 2]):
        with at(cache, repository, commits[index]) as found:
            assert_is(found, checked_out(repository, tmp_path / f"fresh-{number}", commits[index]))
    repository.git("config", "core.autocrlf", "true")
    with at(cache, repository, commits[0]) as found:
        assert (Path(found.path) / "dos.py").read_bytes() == b"A = 1\r\nB = 2\r\n"
    with at(cache, repository, commits[0]) as found:
        assert (Path(found.path) / "dos.py").read_bytes() == b"A = 1\r\nB = 2\r\n"
    repository.git("config", "core.autocrlf", "false")
    (repository.tree / ".git/info/attributes").write_text("a.py text eol=crlf\n")
    with at(cache, repository, commits[0]) as found:
        assert (Path(found.path) / "dos.py").read_bytes() == b"A = 1\nB = 2\n"
        assert (Path(found.path) / "a.py").read_bytes() == b"A = 1\r\n"


def test_no_hook_runs_and_no_setting_of_the_clone_leaves_files_out(repository: Repository, cache: Path) -> None:
    expected = contents(repository.tree)
    ran = repository.tree.parent / "ran"
    for name in ("post-checkout", "post-index-change", "post-merge"):
        hook = repository.tree / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
        hook.chmod(0o755)
    repository.git("sparse-checkout", "set", "--cone", "bin")
    for key, value in {
        "core.splitIndex": "true",
        "core.untrackedCache": "true",
        "core.fsmonitor": f"touch {ran}",
        "submodule.recurse": "true",
        "core.ignoreCase": "true",
        "core.hooksPath": ".git/hooks",
        "clean.requireForce": "true",
        "feature.manyFiles": "true",
    }.items():
        repository.git("config", key, value)
    ran.unlink(missing_ok=True)
    before = state_of_clone(repository)
    for _ in range(2):
        with at(cache, repository) as found:
            assert_is(found, expected)
    assert not ran.exists()
    assert state_of_clone(repository) == before


def test_from_a_bare_repository_and_from_a_linked_work_tree(
    repository: Repository, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = contents(repository.tree)
    linked = tmp_path / "linked"
    repository.git("worktree", "add", "-q", "-b", "other", str(linked))
    with snapshot(str(cache), str(linked), repository.head(), side=Side.BEFORE) as found:
        assert_is(found, expected)
    with at(cache, repository) as other:
        assert other.path == found.path  # of one repository
    with snapshot(str(cache), str(repository.bare), repository.head(), side=Side.BEFORE) as bare:
        assert_is(bare, expected)
        assert bare.path != found.path
    monkeypatch.setenv("GIT_DIR", str(repository.tree / ".git"))  # as a hook is started
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository.tree / ".git/index"))
    monkeypatch.chdir(tmp_path)
    index = (repository.tree / ".git/index").read_bytes()
    with snapshot("cache", str(repository.tree), repository.head(), side=Side.BEFORE) as found:
        assert_is(found, expected)
        assert found.path == other.path
    assert (repository.tree / ".git/index").read_bytes() == index


def test_the_tree_of_an_index_and_one_with_long_ids(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "long"
    subprocess.run(["git", "init", "-q", "-b", "main", "--object-format=sha256", folder], check=True)
    long = Repository(folder, folder)
    long.commit({"a.py": "A = 1\n"})
    (folder / "staged.py").write_text("S = 1\n")
    long.git("add", "staged.py")
    tree = long.git("write-tree")
    with snapshot(str(cache), str(folder), tree, side=Side.AFTER) as found:
        assert_is(found, contents(folder))


ALLOW = ("-c", "protocol.file.allow=always", "submodule")


@pytest.fixture
def outer(repository: Repository, tmp_path: Path) -> Repository:
    """A repository with a submodule that has one itself."""
    inner = Repository.create(tmp_path / "inner", "inner", {"deepest.py": "D = 1\n"})
    library = Repository.create(tmp_path / "library", "library", {"lib.py": "L = 1\n"})
    library.git(*ALLOW, "add", "-q", str(inner.bare), "inner")
    library.commit({}, "Add a submodule")
    library.push("main")
    repository.git(*ALLOW, "add", "-q", "--name", "odd", str(library.bare), "third party/lib")
    repository.git(*ALLOW, "update", "-q", "--init", "--recursive")
    repository.commit({}, "Add a submodule")
    return repository


def test_submodules_are_filled_from_the_clone(outer: Repository, cache: Path) -> None:
    first, module = outer.head(), outer.tree / "third party/lib"
    expected = {first: contents(outer.tree)}
    (module / "lib.py").write_text("L = 2\n")
    for args in (["add", "--all"], ["rm", "-q", "-r", "--cached", "inner"], ["commit", "-qm", "More"]):
        subprocess.run(["git", "-C", module, *args], env=os.environ | IDENTITY, check=True)
    second = outer.commit({})
    expected[second] = contents(outer.tree)
    del expected[second]["third party/lib/inner/deepest.py"]
    without = outer.git("rev-parse", "HEAD~2")
    expected[without] = {path: kind for path, kind in expected[first].items() if "third party" not in path}
    del expected[without][".gitmodules"]
    before = state_of_clone(outer)
    for commit in (first, second, first, without, second, second):
        with at(cache, outer, commit) as found:
            assert found.missing == ()
            assert_is(found, expected[commit])
            if commit != without:
                (Path(found.path) / "third party/lib/lib.py").write_text("spoilt\n")
                (Path(found.path) / "third party/lib/new.py").write_text("spoilt\n")
    assert state_of_clone(outer) == before


def test_submodules_that_the_clone_does_not_have_are_told_and_empty(outer: Repository, cache: Path) -> None:
    with at(cache, outer) as found:
        assert (Path(found.path) / "third party/lib/inner/deepest.py").exists()
    shutil.rmtree(outer.tree / ".git/modules/odd/modules")
    for _ in range(2):
        with at(cache, outer) as found:
            assert found.missing == ("third party/lib/inner",)
            assert list((Path(found.path) / "third party/lib/inner").iterdir()) == []
            assert (Path(found.path) / "third party/lib/lib.py").exists()
    outer.git("update-index", "--cacheinfo", f"160000,{'1' * 40},third party/lib")
    outer.git("commit", "-q", "-m", "A commit that nobody has")
    with at(cache, outer) as found:
        assert found.missing == ("third party/lib",)
        assert list((Path(found.path) / "third party/lib").iterdir()) == []
    shutil.rmtree(outer.tree / ".git/modules")
    with at(cache, outer, "HEAD^") as found:
        assert found.missing == ("third party/lib",)


def test_a_full_disk_is_said(repository: Repository, cache: Path) -> None:
    with at(cache, repository) as found:
        slot = Path(found.path).parent
    (slot / "state.json.new").symlink_to("/dev/full")
    with pytest.raises(GitError, match=r"No space left on device\): free some space"), at(cache, repository):
        pytest.fail("it was written")
    (slot / "state.json.new").unlink()
    with at(cache, repository) as found:
        assert_is(found, contents(repository.tree))


def test_a_cache_folder_that_cannot_be(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(GitError, match=r"cannot write to .*: give this user the right to write there"),
        at(tmp_path / "file", repository),
    ):
        pytest.fail("it was written")


def test_an_error_of_the_caller_is_its_own(repository: Repository, cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), at(cache, repository):
        raise FileNotFoundError("mine")


def test_a_tree_that_is_not_there(repository: Repository, cache: Path) -> None:
    for _ in range(2):
        with (
            pytest.raises(GitError, match="git fetch --unshallow"),
            snapshot(str(cache), str(repository.tree), "f" * 40, side=Side.BEFORE),
        ):
            pytest.fail("it was written")
    with at(cache, repository) as found:
        assert_is(found, contents(repository.tree))


def test_slots_that_nobody_uses_are_deleted(repository: Repository, cache: Path, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other", "other", {"b.py": "B = 1\n"})
    with at(cache, other) as found:
        abandoned = Path(found.path).parent
    (abandoned / "tree/closed/in").mkdir(parents=True)
    (abandoned / "tree/closed/link").symlink_to(tmp_path)
    (abandoned / "tree/closed/in").chmod(0)
    (abandoned / "tree/closed").chmod(0)
    long_ago = time.time() - 15 * 86400
    os.utime(abandoned / "state.json", (long_ago, long_ago))
    with at(cache, repository) as one, at(cache, repository) as two:  # a new slot makes room first
        assert not abandoned.parent.exists()
        evict(str(cache / "trees"), unused_for=-60)
        assert Path(one.path).exists()
        assert Path(two.path).exists()
    evict(str(cache / "trees"))
    assert Path(one.path).exists()
    evict(str(cache / "trees"), unused_for=-60)
    assert list((cache / "trees").iterdir()) == []
    with at(cache, repository) as found:
        assert_is(found, contents(repository.tree))
    assert tmp_path.exists()
