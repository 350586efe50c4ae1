"""Results are found again only where everything is as it was, whatever befalls the disk."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.lint.cache import MAX_VARIANTS, ResultCache, key_of
from worker.lint.model import Judgement, Loaded, Message, Severity
from worker.lint.store import DAY, FRESH, MARKER, PLACE

from .plain_tree import PlainTree

PATH = "shop/cart.py"
KEY = key_of("configuration", "environment", PATH, "0" * 40)
YEAR = 365 * DAY
JUDGEMENT = Judgement(
    (
        Message(PATH, 1, 0, None, None, "missing-module-docstring", "C0114", Severity.CONVENTION, "Missing", "", True),
        Message(PATH, 7, 4, 9, 11, "no-member", "E1101", Severity.ERROR, "two\nlines, ü and \udc80", "Cart.total"),
        Message("shop/other.py", 3, 1, 3, 2, "cyclic-import", "R0401", Severity.REFACTOR, "Cyclic", linter="ruff"),
    ),
    -3.25,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    file = tmp_path / "library.py"
    file.write_text("x = 1\n")
    return file


@pytest.fixture
def tree() -> PlainTree:
    return PlainTree({PATH: b"", "shop/__init__.py": b"", "shop/price.py": b"PRICE = 1\n"})


def loaded(tree: PlainTree, *foreign: Path) -> Loaded:
    """Return what a result depends on that read the package and a library, and looked for a module in vain."""
    names = (("", "shop"), ("", "library"), ("shop", "price"), ("shop", "library"))
    return Loaded(
        {path: tree.blob(path) or "" for path in ("shop/__init__.py", "shop/price.py")},
        {name: tree.entries(*name) for name in names},
        {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in foreign},
    )


def look(folder: Path, tree: PlainTree) -> tuple[Judgement, Loaded] | None:
    return ResultCache(str(folder)).look(KEY, PATH, tree)


def only_file(folder: Path) -> Path:
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    return file


def test_a_result_comes_back_as_it_was_kept(folder: Path, tree: PlainTree, foreign: Path) -> None:
    assert look(folder, tree) is None
    cache = ResultCache(str(folder))
    cache.keep(KEY, PATH, JUDGEMENT, loaded(tree, foreign))
    assert look(folder, tree) == (JUDGEMENT, loaded(tree, foreign))
    found = cache.look(KEY, PATH, tree)
    assert found is not None
    assert isinstance(found[0].messages[0].severity, Severity)
    cache.keep(KEY, PATH, Judgement(), Loaded())
    assert look(folder, tree) == (Judgement(), Loaded())
    assert cache.trouble == ""


def test_an_error_is_never_kept(folder: Path, tree: PlainTree) -> None:
    cache = ResultCache(str(folder))
    cache.keep(KEY, PATH, replace(JUDGEMENT, error="it crashed"), Loaded())
    assert look(folder, tree) is None
    assert cache.trouble == ""


def test_each_part_of_a_key_counts() -> None:
    parts = ("ab", "cd", "ef", "gh")
    others = [key_of(*(each + "x" if index == at else each for at, each in enumerate(parts))) for index in range(4)]
    assert len({key_of(*parts), key_of("a", "bcd", "ef", "gh"), key_of("ab", "cd", "e\udc80", "gh"), *others}) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"shop/price.py": b"PRICE = 2\n"},
        {"shop/price.py": None},
        {"library.py": b"of one's own\n"},
        {"library/__init__.py": b""},
        {"shop/library.py": b"beside it\n"},
        {"shop.py": b"beside the package\n"},
        {"shop/price.pyi": b""},
    ],
    ids=lambda change: next(f"{path} {'changed' if content else 'gone'}" for path, content in change.items()),
)
def test_a_result_holds_only_where_the_tree_is_the_same(
    folder: Path, tree: PlainTree, change: dict[str, bytes | None]
) -> None:
    ResultCache(str(folder)).keep(KEY, PATH, JUDGEMENT, loaded(tree))
    same = PlainTree(tree | {"shop/unrelated.py": b""})
    assert look(folder, same) is not None
    for path, content in change.items():
        if content is None:
            del same[path]
        else:
            same[path] = content
    assert look(folder, same) is None


def test_a_result_holds_only_while_files_elsewhere_are_the_same(folder: Path, tree: PlainTree, foreign: Path) -> None:
    depends = loaded(tree, foreign)
    ResultCache(str(folder)).keep(KEY, PATH, JUDGEMENT, depends)
    _, mtime = depends.foreign[str(foreign)]
    foreign.write_text("x = 12\n")
    os.utime(foreign, ns=(mtime, mtime))
    assert look(folder, tree) is None, "another size"
    foreign.write_text("x = 2\n")
    os.utime(foreign, ns=(mtime + 1, mtime + 1))
    assert look(folder, tree) is None, "another time"
    os.utime(foreign, ns=(mtime, mtime))
    assert look(folder, tree) is not None
    foreign.unlink()
    assert look(folder, tree) is None, "gone"


def test_variants_stand_beside_each_other_up_to_a_number(folder: Path, tree: PlainTree) -> None:
    """Two branches with different prices have a result each; the least recently made gives way."""
    trees = [PlainTree(tree | {"shop/price.py": b"PRICE = %d\n" % price}) for price in range(MAX_VARIANTS + 1)]
    cache = ResultCache(str(folder))
    for score, each in enumerate(trees):
        cache.keep(KEY, PATH, Judgement(score=score), loaded(each))
    found = [cache.look(KEY, PATH, each) for each in trees]
    assert [each and each[0].score for each in found] == [None, *range(1, MAX_VARIANTS + 1)]


def test_a_result_replaces_the_one_that_depends_on_the_same(folder: Path, tree: PlainTree) -> None:
    other = PlainTree(tree | {"shop/price.py": b"PRICE = 2\n"})
    cache = ResultCache(str(folder))
    cache.keep(KEY, PATH, Judgement(score=1), loaded(other))
    for score in range(MAX_VARIANTS + 1):
        cache.keep(KEY, PATH, Judgement(score=score), loaded(tree))
    assert cache.look(KEY, PATH, tree) == (Judgement(score=MAX_VARIANTS), loaded(tree))
    assert cache.look(KEY, PATH, other) == (Judgement(score=1), loaded(other))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_file_damaged_at_any_byte_is_a_miss_and_goes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    tree = PlainTree({"shop/__init__.py": b"", "shop/price.py": b""})
    ResultCache(str(folder)).keep(KEY, PATH, JUDGEMENT, loaded(tree))
    file = only_file(folder)
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    assert look(folder, tree) is None
    assert not file.exists()


def test_damage_to_an_older_variant_does_not_touch_a_newer_one(folder: Path, tree: PlainTree) -> None:
    other = PlainTree(tree | {"shop/price.py": b"PRICE = 2\n"})
    cache = ResultCache(str(folder))
    cache.keep(KEY, PATH, JUDGEMENT, loaded(other))
    cache.keep(KEY, PATH, JUDGEMENT, loaded(tree))
    file = only_file(folder)
    file.write_bytes(file.read_bytes()[:-1])
    assert cache.look(KEY, PATH, tree) is not None
    assert cache.look(KEY, PATH, other) is None
    assert not file.exists()
    cache.keep(KEY, PATH, JUDGEMENT, loaded(other))
    assert cache.look(KEY, PATH, other) is not None


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"NOT SHOWN: no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_once_and_what_is_there_stays(tiny_disk: Path, tree: PlainTree) -> None:
    cache = ResultCache(str(tiny_disk / "results"))
    cache.keep(KEY, PATH, JUDGEMENT, loaded(tree))
    big = tiny_disk / "big"
    with pytest.raises(OSError, match="No space left"):
        big.write_bytes(bytes(1 << 20))
    assert cache.trouble == ""
    many = tuple(JUDGEMENT.messages * 100)
    for number in range(3):
        cache.keep(key_of("", "", PATH, str(number)), PATH, Judgement(many), Loaded())
    assert cache.trouble == (
        f"nothing new can be kept below {tiny_disk}/results/{PLACE}: No space left on device; "
        "free some space there or name another folder"
    )
    assert cache.look(KEY, PATH, tree) == (JUDGEMENT, loaded(tree))
    assert not list(tiny_disk.rglob(f"*{FRESH}"))
    big.unlink()
    again = ResultCache(str(tiny_disk / "results"))
    again.keep(KEY, PATH, Judgement(many), loaded(tree))
    assert again.trouble == ""
    assert look(tiny_disk / "results", tree) == (Judgement(many), loaded(tree))


def test_a_write_that_breaks_off_leaves_the_old_result(folder: Path, tree: PlainTree) -> None:
    cache = ResultCache(str(folder))
    cache.keep(KEY, PATH, JUDGEMENT, loaded(tree))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        cache.keep(KEY, PATH, Judgement(JUDGEMENT.messages * 100), loaded(tree))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "File too large" in cache.trouble
    assert look(folder, tree) == (JUDGEMENT, loaded(tree))
    assert only_file(folder)


def test_a_place_where_no_folder_can_be_is_told(tmp_path: Path, tree: PlainTree) -> None:
    (tmp_path / "file").write_text("")
    cache = ResultCache(str(tmp_path / "file" / "results"))
    cache.keep(KEY, PATH, JUDGEMENT, Loaded())
    assert cache.look(KEY, PATH, tree) is None
    cache.tidy(0, 0)
    assert "Not a directory" in cache.trouble


def test_only_its_user_can_read_the_results(folder: Path) -> None:
    ResultCache(str(folder)).keep(KEY, PATH, JUDGEMENT, Loaded())
    assert (folder / PLACE).stat().st_mode & 0o777 == 0o700
    (folder / PLACE).chmod(0o755)
    ResultCache(str(folder))
    assert (folder / PLACE).stat().st_mode & 0o777 == 0o700


def test_what_another_user_put_there_is_not_read(folder: Path, tree: PlainTree) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT SHOWN: only root can give a folder away")
    ResultCache(str(folder)).keep(KEY, PATH, JUDGEMENT, Loaded())
    os.chown(folder / PLACE, 65534, 65534)
    cache = ResultCache(str(folder))
    assert cache.look(KEY, PATH, tree) is None
    assert cache.trouble == f"{folder / PLACE} belongs to another user; name a folder of your own"


WRITER = """
import sys
from worker.lint.cache import ResultCache, key_of
from worker.lint.model import Judgement, Loaded, Message, Severity

