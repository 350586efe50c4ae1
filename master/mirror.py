"""A poller's bare mirror: a cache of the moved branches, from which their commits are described."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from twisted.internet import threads
from twisted.python import log

from autogate import gitwords
from autogate.git import GitError

from . import commits
from .commits import Commit
from .gitprocess import GitRunner

REFS = "refs/autogate/"

TRANSFER_LIMIT = 3600
"""Seconds after which a fetch is killed although it still moves."""

_BROKEN = (".lock'", "cannot lock ref", "not a git repository", "different hash", "corrupt", "unable to read")
"""What git says when not the repository but the mirror is at fault, as after a crash."""


@dataclass(frozen=True)
class Mirror:
    """The mirror of one repository.

    Attributes:
        folder: The bare repository, made when it is needed.
        url: Where it fetches from.
        runner: What runs git.
    """

    folder: Path
    url: str
    runner: GitRunner

    async def fetch(self, branches: Sequence[str], hash_name: str = "sha1") -> dict[str, Commit | Exception]:
        """Fetch ``branches`` and return each one's commit, or what went wrong with it.

        Args:
            branches: At least one.
            hash_name: The repository's object format.

        Raises:
            Interrupted: the runner was stopped.
        """
        try:
            await self._transfer(branches, hash_name)
        except GitError as error:
            if len(branches) == 1:
                return {branches[0]: error}
            # One at a time: a branch that cannot be fetched, or was just deleted, must not keep the others back.
            parts = [await self.fetch([branch], hash_name) for branch in branches]
            return {branch: outcome for part in parts for branch, outcome in part.items()}
        fetched: dict[str, Commit | Exception] = {}
        for branch in branches:
            try:
                fetched[branch] = commits.parse_batch(await self._git("cat-file", "--batch", stdin=_ref(branch) + "\n"))
            except (GitError, ValueError) as error:
                fetched[branch] = error
        return fetched

    async def files(self, commit: Commit) -> list[str]:
        """Return the names of the files that a fetched commit changes.

        Raises:
            GitError: git could not tell.
            Interrupted: the runner was stopped.
        """
        chain: list[str] = []
        if commit.base:
            found = await self._git("rev-list", "--first-parent", f"--max-count={commits.MAX_BATCH + 1}", commit.sha)
            chain = found.decode("ascii", "replace").split()[1:]
        base = commits.base_of(commit, chain)
        trees = (base, commit.sha) if base else ("--root", "--no-commit-id", commit.sha)
        return commits.parse_names(await self._git("diff-tree", "-r", "-z", "--name-only", *trees))

    async def discard(self) -> None:
        """Remove it; the next fetch makes it anew."""
        log.msg(f"makes the mirror {self.folder} anew")
        await threads.deferToThread(shutil.rmtree, self.folder, ignore_errors=True)

    async def _transfer(self, branches: Sequence[str], hash_name: str) -> None:
        try:
            await self._transfer_once(branches, hash_name)
        except GitError as error:
            if not any(words in error.stderr for words in _BROKEN):
                raise
            await self.discard()
            await self._transfer_once(branches, hash_name)

    async def _transfer_once(self, branches: Sequence[str], hash_name: str) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        # Also when it exists: that completes one whose making was killed.
        await self._git("init", "--quiet", "--bare", "--template=", f"--object-format={hash_name}")
        await self._git(
            "fetch",
            # Progress tells a slow transfer from a hung one.
            "--progress",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--",
            self.url,
            *(f"+{gitwords.HEADS}{branch}:{_ref(branch)}" for branch in branches),
            limit=TRANSFER_LIMIT,
        )

    async def _git(self, *args: str, stdin: str = "", limit: float | None = None) -> bytes:
        return await self.runner.run(f"--git-dir={self.folder}", *args, stdin=stdin.encode(), limit=limit)


def hash_name(sha: str) -> str:
    """Return the object format of a repository that names a commit ``sha``."""
    return "sha1" if len(sha) == len(hashlib.sha1(usedforsecurity=False).hexdigest()) else "sha256"


def _ref(branch: str) -> str:
    # One level, so that the branches "a" and "a/b" can follow each other.
    return REFS + quote(branch, safe="")
