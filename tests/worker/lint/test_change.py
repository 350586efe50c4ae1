"""What a change touches, on real git."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.repository import IDENTITY, Repository
from worker.lint import change as module
from worker.lint.change import Change, added_lines, find_change, parse_patch
from worker.lint.git import GitError
from worker.lint.model import ChangedFile

TEXT = "".join(f"LINE_{number} = {number}\n" for number in range(20))
SCRIPT = "#!/usr/bin/env python3\nprint()\n"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    files: dict[str, str | bytes | None] = {
        "a.py": TEXT,
        "gone.py": "GONE = 1\n",
        "old/name.py": TEXT.replace("LINE", "NAME"),
        "bin/tool": SCRIPT,
        "README": "words\n",
        "setup.cfg": "[x]\n",
        "kept.py": "KEPT = 1\n",
    }
    return Repository.create(tmp_path, files=files)


def find(repository: Repository, *paths: str, base: str | None = None, staged: bool = False, at: str = "") -> Change:
    return find_change(str(repository.tree / at), base, staged=staged, paths=paths)


def files(change: Change) -> set[tuple[str | None, str | None]]:
    return {(each.before, each.after) for each in change.files}


def write(repository: Repository, path: str, content: str | bytes) -> Path:
    file = repository.tree / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_what_a_merge_brings_is_the_same_in_the_work_tree_and_in_the_index(repository: Repository) -> None:
    base = repository.head()
    repository.candidate(
        {
            "a.py": TEXT + "MORE = 1\n",
            "gone.py": None,
            "old/name.py": None,
            "new/name.py": TEXT.replace("LINE", "NAME").replace("= 7\n", "= 8\n"),
            "new.pyi": "X: int\n",
            "setup.cfg": "[y]\n",
            "README": None,
            "README.md": "words\n",
            "docs/a.txt": "a\n",
        }
    )
    tree = repository.git("rev-parse", "HEAD^{tree}")
    repository.git("reset", "-q", "--soft", "HEAD^")  # as the step SoftReset leaves it
    for change in (find(repository), find(repository, staged=True), find(repository, base="main")):
        assert (change.base, change.base_tree) == (base, repository.git("rev-parse", "main^{tree}"))
        assert change.root == os.path.realpath(repository.tree)
        assert files(change) == {
            ("a.py", "a.py"),
            ("gone.py", None),
            ("old/name.py", "new/name.py"),
            (None, "new.pyi"),
        }
        assert set(change.others) == {"setup.cfg", "README", "README.md", "docs/a.txt"}
    assert find(repository).after_tree is None
    assert find(repository, staged=True).after_tree == tree


def test_the_index_and_the_work_tree_are_told_apart(repository: Repository) -> None:
    write(repository, "a.py", TEXT + "STAGED = 1\n")
    repository.git("add", "a.py")
    write(repository, "a.py", TEXT + "STAGED = 1\nON_DISK = 1\n")
    write(repository, "kept.py", "KEPT = 2\n")
    on_disk, staged = find(repository), find(repository, staged=True)
    assert files(on_disk) == {("a.py", "a.py"), ("kept.py", "kept.py")}
    assert files(staged) == {("a.py", "a.py")}
    assert added_lines(on_disk, on_disk.files[0]) == {21, 22}
    assert added_lines(staged, staged.files[0]) == {21}
    assert repository.git("cat-file", "-p", f"{staged.after_tree}:a.py").endswith("STAGED = 1")


def test_the_index_is_not_touched(repository: Repository) -> None:
    write(repository, "a.py", "A = 1\n")
    repository.git("add", "a.py")
    index = repository.tree / ".git/index"
    before = index.read_bytes()
    lock = index.with_suffix(".lock")
    lock.touch()  # as while another git is at work
    assert find(repository, staged=True).after_tree
    assert files(find(repository)) == {("a.py", "a.py")}
    lock.unlink()
    find(repository, staged=True)
    assert index.read_bytes() == before


NAMES = [
    "a b.py",
    "tab\tand\nline.py",
    "-rf.py",
    ":(top)x.py",
    "grüße 日本.py",
    'quote".py',
    "back\\slash.py",
    "*.py",
    os.fsdecode(b"latin\xe9.py"),
    "dir with space/--output=x.py",
    "diff --git a b.py",
    " .py",
    "end \t.py",
]


def test_files_of_any_name(repository: Repository) -> None:
    for name in NAMES:
        write(repository, name, "ONE = 1\n")
    repository.git("add", "--all")
    repository.git("commit", "-q", "-m", "Names")
    for name in NAMES:
        write(repository, name, "ONE = 1\nTWO = 2\n")
    repository.git("add", "--all")
    for staged in (False, True):
        change = find(repository, staged=staged)
        assert files(change) == {(name, name) for name in NAMES}
        assert {each.after: added_lines(change, each) for each in change.files} == {name: {2} for name in NAMES}
        assert files(find(repository, NAMES[2], NAMES[3], f"./{NAMES[5]}", staged=staged)) == {
            (name, name) for name in (NAMES[2], NAMES[3], NAMES[5])
        }


def test_a_file_without_a_suffix_is_python_by_its_first_line(repository: Repository) -> None:
    repository.commit({"was": SCRIPT, "shell": "#!/bin/sh\n: python\n", "both": SCRIPT, ".hidden": SCRIPT})
    (repository.tree / "both").chmod(0o755)
    (repository.tree / "shell").chmod(0o755)
    write(repository, "was", "no more\n")
    write(repository, "becomes", "#!/usr/bin/python3.12 -E")
    write(repository, ".hidden", SCRIPT + "1\n")
    write(repository, "notes.txt", SCRIPT)
    write(repository, "bin/tool", SCRIPT + "print(2)\n")
    repository.git("add", "--all")
    for staged in (False, True):
        change = find(repository, staged=staged)
        assert files(change) == {
            ("was", None),
            ("both", "both"),
            (None, "becomes"),
            (".hidden", ".hidden"),
            ("bin/tool", "bin/tool"),
        }
        assert set(change.others) == {"was", "shell", "notes.txt"}
        assert {each.after: added_lines(change, each) for each in change.files if each.after} == {
            "both": frozenset(),
            "becomes": {1},
            ".hidden": {3},
            "bin/tool": {3},
        }


def test_a_file_of_another_kind_that_becomes_python(repository: Repository) -> None:
    repository.commit({"code.txt": TEXT})
    repository.git("mv", "code.txt", "code.py")
    change = find(repository)
    assert files(change) == {(None, "code.py")}
    assert change.others == ("code.txt",)


def test_links_and_files_that_take_each_others_place(repository: Repository) -> None:
    (repository.tree / "link.py").symlink_to("a.py")
    repository.commit({"to_link.py": "X = 1\n"})
    (repository.tree / "link.py").unlink()
    write(repository, "link.py", "Y = 1\nZ = 1\n")
    (repository.tree / "to_link.py").unlink()
    (repository.tree / "to_link.py").symlink_to("a.py")
    (repository.tree / "new_link.py").symlink_to("a.py")
    repository.git("add", "--all")
    for staged in (False, True):
        change = find(repository, staged=staged)
        assert files(change) == {(None, "link.py"), ("to_link.py", None)}
        assert set(change.others) == {"link.py", "to_link.py", "new_link.py"}
        assert change.added_lines == {"link.py": {1, 2}}


def test_a_submodule_that_moves_is_no_file(repository: Repository, tmp_path: Path) -> None:
    library = Repository.create(tmp_path / "other", "library", {"lib.py": "L = 1\n"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.bare), "lib.py")
    repository.git("commit", "-q", "-m", "Add a submodule")
    module_tree = repository.tree / "lib.py"
    (module_tree / "lib.py").write_text("L = 2\n")
    assert find(repository).others == ()  # what is not committed in there is not this repository's
    subprocess.run(
        ["git", "-C", module_tree, "commit", "-qam", "More"], env=os.environ | IDENTITY, check=True, capture_output=True
    )
    change = find(repository)
    assert (change.files, change.others) == ((), ("lib.py",))
    repository.git("add", "lib.py")
    change = find(repository, staged=True)
    assert (change.files, change.others) == ((), ("lib.py",))


def test_conflicts_in_the_index_are_to_be_resolved_first(repository: Repository) -> None:
    for name in ("one", "two"):
        repository.git("checkout", "-q", "-B", name, "main")
        repository.commit({"a.py": f"A = '{name}'\n", "b c.py": name})
    with pytest.raises(AssertionError, match="CONFLICT"):
        repository.git("merge", "-q", "one")
    with pytest.raises(GitError, match=r"^there are conflicts in a\.py, b c\.py: resolve them and `git add`"):
        find(repository, staged=True)
    assert files(find(repository)) == {
        (path, path) for path in ("a.py", "b c.py")
    }  # with git's marks, or whatever the user has made of them
    write(repository, "a.py", "A = 'one'\nB = 'two'\n")
    write(repository, "b c.py", "both\n")
    repository.git("add", "--all")
    change = find(repository, base="one")
    assert change.added_lines == {"a.py": {2}, "b c.py": {1}}
    repository.git("commit", "-q", "-m", "Resolve by hand")
    change = find(repository, base="HEAD^2")
    assert change.added_lines == {"a.py": {2}, "b c.py": {1}}


def test_an_octopus_is_compared_with_its_first_parent(repository: Repository) -> None:
    for name in ("one", "two", "three"):
        repository.git("checkout", "-q", "-B", name, "main")
        repository.commit({f"{name}.py": "X = 1\n"})
    repository.git("checkout", "-q", "-B", "auto", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "Octopus", "one", "two", "three")
    assert files(find(repository, base="HEAD^")) == {(None, f"{name}.py") for name in ("one", "two", "three")}
    assert files(find(repository, base="HEAD^3")) == {(None, "one.py"), (None, "three.py")}


def test_copies_and_renames_are_told_from_new_files(repository: Repository) -> None:
    write(repository, "copy.py", TEXT + "COPY = 1\n")
    write(repository, "a.py", TEXT + "MORE = 1\n")
    repository.git("mv", "old/name.py", "renamed.py")
    repository.git("mv", "kept.py", "Kept.py")
    repository.git("add", "--all")
    change = find(repository)
    assert files(change) == {
        ("a.py", "a.py"),
        ("a.py", "copy.py"),
        ("old/name.py", "renamed.py"),
        ("kept.py", "Kept.py"),
    }
    assert change.added_lines == {"a.py": {21}, "copy.py": {21}}
    assert added_lines(change, ChangedFile("old/name.py", "renamed.py")) == frozenset()


@pytest.mark.parametrize("staged", [False, True])
def test_the_lines_that_a_change_adds(repository: Repository, staged: bool) -> None:
    lines = TEXT.splitlines(keepends=True)
    lines[4] = "CHANGED = 1\n"
    del lines[10]
    lines[15:15] = ["++ added/a.py\n", "@@ -1 +1,99 @@\n", "\n", "+++ b/kept.py\n"]
    write(repository, "a.py", "".join(lines) + "no end of line")
    write(repository, "gone.py", "")
    write(repository, "kept.py", b"KEPT\0= 1\r\n\xff\n")
    write(repository, "new.py", "A\nB\nC")
    write(repository, "empty.py", "")
    write(repository, "many.py", "X = 1\n" * 30_000)
    repository.git("add", "--all")
    change = find(repository, staged=staged)
    assert change.added_lines == {
        "a.py": {5, 16, 17, 18, 19, 24},
        "kept.py": {1, 2},
        "new.py": {1, 2, 3},
        "many.py": set(range(1, 30_001)),
    }
    assert added_lines(change, ChangedFile(None, "empty.py")) == frozenset()
    assert added_lines(change, ChangedFile("gone.py", None)) == frozenset()


def test_more_files_than_git_takes_at_once(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    for number in range(5):
        write(repository, f"new_{number}.py", f"X = {number}\n")
    repository.git("mv", "old/name.py", "renamed.py")
    write(repository, "renamed.py", TEXT.replace("LINE", "NAME") + "MORE = 1\n")
    repository.git("add", "--all")
    assert find(repository).added_lines == {f"new_{number}.py": {1} for number in range(5)} | {"renamed.py": {21}}


def test_a_name_that_git_quotes_in_a_patch() -> None:
    patch = b'--- a/x\n+++ "p/tab\\tand\\303\\251\\"\\\\.py"\n@@ -0,0 +3,2 @@\n+x\n++++ p/y.py\n@@ -9 +9,0 @@\n-z\n'
    assert parse_patch(patch, "p/") == {'tab\tandé"\\.py': {3, 4}}


def test_untracked_files_count_only_when_they_are_named(repository: Repository) -> None:
    write(repository, "new.py", "A = 1\nB = 1\n")
    write(repository, "pkg/new.py", "C = 1\n")
    write(repository, ".gitignore", "made.py\n")
    write(repository, "made.py", "D = 1")
    (repository.tree / "link.py").symlink_to("new.py")
    assert files(find(repository)) == set()
    assert files(find(repository, ".", "pkg")) == set()
    change = find(repository, "new.py", "made.py", "link.py", "kept.py")
    assert files(change) == {(None, "new.py"), (None, "made.py")}
    assert change.others == ("link.py",)
    assert change.added_lines == {"new.py": {1, 2}, "made.py": {1}}
    with pytest.raises(GitError, match=r"^new\.py is not in the index: stage it with `git add`"):
        find(repository, "new.py", staged=True)
    repository.git("add", "--intent-to-add", "new.py")
    assert files(find(repository)) == {(None, "new.py")}


def test_paths_count_from_where_the_user_is(repository: Repository) -> None:
    for path in ("a.py", "old/name.py", "bin/tool", "setup.cfg"):
        write(repository, path, (repository.tree / path).read_text() + "1\n")
    (repository.tree / "gone.py").unlink()
    assert files(find(repository, at="old")) == files(find(repository))
    assert files(find(repository, "name.py", at="old")) == {("old/name.py", "old/name.py")}
    assert files(find(repository, "../bin", "..//a.py", at="old")) == {("bin/tool", "bin/tool"), ("a.py", "a.py")}
    assert files(find(repository, str(repository.tree / "old"), at="bin")) == {("old/name.py", "old/name.py")}
    assert files(find(repository, "gone.py")) == {("gone.py", None)}
    assert files(find(repository, "kept.py")) == set()
    change = find(repository, ".", at="bin")
    assert files(change) == {("bin/tool", "bin/tool")}
    assert change.others == ("setup.cfg",)  # what the user did not ask about is changed all the same
    assert files(find(repository, "..", at="bin")) == files(find(repository))
    for path, words in (
        ("none.py", r"^there is no none\.py in .*: name files and folders relative"),
        ("../../etc", "is outside"),
        ("/etc/passwd", "is outside"),
        ("old/none.py", "there is no"),
    ):
        with pytest.raises(GitError, match=words):
            find(repository, path)


def test_a_renamed_file_is_found_by_both_its_names(repository: Repository) -> None:
    repository.git("mv", "old/name.py", "renamed.py")
    for path in ("renamed.py", "old/name.py", "old"):
        assert files(find(repository, path)) == {("old/name.py", "renamed.py")}


@pytest.mark.parametrize("staged", [False, True])
def test_a_file_that_was_only_touched_or_converted_is_not_changed(repository: Repository, staged: bool) -> None:
    repository.commit({".gitattributes": "*.py text eol=crlf\n", "dos.py": "A = 1\r\nB = 2\r\n"})
    (repository.tree / "dos.py").unlink()
    repository.git("checkout", "dos.py")
    assert (repository.tree / "dos.py").read_bytes() == b"A = 1\r\nB = 2\r\n"
    assert repository.git("cat-file", "-p", "HEAD:dos.py") == "A = 1\nB = 2"
    os.utime(repository.tree / "a.py", (1, 1))
    os.utime(repository.tree / "dos.py", (1, 1))
    assert find(repository, staged=staged).differences == ()
    write(repository, "dos.py", "A = 1\r\nB = 3\r\n")
    repository.git("add", "dos.py")
    assert find(repository, staged=staged).added_lines == {"dos.py": {2}}


def test_what_the_user_configured_changes_nothing(repository: Repository) -> None:
    for key, value in {
        "diff.external": "false",
        "diff.noprefix": "true",
        "diff.mnemonicPrefix": "true",
        "diff.relative": "true",
        "diff.renames": "false",
        "diff.interHunkContext": "9",
        "diff.ignoreSubmodules": "all",
        "diff.py.textconv": "true",
        "diff.renameLimit": "1",
        "diff.wordRegex": ".",
        "color.ui": "always",
        "core.quotePath": "false",
        "core.abbrev": "7",
    }.items():
        repository.git("config", key, value)
    repository.commit({".gitattributes": "*.py diff=py -text\nkept.py -diff\n", "grüße.py": TEXT.replace("= 1", "= 0")})
    write(repository, "a.py", TEXT.replace("= 3\n", "= 33\n").replace("= 6\n", "= 66\n"))
    write(repository, "kept.py", "KEPT = 2\n")
    repository.git("mv", "grüße.py", "bin/grüße.py")
    change = find(repository, at="old")
    assert files(change) == {("a.py", "a.py"), ("kept.py", "kept.py"), ("grüße.py", "bin/grüße.py")}
    assert change.added_lines == {"a.py": {4, 7}, "kept.py": {1}}


def fails(folder: Path, base: str | None, words: str) -> None:
    for staged in (False, True):
        with pytest.raises(GitError, match=words):
            find_change(str(folder), base, staged=staged)


def test_a_base_that_is_none(repository: Repository) -> None:
    root = repository.git("rev-list", "--max-parents=0", "HEAD")
    for base in (f"{root}^", "nothing", "HEAD:a.py", "HEAD^{tree}", "main..HEAD", "a.py", "f" * 40):
        fails(repository.tree, base, "^there is no commit .* here: name a commit")
    for base in ("--all", "-x", "", "--git-dir", "a\nb"):
        fails(repository.tree, base, "is no revision: name a commit")
    repository.git("tag", "-a", "-m", "A tag", "v1")
    assert find(repository, base="v1").base == find(repository).base


def test_a_root_commit_is_a_base(repository: Repository) -> None:
    root = repository.head()
    repository.commit({"a.py": "A = 1\n"})
    assert files(find(repository, base=root)) == {("a.py", "a.py")}


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "new"], check=True)
    fails(tmp_path / "new", None, "^there is no commit yet: commit something first")


def test_a_folder_that_is_no_work_tree(repository: Repository, tmp_path: Path) -> None:
    fails(repository.bare, None, "no work tree here.*: run it in a clone's work tree|work tree.*run it in a clone")
    fails(repository.tree / ".git", None, "run it in a clone's work tree")
    fails(tmp_path, None, "not a git repository.*run it in a clone of the repository")
    fails(tmp_path / "none", None, "there is no folder")


def test_a_shallow_clone(repository: Repository, tmp_path: Path) -> None:
    base = repository.head()
    repository.commit({"a.py": "A = 1\n"})
    repository.push("main")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", repository.bare.as_uri(), shallow], check=True)
    for name in ("HEAD^", base):
        fails(shallow, name, "this clone is shallow: .*git fetch --unshallow")
    (shallow / "a.py").write_text("A = 2\n")
    assert files(find_change(str(shallow), None, staged=False)) == {("a.py", "a.py")}


def test_a_linked_work_tree(repository: Repository, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    repository.git("worktree", "add", "-q", "-b", "other", str(linked))
    (linked / "a.py").write_text("A = 1\n")
    subprocess.run(["git", "-C", linked, "add", "a.py"], check=True)
    assert files(find(repository)) == set()
    for staged in (False, True):
        change = find_change(str(linked / "old"), "main", staged=staged)
        assert (change.root, files(change)) == (os.path.realpath(linked), {("a.py", "a.py")})


def test_a_repository_with_long_ids(tmp_path: Path) -> None:
    tree = tmp_path / "long"
    subprocess.run(["git", "init", "-q", "--object-format=sha256", tree], check=True)
    (tree / "a.py").write_text("A = 1\n")
    for args in (["add", "a.py"], ["commit", "-q", "-m", "Begin"]):
        subprocess.run(["git", "-C", tree, *args], env=os.environ | IDENTITY, check=True)
    (tree / "a.py").write_text("A = 1\nB = 1\n")
    subprocess.run(["git", "-C", tree, "add", "a.py"], check=True)
    for staged in (False, True):
        change = find_change(str(tree), None, staged=staged)
        assert len(change.base) == 64
        assert change.added_lines == {"a.py": {2}}


HOOK = """\
#!{python}
import sys
sys.path.insert(0, {here!r})
from worker.lint.change import find_change
change = find_change(".", None, staged=True)
print(*sorted(each.after or "" for each in change.files), *change.added_lines["a.py"])
"""


@pytest.mark.parametrize("commit", [["-a"], ["a.py"], []], ids=["all", "path", "index"])
def test_a_hook_sees_what_is_to_be_committed(repository: Repository, commit: list[str]) -> None:
    """`git commit -a` and `git commit PATH` make an index of their own."""
    hook = repository.tree / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK.format(python=sys.executable, here=str(Path.cwd())))
    hook.chmod(0o755)
    write(repository, "a.py", TEXT + "MORE = 1\n")
    if not commit:
        repository.git("add", "a.py")
    write(repository, "kept.py", "KEPT = 2\n")
    done = subprocess.run(
        ["git", "commit", "-m", "Change", *commit],
        cwd=repository.tree,
        env=os.environ | IDENTITY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[0] == ("a.py kept.py 21" if commit == ["-a"] else "a.py 21")


def test_a_file_that_vanishes_is_read_as_nothing(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    write(repository, "maybe", SCRIPT)
    seen: list[str] = []
    real: Callable[[str], bytes] = module._first_bytes

    def vanishing(path: str) -> bytes:
        Path(path).unlink()
        seen.append(path)
        return real(path)

    monkeypatch.setattr(module, "_first_bytes", vanishing)
    assert files(find(repository, "maybe")) == set()
    assert seen
