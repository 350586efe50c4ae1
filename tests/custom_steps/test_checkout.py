"""CheckoutExact, in real builds of real repositories."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.repository import Repository
from tests.support.waiting import wait_for

from .gate import Build, Gate, checkout

OLD_PROTOCOL = 'env={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.version", "GIT_CONFIG_VALUE_0": "0"}'
"""Servers that speak the old protocol hand out nothing but the tips of branches and what is below them."""

FILES: dict[str, str | bytes | None] = {
    "README": "a project\n",
    ".gitignore": "*.log\n",
    "src/a.py": "A = 1\n",
    "src/ü b.py": "B = 1\n",
    "run.sh": "#!/bin/sh\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path, files=FILES)


def content(folder: Path) -> dict[str, bytes]:
    """Return what is in a work tree, without its .git."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def wanted(repository: Repository, revision: str) -> dict[str, bytes]:
    """Return what a revision holds."""
    names = repository.git("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", revision).splitlines()
    return {name: subprocess.check_output(["git", "show", f"{revision}:{name}"], cwd=repository.tree) for name in names}


def git(folder: Path, *args: str) -> str:
    return subprocess.check_output(["git", *args], cwd=folder, text=True).strip()


def mirror_of(workdir: Path) -> Path:
    return Path((workdir / ".git/objects/info/alternates").read_text().strip()).parent


def assert_exact(gate: Gate, build: Build, repository: Repository, revision: str) -> None:
    workdir = gate.workdir()
    assert build.result == "success", build.steps
    assert build.properties["got_revision"] == revision
    assert build.cause is None
    assert git(workdir, "rev-parse", "HEAD") == revision
    assert git(workdir, "status", "--porcelain", "--ignored") == ""
    assert content(workdir) == wanted(repository, revision)


def forget(repository: Repository) -> None:
    """Make the served repository throw away what no branch holds."""
    subprocess.run(["git", "reflog", "expire", "--expire=now", "--all"], cwd=repository.bare, check=True)
    subprocess.run(["git", "gc", "--quiet", "--prune=now"], cwd=repository.bare, check=True)


def test_the_exact_revision_with_its_history_whatever_came_after(gate: Gate, repository: Repository) -> None:
    first = repository.candidate({"src/a.py": "A = 2\n"})
    repository.push("auto")
    repository.commit({"src/a.py": "A = 3\n", "later": ""})
    repository.push("auto")
    build = gate.build(checkout(repository), first)
    assert_exact(gate, build, repository, first)
    assert build.last.summary == f"checked out {first[:12]} of auto"
    assert git(gate.workdir(), "rev-parse", "HEAD^") == repository.tip("main")
    assert git(gate.workdir(), "rev-list", "--count", "HEAD") == "3"
    # All is in the mirror now: the same revision needs the repository no more.
    repository.bare.rename(repository.bare.with_name("elsewhere"))
    again = gate.build(checkout(repository), first)
    assert_exact(gate, again, repository, first)


def test_nothing_of_earlier_builds_is_left(gate: Gate, repository: Repository) -> None:
    revision = repository.candidate({"new": "n"})
    repository.push("auto")
    gate.build(checkout(repository), revision)
    workdir = gate.workdir()
    (workdir / "ignored.log").write_text("x")
    (workdir / "untracked").mkdir()
    subprocess.run(["git", "init", "-q", str(workdir / "nested")], check=True)
    (workdir / "nested/file").write_text("x")
    (workdir / "src/a.py").write_text("A = 9\n")  # of the same length as before
    (workdir / "README").unlink()
    (workdir / "README").mkdir()
    (workdir / "README/file").write_text("x")
    shutil.rmtree(workdir / "src")
    (workdir / "src").write_text("a file where a folder was")
    (workdir / "run.sh").chmod(0o600)
    closed = workdir / "closed"
    closed.mkdir()
    (closed / "file").write_text("x")
    closed.chmod(0)
    (workdir / ".git/hooks").mkdir()
    hook = workdir / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {workdir.parent / 'hook-ran'}\n")
    hook.chmod(0o755)
    subprocess.run(["git", "update-index", "--assume-unchanged", "new"], cwd=workdir, check=True)
    (workdir / "new").write_text("m")
    subprocess.run(["git", "config", "core.fsmonitor", f"touch {workdir.parent / 'hook-ran'}"], cwd=workdir, check=True)
    build = gate.build(checkout(repository), revision)
    assert_exact(gate, build, repository, revision)
    assert not (workdir.parent / "hook-ran").exists()


