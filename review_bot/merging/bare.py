"""The bare repository itself: its lock, and how it is read, fetched into and pushed from."""

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autogate.git import Git, GitError
from autogate.gitwords import is_sha
from autogate.storage import make_private_folder

from . import parsing
from .errors import MirrorBusyError, MirrorError

OLDEST_GIT = (2, 38)
"""The first with ``git merge-tree --write-tree``."""

TARGETS = "refs/autogate/targets/"
"""Here only: the targets' tips, so that a fetch brings what is new and no more."""

TRANSFER_SECONDS = 3600.0
"""A fetch or push may take so long: the first fetch brings the whole history. Packing everything may, too."""

_LOCAL = {
    # merges depend on the commits only, never on how the machine is set up
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
}

_FETCH = (
    "--quiet",
    "--stdin",
    "--no-tags",
    "--no-recurse-submodules",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
)
_PUSH = ("--quiet", "--no-verify", "--no-follow-tags", "--no-signed", "--recurse-submodules=no")

_log = logging.getLogger(__name__)


@dataclass
class Bare:
    """A bare repository that one process uses at a time, and in it one task at a time, between `in_use`.

    A lock on it is taken with the first use and held until `close`. Every git inherits the lock, so that one which
    outlives a killed bot keeps the next bot from working beside it.

    Attributes:
        folder: Where it is; its own. Made when it is first used.
        url: The server's repository, as git takes it.
        git: The git program, with a key that may write.
    """

    folder: Path
    url: str
    git: Git
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    _lock: int | None = field(default=None, init=False, repr=False)
    _is_sound: bool = field(default=False, init=False, repr=False)
    """Whether the last use ended well; else a killed git may have left its own lock files."""

    def close(self) -> None:
        """Let another process use it."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
        self._is_sound = False

    @contextlib.asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """Use it while the block runs.

        Raises:
            MirrorBusyError: another process uses it.
            MirrorError: git is too old.
        """
        async with self._turn:
            if not self._is_sound:
                await self._prepare()
            self._is_sound = False
            yield
            self._is_sound = True

    async def run(
        self, *args: str, stdin: str | None = None, env: Mapping[str, str] | None = None, seconds: float = 0
    ) -> bytes:
        """Run ``git ARGS`` here, as if nobody had configured anything.

        Args:
            args: The subcommand and its arguments.
            stdin: What it reads.
            env: Variables to set besides.
            seconds: It may take so long, if that is more than usual.
        """
        return await self._git(args, stdin, _LOCAL | dict(env or {}), seconds)

    async def refs(self, patterns: Iterable[str]) -> dict[str, str]:
        """Return full name -> object of the server's refs, read now; see `Git.remote_refs`."""
        return await self.git.remote_refs(self.url, patterns)

    async def kinds(self, objects: Iterable[str]) -> Mapping[str, str]:
        """Return object -> its kind, or ``missing``."""
        out = await self.run(
            "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin="\n".join(checked(*objects)) + "\n"
        )
        return parsing.kinds(out)

    async def fetch(self, objects: Iterable[str], tips: Mapping[str, str]) -> set[str]:
        """Fetch objects, and tips of targets to be kept, all at once.

        Args:
            objects: By full id, so that nothing else comes when a ref moves meanwhile.
            tips: Target -> its tip.

        Returns:
            Those that the server does not have (any more) and that are not here.
        """
        wanted = set(checked(*objects, *tips.values()))
        kept = {tip: _kept(target) for target, tip in tips.items()}
        absent: set[str] = set()
        while wanted:
            specs = [f"+{sha}:{kept[sha]}" if sha in kept else sha for sha in sorted(wanted)]
            try:
                await self._transfer("fetch", *_FETCH, "--", self.url, stdin="\n".join(specs) + "\n")
            except GitError as error:
                gone = parsing.absent_objects(error.stderr) & wanted
                if not gone:
                    raise
                absent |= gone
                wanted -= gone
            else:
                break
        kinds = await self.kinds(absent) if absent else {}
        return {sha for sha in absent if kinds[sha] == "missing"}

    async def push(self, moves: Mapping[str, tuple[str, str]], *, atomic: bool = True) -> None:
        """Push to the server, and never over anything else than what is expected there.

        Args:
            moves: Full name of a ref -> (object to move it to, object that it must stand at), each empty for none.
            atomic: All or nothing.
        """
        checked(*(sha for move in moves.values() for sha in move if sha))
        leases = [f"--force-with-lease={ref}:{old}" for ref, (_, old) in moves.items()]
        specs = [f"{new}:{ref}" for ref, (new, _) in moves.items()]
        # a single ref is moved at once anyhow, also by servers that do not know the word
        together = ["--atomic"] if atomic and len(moves) > 1 else []
        await self._transfer("push", *_PUSH, *together, *leases, "--", self.url, *specs)

    async def _prepare(self) -> None:
        """Take the lock, make the repository, and clear away what killed gits left."""
        if self._lock is None:
            if (version := parsing.version(await self.git.run("version"))) < OLDEST_GIT:
                raise MirrorError(
                    f"git {'.'.join(map(str, OLDEST_GIT))} or newer is needed for merging without a work tree, "
                    f"this is {'.'.join(map(str, version))}: install a newer git where the bot runs"
                )
            make_private_folder(self.folder)
            self._lock = _locked(self.folder / _OWN_LOCK)
        # whoever made them is dead: it would hold our lock
        for stale in _lock_files(self.folder):
            _log.warning("removed %s, which a killed git left", stale)
            stale.unlink(missing_ok=True)
        await self.run("init", "--quiet", "--bare", "--template=", "--initial-branch=main")

    async def _transfer(self, *args: str, stdin: str | None = None) -> bytes:
        """Run a git that talks to the server: with the user's own settings, which may name a proxy."""
        return await self._git(args, stdin, {"GIT_NO_REPLACE_OBJECTS": "1"}, TRANSFER_SECONDS)

    async def _git(self, args: Sequence[str], stdin: str | None, env: Mapping[str, str], seconds: float) -> bytes:
        return await replace(self.git, timeout=max(self.git.timeout, seconds)).run(
            *args,
            cwd=self.folder,
            stdin=None if stdin is None else stdin.encode("utf-8", "replace"),
            env={"GIT_DIR": str(self.folder), **env},
            pass_fds=() if self._lock is None else (self._lock,),
        )


def checked(*shas: str) -> tuple[str, ...]:
    """Return full object ids as they are.

    Raises:
        ValueError: one is something else.
    """
    for sha in shas:
        if not is_sha(sha):
            raise ValueError(f"{sha!r} is no full object id")
    return shas


_OWN_LOCK = "autogate.lock"


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise MirrorBusyError(
            f"another process uses {path.parent}: if it is another bot, give each its own AUTOGATE_STATE; if it is a "
            "git that a killed bot left behind, it is waited for"
        ) from None
    return descriptor


def _lock_files(folder: Path) -> list[Path]:
    """Return git's lock files, which stand beside its own files, its refs and the lists of its objects."""
    places = [folder.glob("*.lock"), (folder / "refs").rglob("*.lock"), (folder / "objects").glob("*/*.lock")]
    own = folder / _OWN_LOCK
    return [path for place in places for path in place if path != own] + [*folder.glob("gc.pid")]


def _kept(target: str) -> str:
    # a hash, since `a` and `a/b` cannot both be refs though a target may be renamed from one to the other
    return TARGETS + hashlib.sha256(target.encode()).hexdigest()
