"""SoftReset, in real builds of real merges."""

import subprocess
from pathlib import Path

import pytest

from tests.support.repository import Repository

from .gate import Build, Gate, checkout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path, files={"old.py": "OLD = 1\n", "gone.py": "GONE = 1\n"})


def staged(gate: Gate) -> dict[str, str]:
    """Return path -> kind of what is staged, by git's own account."""
    told = subprocess.check_output(
        ["git", "diff", "--cached", "--name-status", "--no-renames", "-z"], cwd=gate.workdir(), text=True
    ).split("\0")[:-1]
    return dict(zip(told[1::2], told[::2], strict=True))


def reset(gate: Gate, repository: Repository, revision: str) -> Build:
    repository.push(f"{revision}:refs/heads/auto")
    return gate.build(f"{checkout(repository)}, steps.SoftReset()", revision)


def head(gate: Gate) -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=gate.workdir(), text=True).strip()


def assert_reset(gate: Gate, build: Build, base: str) -> None:
    assert build.result == "success", build.steps
    assert build.cause is None
    assert head(gate) == base == build.properties["autogate_base"]


def assert_refused(build: Build, cause: str, *words: str) -> None:
    assert (build.result, build.cause) == ("failure", cause)
    for word in words:
        assert word in build.last.logs["problem"], build.last.logs["problem"]
    assert build.last.logs["problem"].startswith(build.last.summary)
    assert "Traceback" not in "".join(build.last.logs.values())


def topic(repository: Repository, name: str, files: dict[str, str | bytes | None], base: str = "main") -> None:
    repository.git("checkout", "-q", "-B", name, base)
    repository.commit(files, f"Work on {name}")


def test_a_plain_merge(gate: Gate, repository: Repository) -> None:
    topic(repository, "one", {"a b.py": "1", "gone.py": None})
    repository.commit({"é.py": "1"})
    merge = repository.merge(["one"])
    build = reset(gate, repository, merge)
    assert_reset(gate, build, repository.tip("main"))
    assert staged(gate) == {"a b.py": "A", "gone.py": "D", "é.py": "A"}
    assert build.last.summary == f"reset to {repository.tip('main')[:12]}: 3 files staged"
    assert "A  a b.py" in build.last.logs["stdio"]


def test_a_merge_that_changes_nothing(gate: Gate, repository: Repository) -> None:
    topic(repository, "one", {})
    build = reset(gate, repository, repository.merge(["one"]))
    assert_reset(gate, build, repository.tip("main"))
    assert build.last.summary.endswith("nothing is staged")


def test_an_octopus_merge_stages_all_that_it_merges(gate: Gate, repository: Repository) -> None:
    topic(repository, "one", {"a.py": "1"})
    topic(repository, "two", {"b.py": "1"})
    repository.git("checkout", "-q", "-B", "auto", "main")
    repository.commit({"main.py": "1"}, "The target goes on")
    repository.git("branch", "-f", "main")
    repository.push("main")
    repository.git("merge", "-q", "--no-ff", "-m", "Merge two at once", "one", "two")
    assert repository.git("rev-list", "--parents", "-1", "HEAD").count(" ") == 3
    build = reset(gate, repository, repository.head())
    assert_reset(gate, build, repository.tip("main"))
    assert staged(gate) == {"a.py": "A", "b.py": "A"}


def batch(repository: Repository, trailer: str) -> str:
    """Merge three topics one after the other onto auto; the last merge carries ``trailer``."""
    for name in ("one", "two", "three"):
        topic(repository, name, {f"{name}.py": "1"})
    repository.merge(["one", "two"])
    repository.git("merge", "-q", "--no-ff", "-m", f"Merge three\n\nWords.\n\nSigned-off-by: A\n{trailer}\n", "three")
    return repository.head()


def test_a_batch_goes_back_to_the_base_that_it_names(gate: Gate, repository: Repository) -> None:
    base = repository.tip("main")
    build = reset(gate, repository, batch(repository, f"Autogate-Base: {base}"))
    assert_reset(gate, build, base)
    assert staged(gate) == {"one.py": "A", "two.py": "A", "three.py": "A"}


def test_a_batch_may_name_a_commit_amid_itself(gate: Gate, repository: Repository) -> None:
    """A later part of a batch, when the earlier was tested before."""
    batch(repository, "X: y")
    amid = repository.git("rev-parse", "HEAD^")
    repository.git("commit", "-q", "--amend", "-m", f"Merge three\n\nAutogate-Base: {amid}")
    build = reset(gate, repository, repository.head())
    assert_reset(gate, build, amid)
    assert staged(gate) == {"three.py": "A"}