def point_elsewhere(workdir: Path) -> None:
    shutil.rmtree(workdir / ".git")
    (workdir / ".git").write_text("gitdir: /nowhere")


def delete_half(workdir: Path) -> None:
    shutil.rmtree(workdir / ".git/objects")
    (workdir / "src/a.py").unlink()


@pytest.mark.parametrize(
    "harm",
    [
        lambda workdir: [(workdir / ".git" / name).touch() for name in ("index.lock", "HEAD.lock", "config.lock")],
        lambda workdir: (workdir / ".git/HEAD").write_text("rubbish"),
        lambda workdir: (workdir / ".git/index").write_bytes(b"rubbish"),
        lambda workdir: workdir.with_name("build.index").write_bytes(b"rubbish"),
        lambda workdir: workdir.with_name("build.index").write_bytes(b""),
        lambda workdir: shutil.rmtree(workdir / ".git"),
        point_elsewhere,
        shutil.rmtree,
        delete_half,
    ],
    ids=["locks", "head", "index", "saved-index", "empty-index", "no-git", "git-file", "nothing", "half"],
)
def test_a_work_tree_that_a_killed_build_left(
    gate: Gate, repository: Repository, harm: Callable[[Path], object]
) -> None:
    first = repository.candidate({"src/a.py": "A = 2\n", "gone": "x"})
    second = repository.commit({"src/a.py": "A = 3\n", "gone": None})
    repository.push("auto")
    gate.build(checkout(repository), first)
    harm(gate.workdir())
    assert_exact(gate, gate.build(checkout(repository), second), repository, second)


def truncate_packs(mirror: Path) -> None:
    for path in mirror.glob("objects/pack/*.pack"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:100])


def empty_loose(mirror: Path) -> None:
    for path in mirror.glob("objects/??/*"):
        path.chmod(0o600)
        path.write_bytes(b"")


def spoil_all(mirror: Path) -> None:
    truncate_packs(mirror)
    empty_loose(mirror)


def stale_locks(mirror: Path) -> None:
    for name in ("HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock", "objects/pack/tmp_pack_x"):
        (mirror / name).touch()
    (mirror / "refs/autogate/revisions" / f"{'a' * 40}.lock").touch()


HARMS: dict[str, Callable[[Path], object]] = {
    "packs": truncate_packs,
    "loose": empty_loose,
    "all": spoil_all,
    "no-objects": lambda mirror: shutil.rmtree(mirror / "objects"),
    "locks": stale_locks,
    "no-head": lambda mirror: (mirror / "HEAD").unlink(),
    "config": lambda mirror: (mirror / "config").write_text("["),
    "nothing": shutil.rmtree,
}


@pytest.mark.parametrize(
    ("harm", "same"),
    [(harm, False) for harm in HARMS.values()] + [(HARMS[name], True) for name in ("packs", "loose", "no-objects")],
    ids=[*HARMS, "packs-same", "loose-same", "no-objects-same"],
)
def test_a_damaged_mirror_is_made_anew(
    gate: Gate, repository: Repository, harm: Callable[[Path], object], same: bool
) -> None:
    """For the revision that it had, and for the next."""
    # Enough objects for a pack.
    first = repository.candidate({f"many/{number}": str(number) for number in range(120)})
    second = repository.commit({"src/a.py": "A = 3\n", "many/7": "seven"})
    repository.push("auto")
    gate.build(checkout(repository), first)
    harm(mirror_of(gate.workdir()))
    shutil.rmtree(gate.workdir())
    revision = first if same else second
    assert_exact(gate, gate.build(checkout(repository), revision), repository, revision)


def assert_superseded(build: Build, *words: str) -> None:
    assert build.result == "cancelled"
    assert build.cause == "superseded"
    assert list(build.steps)[-1] == "checkout"
    assert build.last.summary.startswith("superseded: ")
    assert "superseded: " in build.state
    for word in words:
        assert word in build.last.summary


