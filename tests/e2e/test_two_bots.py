"""Two bots on one database, on the real thing: one acts, the other stands by, and whoever led before does nothing."""

import contextlib
import itertools
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from autogate.cli.local import LocalInstallation
from tests.support.bots import OneBot, is_at_rest, one_bot, rows, shorten_lease
from tests.support.ports import reserve_port
from tests.support.postgresql import Server, postgresql
from tests.support.team import Team
from tests.support.waiting import wait_for

# many rounds, not one that hangs
pytestmark = pytest.mark.timeout(1200)

# a build ends when the file is gone
MORE = """\
lint.enabled = false
test.command = ["sh", "-c", "while test -e {held}; do sleep 0.05; done"]
gate.ask_interval = 1
"""
TOPICS = itertools.count()


@dataclass
class Pair:
    """Two bots.

    Attributes:
        bots: The bots.
        database: Their database's address.
        server: PostgreSQL, where it is that.
        held: As long as this file is there, no build ends.
    """

    bots: tuple[OneBot, OneBot]
    database: str
    server: Server | None
    held: Path

    def roles(self) -> tuple[OneBot, OneBot]:
        """Return who leads and who stands by; whoever is dead is started."""
        for bot in self.bots:
            if bot.process.pid is None:
                bot.start()

        def found() -> tuple[OneBot, OneBot] | None:
            one, other = self.bots
            roles = one.role, other.role
            if roles == ("leader", "standby"):
                return one, other
            return (other, one) if roles == ("standby", "leader") else None

        return wait_for(found, "one to lead and one to stand by")

    def wait_until_at_rest(self) -> None:
        """Return when nothing is left to do."""
        wait_for(lambda: is_at_rest(self.database), "all to be done")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp(f"two-bots-{request.param}")
    held = folder / "held"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgresql(folder / "postgresql")) if request.param == "postgresql" else None
        database = server.url if server else f"sqlite:///{folder / 'shared.sqlite'}"
        installation = LocalInstallation(folder / "in", workers=1)
        shorten_lease(installation, database)
        team = Team.create(folder, installation, more=MORE.format(held=held))
        settings = installation.places.repositories / "shop.toml"
        # so that whoever wakes up looks at once
        settings.write_text(settings.read_text().replace("poll_interval = 3600", "poll_interval = 1"))
        # results are posted to the first, whether it leads or not
        bots = one_bot(team, folder / "one", installation.bot_port), one_bot(team, folder / "two", reserve_port())
        stack.callback(installation.kill)
        for bot in bots:
            stack.callback(bot.process.kill)
        installation.start_master()
        for worker in installation.workers:
            worker.start()
        yield Pair(bots, database, server, held)


def propose(bot: OneBot) -> int:
    topic = f"topic-{next(TOPICS)}"
    return bot.team.propose(topic, {f"{topic}.txt": topic})


def land(bot: OneBot) -> int:
    number = propose(bot)
    bot.team.approve(number)
    bot.team.wait_until_landed(number)
    return number


def stop(bot: OneBot, database: str) -> None:
    """Stop a bot, but not inside a transaction: on SQLite nobody else could write until it wakes up."""

    def stopped() -> bool:
        bot.process.signal(signal.SIGSTOP)
        if not database.startswith("sqlite:///"):
            return True
        probe = sqlite3.connect(database.removeprefix("sqlite:///"), timeout=1, isolation_level=None)
        try:
            probe.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            bot.process.signal(signal.SIGCONT)
            return False
        finally:
            probe.close()
        return True

    wait_for(stopped, "it to stop between two transactions")


def wait_until_tested(bot: OneBot, number: int) -> None:
    """Return when the candidate was pushed, and is being built."""
    wait_for(lambda: [each for each in bot.team.detail(number)["attempts"] if each["stage"] == "testing"], "a build")