def test_without_the_trailer_a_batch_is_a_plain_merge(gate: Gate, repository: Repository) -> None:
    revision = batch(repository, "X: y")
    build = reset(gate, repository, revision)
    assert_reset(gate, build, repository.git("rev-parse", f"{revision}^"))


def test_a_trailer_counts_in_the_last_paragraph_only(gate: Gate, repository: Repository) -> None:
    topic(repository, "one", {"a.py": "1"})
    merge = repository.merge(["one"], message=f"Merge\n\nAutogate-Base: {'1' * 40}\n\nThat was a quotation.")
    assert_reset(gate, reset(gate, repository, merge), repository.tip("main"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("main", "is no full commit id: 'main'"),
        ("--hard", "is no full commit id: '--hard'"),
        ("1" * 40, "is not in the history"),
        ("1" * 39, "is no full commit id"),
    ],
)
def test_a_trailer_that_names_no_commit(gate: Gate, repository: Repository, value: str, words: str) -> None:
    revision = batch(repository, f"Autogate-Base: {value}")
    build = reset(gate, repository, revision)
    assert_refused(build, "change", words, "must name, in full, the commit")
    assert head(gate) == revision


def test_a_trailer_that_names_what_was_merged(gate: Gate, repository: Repository) -> None:
    """An ancestor, but not along the first parents: linting from there would leave out the target's own state."""
    revision = batch(repository, "X: y")
    merged = repository.git("rev-parse", "HEAD^2")
    repository.git("commit", "-q", "--amend", "-m", f"Merge three\n\nAutogate-Base: {merged}")
    revision = repository.head()
    assert_refused(reset(gate, repository, revision), "change", "is no first-parent ancestor")


def test_a_trailer_that_names_what_lies_below_the_merged_commits(gate: Gate, repository: Repository) -> None:
    """The target's first commit, reached through the topics as well as through the target: only the latter counts."""
    first = repository.tip("main")
    repository.git("checkout", "-q", "main")
    repository.commit({"main.py": "1"}, "The target goes on")
    repository.push("main")
    topic(repository, "one", {"one.py": "1"}, base=first)
    merge = repository.merge(["one"], message=f"Merge\n\nAutogate-Base: {first}")
    # The commit between them is no merge.
    assert_refused(reset(gate, repository, merge), "change", "is no merge")


def test_a_batch_with_a_commit_that_is_no_merge(gate: Gate, repository: Repository) -> None:
    base = repository.tip("main")
    topic(repository, "one", {"one.py": "1"})
    topic(repository, "two", {"two.py": "1"})
    repository.merge(["one"])
    stray = repository.commit({"stray.py": "1"}, "A stray commit")
    repository.git("merge", "-q", "--no-ff", "-m", f"Merge two\n\nAutogate-Base: {base}", "two")
    assert_refused(reset(gate, repository, repository.head()), "change", stray[:12], "is no merge")


def test_a_commit_that_is_no_merge(gate: Gate, repository: Repository) -> None:
    revision = repository.commit({"a.py": "1"})
    assert_refused(reset(gate, repository, revision), "change", f"{revision[:12]} is no merge", "git merge --no-ff")


def test_a_root_commit(gate: Gate, repository: Repository) -> None:
    revision = repository.tip("main")
    assert_refused(reset(gate, repository, revision), "change", f"{revision[:12]} is a root commit")


def test_a_shallow_clone(gate: Gate, repository: Repository) -> None:
    merge = repository.candidate({"a.py": "1"})
    repository.push("auto")
    clone = f"['git', 'clone', '-q', '--depth=1', '-b', 'auto', 'file://{repository.bare}', '.']"
    steps = f"steps.RemoveDirectory(dir='build'), steps.ShellCommand(command={clone}), steps.SoftReset()"
    build = gate.build(steps, merge)
    assert_refused(build, "infrastructure", "the clone is shallow", "steps.Git(shallow=False)")


def test_no_repository(gate: Gate) -> None:
    build = gate.build("steps.RemoveDirectory(dir='build'), steps.SoftReset()", "1" * 40)
    assert_refused(build, "infrastructure", "there is no commit to reset from", "run CheckoutExact")
