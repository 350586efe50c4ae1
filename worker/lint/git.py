"""Run git for the lint program: at once or as a process that answers, never asking, never running anybody's hooks."""

import os
import re
import subprocess
from collections.abc import Container, Mapping, Sequence
from types import TracebackType
from typing import Self

from autogate.gitwords import environment

from .errors import LintError

_QUIET = (
    "git",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
)
"""No hook or background work of anybody's."""

_ALWAYS = environment() | {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
}
_PATHSPECS = ("GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS")
_LOCATIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR")

_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_CURES = (
    (re.compile(r"detected dubious ownership"), "run it as the user whose clone it is, or do what git says above"),
    (re.compile(r"[Nn]ot a git repository"), "run it in a clone of the repository"),
    (
        re.compile(r"must be run in a work tree"),
        "there is no work tree here (a bare repository, or the inside of .git): run it in a clone's work tree",
    ),
    (_FULL, "the disk is full: free some space, or name a cache folder on another disk"),
    (re.compile(r"\.lock': File exists"), "another git is at work there: wait for it; if none is, delete that file"),
    (re.compile(r"[Pp]ermission denied|Read-only file system"), "give this user the right to write there"),
    (
        re.compile(
            r"unable to read|bad object|could not (?:read|fetch)|missing (?:blob|tree)|(?:not a|unpack) tree object"
        ),
        "objects are missing: fetch them (`git fetch --unshallow` in a shallow clone), or see what `git fsck` says",
    ),
)


class GitError(LintError):
    """Git could not do what it was asked for.

    Attributes:
        problem: What is wrong, in git's words or ours.
        cure: What to do about it; empty when git's own words have to do.
        out: What git printed on its standard output before.
    """

    def __init__(self, problem: str, cure: str = "", out: bytes = b"") -> None:
        super().__init__(f"{problem}: {cure}" if cure else problem)
        self.problem = problem
        self.cure = cure
        self.out = out

    @property
    def is_full(self) -> bool:
        """Whether there is no space on the disk."""
        return _FULL.search(self.problem) is not None


def run(
    root: str,
    *args: str,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    ok: Container[int] = (0,),
    hold: Sequence[int] = (),
) -> bytes:
    """Run ``git ARGS`` and return what it printed on its standard output.

    Args:
        root: Where it runs.
        args: The subcommand and its arguments. Pathspecs are literal.
        stdin: What it reads; nothing when None.
        env: Variables to set besides.
        ok: Exit codes that are no failure.
        hold: Files that it shall hold open as long as it lives, such as a lock.

    Raises:
        GitError: it failed, or there is no git.
    """
    return finish(start(root, *args, reads=stdin is not None, env=env, hold=hold), stdin=stdin, ok=ok)


def start(
    root: str, *args: str, reads: bool = False, env: Mapping[str, str] | None = None, hold: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start ``git ARGS`` as `run` does, for `finish`.

    Args:
        root: Where it runs.
        args: The subcommand and its arguments.
        reads: Whether its standard input is a pipe; else there is nothing in it.
        env: Variables to set besides.
        hold: Files that it shall hold open.

    Raises:
        GitError: there is no git, or no such folder.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - the callers pass constants, object ids, and names behind "--"
            [*_QUIET, *args],
            cwd=root,
            env=_environment() | dict(env or {}),
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(hold),
        )
    except FileNotFoundError:
        if os.path.isdir(root):
            raise GitError("there is no git on the PATH", "install git, or put it on the PATH") from None
        raise GitError(f"there is no folder {root}", "run it in a clone of the repository") from None


def finish(process: subprocess.Popen[bytes], *, stdin: bytes | None = None, ok: Container[int] = (0,)) -> bytes:
    """Wait for what `start` started, and return what it printed on its standard output.

    Args:
        process: The process.
        stdin: What it reads.
        ok: Exit codes that are no failure.

    Raises:
        GitError: it failed.
    """
    with process:
        out, err = process.communicate(stdin)
    if process.returncode not in ok:
        raise failure(err.decode("utf-8", "replace"), process.returncode, out)
    return out


def failure(stderr: str, code: int, out: bytes = b"") -> GitError:
    """Return the error for what git printed on its standard error before it ended with an exit code."""
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    problem = "git: " + ("; ".join(said[-4:]) or f"ended with exit code {code} and said nothing")
    return GitError(problem, next((cure for pattern, cure in _CURES if pattern.search(stderr)), ""), out)


class Objects:
    """The contents of a repository's objects, from one ``git cat-file --batch`` that starts when it is first asked."""

    def __init__(self, root: str, env: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, name: str) -> bytes | None:
        """Return the content of the object with this id; None when the repository does not have it.

        Raises:
            GitError: git died.
        """
        if self._process is None:
            self._process = start(self._root, "cat-file", "--batch", reads=True, env=self._env)
        try:
            return _answer(self._process, name)
        except (OSError, IndexError, ValueError, EOFError):
            process, self._process = self._process, None
            process.kill()
            _, err = process.communicate()
            raise failure(err.decode("utf-8", "replace"), process.returncode) from None

    def close(self) -> None:
        """End the process; it starts again when it is asked again."""
        if self._process is not None:
            process, self._process = self._process, None
            with process:
                process.communicate()


def _answer(process: subprocess.Popen[bytes], name: str) -> bytes | None:
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101 - for the type checker
    process.stdin.write(f"{name}\n".encode("ascii"))
    process.stdin.flush()
    header = process.stdout.readline().split()
    if header[1] == b"missing":
        return None
    size = int(header[2])
    content = process.stdout.read(size + 1)
    if len(content) <= size:
        raise EOFError
    return content[:-1]


def _environment() -> dict[str, str]:
    variables = os.environ | _ALWAYS
    for name in _PATHSPECS:
        variables.pop(name, None)
    for name in _LOCATIONS:
        if value := variables.get(name):
            variables[name] = os.path.abspath(value)  # relative to this process, not to where git runs
    return variables
