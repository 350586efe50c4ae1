"""Which unchanged files a change may break."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from worker.lint.dependents import Candidates, dependents
from worker.lint.store import Store

Files = Mapping[str, str]


def found(tmp_path: Path, before: Files, after: Mapping[str, str | None]) -> Candidates:
    """Return the candidates for a change of the files in ``after``; None deletes one."""
    blobs = {path: hashlib.sha1(dedent(source).encode()).hexdigest() for path, source in before.items()}
    contents = {path: dedent(source).encode() for path, source in before.items()}
    changed = {path: (contents.get(path), None if new is None else dedent(new).encode()) for path, new in after.items()}
    candidates = dependents(blobs, changed, contents.get, Store(str(tmp_path)), "project")
    assert candidates == dependents(blobs, changed, contents.get, Store(str(tmp_path)), "project")
    assert not set(candidates.near) & set(candidates.far)
    return candidates


LIB = """
    class Base:
        def run(self):
            return 1

    class Cart(Base):
        def __init__(self):
            self.total = 0

        def add(self, price):
            return price

    def make(price):
        return [price]
"""


@pytest.mark.parametrize(
    ("old", "new", "user"),
    [
        ("def make(price)", "def build(price)", "from lib import make\nmake(1)\n"),
        ("def make(price)", "def make(price, tax)", "import lib\nlib.make(1)\n"),
        ("def add(self", "def put(self", "import lib\nlib.Cart().add(1)\n"),
        ("self.total = 0", "print(self)", "import lib\nprint(lib.Cart().total)\n"),
        ("class Cart(Base)", "class Cart", "from lib import Cart\nCart().run()\n"),
        ("def make(price)", "def build(price)", "from lib import *\nmake(1)\n"),
        ("return [price]", "return None", "from lib import make as m\nm(1)[0]\n"),
        ("def __init__(self)", "def __init__(self, owner)", "import lib\nclass Mine(lib.Cart):\n    pass\n"),
        ("def run(self)", "def run(self, when)", "import lib\nclass Mine(lib.Base):\n    def run(self): pass\n"),
    ],
)
def test_a_file_that_uses_what_changed_is_near(tmp_path: Path, old: str, new: str, user: str) -> None:
    assert old in LIB
    before = {"lib.py": LIB, "user.py": user, "other.py": "import lib\nprint(lib.__name__)\n", "apart.py": "make = 1"}
    expected = Candidates(("user.py",), ("other.py",))
    assert found(tmp_path, before, {"lib.py": LIB.replace(old, new)}) == expected


@pytest.mark.parametrize(
    ("old", "new"), [("def make", "# words\n    def make"), ("class Base:", "class Base:\n        'Doc.'\n")]
)
def test_a_docstring_or_a_comment_concerns_nobody(tmp_path: Path, old: str, new: str) -> None:
    before = {"lib.py": LIB, "user.py": "from lib import make\nfrom lib import *\n"}
    assert found(tmp_path, before, {"lib.py": LIB.replace(old, new)}) == Candidates()


@pytest.mark.parametrize("after", [None, "def broken(:\n"])
def test_whoever_imports_a_deleted_or_broken_module_is_near(tmp_path: Path, after: str | None) -> None:
    before = {"lib.py": LIB, "user.py": "import lib\n", "third.py": "import user\n"}
    assert found(tmp_path, before, {"lib.py": after}) == Candidates(("user.py",), ("third.py",))


def test_a_moved_module_concerns_those_that_import_it_under_its_old_name(tmp_path: Path) -> None:
    before = {"lib.py": LIB, "user.py": "import lib\n", "apart.py": "import json\n"}
    assert found(tmp_path, before, {"lib.py": None, "lib2.py": LIB}).near == ("user.py",)


def test_a_new_module_concerns_those_whose_import_it_takes(tmp_path: Path) -> None:
    before = {
        "user.py": "import random\n",
        "shop/__init__.py": "",
        "shop/user.py": "from . import json\n",
        "a.py": "import json",
    }
    assert found(tmp_path, before, {"random.py": "x = 1\n"}).near == ("user.py",)
    assert found(tmp_path, before, {"shop/json.py": "x = 1\n"}).near == ("shop/user.py",)


def test_a_name_is_followed_through_re_exports(tmp_path: Path) -> None:
    before = {
        "shop/__init__.py": "from .api import *\n",
        "shop/api.py": "from ._inner import make as create\n",
        "shop/_inner.py": LIB,
        "user.py": "from shop import create\ncreate(1)\n",
        "other.py": "from shop import api\nprint(api.create)\n",
        "mine.py": "from elsewhere import make\nimport shop\nmake(1)\n",
    }
    candidates = found(tmp_path, before, {"shop/_inner.py": LIB.replace("def make(price)", "def make(price, tax)")})
    assert set(candidates.near) == {"shop/api.py", "user.py", "other.py"}
    assert "mine.py" in candidates.far


def test_a_class_is_followed_to_those_below_it(tmp_path: Path) -> None:
    before = {
        "lib.py": LIB,
        "middle.py": "from lib import Cart\nclass Middle(Cart):\n    pass\n",
        "user.py": "from middle import Middle\nMiddle(1)\n",
        "other.py": "import middle\nprint(middle)\n",
    }
    candidates = found(tmp_path, before, {"lib.py": LIB.replace("__init__(self)", "__init__(self, owner)")})
    assert candidates == Candidates(("middle.py", "user.py"), ("other.py",))


def test_what_returns_a_changed_result_counts_as_changed_in_the_second_place(tmp_path: Path) -> None:
    before = {
        "lib.py": LIB,
        "helper.py": "from lib import make\ndef helper():\n    made = make(1)\n    return made\n",
        "user.py": "from helper import helper\nprint(helper()[0])\n",
        "wide.py": "import lib\nprint(lib.make(1)[0])\n" + "# long\n" * 99,
        "other.py": "import helper\nprint(helper)\n",
    }
    candidates = found(tmp_path, before, {"lib.py": LIB.replace("return [price]", "return None")})
    assert candidates == Candidates(("helper.py", "wide.py", "user.py"), ("other.py",))


def test_layouts_are_seen_through(tmp_path: Path) -> None:
    before = {
        "src/shop/__init__.py": "",
        "src/shop/lib.py": LIB,
        "src/shop/sub/__init__.py": "",
        "src/shop/sub/relative.py": "from ..lib import make\n",
        "tests/absolute.py": "from shop.lib import make\n",
        "tests/package.py": "from shop import lib\nlib.make(1)\n",
        "tests/dotted.py": "import shop.lib\nshop.lib.make(1)\n",
        "tests/same.py": "from lib import make\n",
    }
    changed = LIB.replace("def make(price)", "def build(price)")
    near = {"src/shop/sub/relative.py", "tests/absolute.py", "tests/package.py", "tests/dotted.py"}
    assert set(found(tmp_path, before, {"src/shop/lib.py": changed}).near) == near


def test_a_namespace_package_has_no_init_file(tmp_path: Path) -> None:
    before = {"space/lib.py": LIB, "user.py": "import space.lib\nspace.lib.make(1)\n"}
    assert found(tmp_path, before, {"space/lib.py": "x = 1\n"}).near == ("user.py",)


def test_of_two_packages_with_one_name_both_may_be_meant(tmp_path: Path) -> None:
    before = {
        "one/shop/__init__.py": "",
        "one/shop/lib.py": LIB,
        "two/shop/__init__.py": "",
        "two/shop/lib.py": LIB,
        "user.py": "from shop.lib import make\n",
    }
    for folder in ("one", "two"):
        assert found(tmp_path, before, {f"{folder}/shop/lib.py": "x = 1\n"}).near == ("user.py",)


def test_a_new_init_file_gives_the_modules_of_its_folder_other_names(tmp_path: Path) -> None:
    before = {"tests/helper.py": "", "tests/test_a.py": "import helper\n", "a.py": ""}
    assert set(found(tmp_path, before, {"tests/__init__.py": ""}).near) == {"tests/helper.py", "tests/test_a.py"}


def test_circles_end(tmp_path: Path) -> None:
    before = {
        "a.py": "import b\nclass A(b.B): pass\n",
        "b.py": "from a import A\nclass B(A): pass\n",
        "lib.py": "import a\n",
    }
    assert found(tmp_path, before, {"b.py": "from a import A\nclass B: pass\n"}).near == ("a.py",)


def test_a_name_that_stands_in_a_text_only_is_not_followed(tmp_path: Path) -> None:
    before = {"lib.py": LIB, "user.py": "import lib\ngetattr(lib, 'ma' + 'ke')(1)\n"}
    assert found(tmp_path, before, {"lib.py": "x = 1\n"}).far == ("user.py",)


def test_changed_files_themselves_and_other_files_are_no_dependents(tmp_path: Path) -> None:
    before = {"lib.py": LIB, "user.py": "from lib import make\n"}
    assert found(tmp_path, before, {"lib.py": "x = 1\n", "user.py": "from lib import make\nmake(1)\n"}) == Candidates()
    assert found(tmp_path, before, {"README": "words", "bin/tool": None}) == Candidates()


def test_direct_users_come_first_then_rare_names_then_small_files(tmp_path: Path) -> None:
    user = "import lib\nlib.{0}(1)\n"
    before = {
        "lib.py": LIB,
        "common_long.py": user.format("make") + "#" * 99,
        "common.py": user.format("make"),
        "rare.py": user.format("make") + "lib.Cart().add(1)\n" + "#" * 199,
        "indirect.py": "import common\ncommon.x.add(1)\n",
    }
    changed = LIB.replace("(price)", "(price, tax)").replace("price):", "price, tax):")
    assert found(tmp_path, before, {"lib.py": changed}).near == (
        "rare.py",
        "common.py",
        "common_long.py",
        "indirect.py",
    )


def test_what_was_found_is_kept_until_it_is_spoilt(tmp_path: Path) -> None:
    files, contents = {"lib.py": "1", "user.py": "2"}, {"lib.py": b"x = 1\n", "user.py": b"from lib import x\n"}
    changed = {"lib.py": (contents["lib.py"], b"")}
    read: list[str] = []

    def reading(path: str) -> bytes:
        read.append(path)
        return contents[path]

    def ask() -> Candidates:
        return dependents(files, changed, reading, Store(str(tmp_path)), "r")

    expected = Candidates(("user.py",))
    assert (ask(), read) == (expected, ["lib.py", "user.py"])
    assert (ask(), read) == (expected, ["lib.py", "user.py"])
    kept = [each for each in tmp_path.rglob("*") if each.is_file()]
    for file in kept:
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert (ask(), read) == (expected, ["lib.py", "user.py"] * 2)
    changed["lib.py"] = (contents["lib.py"], b"x = 1 # ok\n")
    assert ask() == Candidates()


PROJECT = {
    "lib.py": '''
        """Things."""
        from abc import ABC, abstractmethod


        class Base:
            """A base."""

            def common(self):
                """Say one."""
                return 1

            def gone(self):
                """Say two."""
                return 2


        class Thing(Base):
            """A thing."""

            def __init__(self, name):
                self.name = name
                self.lost = name

            def take(self, one):
                """Take one."""
                return one


        class Plan(ABC):
            """A plan."""

            def step(self):
                """Do nothing."""


        def numbers():
            """Return some."""
            return [1, 2]


        def removed():
            """Return nothing."""
            return 0


        VALUE = [1]
    ''',
    "mine.py": '"""Mine."""\nfrom lib import Thing\n\n\nclass Mine(Thing):\n    """One."""\n',
    "again.py": '"""Again."""\nimport lib\n\n\ndef again():\n    """Return."""\n    return lib.numbers()\n',
    "user_base.py": '"""U."""\nfrom lib import Thing\nprint(Thing("a").common())\n',
    "user_method.py": '"""U."""\nfrom lib import Base\nprint(Base().gone())\n',
    "user_argument.py": '"""U."""\nfrom mine import Mine\nprint(Mine("a"))\n',
    "user_attribute.py": '"""U."""\nfrom mine import Mine\nprint(Mine("a").lost)\n',
    "user_parameter.py": '"""U."""\nimport lib\nprint(lib.Thing("a").take(1))\n',
    "user_override.py": '''
        """U."""
        from lib import Thing


        class Own(Thing):
            """O."""

            def take(self, one):
                """Take."""
                return one
    ''',
    "user_abstract.py": '"""U."""\nfrom lib import Plan\nprint(Plan())\n',
    "user_result.py": '"""U."""\nfrom again import again\nprint(again()[0])\n',
    "user_function.py": '"""U."""\nfrom lib import removed\nprint(removed())\n',
    "user_value.py": '"""U."""\nimport lib\nprint(lib.VALUE[0])\n',
    "user_of_nothing.py": '"""U."""\nimport lib\nprint(lib)\n',
}

BROKEN = {
    "class Thing(Base)": "class Thing",
    "def gone(self)": "def found(self)",
    "def __init__(self, name)": "def __init__(self, name, size)",
    "self.lost = name": "print(name, size)",
    "def take(self, one)": "def take(self, one, two)",
    "    def step(self)": "    @abstractmethod\n            def step(self)",
    "return [1, 2]": "return None",
    "def removed()": "def renamed()",
    "VALUE = [1]": "VALUE = 1",
}


def test_every_file_of_which_pylint_says_something_new_is_near(tmp_path: Path) -> None:
    after = PROJECT["lib.py"]
    for old, new in BROKEN.items():
        assert old in after
        after = after.replace(old, new)
    said = [
        pylint(tmp_path / side, {**PROJECT, "lib.py": lib}) for side, lib in (("a", PROJECT["lib.py"]), ("b", after))
    ]
    complained = {path for path, _ in said[1] - said[0]}
    assert complained >= {path for path in PROJECT if path.startswith("user_")} - {"user_of_nothing.py"}
    candidates = found(tmp_path, PROJECT, {"lib.py": after})
    assert set(candidates.near) >= complained
    assert candidates.far == ("user_of_nothing.py",)


def pylint(folder: Path, files: Files) -> set[tuple[str, str]]:
    """Return what pylint says of the files but lib.py: path and message."""
    folder.mkdir()
    for path, source in files.items():
        (folder / path).write_text(dedent(source))
    arguments = ["-m", "pylint", "--output-format=json", *sorted(files.keys() - {"lib.py"})]
    environ = {**os.environ, "PYLINTHOME": str(folder / "home"), "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environ, capture_output=True, check=False)
    return {(each["path"], each["message"]) for each in json.loads(done.stdout)}
