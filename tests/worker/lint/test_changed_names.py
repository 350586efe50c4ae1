"""Which names of a module mean something else after a change."""

from textwrap import dedent

import pytest

from worker.lint.changed_names import EXPORTS, MODULE, changed_names, echoes

SHOP = '''
"""A shop."""
import os
from decimal import Decimal as D

RATE = D("0.2")


class Item:
    """A thing."""

    colour = "red"

    def __init__(self, price):
        self.price = price

    @property
    def gross(self):
        """With tax."""
        factor = 1 + RATE
        return self.price * factor

    def scale(self, by=1):
        total = 0
        for _ in range(by):
            total += 1
        print(total)
        return None


class Book(Item):
    pass


def make(price):
    return Item(price)


def wares():
    yield make(1)
'''


def changed(old: str, new: str) -> set[str]:
    assert old in SHOP
    return set(changed_names(SHOP.encode(), SHOP.replace(old, new).encode()))


def of(before: str, after: str) -> set[str]:
    return set(changed_names(dedent(before).encode(), dedent(after).encode()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A shop."""', '"""Another."""'),
        ('"""With tax."""', "# with tax"),
        ("\n\nclass Book", "\n\n\n# books\n\nclass Book"),
        ("Item(price)", "Item( price )"),
        ("print(total)", "print(total, total)"),
        ("range(by)", "range(by + 1)"),
        ("def make(price)", "def make(price: int)"),
        ("self.price = price", "self.price: int = price"),
        ("yield make(1)", "yield make(2)"),
        ("\n", "\r\n"),
    ],
)
def test_what_nothing_is_inferred_from_changes_no_name(old: str, new: str) -> None:
    assert changed(old, new) == set()


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("def wares():\n    yield make(1)\n", "", {"wares", EXPORTS}),
        ("def wares()", "def goods()", {"wares", "goods", EXPORTS}),
        ("def wares()", "async def wares()", {"wares"}),
        ("def wares()", "def wares(more)", {"wares"}),
        ("    yield make(1)", "    return make(1)", {"wares"}),
        ("by=1", "by", {".scale"}),
        ("return None", "return total", {".scale"}),
        ("def scale", "def stretch", {".scale", ".stretch", "Item", "Book", "make"}),
        ("    @property\n", "", {".gross"}),
        ("self.price = price", "print(price)", {".price", ".gross"}),
        ("1 + RATE", "2 + RATE", {".gross"}),
        ('D("0.2")', "2", {"RATE", ".gross"}),
        ("Decimal as D", "Fraction as D", {"D", "RATE", ".gross"}),
        ("import os\n", "", {"os", EXPORTS}),
        ('colour = "red"', 'colour = "blue"', {".colour"}),
        ("class Book(Item)", "class Book", {"Book"}),
        ("self, price)", "self, price, tax)", {"Item", "Book", "make"}),
        ("return Item(price)", "return Book(price)", {"make"}),
    ],
)
def test_what_changes_for_others_is_named(old: str, new: str, names: set[str]) -> None:
    assert changed(old, new) == names


def test_a_method_that_becomes_abstract_changes_its_class() -> None:
    before = "class A:\n    def f(self):\n        return 1\n"
    assert of(before, before.replace("return 1", "raise NotImplementedError")) == {".f", "A"}


def test_an_attribute_set_on_another_object_is_named() -> None:
    assert of("def f(cart):\n    cart.total = 1\n", "def f(cart):\n    print(cart)\n") == {".total"}


def test_a_global_that_a_function_sets_is_named() -> None:
    before = "X = None\ndef f():\n    global X\n    X = 1\n"
    assert of(before, before.replace("X = 1", "X = [1]")) == {"X"}


def test_a_branch_counts_as_part_of_what_is_in_it() -> None:
    assert of("import a\n", "if a_flag:\n    import a\n") == {"a"}


@pytest.mark.parametrize("module", ["from a import *\n", "def __getattr__(name):\n    return name\n"])
def test_a_star_import_or_a_modules_getattr_stands_for_the_module(module: str) -> None:
    assert MODULE in of("", module)
    assert MODULE in of(module, "")


def test_the_list_of_exports_is_a_name() -> None:
    assert of("__all__ = ['a']\n", "__all__ = ['a']\n__all__.append('b')\n") == {EXPORTS}


@pytest.mark.parametrize("after", [None, b"def broken(:\n", b"\0", "é = 1".encode("latin-1")])
def test_a_module_that_is_gone_or_broken_changes_as_such_and_in_every_public_name(after: bytes | None) -> None:
    before = b"def f():\n    pass\nclass C:\n    x = 1\n    _y = 2\n_hidden = 1\n"
    assert changed_names(before, after) == {MODULE, EXPORTS, "f", "C", ".x"}
    assert changed_names(after, before) == {MODULE, EXPORTS, "f", "C", ".x"}


def test_moved_definitions_mean_the_same() -> None:
    assert (
        of("def f():\n    return 1\ndef g():\n    return 2\n", "def g():\n    return 2\ndef f():\n    return 1\n")
        == set()
    )


def test_a_capture_and_an_assignment_expression_are_bindings() -> None:
    before = """
        def f(x):
            match x:
                case [first, *rest]:
                    return first
            if (y := g(x)):
                return y
    """
    assert of(before, before.replace("g(x)", "h(x)")) == {"f"}
    assert of(before, before.replace("[first, *rest]", "{'k': first}")) == {"f"}


def test_an_unchanged_module_echoes_what_it_makes_of_changed_names() -> None:
    source = dedent("""
        from shop import make
        import shop

        def cheap():
            item = make(1)
            return item

        def dear():
            return shop.make(1000)

        def other():
            print(make(1))

        class Cart:
            def __init__(self):
                self.first = make(1)
    """)
    assert echoes(source.encode(), {"make"}) == {"cheap", "dear", ".first"}
    assert echoes(b"def broken(:\n", {"make"}) == set()
