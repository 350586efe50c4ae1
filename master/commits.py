"""Commits as a Buildbot change shows them: parsing of git's plumbing, pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from autogate.gitwords import is_sha, trailer
from autogate.names import BASE_TRAILER

MAX_PERSON = 255
"""Characters of an author: the columns of Buildbot's ``changes`` table that hold one are this wide."""

MAX_COMMENTS = 16_384
"""Characters of a message that are kept."""

MAX_FILES = 1000
"""Names of changed files that are kept."""

MAX_FILE_NAME = 1024
"""Characters of a file's name: the width of Buildbot's ``change_files.filename``."""

MAX_BATCH = 1000
"""How far back along the first parents a batch's base is looked for."""

MAX_WHEN = 2**31 - 1
"""Buildbot's ``changes.when_timestamp`` is a 32-bit integer on PostgreSQL."""

_PERSON = re.compile(r"(?P<who>.*?>?) (?P<when>-?\d+) [-+]\d+")


@dataclass(frozen=True)
class Commit:
    """A commit.

    Attributes:
        sha: Its name.
        parents: Its parents' names.
        author: ``Name <mail>``, at most `MAX_PERSON` characters.
        committer: The same.
        when: When it was committed, in seconds since the epoch, within what Buildbot can store.
        comments: The message, cut at `MAX_COMMENTS` characters.
        base: The SHA that its ``Autogate-Base:`` trailer names, not yet verified; empty without one.
    """

    sha: str
    parents: tuple[str, ...]
    author: str
    committer: str
    when: int
    comments: str
    base: str


def parse_batch(output: bytes) -> Commit:
    """Read the one commit that ``git cat-file --batch`` printed.

    Bytes that are not in the commit's encoding (UTF-8 unless it names one) are replaced, not refused: the change must
    be made whatever the message looks like.

    Raises:
        ValueError: git found no such object, or it is no commit.
    """
    head, _, rest = output.partition(b"\n")
    fields = head.decode("utf-8", "replace").split(" ")
    if len(fields) != 3 or fields[1] != "commit":  # noqa: PLR2004
        raise ValueError(f"git knows no such commit: {' '.join(fields)[:200]}")
    header, _, message = rest[: int(fields[2])].partition(b"\n\n")
    lines = [line.partition(b" ") for line in header.split(b"\n")]
    first = {key: value for key, _, value in reversed(lines)}
    encoding = first.get(b"encoding", b"utf-8").decode("ascii", "replace")
    author, _ = _person(first.get(b"author", b""), encoding)
    committer, when = _person(first.get(b"committer", b""), encoding)
    text = _decode(message, encoding).strip()
    base = trailer(text, BASE_TRAILER)
    return Commit(
        sha=fields[0],
        parents=tuple(value.decode("ascii", "replace") for key, _, value in lines if key == b"parent"),
        author=author,
        committer=committer,
        when=when,
        comments=text if len(text) <= MAX_COMMENTS else text[:MAX_COMMENTS] + "\n[cut here]",
        base=base if is_sha(base) else "",
    )


def base_of(commit: Commit, first_parents: Sequence[str]) -> str:
    """Return the commit that ``commit`` is compared with; empty for a root commit.

    That is its first parent, or the target's tip that a batch names, if that stands in the batch's first-parent chain.

    Args:
        commit: The commit.
        first_parents: The SHAs of its first-parent chain, without itself.
    """
    if commit.base and commit.base in first_parents:
        return commit.base
    return commit.parents[0] if commit.parents else ""


def parse_names(output: bytes) -> list[str]:
    """Return the first `MAX_FILES` names that ``git diff-tree -z --name-only`` printed, odd bytes in hexadecimal."""
    names = output.split(b"\0", MAX_FILES)[:MAX_FILES]
    return [name.decode("utf-8", "backslashreplace")[:MAX_FILE_NAME] for name in names if name]


def _person(value: bytes, encoding: str) -> tuple[str, int]:
    text = _decode(value, encoding)
    found = _PERSON.fullmatch(text)
    who, when = (found["who"], int(found["when"][:20])) if found else (text, 0)
    return who[:MAX_PERSON], min(max(when, 0), MAX_WHEN)


def _decode(value: bytes, encoding: str) -> str:
    try:
        text = value.decode(encoding, "replace")
    except (LookupError, ValueError):
        # No such encoding, or one that is not for text or knows no replacement.
        text = value.decode("utf-8", "replace")
    # PostgreSQL stores no NUL, and no half of a surrogate pair.
    return text.replace("\0", "").encode("utf-8", "replace").decode()
