"""What a change touches, as git sees it."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from autogate.gitwords import is_sha

from .git import GitError, Objects, run
from .model import ChangedFile

MAX_RENAMES = 3000
"""Files added and deleted up to which git looks for similar ones; beyond it finds only those that are the same."""

LINK = "120000"
GITLINK = "160000"
_REGULAR = "100"
"""What the mode of a regular file begins with."""

_NO_MODE = "000000"
_SUFFIXES = (".py", ".pyi")
_SHEBANG = re.compile(rb"#![^\n]*python")
_PATCH = re.compile(rb"^(?:\+\+\+ (.+)|@@ -\S+ \+(\d+)(?:,(\d+))? @@.*)$", re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPED = dict(zip(b"abtnvfr", b"\a\b\t\n\v\f\r", strict=True))
_DIFF = (
    "diff",
    "--no-relative",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--ignore-submodules=dirty",
    "--find-renames",
    "--find-copies",
    f"-l{MAX_RENAMES}",
)
_AT_ONCE = 2000
"""Files whose names git gets in one command: a kernel takes no more than some 100,000 words and 2 MB."""

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """What git says of one path (git-diff(1), "Raw output format").

    Attributes:
        status: ``A``, ``C``, ``D``, ``M``, ``R``, ``T`` or ``U``.
        before: The path before; None when there was none.
        before_mode: Its mode, of six octal digits.
        before_blob: Its id.
        after: The path after; None when there is none.
        after_mode: Its mode.
        after_blob: Its id; empty when git has not hashed it, as it is only on disk.
    """

    status: str
    before: str | None
    before_mode: str
    before_blob: str
    after: str | None
    after_mode: str
    after_blob: str


@dataclass(frozen=True)
class Change:
    """What is to be judged: the work tree, or the index, compared with a commit.

    Attributes:
        root: The work tree's folder.
        base: The commit before.
        base_tree: Its tree.
        files: The Python files that are touched, as far as they were asked for. The path before is that of a renamed
            file's old name, and of a copied file's source.
        others: All other paths that are touched, whatever was asked for: configuration, links, submodules, folders'
            files of any kind.
        after_tree: The tree of the index, when that is what is judged; None for the work tree.
        differences: All that git says, whatever was asked for.
        since: When the look at the files began, in nanoseconds since the epoch.
    """

    root: str
    base: str
    base_tree: str
    files: tuple[ChangedFile, ...]
    others: tuple[str, ...]
    after_tree: str | None
    differences: tuple[Difference, ...] = field(default=(), repr=False)
    since: int = 0

    @cached_property
    def added_lines(self) -> Mapping[str, frozenset[int]]:
        """Path after -> lines, from 1, of each of `files` that the change adds or alters, where there are any.

        Raises:
            GitError: git failed.
        """
        found: dict[str, frozenset[int]] = {}
        asked = {each.after for each in self.files if each.after is not None}
        pairs = [
            [name for name in (each.before, each.after) if name] for each in self.differences if each.after in asked
        ]
        prefix = f"{os.urandom(8).hex()}/"  # which no line of any file can be taken for
        patch = (*_DIFF, "--unified=0", "--inter-hunk-context=0", "--diff-algorithm=histogram", "--text")
        for start in range(0, len(pairs), _AT_ONCE):
            names = [name for pair in pairs[start : start + _AT_ONCE] for name in pair]
            to = ("--cached",) if self.after_tree is not None else ()
            out = run(self.root, *patch, f"--dst-prefix={prefix}", *to, "--end-of-options", self.base, "--", *names)
            found |= parse_patch(out, prefix)
        for each in self.differences:
            if each.after in asked and each.status == "A" and not each.after_blob and each.after not in found:
                found[each.after] = _all_lines(os.path.join(self.root, each.after))
        return found


def find_change(folder: str, base: str | None, *, staged: bool, paths: Sequence[str] = ()) -> Change:
    """Return what was changed since a commit.

    Args:
        folder: Somewhere in the work tree.
        base: The commit before, by any name that git knows; None for HEAD.
        staged: Whether to look at the index instead of the work tree. A file with a conflict is none in the index; in
            the work tree it is what stands on disk.
        paths: Files and folders, relative to ``folder``, that `Change.files` is restricted to; none for all. In the
            work tree a file named here may be one that git does not track; it counts as added.

    Raises:
        GitError: there is no such commit, repository or path, or a conflict in the index is not resolved.
    """
    since = time.time_ns()
    root, git_dir, commit, tree = _begin(folder, base)
    found = differences(root, commit, staged=staged)
    if unmerged := sorted({each.after or "" for each in found if each.status == "U"}):
        shown = ", ".join(unmerged[:_SHOWN]) + (", …" if len(unmerged) > _SHOWN else "")
        raise GitError(f"there are conflicts in {shown}", "resolve them and `git add` the files first")
    wanted = [_within(folder, root, path) for path in paths]
    found += _untracked(root, wanted, found, staged=staged)
    is_python = _Python(root, found, staged=staged)
    files, others = [], []
    for each in found:
        old, new = (None if each.status == "C" else each.before), each.after  # what a copy comes from stays as it is
        before = each.before if is_python.before(each) else None
        after = each.after if is_python.after(each) else None
        if (after or (before and old)) and (not wanted or _asked_for(wanted, each)):
            files.append(ChangedFile(before, after))
        others += [path for path, kept in ((old, before), (new, after)) if path is not None and kept is None]
    return Change(
        root,
        commit,
        tree,
        tuple(files),
        tuple(dict.fromkeys(others)),
        _index_tree(root, git_dir) if staged else None,
        tuple(found),
        since,
    )


def differences(root: str, base: str, *, staged: bool, env: Mapping[str, str] | None = None) -> list[Difference]:
    """Return how the work tree, or the index, differs from a commit or a tree.

    Like any `git diff` it brings the index up to date with the times of the files, where nobody else has it locked.

    Args:
        root: The work tree's folder.
        base: The id of the commit or tree.
        staged: Whether to look at the index instead of the work tree.
        env: Variables that tell git where the repository is.
    """
    cached = ("--cached",) if staged else ()
    variables = {"GIT_OPTIONAL_LOCKS": "1", **(env or {})}
    out = run(root, *_DIFF, "--raw", "-z", "--no-abbrev", *cached, "--end-of-options", base, "--", env=variables)
    return parse_raw(os.fsdecode(out))


def parse_raw(text: str) -> list[Difference]:
    """Return what ``git diff --raw -z --no-abbrev`` printed."""
    fields = iter(text.split("\0"))
    found = []
    for head in fields:
        if not head:
            break
        before_mode, after_mode, before_blob, after_blob, status = head[1:].split(" ")
        before = after = next(fields)
        if status[0] in "CR":
            after = next(fields)
        found.append(
            Difference(
                status[0],
                before if before_mode != _NO_MODE else None,
                before_mode,
                before_blob,
                after if after_mode != _NO_MODE or status == "U" else None,
                after_mode,
                after_blob if after_blob.strip("0") else "",
            )
        )
    return found


def added_lines(change: Change, file: ChangedFile) -> frozenset[int]:
    """Return the lines, from 1, of a changed file that the change adds or alters; none of a deleted file."""
    return change.added_lines.get(file.after, frozenset()) if file.after is not None else frozenset()


def parse_patch(patch: bytes, prefix: str) -> dict[str, frozenset[int]]:
    """Return path after -> lines after, from 1, that a patch without context adds or alters.

    Args:
        patch: What ``git diff --patch --unified=0`` printed.
        prefix: What it was told to put before each path after; no line of any file begins with it.
    """
    found: dict[str, set[int]] = {}
    lines: set[int] = set()
    for name, start, count in _PATCH.findall(patch):
        if not name:
            lines.update(range(int(start), int(start) + (int(count) if count else 1)))
        elif (path := _unquoted(name)).startswith(prefix):
            lines = found.setdefault(path.removeprefix(prefix), set())
        elif name == b"/dev/null":
            lines = set()
    return {path: frozenset(lines) for path, lines in found.items() if lines}


def _unquoted(name: bytes) -> str:
    """Return the path that git prints as ``name`` behind ``+++``."""
    if name.startswith(b'"'):
        name = _ESCAPE.sub(_unescaped, name[1 : name.rindex(b'"')])
    elif b" " in name:
        name = name.removesuffix(b"\t")  # by which git marks the end of a name with a space
    return os.fsdecode(name)


def _unescaped(match: re.Match[bytes]) -> bytes:
    character = match[1]
    return bytes([int(character, 8) if len(character) > 1 else _ESCAPED.get(character[0], character[0])])


def _begin(folder: str, base: str | None) -> tuple[str, str, str, str]:
    """Return the work tree's folder, the repository's, the base commit and its tree."""
    name = "HEAD" if base is None else base
    if not name or name.startswith("-") or "\0" in name or "\n" in name:
        raise GitError(f"{name!r} is no revision", "name a commit, a branch or a tag")
    places = ("--show-toplevel", "--absolute-git-dir", "--is-shallow-repository")
    try:
        out = run(folder, "rev-parse", *places, f"{name}^{{commit}}", f"{name}^{{tree}}")
    except GitError as error:
        lines = os.fsdecode(error.out).split("\n")
        if len(lines) <= len(places):
            raise
        raise _unknown(base, shallow="true" in lines) from None
    root, git_dir, shallow, commit, tree, *rest = os.fsdecode(out).split("\n")
    if shallow not in {"true", "false"}:
        raise GitError(f"there is a line break in the path of {root!r}", "move the clone")
    if rest != [""] or not is_sha(commit) or not is_sha(tree):
        raise _unknown(base, shallow=shallow == "true")
    return root, git_dir, commit, tree


def _unknown(base: str | None, *, shallow: bool) -> GitError:
    if base is None:
        return GitError("there is no commit yet", "commit something first: a change is compared with a commit")
    if shallow:
        cure = "this clone is shallow: get the rest with `git fetch --unshallow`, or more with `git fetch --deepen=N`"
    else:
        cure = "name a commit, a branch or a tag that `git log` shows; `git fetch` it first where it is a remote one"
    return GitError(f"there is no commit {base!r} here", cure)


def _within(folder: str, root: str, path: str) -> str:
    """Return a path that the user gave as one relative to the root; empty for the root itself."""
    absolute = os.path.normpath(os.path.join(os.path.realpath(folder), path))
    if absolute == root:
        return ""
    if not absolute.startswith(root.rstrip("/") + "/"):
        raise GitError(f"{path} is outside {root}", "name files and folders of the repository that you are in")
    return os.path.relpath(absolute, root)


def _asked_for(wanted: Sequence[str], difference: Difference) -> bool:
    return any(
        not path or name == path or name.startswith(f"{path}/")
        for path in wanted
        for name in (difference.before, difference.after)
        if name is not None
    )


def _untracked(root: str, wanted: list[str], found: list[Difference], *, staged: bool) -> list[Difference]:
    """Return the files that were asked for and that git does not track; every other wanted path is looked at, too."""
    untouched = [path for path in wanted if path and not any(_asked_for([path], each) for each in found)]
    if not untouched:
        return []
    tracked = _listed(root, "--cached", untouched)
    new = []
    for path in untouched:
        if any(name == path or name.startswith(f"{path}/") for name in tracked):
            continue
        if not os.path.lexists(os.path.join(root, path)):
            raise GitError(f"there is no {path} in {root}", "name files and folders relative to where you are")
        if staged and not os.path.isdir(os.path.join(root, path)):
            raise GitError(f"{path} is not in the index", "stage it with `git add`, or leave out --staged")
        if path in _listed(root, "--others", [path]):
            link = os.path.islink(os.path.join(root, path))
            new.append(Difference("A", None, _NO_MODE, "", path, LINK if link else "100644", ""))
    return new


def _listed(root: str, which: str, paths: Sequence[str]) -> list[str]:
    return os.fsdecode(run(root, "ls-files", "-z", which, "--", *paths)).split("\0")[:-1]


class _Python:
    """Which sides of the differences are Python files."""

    def __init__(self, root: str, found: Sequence[Difference], *, staged: bool) -> None:
        self._root = root
        self._staged = staged
        asked = [each.before_blob for each in found if _is_script(each.before, each.before_mode)]
        if staged:
            asked += [each.after_blob for each in found if _is_script(each.after, each.after_mode)]
        with Objects(root) as objects:
            self._scripts = {blob for blob in asked if _SHEBANG.match(objects.read(blob) or b"")}

    def before(self, each: Difference) -> bool:
        if _is_script(each.before, each.before_mode):
            return each.before_blob in self._scripts
        return _is_module(each.before, each.before_mode)

    def after(self, each: Difference) -> bool:
        if not _is_script(each.after, each.after_mode):
            return _is_module(each.after, each.after_mode)
        if self._staged:
            return each.after_blob in self._scripts
        return _SHEBANG.match(_first_bytes(os.path.join(self._root, each.after or ""))) is not None


def _is_module(path: str | None, mode: str) -> bool:
    return path is not None and mode.startswith(_REGULAR) and path.endswith(_SUFFIXES)


def _is_script(path: str | None, mode: str) -> bool:
    """Tell whether it takes a look into the file to know."""
    return path is not None and mode.startswith(_REGULAR) and "." not in path.rpartition("/")[2].lstrip(".")


def _first_bytes(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 256)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _all_lines(path: str) -> frozenset[int]:
    with open(path, "rb") as file:
        content = file.read()
    return frozenset(range(1, content.count(b"\n") + (not content.endswith(b"\n") and content != b"") + 1))


def _index_tree(root: str, git_dir: str) -> str:
    """Return the tree of the index, and leave the index itself and its lock alone."""
    import shutil  # noqa: PLC0415 - both cost 8 ms, and most runs look at the work tree
    import tempfile  # noqa: PLC0415

    index = os.path.join(root, os.environ.get("GIT_INDEX_FILE") or os.path.join(git_dir, "index"))
    with tempfile.TemporaryDirectory(prefix="autogate-lint-") as folder:
        copy = os.path.join(folder, "index")
        if os.path.exists(index):  # there is none before the first `git add`
            shutil.copyfile(index, copy)
        return run(root, "write-tree", env={"GIT_INDEX_FILE": copy}).decode("ascii").strip()
