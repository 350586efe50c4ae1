"""Writing into the secrets folder.

Containers run as another user than the one who owns the secrets, and get them as single files or subfolders mounted
from here. So the files are readable by all (0644), and what protects them is the folder round them, which nobody but
its owner can enter (0700) and which such a mount passes by.
"""

import os
import stat
import tempfile
from pathlib import Path

from .failures import Failure


def close_to_others(folder: Path) -> None:
    """Make the secrets folder, or take everybody else's rights from the one that is there.

    Raises:
        Failure: it belongs to somebody else, or is one that all may use, such as /tmp.
        OSError: it cannot be made or changed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if not status.st_mode & 0o077:
        return
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX:
        raise Failure(f"{folder} is open to other users and not yours to close", "choose another folder with --secrets")
    folder.chmod(0o700)


def place(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write a file with mode 0644, whole or not at all.

    Raises:
        FileExistsError: it is there already, and ``replace`` is not set.
        OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # unlike rename(2) it never overwrites
    finally:
        temporary.unlink(missing_ok=True)
