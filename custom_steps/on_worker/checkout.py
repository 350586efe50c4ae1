"""Check out exactly one revision, from a bare mirror that is kept on the worker."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from autogate.gitwords import HEADS, cure, environment, is_sha, parse_ls_remote, without_userinfo
from custom_steps.on_worker.shared import Done, Report, Stop, locked, remove, run, say

REVISIONS = "refs/autogate/revisions"
"""Each revision that was fetched completely has a ref here: git moves refs only once all objects are there."""

BRANCH = "refs/autogate/branch"
KEPT_REVISIONS = 200
SHA256_DIGITS = 64
GITLINK = "160000 "
"""The mode of a submodule in the index."""

MANY_PACKS = 30
MANY_LOOSE = 30
"""Files in one of the 256 folders of loose objects."""

REFUSED = re.compile(r"not our ref|unadvertised object|[Cc]ouldn't find remote ref")
FULL = re.compile(r"No space left on device|Disk quota exceeded")
DAMAGE = re.compile(
    r"unable to (?:read|find|parse|access)|bad (?:object|tree|index|sha1|signature)|corrupt|inflate|loose object"
    r"|packfile|not a (?:valid|tree)|missing|is not a commit|invalid (?:object|reference|tree)|unknown revision",
    re.IGNORECASE,
)
NO_BRANCH = re.compile(r"[Cc]ouldn't find remote ref")
BAD_IN_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{")

# No hook, filter process or background work of anybody's: only git itself runs.
QUIET = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "core.fsmonitor=false",
)


class MirrorBrokenError(Exception):
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
            "configuration",
            f"{wanted.revision[:80]!r} is no full commit id\nStart the build with the commit's full id.",
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
            except MirrorBrokenError as broken:
                if last_try:
                    raise Stop(
                        "infrastructure",
                        f"git cannot read what it fetched: {_last_line(str(broken))}\nThe mirror "
                        f"{mirror.folder} was made anew and that did not help: look at the worker's disk.\n{broken}",
                    ) from None
                say(f"the mirror is damaged and is made anew: {broken}")
                mirror.discard()
    if parameters["submodules"]:
        _submodules()
    return {"revision": wanted.revision}


class Mirror:
    """A bare repository with the objects of one url, used by one build at a time to fetch and by any number to read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = -1

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Lock it, at first for this build alone."""
        with locked(self.folder.with_name(self.folder.name + ".lock"), exclusive=True) as descriptor:
            assert descriptor is not None  # noqa: S101 - it waits
            self._lock = descriptor
            yield

    def share(self) -> None:
        """Let others read it."""
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def discard(self) -> None:
        """Delete it, once nobody else reads it."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        remove(self.folder)

    def provide(self, wanted: Wanted) -> None:
        """Have the revision and all its history here.

        Raises:
            Stop: it is not to be had.
            MirrorBrokenError: the mirror is at fault.
        """
        ref = f"{REVISIONS}/{wanted.revision}"
        if self._git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").code == 0:
            say(f"the mirror has {wanted.revision}")
            return
        if self._git("rev-parse", "--git-dir").code != 0 or not (self.folder / "objects").is_dir():
            self._create(wanted)
        self._tidy()
        exact = self._fetch(wanted, f"+{wanted.revision}:{ref}")
        if exact.code == 0:
            return
        if not REFUSED.search(exact.err):
            self._diagnose(wanted, exact)
        self._from_branch(wanted, ref)

    def _from_branch(self, wanted: Wanted, ref: str) -> None:
        short = wanted.revision[:12]
        gone = f"superseded: {short} is no longer in the repository"
        if not wanted.branch or BAD_IN_BRANCH.search(wanted.branch):
            raise Stop(
                "superseded", f"{gone}\nNothing is wrong with this worker: start a build of a commit that is there."
            )
        fetched = self._fetch(wanted, f"+{HEADS}{wanted.branch}:{BRANCH}")
        if fetched.code != 0:
            if not NO_BRANCH.search(fetched.err):
                self._diagnose(wanted, fetched)
            raise Stop("superseded", f"superseded: {wanted.branch} was deleted, and {short} went with it")
        if self._git("merge-base", "--is-ancestor", wanted.revision, BRANCH).code != 0:
            tip = self._git("rev-parse", BRANCH).out.strip()[:12]
            raise Stop(
                "superseded", f"{gone}: {wanted.branch} was forced to {tip}\nThe newer commit has a build of its own."
            )
        if self._git("update-ref", ref, wanted.revision).code != 0:
            raise MirrorBrokenError(f"cannot keep {wanted.revision}")

    def _create(self, wanted: Wanted) -> None:
        remove(self.folder)
        # No template: a hook of the machine's has no business here.
        made = run(["git", "init", "--quiet", "--bare", "--template=", *_object_format(wanted), "--", str(self.folder)])
        if made.code != 0:
            raise Stop("infrastructure", f"git init failed\nIs git 2.32 or later on the worker?\n{made.err}")

    def _tidy(self) -> None:
        """Clear away what a killed fetch left; the lock says that none is running."""
        packs = self.folder / "objects" / "pack"
        for pattern, folder in (("*.lock", self.folder), ("tmp_*", packs), ("*.keep", packs)):
            for path in folder.glob(pattern):
                remove(path)
        for path in (self.folder / "refs").rglob("*.lock"):
            remove(path)
        kept = self.folder / REVISIONS
        refs = sorted(kept.iterdir(), key=lambda ref: ref.stat().st_mtime) if kept.is_dir() else []
        for ref in refs[:-KEPT_REVISIONS]:
            remove(ref)
        loose = self.folder / "objects" / "17"
        if len(list(packs.glob("*.pack"))) > MANY_PACKS or (loose.is_dir() and len(list(loose.iterdir())) > MANY_LOOSE):
            say("packing the mirror")
            self._git("repack", "-d", "--geometric=2", "--quiet")

    def _fetch(self, wanted: Wanted, refspec: str) -> Done:
        say(f"$ git fetch {without_userinfo(wanted.url)} {refspec}")
        done = self._git(
            "fetch", "--quiet", "--no-write-fetch-head", "--no-recurse-submodules", "--", wanted.url, refspec
        )
        if done.code != 0:
            say(without_userinfo(done.err.rstrip()))
        return done

    def _diagnose(self, wanted: Wanted, failed: Done) -> NoReturn:
        """Tell an unreachable repository and a full disk from a broken mirror."""
        if FULL.search(failed.err):
            raise Stop("infrastructure", f"the worker's disk is full\nFree some space on the worker.\n{failed.err}")
        _ls_remote(wanted)
        raise MirrorBrokenError(failed.err.strip() or f"git fetch ended with {failed.code}")

    def _git(self, *args: str) -> Done:
        return run(["git", *QUIET, f"--git-dir={self.folder}", *args], hold=(self._lock,))