def test_a_forced_branch_supersedes_what_it_held(gate: Gate, repository: Repository) -> None:
    old = repository.candidate({"a": "1"})
    repository.push("auto")
    new = repository.candidate({"a": "2"})
    repository.push("auto")
    forget(repository)
    build = gate.build(f"{checkout(repository)}, steps.ShellCommand(command=['true'], name='never')", old)
    assert_superseded(build, old[:12], f"auto was forced to {new[:12]}")


def test_a_deleted_branch_supersedes_what_it_held(gate: Gate, repository: Repository) -> None:
    old = repository.candidate({"a": "1"})
    repository.push("auto")
    repository.push(":auto")
    forget(repository)
    assert_superseded(gate.build(checkout(repository), old), "auto was deleted")


def test_a_revision_that_never_was(gate: Gate, repository: Repository) -> None:
    assert_superseded(gate.build(checkout(repository), "1" * 40, branch=""), "is no longer in the repository")


def test_a_forced_branch_does_not_matter_while_the_server_has_the_revision(gate: Gate, repository: Repository) -> None:
    old = repository.candidate({"a": "1"})
    repository.push("auto")
    repository.candidate({"a": "2"})
    repository.push("auto")
    assert_exact(gate, gate.build(checkout(repository), old), repository, old)


def old_protocol(repository: Repository) -> str:
    return f"steps.CheckoutExact(url={str(repository.bare)!r}, {OLD_PROTOCOL})"


def test_an_old_server_is_asked_for_the_branch_that_moved_on(gate: Gate, repository: Repository) -> None:
    old = repository.candidate({"a": "1"})
    repository.commit({"a": "2"})
    repository.push("auto")
    build = gate.build(old_protocol(repository), old)
    assert_exact(gate, build, repository, old)
    assert "refs/heads/auto" in build.last.logs["stdio"], "the exact revision was to be had: this shows nothing"


def test_an_old_server_and_a_forced_branch(gate: Gate, repository: Repository) -> None:
    old = repository.candidate({"a": "1"})
    repository.push("auto")
    repository.candidate({"a": "2"})
    repository.push("auto")
    assert_superseded(gate.build(old_protocol(repository), old), "auto was forced to")


@pytest.mark.parametrize("protocol", [checkout, old_protocol], ids=["protocol-2", "protocol-0"])
def test_a_branch_named_like_an_option(
    gate: Gate, repository: Repository, protocol: Callable[[Repository], str], tmp_path: Path
) -> None:
    branch = f"--upload-pack=touch${{IFS}}{tmp_path / 'pwned'}"
    old = repository.candidate({"a": "1"})
    repository.push(f"auto:refs/heads/{branch}")
    repository.commit({"a": "2"})
    repository.push(f"auto:refs/heads/{branch}")
    assert_exact(gate, gate.build(protocol(repository), old, branch=branch), repository, old)
    assert not (tmp_path / "pwned").exists()


def test_a_build_of_a_branch_takes_its_tip(gate: Gate, repository: Repository) -> None:
    tip = repository.candidate({"a": "1"})
    repository.push("auto")
    assert_exact(gate, gate.build(checkout(repository), ""), repository, tip)
    assert_exact(gate, gate.build(checkout(repository), "", branch=""), repository, repository.tip("main"))
    assert_superseded_tip(gate.build(checkout(repository), "", branch="none"))


def assert_superseded_tip(build: Build) -> None:
    assert (build.result, build.cause) == ("cancelled", "superseded")
    assert build.last.summary == "the repository has no none"


def test_a_revision_that_is_no_full_id(gate: Gate, repository: Repository) -> None:
    build = gate.build(checkout(repository), "--help")
    assert (build.result, build.cause) == ("failure", "infrastructure")
    assert "is no full commit id" in build.last.summary


def test_a_repository_that_cannot_be_reached(gate: Gate, tmp_path: Path) -> None:
    build = gate.build(f"steps.CheckoutExact(url={str(tmp_path / 'nowhere.git')!r})", "1" * 40)
    assert (build.result, build.cause) == ("exception", "infrastructure")
    assert build.last.summary.startswith("cannot read the repository: ")
    assert "the path in the url is wrong" in build.last.logs["problem"]
    assert "Traceback" not in "".join(build.last.logs.values())


def test_a_password_in_a_url_is_not_told(gate: Gate) -> None:
    build = gate.build("steps.CheckoutExact(url='http://ada:sesame@127.0.0.1:9/x.git')", "1" * 40)
    assert (build.result, build.cause) == ("exception", "infrastructure")
    assert "sesame" not in str(build.steps)
    assert "sesame" not in build.state


