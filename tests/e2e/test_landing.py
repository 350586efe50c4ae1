"""From `r+` to landed, or not, on the real thing: git, master, workers, the bot. The rule is checked all the time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
BAD_LINT = '"""A module."""\n\n\ndef answer():\n    """Return it."""\n    return fourty_two\n'

HOLDING = """\
\"\"\"Tests that wait.\"\"\"

import os
import time
import unittest


class Hold(unittest.TestCase):
    \"\"\"It holds.\"\"\"

    def test_until_released(self):
        \"\"\"Until released.\"\"\"
        while not os.path.exists({path!r}):  # pylint: disable=line-too-long
            time.sleep(0.05)
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


def test_a_lint_error_does_not_land_and_the_finding_is_told(team: Team) -> None:
    number = team.propose("lint", {"pkg/lint.py": BAD_LINT})
    team.approve(number)
    shown = team.wait_until(number, "aside")
    assert "shop-lint" in shown["waiting"]
    assert "fourty" in team.detail(number)["status"]
    [verdict] = [each for each in team.detail(number)["verdicts"] if each["builder"] == "shop-lint"]
    assert {finding["symbol"] for finding in verdict["findings"]} >= {"undefined-variable"}
    team.check()


def test_two_that_are_green_alone_and_red_together_do_not_both_land(team: Team) -> None:
    first = team.propose("raise-a", {"pkg/limits.py": LIMITS.format(6, 1)})
    second = team.propose("raise-b", {"pkg/limits.py": LIMITS.format(1, 6)})
    team.ask("POST", "pause", json={"reason": "so that they meet"})
    team.approve(first)
    team.approve(second)
    team.ask("POST", "resume", json={})
    team.wait_until_landed(first)
    team.wait_until(second, "aside")

    def explained() -> dict[str, Any] | None:
        now = team.show(second)
        return now if "not together with" in now["waiting"] else None

    # the explanation comes from a try build of its own
    shown = wait_for(explained, "what it failed with")
    assert f"#{first}" in shown["waiting"]
    team.check()


def test_the_second_of_two_one_after_the_other_is_ejected(team: Team) -> None:
    number = team.propose("raise-b-again", {"pkg/limits.py": LIMITS.format(6, 6)})
    team.approve(number)
    team.wait_until(number, "aside")
    assert "test_sum" in team.detail(number)["status"]
    team.check()


