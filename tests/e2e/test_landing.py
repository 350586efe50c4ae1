"""From `r+` to landed, or not, on the real thing: git, master, workers, the bot. The rule is checked after every step."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autogate.cli.local import LocalInstallation
from tests.support.repository import Files
from tests.support.team import Team
from tests.support.waiting import wait_for

GOOD = '"""A module."""\n\n\ndef answer():\n    """Return it."""\n    return 42\n'
TEST = """\
import unittest
from pkg import limits


class LimitsTest(unittest.TestCase):
    def test_sum(self):
        self.assertLess(limits.A + limits.B, 10)
"""
LIMITS = '"""Limits."""\n\nA = {}\nPADDING_1 = 0\nPADDING_2 = 0\nPADDING_3 = 0\nB = {}\n'

MAIN: Files = {
    "pkg/__init__.py": '"""A package."""\n',
    "pkg/limits.py": LIMITS.format(1, 1),
    "tests/__init__.py": "",
    "tests/test_limits.py": TEST,
}
GATED = """\
[gate]
timeout = 600
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("landing")
    installation = LocalInstallation(folder / "in", workers=2)
    team = Team.create(folder, installation, MAIN, people=("ada", "tim", "eve"))
    try:
        installation.start()
        yield team
    finally:
        installation.kill()


def test_an_approved_topic_lands_and_is_cleaned_up(team: Team) -> None:
    number = team.propose("fix-typo", {"pkg/answer.py": GOOD})
    assert team.show(number)["state"] == "open"
    assert not team.approve(number)["refused"]
    team.wait_until_landed(number)
    assert team.show(number)["landed_as"] == team.repository.tip("main")
    assert team.ref("refs/for/main/fix-typo") is None
