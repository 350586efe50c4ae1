"""The wrapper round git."""

import asyncio
import os
import subprocess
from functools import partial
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogate import git
from autogate.git import Git, GitError
from tests.support.repository import Repository
from tests.support.waiting import wait_for

SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 64


def test_only_the_branches_that_were_asked_for() -> None:
    output = (
        f"{SHA}\trefs/heads/main\n{OTHER}\trefs/heads/auto\n{SHA}\trefs/heads/old/refs/heads/main\n"
        f"{SHA}\trefs/tags/main\n{SHA}\tHEAD\nwarning: x\n\n{SHA[:39]}\trefs/heads/try\n"
    )
    assert git.parse_ls_remote(output.encode(), ["main", "auto", "try"]) == {"main": SHA, "auto": OTHER}


def test_a_branch_with_a_separator_of_lines_in_its_name() -> None:
    output = f"{SHA}\trefs/heads/a\N{LINE SEPARATOR}b\n".encode()
    assert git.parse_ls_remote(output, ["a\N{LINE SEPARATOR}b"]) == {"a\N{LINE SEPARATOR}b": SHA}


@given(st.binary())
def test_any_output_is_parsed(output: bytes) -> None:
    assert set(git.parse_ls_remote(output, ["main"])) <= {"main"}


def test_the_url_can_never_be_an_option() -> None:
    assert git.ls_remote_args("--upload-pack=x", ["main"]) == ["ls-remote", "--", "--upload-pack=x", "refs/heads/main"]


NAMES = st.text(
    st.sampled_from("ab/.-@{~^:?*[\\ \x7f\té") | st.characters(codec="utf-8"), max_size=8
) | st.sampled_from(
    [
        "",
        "main",
        "@",
        "a.lock",
        "a.lock/b",
        "a/.b",
        "a..b",
        "a@{b",
        "a//b",
        "/a",
        "a/",
        "a.",
        "-a",
        "release/1.0",
        "HEAD",
    ]
)


@settings(max_examples=150)
@given(NAMES)
def test_a_branch_name_is_judged_as_git_judges_it(name: str) -> None:
    if "\0" in name or name in {"HEAD", "@"} or name.startswith(git.HEADS):
        return  # cannot be passed as an argument; only `git branch` refuses the one, and only we the others
    done = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True, check=False)
    accepted = done.returncode == 0 and done.stdout.decode() == name + "\n"  # else it stood for another: @{-1}
    assert (git.branch_name_fault(name) == "") == accepted


@pytest.mark.parametrize(
    ("stderr", "says"),
    [
        ("git@github.com: Permission denied (publickey).\r\nfatal: Could not read", "autogate keys show NAME"),
        ("Host key verification failed.", "autogate keys add NAME"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "not the pinned one"),
        ("ssh: Could not resolve hostname x: Name or service not known", "host name is wrong"),
        ("ssh: connect to host x port 22: Connection refused", "does not answer"),
        ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", "path in the url is wrong"),
        ("ERROR: The key you are authenticating with has been marked as read only.", "--write"),
        ("! [remote rejected] main -> main (protected branch hook declined)", "protects this branch"),
        ("! [remote rejected] main -> main (pre-receive hook declined)", "let the bot's key push"),
        ("! [remote rejected] x (deny updating a hidden ref)", "refs/autogate/"),
        (
            "remote: error: denying ref deletion for x\n! [remote rejected] x (deletion prohibited)",
            "receive.denyDeletes",
        ),
        ("fatal: the receiving end does not support --atomic push", "receive.advertiseAtomic"),
        ("fatal: bad object", ""),
    ],
)
def test_a_complaint_gets_its_cure(stderr: str, says: str) -> None:
    assert says in git.cure(stderr)
    assert bool(git.cure(stderr)) == bool(says)


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


def test_the_last_trailer_of_the_last_paragraph_counts() -> None:
    message = "Merge\n\nAutogate-Base: 1\n\nText.\n\nAutogate-Base: 2\nautogate-base:  3 \nOther: x\n"
    assert git.trailer(message, "Autogate-Base") == "3"
    assert git.trailer("Autogate-Base: 1\n\nText.", "Autogate-Base") == ""


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


def test_a_name_that_is_no_utf8_is_kept_as_python_keeps_it() -> None:
    refs = git.parse_refs(f"{SHA}\trefs/for/main/".encode() + b"caf\xe9\n")
    assert refs == {"refs/for/main/caf\udce9": SHA}
    assert "UTF-8" in git.ref_name_fault("refs/for/main/caf\udce9")


@settings(max_examples=150)
@given(NAMES)
def test_a_refs_name_is_judged_as_git_judges_it(name: str) -> None:
    full = f"refs/for/{name}"
    if "\0" in name:
        return  # cannot be passed as an argument
    done = subprocess.run(["git", "check-ref-format", full], check=False)
    assert (git.ref_name_fault(full) == "") == (done.returncode == 0)


@pytest.mark.parametrize("name", ["main", "heads/main", "--force", "", "/refs/heads/main"])
def test_a_refs_name_is_a_full_one(name: str) -> None:
    assert git.ref_name_fault(name) == "does not start with refs/"


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


def test_git_never_asks_and_speaks_english() -> None:
    environment = git.environment("ssh -F x")
    assert environment["GIT_TERMINAL_PROMPT"] == "0"
    assert environment["GIT_SSH_COMMAND"] == "ssh -F x"
    assert "GIT_SSH_COMMAND" not in git.environment()
    assert not set(environment) & {"HOME", "PATH"} & set(os.environ)


def _is_dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
