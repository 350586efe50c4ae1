"""Records on disk that can be done without: any of them may be missing, damaged or impossible to write."""

import contextlib
import hashlib
import marshal
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

DAY = 86400.0
DIGEST_BYTES = 16
LENGTH_BYTES = 8
MARSHAL_VERSION = 4
"""Every Python from 3.4 on reads it."""

FRESH = ".new"
"""The end of a file's name while it is written."""

FRESH_SECONDS = 3600.0
"""A file that is written for longer than this was left by a process that was killed."""

MARKER = "tidied"
PLACE = "store"
"""The folder in the cache's folder that is nobody else's."""


class Store:
    """Files of records below one folder, readable by this user alone.

    A record is made of None, booleans, numbers, texts, bytes, tuples, lists and dictionaries. It is marshalled, which
    takes a third of the time that JSON takes to read; since damaged data could crash marshal, and anybody's data could
    be made to, each record has a checksum and the folder one owner.

    Any number of processes may read and write at once: a file is replaced as a whole, and the last writer wins.

    Args:
        folder: Absolute; the records are in a folder of their own in it, made when something is written.

    Attributes:
        folder: That folder.
        trouble: Why something could not be written, in a sentence; empty while all goes well.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.join(folder, PLACE)
        self.trouble = ""
        self._now = time.time()
        self._usable = self._ours()

    def read(self, name: str) -> Iterator[Any]:
        """Give the records of a file in the order in which they were written, each checked as it is reached.

        A damaged file ends there and is removed; a missing one has no records.

        Args:
            name: Relative to the folder.
        """
        path = f"{self.folder}/{name}"
        try:
            if not self._usable:
                return
            with open(path, "rb", buffering=0) as file:
                age = self._now - os.fstat(file.fileno()).st_mtime
                data = memoryview(file.readall())
        except OSError:
            return
        start = 0
        while start < len(data) or not start:
            middle = start + DIGEST_BYTES + LENGTH_BYTES
            end = middle + int.from_bytes(data[start + DIGEST_BYTES : middle], "big")
            record = data[middle:end]
            if _digest(record) != data[start : start + DIGEST_BYTES] or end > len(data):
                self.remove(name)
                return
            if age > DAY:  # what is used stays
                age = 0.0
                _quietly_touch(path)
            yield marshal.loads(record)  # noqa: S302  (it is what this user wrote)
            start = end

    def write(self, name: str, records: Iterable[object]) -> None:
        """Replace the records of a file; when that is impossible, `trouble` says why.

        Args:
            name: Relative to the folder.
            records: At least one.
        """
        if not self._usable:
            return
        path = f"{self.folder}/{name}"
        fresh = f"{path}.{os.urandom(6).hex()}{FRESH}"
        data = b"".join(map(_framed, records))
        try:
            try:
                _create(fresh, data)
            except FileNotFoundError:
                os.makedirs(self.folder, mode=0o700, exist_ok=True)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                _create(fresh, data)
            os.replace(fresh, path)
        except OSError as error:
            _quietly_remove(fresh)
            self.trouble = self.trouble or (
                f"nothing new can be kept below {self.folder}: {error.strerror or error}; "
                "free some space there or name another folder"
            )

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        _quietly_remove(f"{self.folder}/{name}")

    def tidy(self, max_bytes: int, max_age: float) -> None:
        """Once a day, remove the files that were not used for longest; at other times do nothing.

        Args:
            max_bytes: What may remain in all.
            max_age: Seconds; files that were not used for so long go in any case. A use is seen to within a day.
        """
        marker = f"{self.folder}/{MARKER}"
        try:
            if not self._usable or abs(self._now - os.stat(marker).st_mtime) < DAY:
                return
        except OSError:
            pass  # never tidied
        self.write(MARKER, [None])  # first, so that no other process begins, too
        left = max_bytes
        for mtime, size, path in sorted(_files(self.folder), reverse=True):
            age = self._now - mtime
            fresh = path.endswith(FRESH)
            left -= 0 if fresh else size
            if age > (FRESH_SECONDS if fresh else max_age) or (left < 0 and not fresh):
                _quietly_remove(path)

    def _ours(self) -> bool:
        """Whether the folder is this user's or not yet there; what others can put there is not to be trusted."""
        try:
            state = os.stat(self.folder)
            if state.st_uid == os.geteuid():
                if state.st_mode & 0o077:
                    os.chmod(self.folder, 0o700)
                return True
        except FileNotFoundError:
            return True
        except OSError as error:
            self.trouble = f"{self.folder} cannot be used: {error.strerror}; name another folder"
            return False
        self.trouble = f"{self.folder} belongs to another user; name a folder of your own"
        return False


def _digest(record: bytes | memoryview) -> bytes:
    return hashlib.blake2b(record, digest_size=DIGEST_BYTES).digest()


def _framed(record: object) -> bytes:
    data = marshal.dumps(record, MARSHAL_VERSION)  # type: ignore[arg-type]  # `Store` says what records are made of
    return b"".join((_digest(data), len(data).to_bytes(LENGTH_BYTES, "big"), data))


def _create(path: str, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)


def _files(folder: str) -> Iterator[tuple[float, int, str]]:
    """Give (mtime, size in bytes, path) of each file below a folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path)
                    continue
                try:
                    state = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # another process removed it
                yield state.st_mtime, state.st_size, entry.path
    except OSError:
        return


def _quietly_remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _quietly_touch(path: str) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)