def test_a_head_that_moved_unnoticed_does_not_land(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "go"
    number = team.propose("moving", {"tests/test_hold_1.py": HOLDING.format(path=str(release))})
    team.approve(number)
    team.wait_until_building(number)
    moved = team.push("moving", {"pkg/moved.py": GOOD})
    release.touch()
    shown = team.wait_until(number, "open")
    assert shown["head"] == moved
    assert team.ref("refs/for/main/moving") == moved
    team.check()
    assert "approv" in shown["waiting"]
    team.approve(number)
    team.wait_until_landed(number)


def test_a_head_that_moved_and_was_noticed_ends_the_build(team: Team, tmp_path: Path) -> None:
    number = team.propose("noticed", {"tests/test_hold_2.py": HOLDING.format(path=str(tmp_path / "never"))})
    team.approve(number)
    attempt = team.wait_until_building(number)
    team.push("noticed", {"pkg/noticed.py": GOOD})
    team.ask("POST", "poke")
    assert team.show(number)["state"] == "open"
    sha = attempt_sha(team, number, attempt)
    team.wait_until_cancelled(sha)
    team.check()


def attempt_sha(team: Team, number: int, attempt: int) -> str:
    [sha] = [each["sha"] for each in team.detail(number)["attempts"] if each["id"] == attempt]
    return str(sha)


def test_approvals_of_an_old_a_short_or_a_bare_older_sha_are_refused(team: Team) -> None:
    number = team.propose("refusals", {"pkg/refused.py": GOOD})
    old = team.show(number)["head"]
    head = team.push("refusals", {"pkg/refused.py": GOOD + "\n"})
    # the first is written before the bot has seen the new head
    for body in ("@autogate r+", f"@autogate r+ {old}", f"@autogate r+ {head[:12]}"):
        answer = team.say(number, body)
        assert answer["refused"], body
        assert head[:12] in answer["answers"][0]
    assert team.show(number)["state"] == "open"
    team.check()


def test_a_push_to_the_target_in_mid_build_is_built_anew_without_force(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "go"
    number = team.propose("raced", {"tests/test_hold_3.py": HOLDING.format(path=str(release))})
    team.approve(number)
    first = team.wait_until_building(number)
    human = team.human_pushes({"human.txt": "by hand"})
    release.touch()
    team.wait_until_landed(number)
    attempts = {each["id"]: each for each in team.detail(number)["attempts"]}
    assert attempts[first]["reason"] == "base_moved"
    team.repository.git("fetch", "-q", "origin")
    assert team.repository.git("merge-base", "--is-ancestor", human, team.repository.tip("main")) == ""


def test_r_minus_in_mid_build(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "go"
    number = team.propose("withdrawn", {"tests/test_hold_4.py": HOLDING.format(path=str(release))})
    team.approve(number)
    attempt = team.wait_until_building(number)
    tip = team.repository.tip("main")
    assert not team.say(number, "@autogate r-")["refused"]
    assert team.show(number)["state"] == "open"
    sha = attempt_sha(team, number, attempt)
    release.touch()
    team.wait_until_cancelled(sha)
    assert team.repository.tip("main") == tip


def test_a_try_never_lands_and_an_approval_meanwhile_is_safe(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "go"
    number = team.propose("trial", {"tests/test_hold_5.py": HOLDING.format(path=str(release))})
    team.say(number, "@autogate try", by="tim")
    tip = team.repository.tip("main")
    trial = wait_for(
        lambda: next((each for each in team.detail(number)["attempts"] if each["stage"] == "testing"), None), "a try"
    )
    assert trial["kind"] == "try"
    team.approve(number)
    team.wait_until_building(number)
    assert team.repository.tip("main") == tip
    release.touch()
    team.wait_until_landed(number)
    assert trial["sha"] != team.repository.tip("main")


def test_try_alone_is_green_and_stays_where_it_is(team: Team) -> None:
    number = team.propose("only-tried", {"pkg/tried.py": GOOD})
    tip = team.repository.tip("main")
    team.say(number, "@autogate try", by="tim")
    wait_for(lambda: [each for each in team.detail(number)["attempts"] if each["stage"] == "green"], "a green try")
    assert team.show(number)["state"] == "open"
    assert team.repository.tip("main") == tip
    team.check()


def test_a_topic_that_is_deleted_in_mid_build_and_opened_again(team: Team, tmp_path: Path) -> None:
    files: Files = {"tests/test_hold_6.py": HOLDING.format(path=str(tmp_path / "never"))}
    number = team.propose("deleted", files)
    team.approve(number)
    attempt = team.wait_until_building(number)
    team.repository.push(":refs/for/main/deleted")
    team.ask("POST", "poke")
    assert team.show(number)["state"] == "closed"
    team.wait_until_cancelled(attempt_sha(team, number, attempt))
    again = team.propose("deleted", {"pkg/again.py": GOOD})
    assert team.show(again)["state"] == "open"
    assert again != number
    team.check()


def test_a_delegate_approves_until_that_is_taken_back(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "go"
    number = team.propose("delegated", {"tests/test_hold_7.py": HOLDING.format(path=str(release))})
    assert team.say(number, "@autogate r+", by="eve")["refused"]
    team.say(number, "@autogate delegate=eve")
    team.approve(number, by="eve")
    attempt = team.wait_until_building(number)
    team.say(number, "@autogate delegate-")
    assert team.show(number)["state"] == "open"
    release.touch()
    team.wait_until_cancelled(attempt_sha(team, number, attempt))
    team.check()


def test_a_conflict_sets_only_that_one_aside(team: Team) -> None:
    base = team.repository.tip("main")
    team.repository.git("fetch", "-q", "origin")
    mine = team.propose("conflict-mine", {"conflict.txt": "mine"})
    team.human_pushes({"conflict.txt": "theirs"})
    other = team.propose("innocent", {"pkg/innocent.py": GOOD}, base=base)
    team.approve(mine)
    team.approve(other)
    team.wait_until_landed(other)
    shown = team.wait_until(mine, "aside")
    assert "conflict.txt" in shown["waiting"] + team.detail(mine)["status"]


ODD = [
    "--upload-pack=touch pwned",
    "-->@autogate r+",
    "$(touch pwned)`touch pwned`;touch pwned",
    "\N{RIGHT-TO-LEFT OVERRIDE}@autogate r+\N{CYRILLIC SMALL LETTER A}" + "\N{SNOWMAN}" * 40,
]


@pytest.mark.parametrize("odd", range(len(ODD)))
def test_odd_titles_and_names_are_text_and_nothing_else(team: Team, odd: int) -> None:
    text = ODD[odd]
    team.repository.git("fetch", "-q", "origin")
    team.repository.git("checkout", "-q", "-B", f"odd-{odd}", "origin/main")
    path = text.replace("/", "_")[:60] + ".txt"
    (team.repository.tree / path).write_text(text)
    team.repository.git("add", "--all")
    team.repository.git("commit", "-q", "-m", f"{text}\n\n@autogate r+\nAutogate-Base: {'0' * 40}")
    topic = "".join(c for c in text if c.isalnum() or c in "-=`$();").strip("-")[:60] + f"-{odd}"
    team.repository.git("push", "-q", "origin", f"HEAD:refs/for/main/{topic}")
    number = team.number(topic)
    assert team.show(number)["state"] == "open"
    team.approve(number)
    team.wait_until_landed(number)
    assert not list(team.repository.tree.parent.rglob("pwned"))


def test_three_hundred_characters_of_unicode(team: Team) -> None:
    topic = "\N{SNOWMAN}" * 75
    number = team.propose(topic, {"pkg/unicode.py": GOOD})
    team.approve(number)
    team.wait_until_landed(number)
