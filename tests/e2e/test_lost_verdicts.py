"""No result ever reaches the bot by itself, and Buildbot forgets, falls silent and changes under it: it finds out."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autogate.cli.local import LocalInstallation, free_port
from tests.support.held import FILES, SETTINGS, holding
from tests.support.team import TOML, Team
from tests.support.waiting import wait_for

# many rounds, not one that hangs
pytestmark = pytest.mark.timeout(1200)

ASKING = SETTINGS + "[gate]\nask_interval = 1\n"
LINTED = ASKING.replace("enabled = false", "enabled = true")


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("lost")
    installation = LocalInstallation(folder / "in", workers=2)
    rewrite_site(installation, f"{installation.bot_url}/buildbot", f"http://127.0.0.1:{free_port()}/buildbot")
    team = Team.create(folder, installation, FILES, more=ASKING)
    try:
        installation.start()
        yield team
        assert "report" not in {kind for kind, _key in events(team)}
    finally:
        installation.kill()


def rewrite_site(installation: LocalInstallation, old: str, new: str) -> None:
    file = installation.places.site_file
    before = file.read_text()
    assert before.count(old) == 1
    file.write_text(before.replace(old, new))


def configure(team: Team, more: str) -> None:
    """Rewrite the repository's file, as an editor does; nobody is told."""
    team.installation.add_repository(team.name, TOML.format(url=team.repository.bare, more=more))


def events(team: Team) -> list[tuple[str, str]]:
    """Return (kind, key) of everything that reached the bot."""
    path = team.installation.places.state / "bot" / "bot.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
        return database.execute("SELECT kind, coalesce(key, '') FROM events").fetchall()


def attempts(team: Team, number: int) -> dict[int, dict[str, Any]]:
    return {attempt["id"]: attempt for attempt in team.detail(number)["attempts"]}


def being_built(team: Team, number: int, *, after: int = 0) -> dict[str, Any]:
    """Return the attempt later than ``after`` that is tested, once the bot has found its build."""

    def found() -> dict[str, Any] | None:
        for attempt in attempts(team, number).values():
            builds = [builder for builder in attempt["builders"] if builder["url"]]
            if attempt["id"] > after and attempt["stage"] == "testing" and builds:
                return attempt
        return None

    return wait_for(found, lambda: f"#{number} to be built: {team.detail(number)}")


def wait_for_sentence(team: Team, number: int, *parts: str) -> None:
    """Wait until the sentence that tells why a pull request waits says all of this."""
    wait_for(
        lambda: all(part in waiting for part in parts) if (waiting := team.show(number)["waiting"]) else None,
        lambda: f"{parts} in {team.show(number)['waiting']!r}",
    )


def test_a_pass_of_which_nobody_tells_is_found(team: Team) -> None:
    number = team.propose("silent-pass", {"a.txt": "a"})
    team.approve(number)
    team.wait_until_landed(number)


def test_a_failure_of_which_nobody_tells_is_found_with_its_build(team: Team) -> None:
    number = team.propose("silent-failure", {"bad.txt": "b"})
    team.approve(number)
    team.wait_until(number, "aside")
    [verdict] = team.detail(number)["verdicts"]
    assert (verdict["builder"], verdict["result"], verdict["cause"]) == ("shop-test", "failure", "change")
    assert verdict["url"].startswith(team.installation.url)
    team.check()


def test_the_builds_of_an_attempt_that_nobody_waits_for_are_cancelled(team: Team, tmp_path: Path) -> None:
    number = team.propose("withdrawn", holding(tmp_path / "never"))
    team.approve(number)
    attempt = being_built(team, number)
    team.say(number, "@autogate r-")
    team.wait_until_cancelled(attempt["sha"])
    assert attempts(team, number)[attempt["id"]]["reason"] == "withdrawn"
    team.check()


