"""The demo's repository: a small shop, and seven changes to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autogate.git import Git

REPOSITORY = "shop"
TARGET = "main"
REVIEWER = "ada"

TOML = f"""\
url = "{{url}}"
poll_interval = 3600    # pushes are poked

[review]
reviewers = ["{REVIEWER}"]
"""

_PRICE = '''\
"""Prices."""


def total(prices):
    """Return the sum of all prices."""
    return sum(prices)
'''

_TEST_PRICE = '''\
"""Tests of prices."""

import unittest

from shop.price import total


class TotalTest(unittest.TestCase):
    """Sums of prices."""

    def test_two_prices(self):
        """Two prices are added."""
        self.assertEqual(total([1, 2]), 3)
'''

_MAIN = {
    "shop/__init__.py": '"""A small shop."""\n',
    "shop/price.py": _PRICE,
    "shop/legacy.py": "import os,sys\ndef F(X) :\n  return undefined_name\n",
    "tests/__init__.py": "",
    "tests/test_price.py": _TEST_PRICE,
}


@dataclass(frozen=True)
class Topic:
    """A change that the demo pushes for review.

    Attributes:
        name: Under which it is pushed.
        title: What people call it.
        files: Path -> content.
        lands: Whether it must land.
        told: What the reason must name, when it does not.
    """

    name: str
    title: str
    files: Mapping[str, str]
    lands: bool
    told: str = ""


TOPICS = (
    Topic(
        "discount",
        "a clean change",
        {
            "shop/discount.py": '''\
"""Discounts."""


def half(price):
    """Return half the price."""
    return price / 2
'''
        },
        lands=True,
    ),
    Topic(
        "vat",
        "a lint error",
        {
            "shop/vat.py": '''\
"""Taxes."""


def vat(price):
    """Return the tax on a price."""
    return prise * 0.19
'''
        },
        lands=False,
        told="shop-lint",
    ),
    Topic(
        "free-shipping",
        "a failing test",
        {
            "tests/test_shipping.py": '''\
"""Tests of shipping."""

import unittest

from shop.price import total


class ShippingTest(unittest.TestCase):
    """The price of shipping."""

    def test_is_free(self):
        """Shipping is free."""
        self.assertEqual(total([1, 2]), 2)
'''
        },
        lands=False,
        told="shop-test",
    ),
    Topic(
        "rename",
        "renames total(); green alone",
        {
            "shop/price.py": _PRICE.replace("def total(", "def sum_of("),
            "tests/test_price.py": _TEST_PRICE.replace("import total", "import sum_of").replace("total([", "sum_of(["),
        },
        lands=True,
    ),
    Topic(
        "basket",
        "uses total(); green alone",
        {
            "shop/basket.py": '''\
"""Baskets."""

from shop.price import total


def due(basket):
    """Return what a basket costs."""
    return total(basket)
''',
            "tests/test_basket.py": '''\
"""Tests of baskets."""

import unittest

from shop.basket import due


class BasketTest(unittest.TestCase):
    """Baskets cost what is in them."""

    def test_two_things(self):
        """Two prices are added."""
        self.assertEqual(due([1, 2]), 3)
''',
        },
        lands=False,
        told="but not together with",
    ),
    Topic(
        "currency",
        "changes the renamed line",
        {"shop/price.py": _PRICE.replace("total(prices)", "total(prices, currency)")},
        lands=False,
        told="Conflicts with",
    ),
    Topic(
        "readme",
        "another clean change",
        {"README.md": "# A small shop\n"},
        lands=True,
    ),
)


class DemoRepository:
    """A bare repository and the work tree that pushes to it."""

    def __init__(self, folder: Path) -> None:
        self.bare = folder / f"{REPOSITORY}.git"
        self._tree = folder / f"{REPOSITORY}-tree"
        self._git = Git()

    async def create(self) -> None:
        """Make both, with the first commit on `main`."""
        await self._git.run("init", "--quiet", "--bare", f"--initial-branch={TARGET}", str(self.bare))
        await self._git.run("init", "--quiet", f"--initial-branch={TARGET}", str(self._tree))
        await self._run("config", "user.name", "Ada Author")
        await self._run("config", "user.email", "ada@example.com")
        await self._run("remote", "add", "origin", str(self.bare))
        await self._commit(_MAIN, "Begin")
        await self._run("push", "--quiet", "origin", TARGET)

    async def push(self, topic: Topic) -> None:
        """Push a topic for review, as anybody would."""
        await self._run("checkout", "--quiet", "-B", topic.name, TARGET)
        await self._commit(topic.files, topic.title[0].upper() + topic.title[1:])
        await self._run("push", "--quiet", "origin", f"HEAD:refs/for/{TARGET}/{topic.name}")

    async def history(self) -> str:
        """Return what `main` has come to: the merges along first parents, newest first."""
        await self._run("fetch", "--quiet", "origin", TARGET)
        out = await self._run("log", "--first-parent", "--format=%h %s", "FETCH_HEAD")
        return out.decode("utf-8", "replace").rstrip()

    async def _commit(self, files: Mapping[str, str], message: str) -> None:
        for path, content in files.items():
            file = self._tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8")
        await self._run("add", "--all")
        await self._run("commit", "--quiet", "-m", message)

    async def _run(self, *args: str) -> bytes:
        return await self._git.run(*args, cwd=self._tree)
