"""What git is told and what it says: its environment, names, output and complaints, all without running it."""

import re
from collections.abc import Iterable, Sequence

HEADS = "refs/heads/"

_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)")
_URL_USERINFO = re.compile(r"(?<=://)\S*@")  # to the last @: a password may hold one, and slashes
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

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
