"""A thin wrapper round the git program: arguments and parsing are pure, `run` is the only I/O."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HEADS = "refs/heads/"

_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)")
_URL_USERINFO = re.compile(r"(?<=://)\S*@")  # to the last @: a password may hold one, and slashes
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

_BOILERPLATE = {
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
}
"""What git adds to every complaint of ssh, which is the one that matters."""

_CURES = (
    (
        re.compile(r"Permission denied \(publickey"),
        "add the public key that `autogate keys show NAME` prints (the bot's: with --write) as a deploy key there",
    ),
    (
        re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|[Hh]ost key for \S+ has changed"),
        "the server's host key is not the pinned one; if its owner meant that, delete its lines from known_hosts",
    ),
    (
        re.compile(r"marked as read only|not allowed to (?:push|upload)|[Ww]rite access .*(?:denied|not granted)"),
        "the deploy key may only read: the bot's needs write access there; `autogate keys add NAME --write` makes it",
    ),
    (
        re.compile(r"does not support --atomic"),
        "the server cannot move several refs at once: set receive.advertiseAtomic to true there, or update its git",
    ),
    (
        re.compile(r"[Pp]rotected branch|GH006|GH013"),
        "the server protects this branch: let the bot's deploy key push to it, and nobody else",
    ),
    (
        re.compile(r"deletion prohibited|denyDeletes"),
        "the server lets nobody delete refs: set receive.denyDeletes to false there, since landed topics are deleted",
    ),
    (
        re.compile(r"hook declined|hidden ref"),
        "the server refuses the push: let the bot's key push to targets, candidate branches and refs/autogate/",
    ),
    (
        re.compile(r"Host key verification failed"),
        "the host's key is not in known_hosts: run `autogate keys add NAME` and compare the fingerprint it shows",
    ),
    (re.compile(r"Could not resolve host"), "the host name is wrong, or this machine has no DNS for it"),
    (
        re.compile(r"Connection (?:refused|timed out)|No route to host|Network is unreachable"),
        "the host does not answer: is its name and port right, and does a firewall let this machine through?",
    ),
    (
        re.compile(r"does not appear to be a git repository|[Rr]epository .*not found|does not exist|access denied"),
        "the path in the url is wrong, or the deploy key belongs to another repository",
    ),
)


class GitError(Exception):
    """A git command failed.

    Attributes:
        command: The subcommand, such as ``ls-remote``.
        code: Its exit code; None when it was stopped for taking too long.
        stderr: What it printed, without the user part of any URL.
        out: What it printed on its standard output.
    """

    def __init__(self, command: str, code: int | None, stderr: str, out: bytes = b"") -> None:
        super().__init__(command, code, stderr, out)
        self.command = command
        self.code = code
        self.stderr = without_userinfo(stderr).strip()
        self.out = out

    @property
    def is_refusal(self) -> bool:
        """Tell whether the server was reached and said no to a push; anything else may pass by itself."""
        return "[remote rejected]" in self.stderr

    @property
    def cure(self) -> str:
        """What to do about it; empty when git's own words have to do."""
        return cure(self.stderr)

    def __str__(self) -> str:
        how = "timed out" if self.code is None else f"failed with exit code {self.code}"
        said = [line.strip() for line in self.stderr.splitlines() if line.strip(" \t\r@")]
        lines = [line for line in said if line not in _BOILERPLATE] or said
        return f"git {self.command} {how}" + (f": {'; '.join(lines[-3:])}" if lines else "")


