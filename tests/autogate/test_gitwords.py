"""What git is told and what it says."""

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogate import gitwords

SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 64


def test_only_the_branches_that_were_asked_for() -> None:
    output = (
        f"{SHA}\trefs/heads/main\n{OTHER}\trefs/heads/auto\n{SHA}\trefs/heads/old/refs/heads/main\n"
        f"{SHA}\trefs/tags/main\n{SHA}\tHEAD\nwarning: x\n\n{SHA[:39]}\trefs/heads/try\n"
    )
    assert gitwords.parse_ls_remote(output.encode(), ["main", "auto", "try"]) == {"main": SHA, "auto": OTHER}


def test_a_branch_with_a_separator_of_lines_in_its_name() -> None:
    output = f"{SHA}\trefs/heads/a\N{LINE SEPARATOR}b\n".encode()
    assert gitwords.parse_ls_remote(output, ["a\N{LINE SEPARATOR}b"]) == {"a\N{LINE SEPARATOR}b": SHA}


@given(st.binary())
def test_any_output_is_parsed(output: bytes) -> None:
    assert set(gitwords.parse_ls_remote(output, ["main"])) <= {"main"}


def test_the_url_can_never_be_an_option() -> None:
    assert gitwords.ls_remote_args("--upload-pack=x", ["main"]) == [
        "ls-remote",
        "--",
        "--upload-pack=x",
        "refs/heads/main",
    ]


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
    if "\0" in name or name in {"HEAD", "@"} or name.startswith(gitwords.HEADS):
        return  # cannot be passed as an argument; only `git branch` refuses the one, and only we the others
    done = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True, check=False)
    accepted = done.returncode == 0 and done.stdout.decode() == name + "\n"  # else it stood for another: @{-1}
    assert (gitwords.branch_name_fault(name) == "") == accepted


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
    assert says in gitwords.cure(stderr)
    assert bool(gitwords.cure(stderr)) == bool(says)


def test_the_last_trailer_of_the_last_paragraph_counts() -> None:
    message = "Merge\n\nAutogate-Base: 1\n\nText.\n\nAutogate-Base: 2\nautogate-base:  3 \nOther: x\n"
    assert gitwords.trailer(message, "Autogate-Base") == "3"
    assert gitwords.trailer("Autogate-Base: 1\n\nText.", "Autogate-Base") == ""


def test_a_name_that_is_no_utf8_is_kept_as_python_keeps_it() -> None:
    refs = gitwords.parse_refs(f"{SHA}\trefs/for/main/".encode() + b"caf\xe9\n")
    assert refs == {"refs/for/main/caf\udce9": SHA}
    assert "UTF-8" in gitwords.ref_name_fault("refs/for/main/caf\udce9")


@settings(max_examples=150)
@given(NAMES)
def test_a_refs_name_is_judged_as_git_judges_it(name: str) -> None:
    full = f"refs/for/{name}"
    if "\0" in name:
        return  # cannot be passed as an argument
    done = subprocess.run(["git", "check-ref-format", full], check=False)
    assert (gitwords.ref_name_fault(full) == "") == (done.returncode == 0)


@pytest.mark.parametrize("name", ["main", "heads/main", "--force", "", "/refs/heads/main"])
def test_a_refs_name_is_a_full_one(name: str) -> None:
    assert gitwords.ref_name_fault(name) == "does not start with refs/"


def test_git_never_asks_and_speaks_english() -> None:
    environment = gitwords.environment("ssh -F x")
    assert environment["GIT_TERMINAL_PROMPT"] == "0"
    assert environment["GIT_SSH_COMMAND"] == "ssh -F x"
    assert "GIT_SSH_COMMAND" not in gitwords.environment()
    assert not set(environment) & {"HOME", "PATH"} & set(os.environ)
