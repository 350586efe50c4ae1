"""The demo's repository: a small shop, and four changes to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autogate.contract import Result
from autogate.git import Git
from autogate.names import Kind

REPOSITORY = "shop"

TOML = """\
url = "{url}"
poll_interval = 3600    # pushes are poked

[lint]
limit = 8.0
"""

_PRICE = '''\
"""Prices."""


def total(prices):
    """Return the sum of all prices."""
    return sum(prices)
'''

_MAIN = {
    "shop/__init__.py": '"""A small shop."""\n',
    "shop/price.py": _PRICE,
    "shop/legacy.py": "import os,sys\ndef F(X) :\n  return undefined_name\n",
    "tests/__init__.py": "",
    "tests/test_price.py": '''\
"""Tests of prices."""

import unittest

from shop.price import total


class TotalTest(unittest.TestCase):
    """Sums of prices."""

    def test_two_prices(self):
        """Two prices are added."""
        self.assertEqual(total([1, 2]), 3)
''',
}


@dataclass(frozen=True)
class Candidate:
    """A merge that the demo pushes to `auto`.

    Attributes:
        title: What people call it.
        files: Path -> content that the merge brings.
        expected: What each builder must say of it.
    """

    title: str
    files: Mapping[str, str]
    expected: Mapping[Kind, Result]


CANDIDATES = (
    Candidate(
        "a clean change",
        {
            "shop/discount.py": '''\
"""Discounts."""


def half(price):
    """Return half the price."""
    return price / 2
'''
        },
        {Kind.LINT: Result.SUCCESS, Kind.TEST: Result.SUCCESS},
    ),
    Candidate(
        "a lint error",
        {
            "shop/vat.py": '''\
"""Taxes."""


def vat(price):
    """Return the tax on a price."""
    return prise * 0.19
'''
        },
        {Kind.LINT: Result.FAILURE, Kind.TEST: Result.SUCCESS},
    ),
    Candidate(
        "a failing test",
        {"shop/price.py": _PRICE.replace("sum(", "max(")},
        {Kind.LINT: Result.SUCCESS, Kind.TEST: Result.FAILURE},
    ),
    Candidate(
        "a syntax error",
        {"shop/price.py": _PRICE.replace("(prices):", "(prices:")},
        {Kind.LINT: Result.FAILURE, Kind.TEST: Result.FAILURE},
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
        await self._git.run("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        await self._git.run("init", "--quiet", "--initial-branch=main", str(self._tree))
        await self._run("config", "user.name", "Ada Author")
        await self._run("config", "user.email", "ada@example.com")
        await self._run("remote", "add", "origin", str(self.bare))
        await self._commit(_MAIN, "Begin")
        await self._run("push", "--quiet", "origin", "main")

    async def push(self, candidate: Candidate) -> str:
        """Merge the candidate with --no-ff onto `auto`, push it, and return the merge's SHA."""
        await self._run("checkout", "--quiet", "-B", "topic", "main")
        await self._commit(candidate.files, f"Add {candidate.title}")
        await self._run("checkout", "--quiet", "-B", "auto", "main")
        await self._run("merge", "--quiet", "--no-ff", "-m", f"Merge {candidate.title}", "topic")
        await self._run("push", "--quiet", "--force", "origin", "auto")
        return (await self._run("rev-parse", "HEAD")).decode().strip()

    async def _commit(self, files: Mapping[str, str], message: str) -> None:
        for path, content in files.items():
            file = self._tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8")
        await self._run("add", "--all")
        await self._run("commit", "--quiet", "-m", message)

    async def _run(self, *args: str) -> bytes:
        return await self._git.run(*args, cwd=self._tree)
