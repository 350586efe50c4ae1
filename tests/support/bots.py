"""Two bots on one database, each with a brake on its pushes."""

import copy
import os
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

from autogate.cli.local import LocalInstallation, Process
from autogate.places import Places
from review_bot.store.schema import EFFECTS, EVENTS, LEASES, METADATA, TOKENS

from .team import Team
from .waiting import wait_for

_GIT = """\
#!/bin/sh
# git, which waits before it pushes to the ref that the file `at` names, as long as that file is there
case " $* " in
*" push "*":$(cat {folder}/at 2>/dev/null || echo nothing) "*)
    echo $$ >{folder}/pid.new && mv {folder}/pid.new {folder}/pid
    while test -e {folder}/at; do sleep 0.05; done ;;
esac
exec {git} "$@"
"""


class Brake:
    """A git that goes before the real one in a program's PATH.

    Args:
        folder: Its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        real = shutil.which("git")
        assert real
        program = folder / "git"
        program.write_text(_GIT.format(folder=shlex.quote(str(folder)), git=shlex.quote(real)))
        program.chmod(0o755)

    def before(self, path: str) -> str:
        """Return a PATH in which it comes first."""
        return f"{self._folder}{os.pathsep}{path}"

    def hold(self, ref: str) -> None:
        """Stop the next push to a ref just before it begins."""
        (self._folder / "pid").unlink(missing_ok=True)
        (self._folder / "at").write_text(ref)

    def wait_until_held(self) -> psutil.Process:
        """Wait until there is such a push, and return its process."""
        pid = self._folder / "pid"
        wait_for(pid.exists, "a push to be held")
        return psutil.Process(int(pid.read_text()))

    def release(self) -> None:
        """Let it go on."""
        (self._folder / "at").unlink(missing_ok=True)


def shorten_lease(installation: LocalInstallation, database: str, seconds: int = 3) -> None:
    """Let a bot that stands by take over soon, and keep the state in a database that bots can share."""
    site = installation.places.site_file
    text = site.read_text().replace("[bot]\n", f"[bot]\nlease = {seconds}\n")
    site.write_text(text + f'[bot.database]\nurl = "{database}"\n')


@dataclass(frozen=True)
class OneBot:
    """One of several bots.

    Attributes:
        team: The people, as they talk to this bot.
        process: Its process.
        brake: On its pushes.
    """

    team: Team
    process: Process
    brake: Brake

    @property
    def role(self) -> str:
        """What it says that it is."""
        answer = httpx.get(f"{self.team.installation.bot_url}/healthz", timeout=30)
        return str(answer.json()["role"])

    def start(self) -> None:
        """Start it, and return when it answers."""
        before = self.process.said().count("listening")
        self.process.start()
        wait_for(lambda: self.process.said().count("listening") > before, "a bot to listen")

    def is_leader(self) -> bool:
        """Tell whether it is there and leads."""
        try:
            return self.role == "leader"
        except httpx.TransportError:
            return False

    def complains(self) -> bool:
        """Tell whether it says that it has no database."""
        answer = httpx.get(f"{self.team.installation.bot_url}/healthz", timeout=30)
        return bool(answer.json()["status"] == "no_database")

    def wait_until_it_leads(self) -> None:
        """Return when it leads."""
        wait_for(self.is_leader, "a bot to lead")


def one_bot(team: Team, folder: Path, port: int) -> OneBot:
    """Return a bot for an installation, not started: with a state folder of its own.

    Args:
        team: The people of an installation whose own bot is not started.
        folder: Its own.
        port: Where it listens.
    """
    folder.mkdir()
    installation = copy.copy(team.installation)
    installation.bot_port, installation.bot_url = port, f"http://127.0.0.1:{port}"
    theirs = team.installation.places
    own = Places(folder / "config", theirs.secrets, folder / "state")
    own.config.mkdir()
    own.repositories.symlink_to(theirs.repositories)
    ports = f"\nport = {team.installation.bot_port}\n", f"\nport = {port}\n"
    own.site_file.write_text(theirs.site_file.read_text().replace(*ports))
    brake = Brake(folder / "brake")
    assert team.installation.bot
    stock = team.installation.bot
    environment = {**stock.environment, **own.to_environ(), "PATH": brake.before(stock.environment["PATH"])}
    installation.bot = Process(stock.command, environment, folder / "bot.log")
    return OneBot(replace(team, installation=installation), installation.bot, brake)


_OWN = {
    # what Buildbot says it says to any of them
    EVENTS: EVENTS.c.kind.not_in(["build_started", "verdict_reached"]),
    # what Buildbot never hears of is cancelled for minutes, in case that it does
    EFFECTS: EFFECTS.c.kind != "cancel_builds",
}


def rows(database: str) -> dict[str, list[Any]]:
    """Return everything that the bots keep, but for when the lease ends and tokens were used."""
    engine = sa.create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            found: dict[str, list[Any]] = {
                table.name: sorted(map(repr, connection.execute(sa.select(table).where(_OWN.get(table, sa.true())))))
                for table in METADATA.sorted_tables
                if table not in (LEASES, TOKENS)
            }
            lease = sa.select(LEASES.c.name, LEASES.c.holder, LEASES.c.fence)
            found["leases"] = [repr(row) for row in connection.execute(lease)]
    finally:
        engine.dispose()
    return found


def is_at_rest(database: str) -> bool:
    """Tell whether every event was acted on, and every effect carried out."""
    engine = sa.create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    waiting = [
        sa.select(sa.func.count()).where(EVENTS.c.processed_at.is_(None)),
        sa.select(sa.func.count()).where(EFFECTS.c.done_at.is_(None), _OWN[EFFECTS]),
    ]
    try:
        with engine.connect() as connection:
            return not any(connection.execute(query).scalar_one() for query in waiting)
    finally:
        engine.dispose()
