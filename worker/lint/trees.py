"""The files of one side: as a commit has them, or as they stand on disk."""

import abc
import hashlib
import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from .change import GITLINK, LINK, Difference, differences
from .git import GitError, Objects, finish, start
from .submodules import find_submodules

Kind = Literal["file", "folder", "link"]

CLOCK_NS = 20_000_000
"""How far the times of files may be behind the clock: a tick of the kernel's, at 100 a second, and as much again."""

_CACHE = "__pycache__"
_SKIPPED = {".git", _CACHE}
_BLOB = len("100644 blob ")
_COMMIT = len("160000 commit ")


class _Tree(abc.ABC):
    """What both trees have in common: folders, and symbolic links, which are followed inside the tree only."""

    def __init__(self) -> None:
        self._real: dict[str, str | None] = {"": ""}
        self._following: set[str] = set()
        self._stems: dict[str, dict[str, tuple[str, ...]]] = {}

    def blob(self, path: str) -> str | None:
        """Return a file's blob id, as `model.Tree` says."""
        real = self._resolve(path)
        return self._blob(real) if real is not None and self._kind(real) == "file" else None

    def entries(self, folder: str, stem: str) -> tuple[str, ...]:
        """Return the entries of a folder by their stem, as `model.Tree` says.

        A symbolic link that leads to a folder of the tree has a slash at its end, any other has none. On disk an empty
        folder is an entry (Python takes it for a package); git has none. ``.git`` and ``__pycache__`` are none.
        """
        stems = self._stems.get(folder)
        if stems is None:
            stems = self._stems[folder] = self._by_stem(folder)
        return stems.get(stem, ())

    def read(self, path: str) -> bytes | None:
        """Return a file's content, as `model.Tree` says."""
        real = self._resolve(path)
        return self._content(real) if real is not None and self._kind(real) == "file" else None

    def is_settled(self, path: str) -> bool:  # noqa: ARG002 - the work tree's depends on it
        """Tell whether what anybody reads of a file now is what its blob id stands for; a commit never changes."""
        return True

    def _by_stem(self, folder: str) -> dict[str, tuple[str, ...]]:
        real = self._resolve(folder)
        if real is None:
            return {}
        found: dict[str, list[str]] = {}
        for name, kind in self._listing(real).items():
            if kind == "link":
                target = self._resolve(_join(real, name))
                is_folder = target is not None and self._kind(target) == "folder"
            else:
                is_folder = kind == "folder"
            found.setdefault(name.partition(".")[0], []).append(f"{name}/" if is_folder else name)
        return {stem: tuple(sorted(names)) for stem, names in found.items()}

    def _kind(self, real: str) -> Kind | None:
        if not real:
            return "folder"
        folder, _, name = real.rpartition("/")
        return self._listing(folder).get(name)

    def _resolve(self, path: str) -> str | None:
        """Return the path of what is there, without symbolic links; None when the tree has no such thing."""
        if path in self._real:
            return self._real[path]
        folder, _, name = path.rpartition("/")
        above = self._resolve(folder)
        real = None
        if above is not None:
            here = _join(above, name)
            kind = self._listing(above).get(name)
            if kind == "link":
                real = self._follow(here)
            elif kind is not None:
                real = here
        if not self._following:  # what is found in the middle of a circle of links is not true for its other members
            self._real[path] = real
        return real

    def _follow(self, link: str) -> str | None:
        target = self._target(link)
        if link in self._following or target.startswith("/"):
            return None
        self._following.add(link)
        try:
            here: str | None = link.rpartition("/")[0]
            for part in target.split("/"):
                if here is None or self._kind(here) != "folder" or (part == ".." and not here):
                    return None
                if part == "..":
                    here = here.rpartition("/")[0]
                elif part not in {"", "."}:
                    here = self._resolve(_join(here, part))
            return here
        finally:
            self._following.remove(link)

    @abc.abstractmethod
    def _listing(self, folder: str) -> Mapping[str, Kind]:
        """Return what is in a folder whose path has no link in it; nothing when there is no such folder."""

    @abc.abstractmethod
    def _target(self, link: str) -> str:
        """Return where a link leads."""

    @abc.abstractmethod
    def _blob(self, path: str) -> str | None:
        """Return the blob id of a file that is no link."""

    @abc.abstractmethod
    def _content(self, path: str) -> bytes | None:
        """Return the content of a file that is no link."""