def test_tags_and_submodules(gate: Gate, repository: Repository, tmp_path: Path) -> None:
    inner = Repository.create(tmp_path, "inner", {"inner.txt": "in\n"})
    allow = ["-c", "protocol.file.allow=always"]
    repository.git("checkout", "-q", "-B", "auto", "main")
    repository.git(*allow, "submodule", "--quiet", "add", str(inner.bare), "inner")
    revision = repository.commit({}, "Add a submodule")
    repository.git("tag", "-a", "-m", "one", "v1")
    repository.push("auto", "v1")
    permit = 'env={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}'
    recipe = f"steps.CheckoutExact(url={str(repository.bare)!r}, submodules=True, {permit})"
    for _ in range(2):
        build = gate.build(recipe, revision)
        assert build.result == "success", build.steps
        assert [path.name for path in (gate.workdir() / "inner").iterdir() if path.name != ".git"] == ["inner.txt"]
        assert (gate.workdir() / "inner/inner.txt").read_text() == "in\n"
        assert git(gate.workdir(), "describe") == "v1"
        (gate.workdir() / "inner/inner.txt").write_text("changed")
        (gate.workdir() / "inner/untracked").write_text("x")


BLOCKING_SSH = """\
#!{python}
# Serves a repository of this machine; when asked to, halts amid what is fetched until it is killed or let go.
import os, pathlib, subprocess, sys, time

if "upload-pack" not in sys.argv[-1]:
    sys.exit()
folder = pathlib.Path({folder!r})
served = subprocess.Popen(["sh", "-c", sys.argv[-1]], stdout=subprocess.PIPE)
passed = 0
while block := os.read(served.stdout.fileno(), 1000):
    passed += len(block)
    if passed > 20_000 and (folder / "block").exists():
        (folder / "reached").touch()
        while not (folder / "go").exists():
            time.sleep(0.05)
    os.write(1, block)
sys.exit(served.wait())
"""


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Path]:
    """A folder with an ``ssh`` that halts in mid-transfer while there is a file ``block`` in it."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    script = folder / "ssh"
    script.write_text(BLOCKING_SSH.format(folder=str(folder), python=sys.executable))
    script.chmod(0o755)
    yield folder
    (folder / "go").touch()


def over_ssh(repository: Repository, ssh: Path) -> str:
    env = {"GIT_SSH_COMMAND": str(ssh / "ssh"), "GIT_SSH_VARIANT": "ssh"}
    return f"steps.CheckoutExact(url='ssh://host{repository.bare}', env={env!r})"


@pytest.fixture
def large(repository: Repository) -> str:
    """A candidate whose objects do not fit through the blocked ssh."""
    return repository.candidate({f"blob/{number}": os.urandom(2000) for number in range(60)})


def test_a_build_that_is_killed_while_it_fetches(gate: Gate, repository: Repository, ssh: Path, large: str) -> None:
    repository.push("auto")
    (ssh / "block").touch()
    request = gate.begin(over_ssh(repository, ssh), large)
    wait_for((ssh / "reached").exists, "the fetch to be under way")
    gate.stop_build(gate.running(request))
    killed = gate.finish(request)
    assert (killed.result, killed.cause) == ("cancelled", "superseded")
    (ssh / "block").unlink()
    build = gate.build(over_ssh(repository, ssh), large)
    assert_exact(gate, build, repository, large)


def test_builds_at_once_fetch_one_after_the_other(gate: Gate, repository: Repository, ssh: Path, large: str) -> None:
    repository.push("auto")
    (ssh / "block").touch()
    first = gate.begin(over_ssh(repository, ssh), large, builder="one")
    wait_for((ssh / "reached").exists, "the first fetch to be under way")
    second = gate.begin(over_ssh(repository, ssh), large, builder="two")
    build = gate.running(second)
    wait_for(lambda: "waiting for another build" in gate.log_of(build, "checkout"), "the second build to wait")
    (ssh / "go").touch()
    assert_exact(gate, gate.finish(first), repository, large)
    waited = gate.finish(second)
    assert waited.result == "success"
    assert "the mirror has" in waited.last.logs["stdio"]
    assert content(gate.workdir("two")) == wanted(repository, large)
