"""Check out exactly one revision, from a bare mirror that is kept on the worker."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from autogate.git import cure, environment, is_sha, parse_ls_remote, without_userinfo
from custom_steps.on_worker.shared import Done, Report, Stop, locked, remove, run, say

REVISIONS = "refs/autogate/revisions"
"""Each revision that was fetched completely has a ref here: git moves refs only once all objects are there."""

BRANCH = "refs/autogate/branch"
KEPT_REVISIONS = 200
MANY_PACKS = 30
MANY_LOOSE = 30
"""Files in one of the 256 folders of loose objects."""

REFUSED = re.compile(r"not our ref|unadvertised object|[Cc]ouldn't find remote ref|did not send all necessary objects")
NO_BRANCH = re.compile(r"[Cc]ouldn't find remote ref")
BAD_IN_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{")

# No hook, filter process or background work of anybody's: only git itself runs.
QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.fsmonitor=false")


class MirrorBroken(Exception):
    """The mirror cannot be used as it is; it is made anew."""


@dataclass(frozen=True)
class Wanted:
    """What to check out.

    Attributes:
        url: The repository.
        revision: The commit; empty for the branch's tip.
        branch: The branch; empty for the repository's HEAD.
    """

    url: str
    revision: str
    branch: str


def main(parameters: Report) -> Report:
    """Check out the revision in the current folder, and return which ``revision`` that was.

    Args:
        parameters: ``url``, ``revision``, ``branch``, ``submodules``, and the worker's folder ``cache``.
    """
    os.environ.update(environment())
    tree = Path.cwd()
    wanted = Wanted(parameters["url"], parameters["revision"], parameters["branch"])
    if wanted.revision and not is_sha(wanted.revision):
        raise Stop(
            "infrastructure", f"{wanted.revision[:80]!r} is no full commit id\nStart the build with the commit's full id."
        )
    if not wanted.revision:
        wanted = Wanted(wanted.url, _tip(wanted), wanted.branch)
    mirror = Mirror(Path(parameters["cache"]) / "mirrors" / hashlib.sha256(wanted.url.encode()).hexdigest()[:32])
    with mirror.hold():
        for last_try in (False, True):
            try:
                mirror.provide(wanted)
                mirror.share()
                _check_out(tree, mirror.folder, wanted)
                break
            except MirrorBroken as broken:
                if last_try:
                    raise Stop(
                        "infrastructure",
                        f"git cannot read what it fetched: {str(broken).strip().splitlines()[-1:]}\nThe mirror "
                        f"{mirror.folder} was made anew and that did not help: look at the worker's disk.\n{broken}",
                    ) from None
                say(f"the mirror is damaged and is made anew: {broken}")
                mirror.insist()
                remove(mirror.folder)
    if parameters["submodules"]:
        _submodules()
    return {"revision": wanted.revision}


class Mirror:
    """A bare repository with the objects of one url, used by one build at a time to fetch and by any number to read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = -1

    @contextlib.contextmanager
    def hold(self) -> "contextlib._GeneratorContextManager[None]":  # type: ignore[misc]
        """Lock it, at first for this build alone."""
        with locked(self.folder.with_name(self.folder.name + ".lock"), exclusive=True) as descriptor:
            assert descriptor is not None  # noqa: S101 - it waits
            self._lock = descriptor
            yield

    def share(self) -> None:
        """Let others read it."""
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def insist(self) -> None:
        """Wait until nobody else uses it."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
