"""The wrapper round git."""

import asyncio
from functools import partial
from pathlib import Path

import psutil
import pytest

from autogate.git import Git, GitError
from tests.support.repository import Repository
from tests.support.waiting import wait_for


def test_a_servers_no_is_told_from_what_may_pass() -> None:
    assert GitError("push", 1, " ! [remote rejected] main -> main (pre-receive hook declined)").is_refusal
    assert not GitError("push", 1, " ! [rejected] main -> main (stale info)").is_refusal
    assert not GitError("push", 128, "ssh: connect to host x port 22: Connection refused").is_refusal


def test_an_error_is_a_line_with_what_matters_in_it() -> None:
    error = GitError(
        "ls-remote",
        128,
        "git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\n"
        "Please make sure you have the correct access rights\nand the repository exists.\n",
    )
    assert str(error) == "git ls-remote failed with exit code 128: git@h: Permission denied (publickey)."
    assert str(GitError("push", None, "")) == "git push timed out"


@pytest.mark.parametrize("login", ["ada:hunter2", "hunter2", "ada:a/hunter2", "ada:a@hunter2"])
def test_no_error_repeats_a_password(login: str) -> None:
    error = GitError("fetch", 128, f"fatal: unable to access 'https://{login}@host/r.git/': refused")
    assert "hunter2" not in str(error) + error.stderr
    assert "https://host/r.git/" in str(error)


def test_ls_remote_of_a_real_repository(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path)
    repository.push("main:refs/heads/old/refs/heads/main", "main:refs/heads/auto")
    tips = asyncio.run(Git().ls_remote(str(repository.bare), ["main", "auto", "try"]))
    assert tips == {"main": repository.head(), "auto": repository.head()}


def test_refs_of_a_real_repository_by_name_and_by_beginning(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path)
    head = repository.head()
    repository.git("tag", "-a", "-m", "A tag", "v1")
    names = ["refs/for/main/a", "refs/for/main/b/c", "refs/heads/refs/for/main/d", "refs/tags/v1"]
    repository.push(*(f"{head}:{name}" for name in names[:3]), "v1")
    bare = str(repository.bare)
    found = asyncio.run(Git().remote_refs(bare, ["refs/heads/main", "refs/for/*", "refs/heads/none", "refs/tags/v1"]))
    tag = repository.git("rev-parse", "v1")
    assert found == {"refs/heads/main": head, names[0]: head, names[1]: head, "refs/tags/v1": tag}
    assert asyncio.run(Git().remote_refs(bare, ["refs/for/main"])) == {}


def test_git_gets_the_variables_and_hands_its_output_on_when_it_fails() -> None:
    assert asyncio.run(Git().run("var", "GIT_EDITOR", env={"GIT_EDITOR": "ed"})) == b"ed\n"
    with pytest.raises(GitError) as caught:
        asyncio.run(Git().run("-c", "alias.both=!echo out; echo err >&2; exit 3", "both"))
    assert (caught.value.out, caught.value.stderr, caught.value.code) == (b"out\n", "err", 3)


def test_an_error_of_real_git_has_a_cure(tmp_path: Path) -> None:
    with pytest.raises(GitError) as caught:
        asyncio.run(Git().ls_remote(str(tmp_path / "nothing.git"), ["main"]))
    assert "path in the url is wrong" in caught.value.cure


def test_git_that_hangs_is_killed_with_all_its_children(tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    pids = tmp_path / "pids"
    # a child of ssh's own that holds git's pipes open, as a proxy command does
    ssh.write_text(f"#!/bin/sh\nsleep 600 &\necho $! $$ >{pids}.new\nmv {pids}.new {pids}\nwait\n")
    ssh.chmod(0o755)

    async def hang() -> None:
        command = asyncio.create_task(Git(str(ssh), timeout=3600).run("ls-remote", "ssh://host/r"))
        await asyncio.to_thread(wait_for, pids.exists, "ssh to start")
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command

    asyncio.run(hang())
    for pid in map(int, pids.read_text().split()):
        wait_for(partial(_is_dead, pid), f"process {pid} to end")


def test_git_that_takes_too_long_says_so(tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexec sleep 600\n")
    ssh.chmod(0o755)
    with pytest.raises(GitError, match=r"^git ls-remote timed out: no answer within 0\.2 s$"):
        asyncio.run(Git(str(ssh), timeout=0.2).run("ls-remote", "ssh://host/r"))


def _is_dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
