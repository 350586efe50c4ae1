"""Trees written out to the cache folder, each in a slot that is moved along from tree to tree."""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from .git import GitError, run
from .model import Side
from .submodules import find_submodules

KEPT_SECONDS = 14 * 86400
"""How long a slot may go unused."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_ALL_FILES = (
    "-c",
    "core.sparseCheckout=false",
    "-c",
    "core.ignoreCase=false",
    "-c",
    "core.splitIndex=false",
    "-c",
    "submodule.recurse=false",
)
"""Every file of the tree, whatever the clone itself leaves out, and no part of the index in the clone."""

_CONVERSION = r"^(core\.(autocrlf|eol|symlinks|attributesfile)|filter\..*)$"
_ATTRIBUTES = re.compile(rb"\d{6} ([0-9a-f]+) 0\t(?:[^\0]*/)?\.gitattributes\0")
_GITLINKS = re.compile(rb"160000 ([0-9a-f]+) 0\t([^\0]*)\0")
_MODULES = re.compile(rb"(?:\A|\0)100\d{3} ([0-9a-f]+) 0\t\.gitmodules\0")


@dataclass(frozen=True)
class Snapshot:
    """A tree on disk.

    Attributes:
        path: Its folder, absolute.
        missing: The submodules whose commits the clone does not have; their folders are empty.
    """

    path: str
    missing: tuple[str, ...] = ()


@dataclass
class _State:
    """What a slot holds; nothing is known of one that is new, or whose writer was stopped.

    Attributes:
        conversions: By path of the submodule, empty for the repository itself: what decides how git writes files.
        missing: The submodules whose folders are empty.
    """

    tree: str = ""
    conversions: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Slot:
    """A folder for one tree at a time.

    Attributes:
        folder: Where it is.
        lock: The descriptor of its lock.
    """

    folder: str
    lock: int

    @property
    def tree(self) -> str:
        """The folder of the tree."""
        return os.path.join(self.folder, "tree")


@contextlib.contextmanager
def snapshot(cache: str, root: str, tree: str, *, side: Side) -> Iterator[Snapshot]:
    """Have a tree on disk, for nobody else as long as the context lasts.

    It stands in a slot below the cache folder that is moved along from one tree to the next: one that holds this very
    tree if there is one, else the one used last. The clone's configuration applies as in a checkout (line ends,
    filters), but nothing in the clone changes. What anybody else did to the files of the slot is undone.

    Args:
        cache: The cache folder; it need not exist.
        root: The work tree's folder, or a git folder.
        tree: The id of the commit or tree.
        side: Which side it is for: each has slots of its own.

    Raises:
        GitError: the tree cannot be written, such as when the disk is full.
    """
    git_dir, common = os.fsdecode(run(root, "rev-parse", "--absolute-git-dir", "--git-common-dir")).split("\n")[:2]
    identity = os.path.realpath(os.path.join(root, common))
    trees = os.path.join(os.path.realpath(cache), "trees")
    home = os.path.join(trees, hashlib.sha256(os.fsencode(identity)).hexdigest()[:20])
    with contextlib.ExitStack() as stack:
        with _explained(home):
            slot = stack.enter_context(_free_slot(home, side, tree))
            missing = _bring(slot, git_dir, tree, trees)
        yield Snapshot(slot.tree, tuple(missing))


def evict(trees: str, unused_for: float = KEPT_SECONDS) -> None:
    """Delete the slots that nobody uses, and that nobody used for some time.

    Args:
        trees: The folder ``trees`` of the cache folder.
        unused_for: Seconds.
    """
    before = time.time() - unused_for
    for home in _folders(trees):
        for folder in _folders(home):
            with contextlib.suppress(OSError), _locked(folder) as slot:  # what resists is tried again some day
                if slot is not None and _used(folder) < before:
                    _remove(folder)
        with contextlib.suppress(OSError):  # there are others in it
            os.rmdir(home)


def _bring(slot: _Slot, git_dir: str, tree: str, trees: str) -> list[str]:
    """Write a tree to a slot, and return the submodules that are missing."""
    state = _read_state(slot.folder)
    if not state.tree:
        evict(trees)
    _forget_state(slot.folder)
    try:
        after = _move(slot, git_dir, tree, state.conversions)
    except (GitError, OSError) as error:
        if not state.tree or _is_full(error):
            raise
        _remove(slot.tree)  # whatever is wrong with it (the index is damaged, a folder is closed), it is not the tree's
        after = _move(slot, git_dir, tree, {})
    after.tree = tree
    _write_state(slot.folder, after)
    return after.missing


def _move(slot: _Slot, git_dir: str, tree: str, conversions: Mapping[str, str]) -> _State:
    after = _State()
    waiting = [("", git_dir, tree)]
    for path, place, wanted in waiting:
        index = os.path.join(slot.folder, f"index-{hashlib.sha256(os.fsencode(path)).hexdigest()[:20]}")
        folder = os.path.join(slot.tree, path)
        env = {"GIT_DIR": place, "GIT_WORK_TREE": folder, "GIT_INDEX_FILE": index}
        _unlink(f"{index}.lock")
        if path not in conversions:
            _unlink(index)
        os.makedirs(folder, exist_ok=True)
        entries = _read_tree(slot, folder, env, wanted)
        conversion = _conversion(folder, env, entries)
        if conversions.get(path, conversion) != conversion:
            _unlink(index)
            _read_tree(slot, folder, env, wanted)
        run(folder, *_ALL_FILES, "clean", "-ffdxq", env=env, hold=(slot.lock,))
        after.conversions[path] = conversion
        gitlinks = {os.fsdecode(name): sha.decode("ascii") for sha, name in _GITLINKS.findall(entries)}
        found = _modules(place, env, gitlinks, entries)
        for name, sha in gitlinks.items():
            inner = os.path.join(path, name)
            if name in found:
                waiting.append((inner, found[name], sha))
            else:
                after.missing.append(inner)
                _remove(os.path.join(slot.tree, inner))
                os.mkdir(os.path.join(slot.tree, inner))
    return after


def _read_tree(slot: _Slot, folder: str, env: Mapping[str, str], tree: str) -> bytes:
    """Write what is not as in the tree, and return all its entries as `git ls-files` prints them."""
    run(folder, *_ALL_FILES, "read-tree", "--reset", "-u", tree, env=env, hold=(slot.lock,))
    return run(folder, "ls-files", "--stage", "-z", env=env)


def _conversion(folder: str, env: Mapping[str, str], entries: bytes) -> str:
    """Return a digest of what decides how the content of a blob is written to a file."""
    digest = hashlib.sha256(run(folder, "config", "-z", "--get-regexp", _CONVERSION, env=env, ok=(0, 1)))
    digest.update(b"\0".join(_ATTRIBUTES.findall(entries)))
    with contextlib.suppress(FileNotFoundError), open(os.path.join(env["GIT_DIR"], "info/attributes"), "rb") as file:
        digest.update(file.read())
    return digest.hexdigest()


def _modules(place: str, env: Mapping[str, str], gitlinks: Mapping[str, str], entries: bytes) -> dict[str, str]:
    """Return path -> git folder of the submodules whose commits the clone has."""
    if not gitlinks:
        return {}
    blob = _MODULES.search(entries)
    repository = {"GIT_DIR": env["GIT_DIR"]}
    found = find_submodules(place, blob[1].decode("ascii") if blob else None, gitlinks, repository)
    return {
        path: where
        for path, where in found.items()
        if run(
            where, "rev-parse", "--quiet", "--verify", f"{gitlinks[path]}^{{tree}}", env={"GIT_DIR": where}, ok=(0, 1)
        )
    }


@contextlib.contextmanager
def _free_slot(home: str, side: Side, tree: str) -> Iterator[_Slot]:
    """Lock the best slot that is free; there is always a new one."""
    ours = [folder for folder in _folders(home) if os.path.basename(folder).startswith(f"{side}-")]
    ours.sort(key=lambda folder: (_read_state(folder).tree != tree, -_used(folder)))
    for folder in itertools.chain(ours, (os.path.join(home, f"{side}-{number}") for number in itertools.count())):
        with _locked(folder) as slot:
            if slot is not None:
                yield slot
                return


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[_Slot | None]:
    """Hold a slot; None when somebody else holds it or has just deleted it. The lock goes with the process."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.path.samestat(os.fstat(descriptor), os.stat(path))
        except (BlockingIOError, FileNotFoundError):
            there = False
        yield _Slot(folder, descriptor) if there else None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(home: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = "give this user the right to write there, or name another cache folder"
        if _is_full(error):
            cure = "free some space, or name a cache folder on another disk"
        raise GitError(f"cannot write to {home} ({error.strerror})", cure) from error


def _is_full(error: GitError | OSError) -> bool:
    return error.is_full if isinstance(error, GitError) else error.errno in _FULL


def _read_state(folder: str) -> _State:
    try:
        with open(_state_file(folder), encoding="ascii") as file:
            return _State(**json.load(file))
    except (OSError, ValueError, TypeError):
        return _State()


def _write_state(folder: str, state: _State) -> None:
    path = _state_file(folder)
    with open(f"{path}.new", "w", encoding="ascii") as file:
        json.dump(asdict(state), file)
    os.replace(f"{path}.new", path)


def _forget_state(folder: str) -> None:
    """Whoever finds no state knows that somebody was stopped while writing."""
    _unlink(_state_file(folder))


def _state_file(folder: str) -> str:
    return os.path.join(folder, "state.json")


def _used(folder: str) -> float:
    """Return when a slot was used last, in seconds since the epoch."""
    for path in (_state_file(folder), folder):
        with contextlib.suppress(OSError):
            return os.stat(path).st_mtime
    return 0


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove(path: str) -> None:
    """Delete a folder with all that is in it, also where it is closed to its owner; links are not followed."""
    import shutil  # noqa: PLC0415 - it costs 6 ms, and is hardly ever needed

    if os.path.islink(path) or not os.path.isdir(path):
        _unlink(path)
        return
    os.chmod(path, 0o700)
    for folder, names, _ in os.walk(path):
        for name in names:
            inner = os.path.join(folder, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)
    shutil.rmtree(path)