def test_the_one_that_stands_by_answers_and_takes_orders(pair: Pair) -> None:
    leader, standby = pair.roles()
    number = propose(leader)
    assert standby.team.show(number) == leader.team.show(number)
    assert not standby.team.approve(number)["refused"]
    standby.team.wait_until_landed(number)
    assert leader.team.show(number)["state"] == "landed"
    assert standby.role == "standby"


@pytest.mark.parametrize(
    ("ref", "late"),
    [
        ("", "nothing is pushed late"),
        ("refs/heads/auto", "while it is stopped"),
        ("refs/heads/main", "while it is stopped"),
        ("refs/heads/main", "after it has woken up"),
    ],
)
def test_a_leader_that_was_stopped_past_its_lease_does_nothing(pair: Pair, ref: str, late: str) -> None:
    leader, standby = pair.roles()
    number = propose(leader)
    push: psutil.Process | None = None
    if ref:
        leader.brake.hold(ref)
    leader.team.approve(number)
    if ref:
        push = leader.brake.wait_until_held()
    else:
        leader.team.wait_until_landed(number)
    stop(leader, pair.database)
    try:
        standby.wait_until_it_leads()
        standby.team.wait_until_landed(number)
        land(standby)
        pair.wait_until_at_rest()
        kept, refs = rows(pair.database), leader.team.repository.refs()
        lost = leader.process.said().count("this process leads no longer")
        if push and late == "while it is stopped":
            leader.brake.release()
            # its parent cannot take note of its end
            wait_for(lambda: push.status() == psutil.STATUS_ZOMBIE, "the late push to end")
    finally:
        leader.process.signal(signal.SIGCONT)
    wait_for(lambda: leader.process.said().count("this process leads no longer") > lost, "it to say so")
    leader.brake.release()
    if push:
        wait_for(lambda: not push.is_running(), "the late push to end")
    assert leader.role == "standby"
    assert leader.team.repository.refs() == refs
    for table, found in rows(pair.database).items():
        assert found == kept[table], table
    leader.team.check()
    # and it is still of use
    standby.process.kill()
    leader.wait_until_it_leads()
    land(leader)


def test_the_one_that_stands_by_goes_on_where_a_killed_leader_was(pair: Pair) -> None:
    leader, standby = pair.roles()
    pair.held.touch()
    number = propose(leader)
    leader.team.approve(number)
    wait_until_tested(leader, number)
    approval = leader.team.show(number)["approved_by"]
    leader.process.kill()
    pair.held.unlink()
    standby.wait_until_it_leads()
    standby.team.wait_until_landed(number)
    assert standby.team.show(number)["approved_by"] == approval
    assert len(standby.team.detail(number)["attempts"]) == 1


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
def test_nothing_is_lost_when_the_database_goes_away_for_a_while(pair: Pair) -> None:
    leader, _ = pair.roles()
    assert pair.server
    pair.held.touch()
    number = propose(leader)
    leader.team.approve(number)
    wait_until_tested(leader, number)
    pair.server.stop()
    pair.held.unlink()
    for bot in pair.bots:
        wait_for(bot.complains, "it to say so")
    wait_for(lambda: not any(bot.is_leader() for bot in pair.bots), "nobody to lead")
    pair.server.start()
    leader, standby = pair.roles()
    standby.team.wait_until_landed(number)
    land(leader)


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
def test_nothing_is_lost_when_a_server_process_of_the_database_is_killed(pair: Pair) -> None:
    leader, _ = pair.roles()
    pair.held.touch()
    number = propose(leader)
    leader.team.approve(number)
    wait_until_tested(leader, number)
    with psycopg.connect(pair.database) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        [pid, *_] = [row[0] for row in connection.execute(query)]
    # the server then ends every other connection too, and this one would be among them
    os.kill(pid, signal.SIGKILL)
    pair.held.unlink()
    leader.team.wait_until_landed(number)
    leader, _ = pair.roles()
    land(leader)
