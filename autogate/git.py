"""A thin wrapper round the git program: `run` is the only I/O."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autogate.gitwords import cure, environment, ls_remote_args, parse_ls_remote, parse_refs, without_userinfo

_BOILERPLATE = {
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
}
"""What git adds to every complaint of ssh, which is the one that matters."""


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
