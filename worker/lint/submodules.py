"""Where the repositories of submodules are."""

import os
import re
from collections.abc import Collection, Mapping

from .git import GitError, run

_PATH = re.compile(r"submodule\.(.*)\.path\n(.*)", re.DOTALL)


def find_submodules(
    root: str, modules_blob: str | None, paths: Collection[str], env: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return path -> git folder of the submodules that this clone has.

    Args:
        root: The work tree's folder, or the git folder itself.
        modules_blob: The id of ``.gitmodules``; None when there is none.
        paths: The paths of the submodules that are asked for.
        env: Variables that tell git where the repository is.

    Raises:
        GitError: the repository cannot be read.
    """
    out = run(root, "rev-parse", "--absolute-git-dir", "--git-common-dir", env=env)
    git_dir, common = os.fsdecode(out).split("\n")[:2]
    homes = dict.fromkeys((git_dir, os.path.join(root, common)))
    names = _names(root, modules_blob, env) if modules_blob else {}
    found = {}
    for path in paths:
        places = [os.path.join(home, "modules", names[path]) for home in homes if path in names]
        places.append(os.path.join(root, path, ".git"))
        for place in places:
            if os.path.isdir(os.path.join(place, "objects")):
                found[path] = place
                break
    return found


def _names(root: str, blob: str, env: Mapping[str, str] | None) -> dict[str, str]:
    """Return path -> name; a name that would lead out of the folder of modules is none, as for git."""
    try:
        out = run(root, "config", f"--blob={blob}", "-z", "--get-regexp", r"^submodule\..*\.path$", env=env, ok=(0, 1))
    except GitError:
        return {}  # no configuration at all: git would not know its submodules either
    entries = filter(None, map(_PATH.fullmatch, os.fsdecode(out).split("\0")))
    return {match[2]: match[1] for match in entries if ".." not in match[1].split("/") and not match[1].startswith("/")}