def _ls_remote(wanted: Wanted) -> Done:
    refs = [HEADS + wanted.branch] if wanted.branch else ["HEAD"]
    done = run(["git", "ls-remote", "--", wanted.url, *refs])
    if done.code != 0:
        words = without_userinfo(done.err).strip()
        lines = [line for line in words.splitlines() if line.strip()] or [f"git ls-remote ended with {done.code}"]
        advice = cure(words) or "see what git says below"
        first = next((line for line in lines if cure(line)), lines[0])
        raise Stop("infrastructure", f"cannot read the repository: {first}\n{advice}\n\n{words}")
    return done


def _tip(wanted: Wanted) -> str:
    done = _ls_remote(wanted)
    if wanted.branch:
        tip = parse_ls_remote(done.out.encode("utf-8", "surrogateescape"), [wanted.branch]).get(wanted.branch, "")
    else:
        tip = next((line.split("\t")[0] for line in done.out.splitlines() if line.endswith("\tHEAD")), "")
    if not is_sha(tip):
        raise Stop(
            "superseded",
            f"the repository has no {wanted.branch or 'HEAD'}\nThe build names no commit, and its branch is gone.",
        )
    return tip


def _check_out(tree: Path, mirror: Path, wanted: Wanted) -> None:
    """Make the work tree hold exactly the revision.

    The ``.git`` folder is made anew each time: it costs nothing, since the objects are the mirror's, and no lock,
    setting or hook that an earlier build left can matter. Only the index is kept, outside the work tree, so that git
    writes no file that is right already.
    """
    saved = tree.with_name(tree.name + ".index")
    tags = run(["git", f"--git-dir={mirror}", "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags"]).out
    said = ""
    for afresh in (False, True):
        if afresh:
            say(f"the working directory cannot be updated and is made anew: {said}")
            remove(saved)
            for entry in tree.iterdir():
                remove(entry)
        _make_git_folder(tree / ".git", mirror, wanted, tags)
        if saved.exists():
            # With its times: git compares them with the files' to find those that changed in the same instant.
            shutil.copy2(saved, tree / ".git" / "index")
        for args in (("checkout", "--quiet", "--force", "--detach", wanted.revision, "--"), ("clean", "-ffdxq")):
            done = run(["git", *QUIET, *args], cwd=tree)
            if done.code != 0:
                said = done.err.strip() or f"git {args[0]} ended with {done.code}"
                break
        else:
            _empty_submodules(tree)
            fresh = saved.with_name(saved.name + ".new")
            shutil.copy2(tree / ".git" / "index", fresh)
            fresh.replace(saved)
            say(f"HEAD is {wanted.revision}")
            return
    if FULL.search(said):
        raise Stop("infrastructure", f"the worker's disk is full\nFree some space on the worker.\n{said}")
    if DAMAGE.search(said):
        raise MirrorBrokenError(said)
    raise Stop("infrastructure", f"git cannot check out {wanted.revision[:12]}\nSee what git says.\n\n{said}")


