"""What git prints, read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MOST_PATHS = 1000
"""So many paths of a merge or a conflict are kept."""

MERGE_PARENTS = 2

_VERSION = re.compile(rb"git version (\d+)\.(\d+)")
_SIDE = re.compile(rb"~[0-9a-f]{40,64}(?:_\d+)?$")
_ABSENT = re.compile(r"(?:not our ref|unadvertised object) ([0-9a-f]{40,64})")


@dataclass(frozen=True)
class Description:
    """A commit, as far as people are shown it: the subject of its message and its author's name."""

    title: str
    author: str


def version(output: bytes) -> tuple[int, int]:
    """Return git's version from what ``git version`` printed; (0, 0) when it cannot be told."""
    found = _VERSION.match(output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def conflicting_paths(output: bytes) -> tuple[str, ...]:
    """Return the paths from what ``git merge-tree --write-tree -z`` printed of a merge that conflicts.

    It prints the tree, a section of ``<mode> <object> <stage> TAB <path>``, and a section of messages, each with a
    count of paths, the paths, its type and its text (git-merge-tree(1)). Not every conflict leaves something in the
    first section, such as two different renames of one folder: then those that the messages name are returned.
    A file that is in the way of a folder is listed as ``<path>~<commit>``; it is returned under its own name.
    """
    stages, _, messages = output.partition(b"\0\0")
    entries = stages.split(b"\0")[1:]
    paths = [entry.partition(b"\t")[2] for entry in entries] or list(_paths_of_messages(messages or b""))
    return shown_paths([_SIDE.sub(b"", path) for path in paths])


def _paths_of_messages(messages: bytes) -> Iterator[bytes]:
    fields = iter(messages.split(b"\0"))
    for count in fields:
        if not count.isdigit():
            return
        paths = [next(fields, b"") for _ in range(int(count))]
        kind, _text = next(fields, b""), next(fields, b"")
        if kind.startswith(b"CONFLICT"):
            yield from paths


def names(output: bytes) -> tuple[str, ...]:
    """Return the paths from what ``git diff-tree --name-only -z`` printed."""
    return shown_paths(output.split(b"\0")[:-1])


def shown_paths(paths: Sequence[bytes]) -> tuple[str, ...]:
    """Return the first different paths as text; a byte that is no UTF-8 becomes a replacement character."""
    return tuple(path.decode("utf-8", "replace") for path in dict.fromkeys(paths) if path)[:MOST_PATHS]


def kinds(output: bytes) -> Mapping[str, str]:
    """Return object -> its kind, or ``missing``, from what ``git cat-file --batch-check`` printed."""
    fields = (line.split() for line in output.decode("ascii", "replace").splitlines())
    return {found[0]: found[1] for found in fields if len(found) >= 2}  # noqa: PLR2004  (name and kind)


def descriptions(output: bytes) -> Mapping[str, Description]:
    """Return commit -> description from NUL-separated triples of SHA, author and subject."""
    fields = output.decode("utf-8", "replace").split("\0")
    triples = zip(fields[::3], fields[1::3], fields[2::3], strict=False)
    return {sha: Description(title=title, author=author) for sha, author, title in triples}


def parents(output: bytes) -> list[tuple[str, tuple[str, ...]]]:
    """Return (commit, its parents) in the order of ``git rev-list --parents``."""
    lines = (line.split() for line in output.decode("ascii").splitlines())
    return [(commit, tuple(rest)) for commit, *rest in lines]


def absent_objects(stderr: str) -> set[str]:
    """Return the objects that a fetch failed for because the server does not have them (any more)."""
    return set(_ABSENT.findall(stderr))
