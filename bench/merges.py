"""The real merges of ``lint_merges.toml``: where they come from, and the trees and environments they are linted in.

Repositories are cloned from their URLs, unless ``AUTOGATE_BENCH_REPOSITORIES`` names a folder that holds bare clones
with full history, called owner+name.git. Clones, work trees and environments are kept in ``AUTOGATE_BENCH_CACHE``, by
default ``~/.cache/autogate-bench``.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

RECIPE = Path(__file__).with_name("lint_merges.toml")
MAX_FILES = 20


@dataclass(frozen=True)
class Project:
    """A project of the recipe; `RECIPE` says what each word means."""

    name: str
    url: str
    tip: str
    paths: tuple[str, ...]
    packages: tuple[str, ...]
    merges: tuple[str, ...]


@dataclass(frozen=True)
class Ground:
    """Where a project's merges are linted.

    Attributes:
        project: The project.
        tree: A work tree of it.
        python: The interpreter of its environment, which leads to the tree as an editable install does.
    """

    project: Project
    tree: Path
    python: Path

    def git(self, *args: str) -> str:
        """Run git in the tree and return what it printed."""
        return _git(self.tree, *args)

    def check_out(self, commit: str) -> None:
        """Bring the tree to a commit, with nothing else in it."""
        self.git("checkout", "--quiet", "--force", "--detach", commit, "--")
        self.git("clean", "-ffdxq")

    def stage(self, merge: str) -> str:
        """Bring the tree to a merge, with ``HEAD`` soft-reset to its first parent as in a build; return that parent."""
        self.check_out(merge)
        self.git("reset", "--quiet", "--soft", f"{merge}^1", "--")
        return self.git("rev-parse", "HEAD")


@dataclass(frozen=True)
class Merge:
    """A merge and its ground."""

    ground: Ground
    sha: str

    @property
    def name(self) -> str:
        """Short, for people."""
        return f"{self.ground.project.name.partition('/')[2]} {self.sha[:10]}"


def projects() -> list[Project]:
    """Read the recipe."""
    with RECIPE.open("rb") as file:
        recipe = tomllib.load(file)
    return [
        Project(each["name"], each["url"], each["tip"], *(tuple(each[key]) for key in ("paths", "packages", "merges")))
        for each in recipe["projects"]
    ]


def cache_folder() -> Path:
    """Return where clones, trees and environments are kept."""
    named = os.environ.get("AUTOGATE_BENCH_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "autogate-bench"


@contextmanager
def prepared() -> Iterator[list[Merge]]:
    """Have every project's ground ready, alone on this machine, and give the merges.

    They come in turn from each project, from old to new, as a gate would see them; a part from the start is a fair
    sample.

    Raises:
        SystemExit: Another bench is at it, git or uv failed, or the recipe does not follow its own rule.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"bench: another run uses {folder}; wait for it, or set AUTOGATE_BENCH_CACHE to another folder")
        grounds = [_ground(project, folder) for project in projects()]
        columns = [[Merge(ground, sha) for sha in reversed(ground.project.merges)] for ground in grounds]
        yield [merge for row in zip(*columns, strict=True) for merge in row]


def spread(merges: Sequence[Merge], count: int) -> list[Merge]:
    """Return ``count`` merges, evenly spread over each project and over the projects."""
    columns: dict[str, list[Merge]] = {}
    for merge in merges:
        columns.setdefault(merge.ground.project.name, []).append(merge)
    shares = [len(range(start, count, len(columns))) for start in range(len(columns))]
    chosen = {
        merge.sha
        for column, share in zip(columns.values(), shares, strict=True)
        for merge in (column[(2 * number + 1) * len(column) // (2 * share)] for number in range(share))
    }
    return [merge for merge in merges if merge.sha in chosen]


def _ground(project: Project, folder: Path) -> Ground:
    place = folder / project.name.replace("/", "+")
    place.mkdir(exist_ok=True)
    repository = _repository(project, place)
    found = tuple(islice(_qualifying(repository, project.tip), len(project.merges)))
    if found != project.merges:
        sys.exit(f"bench: the merges of {project.name} in {RECIPE.name} are not those that its rule gives: {found}")
    tree = place / "tree"
    if not (tree / ".git").exists():
        shutil.rmtree(tree, ignore_errors=True)
        _git(place, "clone", "--quiet", "--shared", "--no-checkout", str(repository), str(tree))
    return Ground(project, tree, _environment(project, place, tree))


def _repository(project: Project, place: Path) -> Path:
    given = os.environ.get("AUTOGATE_BENCH_REPOSITORIES")
    if given:
        repository = Path(given).absolute() / f"{project.name.replace('/', '+')}.git"
        if not repository.is_dir():
            sys.exit(f"bench: AUTOGATE_BENCH_REPOSITORIES has no {repository.name}; clone {project.url} there, bare")
        return repository
    repository = place / "repository.git"
    if not repository.exists():
        print(f"bench: cloning {project.url}", file=sys.stderr)
        begun = place / "repository.begun"
        shutil.rmtree(begun, ignore_errors=True)
        _git(place, "clone", "--quiet", "--bare", project.url, str(begun))
        begun.rename(repository)
    return repository


def _qualifying(repository: Path, tip: str) -> Iterator[str]:
    """Give the merges that the recipe's rule allows, the newest first."""
    options = ("--first-parent", "--min-parents=2", "--max-parents=2", "--format=%H")
    for merge in _git(repository, "log", *options, tip, "--").splitlines():
        fields = _git(repository, "diff-tree", "-r", "-z", "--name-status", "--no-renames", f"{merge}^1", merge, "--")
        words = fields.split("\0")
        states = [state for state, path in zip(words[::2], words[1::2], strict=False) if path.endswith(".py")]
        if 1 <= len(states) <= MAX_FILES and any(state != "D" for state in states):
            yield merge


def _environment(project: Project, place: Path, tree: Path) -> Path:
    wanted = "\n".join([sys.version, *project.packages, *project.paths])
    folder = place / f"env-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        print(f"bench: making the environment of {project.name}", file=sys.stderr)
        _uv("venv", "--clear", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--no-deps", "--python", str(python), *project.packages)
        packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
        (packages / "project.pth").write_text("".join(f"{tree / path}\n" for path in project.paths))
        ready.touch()
    return python


def _uv(*args: str) -> None:
    _run([Path(sys.executable).parent / "uv", "--quiet", *args], None)


def _git(folder: Path, *args: str) -> str:
    return _run(["git", "-c", "advice.detachedHead=false", *args], folder)


def _run(command: Sequence[str | Path], folder: Path | None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: {' '.join(map(str, command[:4]))} … failed: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()