def _make_git_folder(folder: Path, mirror: Path, wanted: Wanted, tags: str) -> None:
    remove(folder)
    (folder / "refs" / "heads").mkdir(parents=True)
    (folder / "objects" / "info").mkdir(parents=True)
    (folder / "objects" / "info" / "alternates").write_text(f"{mirror / 'objects'}\n")
    url = wanted.url.replace("\\", "\\\\").replace('"', '\\"')
    version, extensions = (1, "[extensions]\n\tobjectFormat = sha256\n") if _object_format(wanted) else (0, "")
    (folder / "config").write_text(
        f"[core]\n\trepositoryFormatVersion = {version}\n\tbare = false\n{extensions}"
        f'[remote "origin"]\n\turl = "{url}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
    )
    (folder / "packed-refs").write_text(tags, errors="surrogateescape")
    (folder / "HEAD").write_text(f"{wanted.revision}\n")


def _empty_submodules(tree: Path) -> None:
    """Empty the folders of submodules: git never touches them, and their own repositories went with ``.git``."""
    if not (tree / ".gitmodules").is_file():
        return
    for entry in run(["git", "ls-files", "--stage", "-z"], cwd=tree).out.split("\0"):
        info, _, path = entry.partition("\t")
        if info.startswith(GITLINK):
            remove(tree / path)
            (tree / path).mkdir(parents=True)


def _submodules() -> None:
    say("$ git submodule update --init --recursive --force")
    done = run(["git", *QUIET, "submodule", "--quiet", "update", "--init", "--recursive", "--force"])
    if done.code == 0:
        return
    words = without_userinfo(done.err).strip()
    if REFUSED.search(words) or "did not contain" in words:
        raise Stop("change", f"a submodule's commit is not in its repository\nPush it there first.\n\n{words}")
    raise Stop(
        "infrastructure", f"the submodules cannot be checked out\n{cure(words) or 'See what git says.'}\n\n{words}"
    )


def _object_format(wanted: Wanted) -> list[str]:
    return ["--object-format=sha256"] if len(wanted.revision) == SHA256_DIGITS else []


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