folder, key, number, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
cache = ResultCache(folder)
sys.stdin.readline()
for count in range(rounds):
    text = f"{number} {count} " * 500
    message = Message("a.py", 1, 0, None, None, "s", "c", Severity.INFO, text)
    cache.keep(key, "a.py", Judgement((message,), number), Loaded(names={("", str(count % 5)): ()}))
print(cache.trouble)
"""


def test_processes_that_write_one_entry_at_once_never_show_half_of_it(folder: Path) -> None:
    """Three write while this one reads; then one of the three is killed in the middle."""
    tree, seen = PlainTree(), 0
    command = [sys.executable, "-c", WRITER, str(folder), KEY]
    writers = [
        subprocess.Popen(
            [*command, str(number), "400"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        if found := look(folder, tree):
            (message,) = found[0].messages
            number, count, _ = message.text.split(" ", 2)
            assert message.text == f"{number} {count} " * 500
            assert found[0].score == int(number)
            seen += 1
            if seen == 20:
                writers[0].kill()
    outputs = [writer.communicate()[0] for writer in writers]
    assert seen > 20
    assert [writer.returncode for writer in writers[1:]] == [0, 0]
    assert outputs[1:] == ["\n", "\n"], "no trouble"
    assert look(folder, tree) is not None


def test_what_was_not_used_for_long_goes_first(folder: Path, tree: PlainTree) -> None:
    keys = [key_of("", "", PATH, str(number)) for number in range(4)]
    cache = ResultCache(str(folder))
    files, seen = dict[str, Path](), set[Path]()
    for days, key in enumerate(keys):
        cache.keep(key, PATH, JUDGEMENT, Loaded())
        (files[key],) = {path for path in folder.rglob("*") if path.is_file()} - seen
        seen.add(files[key])
        stat = files[key].stat()
        os.utime(files[key], (stat.st_mtime, stat.st_mtime - 3 * days * DAY))
    size = files[keys[0]].stat().st_size
    killed, writing = folder / PLACE / f"killed{FRESH}", folder / PLACE / f"writing{FRESH}"
    other = folder / "somebody else's"
    for path, age in ((killed, DAY / 2), (writing, 0.0), (other, 2 * YEAR)):
        path.write_bytes(bytes(10 * size))
        os.utime(path, (0, path.stat().st_mtime - age))
    assert ResultCache(str(folder)).look(keys[3], PATH, tree) is not None
    ResultCache(str(folder)).tidy(2 * size + size // 2, YEAR)
    assert [files[key].exists() for key in keys] == [True, False, False, True], "used now, and least long ago"
    assert writing.exists()
    assert other.exists()
    assert not killed.exists()


def test_what_is_too_old_goes_though_there_is_room_but_only_once_a_day(folder: Path, tree: PlainTree) -> None:
    cache = ResultCache(str(folder))
    cache.tidy(1 << 30, YEAR)
    cache.keep(KEY, PATH, JUDGEMENT, Loaded())
    file = next(path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    os.utime(file, (0, file.stat().st_mtime - 2 * YEAR))
    ResultCache(str(folder)).tidy(1 << 30, YEAR)
    assert file.exists()
    marker = folder / PLACE / MARKER
    os.utime(marker, (0, marker.stat().st_mtime - 2 * DAY))
    ResultCache(str(folder)).tidy(1 << 30, YEAR)
    assert not file.exists()
    assert marker.exists()
    assert look(folder, tree) is None