@dataclass(frozen=True)
class Git:
    """The git program, with the environment that reaches the repositories.

    Attributes:
        ssh_command: The value of ``GIT_SSH_COMMAND``; empty to leave ssh as it is.
        timeout: Seconds after which a command is killed.
    """

    ssh_command: str = ""
    timeout: float = 60

    async def run(
        self,
        *args: str,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> bytes:
        """Run ``git ARGS`` and return what it printed on its standard output.

        Args:
            args: The subcommand and its arguments.
            cwd: Where it runs.
            stdin: What it reads; nothing when None.
            env: Variables to set besides.
            pass_fds: Files that it shall hold open as long as it lives, such as a lock.

        Raises:
            GitError: it failed, or took longer than `timeout`.
            FileNotFoundError: there is no git.
        """
        process = await asyncio.create_subprocess_exec(
            "git",
            *args,
            cwd=cwd,
            env=os.environ | environment(self.ssh_command) | dict(env or {}),
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self.timeout):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            raise GitError(args[0], None, f"no answer within {self.timeout:g} s") from None
        finally:
            if process.returncode is None:
                # the whole group: an ssh that outlives git holds the pipes open, and wait() waits for them
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            raise GitError(args[0], process.returncode, err.decode("utf-8", "replace"), out)
        return out

    async def ls_remote(self, url: str, branches: Iterable[str]) -> dict[str, str]:
        """Return the tip of each of ``branches`` that exists at ``url``.

        Raises:
            GitError: the repository could not be read.
        """
        branches = list(branches)
        return parse_ls_remote(await self.run(*ls_remote_args(url, branches)), branches)

    async def remote_refs(self, url: str, patterns: Iterable[str]) -> dict[str, str]:
        """Return full name -> object of the refs at ``url`` that match, in one connection.

        Args:
            url: The repository.
            patterns: Full names, or beginnings of full names with ``*`` at the end. At least one.

        Raises:
            GitError: the repository could not be read.
        """
        patterns = list(patterns)
        found = parse_refs(await self.run("ls-remote", "--refs", "--", url, *patterns))
        exact = {pattern for pattern in patterns if not pattern.endswith("*")}
        beginnings = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
        return {ref: sha for ref, sha in found.items() if ref in exact or ref.startswith(beginnings)}


def environment(ssh_command: str = "") -> dict[str, str]:
    """Return the variables under which git never asks a question and always speaks English."""
    variables = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "LC_ALL": "C.UTF-8",
    }
    return variables | ({"GIT_SSH_COMMAND": ssh_command} if ssh_command else {})


def ls_remote_args(url: str, branches: Sequence[str]) -> list[str]:
    """Return the arguments that list the tips of ``branches`` at ``url`` in one connection."""
    return ["ls-remote", "--", url, *(HEADS + branch for branch in branches)]


def parse_ls_remote(output: bytes, branches: Iterable[str]) -> dict[str, str]:
    """Return branch -> SHA from what ``git ls-remote`` printed.

    Only exactly ``branches`` are kept: git matches its patterns at the end of a name, so ``refs/heads/main`` also
    prints ``refs/heads/old/refs/heads/main``.
    """
    refs = parse_refs(output)
    return {branch: refs[HEADS + branch] for branch in branches if HEADS + branch in refs}


def parse_refs(output: bytes) -> dict[str, str]:
    """Return full name -> SHA from what ``git ls-remote`` printed.

    A byte of a name that is no UTF-8 becomes a lone surrogate, as in file names (PEP 383).
    """
    refs: dict[str, str] = {}
    for line in output.decode("utf-8", "surrogateescape").split("\n"):
        sha, _, ref = line.partition("\t")
        if is_sha(sha) and ref:
            refs[ref] = sha
    return refs


def is_sha(text: str) -> bool:
    """Tell whether ``text`` is a full object name, SHA-1 or SHA-256."""
    return _SHA.fullmatch(text) is not None


def branch_name_fault(name: str) -> str:
    """Return what is wrong with a branch's name by the rules of git-check-ref-format(1), or an empty string."""
    if not name:
        return "is empty"
    if name.startswith("-"):
        return "starts with a dash, which git would read as an option"
    if name.startswith(HEADS):
        return f"is written without {HEADS}"
    return _name_fault(name)


def ref_name_fault(name: str) -> str:
    """Return what is wrong with the full name of a ref, such as ``refs/for/main/topic``, or an empty string."""
    if not name.startswith("refs/"):
        return "does not start with refs/"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "is not written in UTF-8"
    return _name_fault(name)


def _name_fault(name: str) -> str:
    if name.startswith(("/", ".")) or name.endswith(("/", ".")) or name == "@":
        return "begins or ends with a character that git refuses there"
    if found := _FORBIDDEN_IN_REF.search(name):
        return f"contains {found.group()!r}, which git refuses in a branch's name"
    return ""


def cure(stderr: str) -> str:
    """Return what to do about git's or ssh's complaint, or an empty string."""
    return next((advice for pattern, advice in _CURES if pattern.search(stderr)), "")


def without_userinfo(text: str) -> str:
    """Return ``text`` with the user part (perhaps a password) cut out of every URL."""
    return _URL_USERINFO.sub("", text)


def trailer(message: str, name: str) -> str:
    """Return the value of the last trailer ``name`` of a commit message, or an empty string.

    A trailer counts only in the message's last paragraph (git-interpret-trailers(1)).
    """
    paragraph = re.split(r"\n\s*\n", message.strip())[-1]
    values = re.findall(rf"^{re.escape(name)}:[ \t]*(.*?)[ \t]*$", paragraph, re.MULTILINE | re.IGNORECASE)
    return values[-1] if values else ""
