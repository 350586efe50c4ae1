"""The warm, cached, parallel path says what fresh pylint processes say: on real releases, and on files gone wrong.

More of it: ``AUTOGATE_SAMENESS_FILES`` changed files of each release (0: all, and their dependents), and
``AUTOGATE_SAMENESS_EXAMPLES`` sets of mutations, by chance.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.fresh_pylint import Verdict, fresh_ones, ours
from tests.support.mutations import MUTATIONS
from tests.support.processes import BIN
from tests.support.repository import Repository

FILES = int(os.environ.get("AUTOGATE_SAMENESS_FILES", "2"))
EXAMPLES = int(os.environ.get("AUTOGATE_SAMENESS_EXAMPLES", "0"))
PYTHON = Path(sys.executable)

Place = tuple[str, str]
"""A side and a path."""


@dataclass(frozen=True)
class Release:
    """A wheel of the package index."""

    requirement: str
    sha256: str

    def unpack(self, folder: Path) -> None:
        """Install it into a folder, and nothing else."""
        wanted = folder.parent / f"{self.requirement}.txt"
        wanted.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--link-mode=copy"]
        command: list[str | Path] = [
            BIN / "uv",
            "pip",
            "install",
            *options,
            "--python",
            PYTHON,
            "--target",
            folder,
            "-r",
            wanted,
        ]
        subprocess.run(command, check=True)
        (folder / ".lock").unlink(missing_ok=True)


DANGEROUS = Release("itsdangerous==2.2.0", "c6242fc49e35958c8b15141343aa660db5fc54d4f13a1db01a3f5891b98700ef")
PAIRS = {
    "itsdangerous": (
        Release("itsdangerous==2.1.2", "2c2349112351b88699d8d4b6b075022c0808887cb7ad10069318a8b0bc88db44"),
        DANGEROUS,
    ),
    "requests": (
        Release("requests==2.31.0", "58cd2187c01e70e6e26505bca751777aa9f2ee0b7f4300988b709f44e013003f"),
        Release("requests==2.32.3", "70761cfe03c773ceb22aa2f671b4757976145175cdfca038c02654d061d6dcc6"),
    ),
    "blinker": (
        Release("blinker==1.8.2", "1779309f71bf239144b9399d06ae925637cf6634cf6bd131104184531bf67c01"),
        Release("blinker==1.9.0", "ba0efaa9080b619ff2f3459d1d500c57bddea4a6b424b60a91141db6fd2f08bc"),
    ),
}


@dataclass(frozen=True)
class Program:
    """``autogate-lint`` with a cache folder of its own."""

    repository: Repository
    cache: Path

    def judge(self, *options: str) -> tuple[dict[Place, Verdict], Mapping[str, Any]]:
        """Lint the work tree against ``HEAD``; return all judgements, and the figures."""
        raw = self.cache.with_name("raw.json")
        raw.unlink(missing_ok=True)
        done = self.call("--base=HEAD", "--format=json", f"--raw={raw}", *options)
        assert raw.exists(), done.stderr
        told = json.loads(raw.read_text("utf-8"))
        return {(each["side"], each["path"]): ours(each) for each in told}, json.loads(done.stdout)["figures"]

    def call(self, *options: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [BIN / "autogate-lint", f"--cache={self.cache}", f"--python={PYTHON}", *options]
        return subprocess.run(command, cwd=self.repository.tree, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Make a repository with a release in it, and a program with a server that is stopped at the end."""
    programs = []

    def begin(release: Release) -> Program:
        folder = tmp_path_factory.mktemp("sameness")
        repository = Repository.create(folder)
        release.unpack(repository.tree)
        repository.commit({}, release.requirement)
        programs.append(Program(repository, folder / "cache"))
        return programs[-1]

    yield begin
    for program in programs:
        program.call("--stop-server")


def assert_same(judged: Mapping[Place, Verdict], side: str, truth: Mapping[str, Verdict]) -> None:
    told = {path: verdict.lines() for (where, path), verdict in judged.items() if where == side}
    assert told == {path: verdict.lines() for path, verdict in truth.items()}


@pytest.mark.parametrize("name", PAIRS)
def test_releases_are_judged_as_by_fresh_processes(start: Any, name: str) -> None:
    old, new = PAIRS[name]
    program = start(old)
    repository = program.repository
    repository.git("rm", "-rq", ".")
    new.unpack(repository.tree)
    repository.git("add", "--all")
    changed = repository.git("diff", "--cached", "--name-only", "--diff-filter=M", "--", "*.py").splitlines()
    assert changed
    limits = ["--dependents=none", "--", *changed[:: max(1, len(changed) // FILES)][:FILES]] if FILES else []
    first, figures = program.judge(*limits)
    assert (figures["server"], figures["linted"]) == ("started", len(first))
    shutil.rmtree(program.cache / "store" / "results")
    warm, figures = program.judge(*limits)
    assert (figures["server"], figures["linted"]) == ("warm", len(warm))
    cached, figures = program.judge(*limits)
    assert (figures["linted"], figures["cached"]) == (0, len(warm))
    assert first == warm == cached
    for side in ("after", "before"):
        if side == "before":
            repository.git("checkout", "-q", "--force", "HEAD")
        paths = [path for where, path in warm if where == side]
        assert_same(warm, side, fresh_ones(repository.tree, paths, python=PYTHON))


class Laboratory:
    """A package whose files are mutated, and what fresh processes said of them before."""

    def __init__(self, program: Program) -> None:
        self.program = program
        tree = program.repository.tree
        self.originals = {str(path.relative_to(tree)): path.read_text("utf-8") for path in sorted(tree.rglob("*.py"))}
        self.before: dict[str, Verdict] = {}


@pytest.fixture(scope="module")
def laboratory(start: Any) -> Laboratory:
    return Laboratory(start(DANGEROUS))


def mutated(text: str, steps: list[tuple[int, int]]) -> str:
    for mutation, number in steps:
        text = MUTATIONS[mutation](text, number)
    return text


STEPS = st.lists(st.tuples(st.integers(0, len(MUTATIONS) - 1), st.integers(0, 9999)), min_size=1, max_size=4)


@settings(
    max_examples=EXAMPLES or 6,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_mutated_files_and_their_dependents_are_judged_as_by_fresh_processes(
    laboratory: Laboratory, data: st.DataObject
) -> None:
    program, tree = laboratory.program, laboratory.program.repository.tree
    path = data.draw(st.sampled_from(sorted(laboratory.originals)), label="path")
    steps = data.draw(STEPS, label="steps")
    text = mutated(laboratory.originals[path], steps)
    (tree / path).write_text(text, "utf-8")
    try:
        warm, _ = program.judge()
        cached, figures = program.judge()
        after = [each for side, each in warm if side == "after"]
        truth = fresh_ones(tree, after, python=PYTHON)
    finally:
        (tree / path).write_text(laboratory.originals[path], "utf-8")
    unknown = [each for side, each in warm if side == "before" and each not in laboratory.before]
    laboratory.before |= fresh_ones(tree, unknown, python=PYTHON)
    assert (path in after) == (text != laboratory.originals[path])
    assert figures["linted"] == sum(verdict.failed for verdict in warm.values())
    assert cached == warm
    assert_same(warm, "after", truth)
    assert_same(warm, "before", {each: laboratory.before[each] for side, each in warm if side == "before"})