def test_builds_that_vanished_are_made_again_as_nobodys_fault(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "vanished"
    number = team.propose("vanished", holding(release))
    team.approve(number)
    attempt = being_built(team, number)
    team.installation.master.kill()
    forget_requests(team.installation)
    team.installation.start_master()
    again = being_built(team, number, after=attempt["id"])
    assert again["sha"] != attempt["sha"]
    lost = attempts(team, number)[attempt["id"]]
    assert (lost["stage"], lost["reason"]) == ("failed", "infrastructure")
    assert "shop-test" in lost["detail"]
    release.touch()
    team.wait_until_landed(number)


def forget_requests(installation: LocalInstallation) -> None:
    """Make Buildbot forget what it has not finished."""
    with closing(sqlite3.connect(installation.places.state / "master" / "state.sqlite")) as database, database:
        database.execute("PRAGMA foreign_keys = ON")
        forgotten = database.execute("DELETE FROM buildrequests WHERE complete = 0").rowcount
        assert forgotten == 1


def test_a_master_that_is_down_is_named_and_waited_for(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "down"
    number = team.propose("down", holding(release))
    team.approve(number)
    attempt = being_built(team, number)
    team.installation.master.kill()
    wait_for_sentence(team, number, "Buildbot does not answer", "bot.master")
    team.installation.start_master()
    release.touch()
    team.wait_until_landed(number)
    assert attempts(team, number).keys() == {attempt["id"]}


def test_builders_that_changed_in_mid_build_say_so_at_once(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "renamed"
    number = team.propose("renamed", holding(release))
    team.approve(number)
    first = being_built(team, number)
    configure(team, LINTED)
    wait_for_sentence(team, number, "Buildbot has no builder shop-lint")
    changed = attempts(team, number)[first["id"]]
    assert (changed["stage"], changed["reason"]) == ("discarded", "builders_changed")
    assert "shop-lint is new" in changed["detail"]
    team.wait_until_cancelled(first["sha"])
    second = being_built(team, number, after=first["id"])
    assert {builder["name"] for builder in second["builders"]} == {"shop-lint", "shop-test"}
    # the builder never comes: it is given up again
    configure(team, ASKING)
    third = being_built(team, number, after=second["id"])
    changed = attempts(team, number)[second["id"]]
    assert (changed["reason"], changed["detail"]) == ("builders_changed", "shop-lint is no longer required")
    assert {builder["name"] for builder in third["builders"]} == {"shop-test"}
    release.touch()
    team.wait_until_landed(number)


def test_a_builder_that_the_master_learns_of_later_is_waited_for(team: Team, tmp_path: Path) -> None:
    release = tmp_path / "learned"
    team.begin = team.repository.tip("main")  # what landed before had no such builder
    number = team.propose("learned", {**holding(release), "learned.py": '"""A module."""\n'})
    team.approve(number)
    being_built(team, number)
    configure(team, LINTED)
    wait_for_sentence(team, number, "Buildbot has no builder shop-lint")
    team.installation.reconfigure()
    release.touch()
    team.wait_until_landed(number)


def test_without_a_user_of_its_own_the_bot_asks_what_anybody_may_read(team: Team, tmp_path: Path) -> None:
    configure(team, ASKING)
    team.begin = team.repository.tip("main")
    team.installation.reconfigure()
    bot = team.installation.bot
    assert bot
    bot.stop()
    rewrite_site(team.installation, 'user = "bot"\n', "")
    team.installation.start_bot()
    release = tmp_path / "nobody"
    withdrawn = team.propose("nobody", holding(release))
    team.approve(withdrawn)
    attempt = being_built(team, withdrawn)
    team.say(withdrawn, "@autogate r-")
    # nobody may cancel, so the build goes on, and nothing waits for that
    wait_for(lambda: "name a user in bot.user" in bot.said(), "the cure to be told")
    number = team.propose("after-nobody", {"after-nobody.txt": ""})
    team.approve(number)
    team.wait_until_landed(number)
    release.touch()
    team.wait_until_cancelled(attempt["sha"])
    assert team.show(withdrawn)["state"] == "open"
    team.check()


def test_a_poke_that_fails_is_only_a_longer_wait(team: Team) -> None:
    bot = team.installation.bot
    assert bot
    bot.stop()
    (team.installation.places.secrets / "poke_secret").write_text("not the master's")
    team.installation.start_bot()
    number = team.propose("unpoked", {"unpoked.txt": ""})
    team.approve(number)
    wait_for(lambda: "give master and bot the same web.poke_secret" in bot.said(), "the cure to be told")
    attempt = team.wait_until(number, "testing")["attempt"]
    # the master, whose poller would come round in an hour, does so now
    team.installation.poke(team.name)
    team.wait_until_landed(number)
    assert attempts(team, number).keys() == {attempt}