class GitTree(_Tree):
    """The files of a commit or tree; those of its submodules too, as far as the clone has them.

    Git starts to list them at once, and they are read when the first is asked for.

    Args:
        root: The work tree's folder, or a git folder.
        tree: The id of the commit or tree.
        env: Variables that tell git where the repository is.
    """

    def __init__(self, root: str, tree: str, env: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.tree = tree
        self._root = root
        self._env = env
        self._objects = Objects(root, env)
        self._process = start(root, "ls-tree", "-r", "-z", "--full-tree", tree, env=env)
        self._files: dict[str, str] | None = None
        self._links: dict[str, str] = {}
        self._gitlinks: dict[str, str] = {}
        self._folders: dict[str, dict[str, Kind]] = {}
        self._modules: dict[str, GitTree] | None = None

    @property
    def files(self) -> Mapping[str, str]:
        """Path -> blob id of the regular files, without those of submodules, in git's order.

        Raises:
            GitError: the tree cannot be read.
        """
        if self._files is None:
            self._files = self._parse(os.fsdecode(finish(self._process)))
        return self._files

    @property
    def modules(self) -> "Mapping[str, GitTree]":
        """Path -> tree of the submodules that the clone has at their commits."""
        if self._modules is None:
            self._modules = {}
            blob = self.files.get(".gitmodules")
            places = find_submodules(self._root, blob, self._gitlinks, self._env) if self._gitlinks else {}
            for path, place in places.items():
                module = GitTree(place, self._gitlinks[path], {"GIT_DIR": place})
                try:
                    _ = module.files
                except GitError:
                    continue  # it is not checked out, or never was at this commit
                self._modules[path] = module
        return self._modules

    @property
    def env(self) -> Mapping[str, str]:
        """The variables that tell git where the repository is."""
        return self._env or {}

    def blob(self, path: str) -> str | None:
        """Return a file's blob id, as `model.Tree` says."""
        found = self.files.get(path)
        if found is None and (self._links or self._gitlinks):
            return super().blob(path)
        return found

    def close(self) -> None:
        """End git's processes; they start again when they are needed again."""
        self._objects.close()
        for module in (self._modules or {}).values():
            module.close()

    def _parse(self, listing: str) -> dict[str, str]:
        files = {}
        for entry in listing.split("\0")[:-1]:
            head, path = entry.split("\t", 1)
            if head.startswith("100"):
                files[path] = head[_BLOB:]
            elif head.startswith(LINK):
                self._links[path] = head[_BLOB:]
            elif head.startswith(GITLINK):
                self._gitlinks[path] = head[_COMMIT:]
        if _CACHE in listing:
            for known in (files, self._links, self._gitlinks):
                for path in [path for path in known if _CACHE in path.split("/")]:
                    del known[path]
        return files

    def _listing(self, folder: str) -> Mapping[str, Kind]:
        if not self._folders:
            self._folders = _folders(self.files, self._links, self._gitlinks)
        if folder in self._folders:
            return self._folders[folder]
        tree, path = self._owner(folder)
        return tree._listing(path) if tree is not self else {}  # noqa: SLF001 - one of its own kind

    def _target(self, link: str) -> str:
        tree, path = self._owner(link)
        return os.fsdecode(tree._objects.read(tree._links[path]) or b"")  # noqa: SLF001 - one of its own kind

    def _blob(self, path: str) -> str | None:
        tree, inner = self._owner(path)
        return tree.files.get(inner)

    def _content(self, path: str) -> bytes | None:
        tree, inner = self._owner(path)
        blob = tree.files.get(inner)
        return tree._objects.read(blob) if blob else None  # noqa: SLF001 - one of its own kind

    def _owner(self, path: str) -> "tuple[GitTree, str]":
        """Return the tree that has a path, which may be a submodule's, and the path in it."""
        if self._gitlinks and (below := _below(self._gitlinks, path)) and below[0] in self.modules:
            return self.modules[below[0]]._owner(below[1])  # noqa: SLF001 - one of its own kind
        return self, path


class WorkTree(_Tree):
    """The files on disk.

    A file that is tracked and clean has the blob id that git knows; any other has ``w`` and a SHA-256 of its content.
    Where git converts line ends, a clean file's need not be those that a fresh checkout would have.

    Args:
        root: The work tree's folder.
        base: A tree of the repository's.
        found: All the differences between that tree and the work tree, such as `Change.differences`.
        since: When they were looked for, in nanoseconds since the epoch, such as `Change.since`; now by default.
    """

    def __init__(self, root: str, base: GitTree, found: Sequence[Difference], since: int | None = None) -> None:
        super().__init__()
        self._since = (time.time_ns() if since is None else since) - CLOCK_NS
        self._root = root
        self._base = base
        self._altered = _altered(found)
        self._hashes: dict[str, str | None] = {}
        self._listings: dict[str, Mapping[str, Kind]] = {}
        self._modules: dict[str, WorkTree] = {}

    def is_settled(self, path: str) -> bool:
        """Tell whether nobody has written to a file since the tree was looked at, or shortly before.

        What anybody read of a file that is not settled need not be what its blob id stands for: keep it nowhere.
        """
        try:
            return os.stat(os.path.join(self._root, path)).st_ctime_ns < self._since
        except OSError:
            return self.blob(path) is None

    def _listing(self, folder: str) -> Mapping[str, Kind]:
        found = self._listings.get(folder)
        if found is None:
            found = self._listings[folder] = _scan(os.path.join(self._root, folder))
        return found

    def _target(self, link: str) -> str:
        try:
            return os.readlink(os.path.join(self._root, link))
        except OSError:
            return "/"  # it is no link any more

    def _blob(self, path: str) -> str | None:
        known = self._altered.get(path)
        if known is None:
            known = self._base.files.get(path)
        if known:
            return known
        if (below := _below(self._base.modules, path)) and (module := self._module(below[0])):
            return module._blob(below[1])  # noqa: SLF001 - one of its own kind
        if path not in self._hashes:
            content = self._content(path)
            self._hashes[path] = _hash(content) if content is not None else None
        return self._hashes[path]

    def _content(self, path: str) -> bytes | None:
        try:
            with open(os.path.join(self._root, path), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def _module(self, path: str) -> "WorkTree | None":
        """Return the work tree of a submodule that is checked out; None for one that is not."""
        if path not in self._modules:
            base = self._base.modules[path]
            root = os.path.join(self._root, path)
            if not os.path.lexists(os.path.join(root, ".git")):
                return None
            git_dir = base.env["GIT_DIR"]
            env = {**base.env, "GIT_WORK_TREE": root, "GIT_INDEX_FILE": os.path.join(git_dir, "index")}
            self._modules[path] = WorkTree(root, base, differences(root, base.tree, staged=False, env=env))
        return self._modules[path]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _below(roots: Collection[str], path: str) -> tuple[str, str] | None:
    """Return which of the folders a path is in, or is, and the path in there."""
    for root in roots:
        if path == root or path.startswith(f"{root}/"):
            return root, path[len(root) + 1 :]
    return None


def _folders(
    files: Mapping[str, str], links: Mapping[str, str], gitlinks: Mapping[str, str]
) -> dict[str, dict[str, Kind]]:
    """Return folder -> name -> kind."""
    found: dict[str, dict[str, Kind]] = {"": {}}

    def entries(folder: str) -> dict[str, Kind]:
        known = found.get(folder)
        if known is None:
            known = found[folder] = {}
            above, _, name = folder.rpartition("/")
            entries(above)[name] = "folder"
        return known

    kinds: tuple[tuple[Mapping[str, str], Kind], ...] = ((files, "file"), (links, "link"), (gitlinks, "folder"))
    for paths, kind in kinds:
        for path in paths:
            folder, _, name = path.rpartition("/")
            entries(folder)[name] = kind
    return found


def _altered(found: Sequence[Difference]) -> dict[str, str]:
    """Return path -> blob id, empty where git does not know it, of what is not as it was before."""
    altered = {}
    for each in found:
        if each.before is not None and each.status in "DR":
            altered[each.before] = ""  # it may still be there, untracked
    for each in found:
        if each.after is not None:
            altered[each.after] = each.after_blob if each.after_mode not in {LINK, GITLINK} else ""
    return altered


def _scan(folder: str) -> Mapping[str, Kind]:
    found: dict[str, Kind] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in _SKIPPED:
                    continue
                if entry.is_symlink():
                    found[entry.name] = "link"
                elif entry.is_dir(follow_symlinks=False):
                    found[entry.name] = "folder"
                elif entry.is_file(follow_symlinks=False):
                    found[entry.name] = "file"
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    return found


def _hash(content: bytes) -> str:
    return "w" + hashlib.sha256(b"blob %d\0%b" % (len(content), content)).hexdigest()
