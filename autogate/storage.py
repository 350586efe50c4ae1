"""Files that are there whole or not at all."""

import os
import tempfile
from pathlib import Path


def make_private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, each open to its owner only.

    Raises:
        OSError: it cannot be made.
    """
    # mkdir(parents=True) would leave the ones in between open to all
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(exist_ok=True)  # says so when it is a file


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, at once (rename(2)), and make its folders likewise.

    Raises:
        OSError: it cannot be written; the old file, if any, is as it was.
    """
    make_private_folder(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
