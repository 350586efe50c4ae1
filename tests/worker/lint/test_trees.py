"""The files of a commit and those on disk: one answer for both, wherever the checkout is clean."""

import hashlib
import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.repository import IDENTITY, Repository
from tests.support.waiting import wait_for
from worker.lint.change import find_change
from worker.lint.git import GitError
from worker.lint.trees import CLOCK_NS, GitTree, WorkTree

FILES: Mapping[str, str | bytes | None] = {
    "a.py": "A = 1\n",
    "a.pyi": "A: int\n",
    "a/__init__.py": "",
    "a.b.so": b"\0",
    "pkg/__init__.py": "",
    "pkg/sub/deep/mod.py": "M = 1\n",
    "pkg/sub.py": "S = 1\n",
    "pkg/Sub.txt": "s\n",
    ".pylintrc": "[MAIN]\n",
    "grüße 日本.py": "G = 1\n",
    os.fsdecode(b"latin\xe9.py"): "L = 1\n",
    "tab\tand\nline.py": "T = 1\n",
    "pkg/__pycache__/kept.py": "committed by mistake\n",
}
LINKS = {
    "link.py": "a.py",
    "pkg/up.py": "../a.py",
    "linked": "pkg/sub",
    "pkg/round": "../pkg/../linked/./deep",
    "chain.py": "link.py",
    "broken.py": "none.py",
    "circle_a": "circle_b",
    "circle_b": "circle_a",
    "inside_out": "inside_out/x",
    "outside.py": "../../etc/passwd",
    "absolute.py": "/etc/passwd",
    "root": ".",
    "file_as_folder": "a.py/x",
}
SKIPPED = {".git", "__pycache__"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository.create(tmp_path, files=FILES)
    for path, target in LINKS.items():
        (repository.tree / path).symlink_to(target)
    repository.commit({}, "Link")
    return repository


def trees(repository: Repository, base: str = "HEAD") -> tuple[GitTree, WorkTree]:
    change = find_change(str(repository.tree), base, staged=False)
    before = GitTree(change.root, change.base_tree)
    return before, WorkTree(change.root, before, change.differences)


def everything(tree: Path, depth: int = 5) -> Iterator[str]:
    """Yield the paths below a folder as the kernel sees them, through links, to some depth."""
    waiting = [tree]
    for folder in waiting:
        for file in sorted(folder.iterdir()):
            if file.name in SKIPPED:
                continue
            yield str(file.relative_to(tree))
            if file.is_dir() and len(file.relative_to(tree).parts) < depth:
                waiting.append(file)


def content_of(tree: Path, path: str) -> bytes | None:
    """Return what the kernel reads, unless that is not in the tree."""
    file = tree / path
    return file.read_bytes() if file.is_file() and file.resolve().is_relative_to(tree.resolve()) else None


def entries_of(tree: Path, folder: str, stem: str) -> tuple[str, ...]:
    files = [file for file in (tree / folder).iterdir() if file.name.partition(".")[0] == stem]
    kept = [file for file in files if file.name not in SKIPPED]
    return tuple(sorted(file.name + "/" * (file.is_dir() and not _is_absolute(file)) for file in kept))


def _is_absolute(link: Path) -> bool:
    return link.is_symlink() and link.readlink().is_absolute()


def assert_as_the_kernel_sees_it(repository: Repository, *found: GitTree | WorkTree) -> None:
    paths = list(everything(repository.tree))
    for tree in found:
        for path in paths:
            content = content_of(repository.tree, path)
            assert tree.read(path) == content, path
            assert (tree.blob(path) is None) == (content is None), path
            folder, _, name = path.rpartition("/")
            stem = name.partition(".")[0]
            assert tree.entries(folder, stem) == entries_of(repository.tree, folder, stem), path
            assert tree.entries(folder, f"{stem}x") == ()


def test_both_trees_of_a_clean_checkout_are_as_the_kernel_sees_it(repository: Repository) -> None:
    before, after = trees(repository)
    assert_as_the_kernel_sees_it(repository, before, after)
    for path in everything(repository.tree):
        assert before.blob(path) == after.blob(path), path
    assert before.blob("a.py") == repository.git("rev-parse", "HEAD:a.py")
    assert before.entries("", "a") == ("a.b.so", "a.py", "a.pyi", "a/")
    assert before.entries("", "linked") == ("linked/",)
    assert before.entries("linked/deep", "mod") == ("mod.py",)
    assert before.entries("", "circle_a") == ("circle_a",)
    assert before.blob("linked/deep/mod.py") == before.blob("pkg/round/mod.py") == before.files["pkg/sub/deep/mod.py"]
    assert before.entries("none", "x") == after.entries("none", "x") == before.entries("a.py", "x") == ()
    before.close()
    assert before.read("chain.py") == b"A = 1\n"


@pytest.mark.parametrize("seed", range(4))
def test_links_at_random(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    repository = Repository.create(tmp_path, files={"a.py": "A\n", "p/q/b.py": "B\n", "p/c.py": "C\n"})
    places = ["", "p/", "p/q/"]
    names = [f"l{number}" for number in range(60)]
    for name in names:
        words = ["..", ".", "p", "q", "a.py", "b.py", "c.py", *chance.sample(names, 3)]
        target = "/".join(chance.choices(words, k=chance.randint(1, 3)))
        (repository.tree / f"{chance.choice(places)}{name}").symlink_to(target)
    repository.commit({}, "Link")
    before, after = trees(repository)
    seen = 0
    for path in itertools.islice(everything(repository.tree), 1000):
        file = repository.tree / path
        content = file.read_bytes() if _stays_inside(repository.tree, path) and file.is_file() else None
        assert before.read(path) == after.read(path) == content, path
        assert before.blob(path) == after.blob(path)
        seen += content is not None
    assert seen > 10


def _stays_inside(root: Path, path: str) -> bool:
    """Tell whether no step on the way to a file leaves the tree; the kernel would let it come back in."""
    here, todo, hops = "", path.split("/"), 0
    while todo and hops < 200:
        part, hops = todo.pop(0), hops + 1
        if part in {"", "."}:
            continue
        if part == "..":
            if not here:
                return False
            here = here.rpartition("/")[0]
            continue
        step = f"{here}/{part}" if here else part
        if (root / step).is_symlink():
            todo[:0] = str((root / step).readlink()).split("/")
        else:
            here = step
    return not todo


def w(content: bytes) -> str:
    return "w" + hashlib.sha256(b"blob %d\0%b" % (len(content), content)).hexdigest()


def test_what_is_not_clean_is_known_by_its_content(repository: Repository) -> None:
    clean = {path: repository.git("rev-parse", f"HEAD:{path}") for path in ("a.py", "pkg/sub.py")}
    (repository.tree / "a.py").write_text("A = 2\n")
    (repository.tree / "untracked.py").write_text("U = 1\n")
    (repository.tree / "pkg/sub/deep/mod.py").unlink()
    repository.git("rm", "-q", "--cached", "a.pyi")
    repository.git("mv", "pkg/sub.py", "moved.py")
    os.utime(repository.tree / "a" / "__init__.py", (1, 1))
    (repository.tree / "new.py").symlink_to("a.py")
    (repository.tree / "link.py").unlink()
    (repository.tree / "link.py").write_text("no link\n")
    before, after = trees(repository)
    assert after.blob("a.py") == after.blob("new.py") == after.blob("pkg/up.py") == w(b"A = 2\n")
    assert after.blob("untracked.py") == w(b"U = 1\n")
    assert after.blob("a.pyi") == w(b"A: int\n")
    assert after.blob("link.py") == after.blob("chain.py") == w(b"no link\n")
    assert after.blob("moved.py") == clean["pkg/sub.py"]
    assert after.blob("a/__init__.py") == before.blob("a/__init__.py")
    assert after.blob("pkg/sub/deep/mod.py") is after.blob("linked/deep/mod.py") is after.blob("pkg/sub.py") is None
    assert after.entries("", "moved") == ("moved.py",)
    assert after.entries("pkg", "sub") == ("sub/",)
    assert before.blob("a.py") == clean["a.py"]
    assert before.read("chain.py") == b"A = 1\n"
    assert after.read("chain.py") == b"no link\n"


def test_what_differs_from_another_commit_but_is_committed_has_gits_id(repository: Repository) -> None:
    base = repository.head()
    repository.commit({"a.py": "A = 3\n", "pkg/sub.py": None})
    _, after = trees(repository, base)
    assert after.blob("a.py") == repository.git("rev-parse", "HEAD:a.py")
    assert after.blob("pkg/sub.py") is None


def test_a_file_that_somebody_writes_to_meanwhile_is_not_settled(repository: Repository) -> None:
    clock = repository.tree / ".git/clock"
    made = max(file.lstat().st_ctime_ns for file in repository.tree.rglob("*.py"))

    def later() -> int | None:
        clock.touch()
        now = clock.stat().st_ctime_ns
        return now if now > made + CLOCK_NS else None

    before, _ = trees(repository)
    after = WorkTree(str(repository.tree), before, (), wait_for(later, "the clock of the files to go on"))
    for path in ("a.py", "chain.py", "pkg/sub.py", "none.py", "broken.py"):
        assert after.blob(path) == before.blob(path)
        assert after.is_settled(path)
    (repository.tree / "a.py").write_text("A = 2\n")
    os.utime(repository.tree / "a.py", (1, 1))
    (repository.tree / "pkg/sub.py").unlink()
    (repository.tree / "none.py").write_text("N = 1\n")
    for path in ("a.py", "chain.py", "pkg/sub.py", "none.py", "broken.py"):
        assert not after.is_settled(path)
    change = find_change(str(repository.tree), None, staged=False)
    written = (repository.tree / "a.py").stat().st_ctime_ns
    assert change.since > written - CLOCK_NS
    assert not WorkTree(change.root, before, change.differences, written + CLOCK_NS).is_settled("a.py")
    assert WorkTree(change.root, before, change.differences, written + CLOCK_NS + 1).is_settled("a.py")


def test_what_is_only_on_disk(repository: Repository) -> None:
    (repository.tree / "empty").mkdir()
    (repository.tree / "pkg/__pycache__/x.pyc").write_text("")
    (repository.tree / "left/__pycache__").mkdir(parents=True)
    os.mkfifo(repository.tree / "pipe.py")
    before, after = trees(repository)
    assert after.entries("", "empty") == ("empty/",)
    assert after.entries("", "left") == ("left/",)
    assert after.entries("", "pipe") == ()
    assert after.blob("pipe.py") is None
    assert after.read("pipe.py") is None
    assert after.entries("", "") == before.entries("", "") == (".pylintrc",)
    assert after.entries("pkg", "__pycache__") == before.entries("pkg", "__pycache__") == ()
    assert before.blob("pkg/__pycache__/kept.py") is after.blob("pkg/__pycache__/kept.py") is None


def test_a_clone_that_leaves_files_out(repository: Repository) -> None:
    repository.git("sparse-checkout", "set", "--cone", "a")
    before, after = trees(repository)
    assert before.blob("pkg/sub.py")
    assert after.blob("pkg/sub.py") is None
    assert after.entries("", "pkg") == ()
    assert after.blob("a/__init__.py") == before.blob("a/__init__.py")


@pytest.fixture
def outer(repository: Repository, tmp_path: Path) -> Repository:
    """A repository with a submodule that has one itself."""
    inner = Repository.create(tmp_path / "inner", "inner", {"deepest.py": "D = 1\n"})
    library = Repository.create(tmp_path / "library", "library", {"lib.py": "L = 1\n", "pkg/m.py": "M = 1\n"})
    allow = ("-c", "protocol.file.allow=always", "submodule")
    library.git(*allow, "add", "-q", "--name", "odd name", str(inner.bare), "vendor/inner")
    (library.tree / "link.py").symlink_to("vendor/inner/deepest.py")
    library.commit({}, "Add a submodule")
    library.push("main")
    repository.git(*allow, "add", "-q", str(library.bare), "third party")
    repository.git(*allow, "update", "-q", "--init", "--recursive")
    (repository.tree / "into").symlink_to("third party/pkg")
    repository.commit({}, "Add a submodule")
    return repository


def test_files_of_submodules(outer: Repository) -> None:
    before, after = trees(outer)
    assert_as_the_kernel_sees_it(outer, before, after)
    for path in ("third party/lib.py", "into/m.py", "third party/link.py", "third party/vendor/inner/deepest.py"):
        assert before.blob(path) == after.blob(path) is not None, path
        assert len(before.blob(path) or "") == 40
    assert before.blob("third party") is after.blob("third party") is None


def test_a_submodule_that_is_worked_on(outer: Repository) -> None:
    module = outer.tree / "third party"
    (module / "lib.py").write_text("L = 2\n")
    (module / "new.py").write_text("N = 1\n")
    before, after = trees(outer)
    assert after.blob("third party/lib.py") == w(b"L = 2\n")
    assert after.blob("third party/new.py") == w(b"N = 1\n")
    assert after.blob("into/m.py") == before.blob("into/m.py")
    assert before.entries("third party", "new") == ()
    subprocess.run(["git", "-C", module, "add", "--all"], check=True)
    subprocess.run(["git", "-C", module, "commit", "-qm", "More"], env=os.environ | IDENTITY, check=True)
    before, after = trees(outer)
    assert len(after.blob("third party/lib.py") or "") == 40
    assert before.read("third party/lib.py") == b"L = 1\n"
    assert after.read("third party/lib.py") == b"L = 2\n"


def test_a_submodule_that_is_not_there(outer: Repository, tmp_path: Path) -> None:
    outer.push("main")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", outer.bare, clone], check=True)
    before, after = trees(Repository(outer.bare, clone))
    for tree in (before, after):
        assert tree.blob("third party/lib.py") is None
        assert tree.read("into/m.py") is None
        assert tree.entries("", "third party") == ("third party/",)
        assert tree.entries("", "into") == ("into",)
        assert tree.entries("third party", "lib") == ()
    outer.git("submodule", "deinit", "-q", "--all", "--force")
    before, after = trees(outer)
    assert before.read("into/m.py") == b"M = 1\n"
    assert after.read("into/m.py") is None
    assert after.blob("third party/lib.py") is None


def test_a_submodule_whose_name_leads_elsewhere_is_none(repository: Repository, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other", "other", {"secret.py": "S = 1\n"})
    shutil.copytree(other.bare, repository.tree / ".git/elsewhere")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{other.head()},sub")
    (repository.tree / "sub").mkdir()
    for name in ("../elsewhere", str(repository.tree / ".git/elsewhere")):
        (repository.tree / ".gitmodules").write_text(f'[submodule "{name}"]\n\tpath = sub\n\turl = x\n')
        repository.git("add", ".gitmodules")
        repository.git("commit", "-q", "-m", "Add a submodule")
        before, _ = trees(repository)
        assert before.read("sub/secret.py") is None


def test_a_tree_that_is_not_there(repository: Repository) -> None:
    with pytest.raises(GitError, match="git fetch --unshallow"):
        GitTree(str(repository.tree), "f" * 40).blob("a.py")


def test_a_bare_repository_and_one_with_long_ids(repository: Repository, tmp_path: Path) -> None:
    repository.push("main")
    bare = GitTree(str(repository.bare), "main")
    assert bare.read("chain.py") == b"A = 1\n"
    folder = tmp_path / "long"
    subprocess.run(["git", "init", "-q", "-b", "main", "--object-format=sha256", folder], check=True)
    long = Repository(folder, folder)
    long.commit({"a.py": "A = 1\n", "sub/b.py": "B\n"})
    (folder / "link").symlink_to("sub")
    long.commit({}, "Link")
    before, after = trees(long)
    assert before.blob("link/b.py") == after.blob("link/b.py") == long.git("rev-parse", "HEAD:sub/b.py")
