"""Waiting for a database that went away, and telling Buildbot what to make again."""

import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from buildbot.db.enginestrategy import Strategy
from sqlalchemy.dialects import plugins

from master import database
from master.database import Patience, engine_arguments, name_lost_connection
from tests.support.waiting import wait_for


class Server:
    """A database that can be away: a file in a folder that has another name meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.there, self.away = folder / "there", folder / "away"
        self.there.mkdir()
        self.patience = Patience(sa.make_url("sqlite://"), {})
        self.given_up = threading.Event()
        self.patience.give_up = self.given_up.set
        self.asked = threading.Event()
        self.engine = sa.create_engine(f"sqlite:///{self.there}/db", poolclass=sa.NullPool)
        sa.event.listen(self.engine, "do_connect", self.connect)

    def connect(self, *args: Any) -> Any:
        self.asked.set()
        return self.patience.connect(*args)

    def stop(self) -> None:
        self.there.rename(self.away)

    def start(self) -> None:
        self.away.rename(self.there)

    def query(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(sa.text("select 42")).scalar_one())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.01)
    return Server(tmp_path)


def test_a_query_waits_for_a_database_that_went_away(server: Server) -> None:
    assert server.query() == 42
    server.stop()
    server.asked.clear()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(server.query()))
    asking.start()
    assert server.asked.wait(30)
    assert asking.is_alive()
    server.start()
    asking.join(30)
    assert answers == [42]
    assert not server.given_up.is_set()


def test_a_first_connection_does_not_wait(server: Server) -> None:
    server.stop()
    with pytest.raises(sa.exc.OperationalError):
        server.query()


def test_after_long_enough_the_process_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.query()
    server.stop()
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0)
    with pytest.raises(sa.exc.OperationalError):
        server.query()
    assert server.given_up.is_set()


def test_a_process_that_ends_does_not_wait(server: Server) -> None:
    server.query()
    server.stop()
    server.asked.clear()
    failures: list[Exception] = []

    def ask() -> None:
        try:
            server.query()
        except sa.exc.OperationalError as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert server.asked.wait(30)
    server.patience._ending.set()
    wait_for(lambda: bool(failures), "the query to fail")
    assert not server.given_up.is_set()


def context(*, is_disconnect: bool, is_pre_ping: bool = False) -> Any:
    original = sqlite3.OperationalError("server closed the connection unexpectedly")
    error = sa.exc.OperationalError("select 42", {}, original)
    return SimpleNamespace(
        sqlalchemy_exception=error, original_exception=original, is_disconnect=is_disconnect, is_pre_ping=is_pre_ping
    )


def test_buildbot_makes_a_query_again_whose_connection_was_lost() -> None:
    lost = context(is_disconnect=True)
    assert not Strategy().should_retry(lost.sqlalchemy_exception), "Buildbot does it by itself now"
    with pytest.raises(sa.exc.OperationalError, match="server closed the connection unexpectedly") as raised:
        name_lost_connection(lost)
    assert Strategy().should_retry(raised.value)


@pytest.mark.parametrize("other", [context(is_disconnect=False), context(is_disconnect=True, is_pre_ping=True)])
def test_other_errors_stay_as_they_are(other: Any) -> None:
    name_lost_connection(other)


def test_postgresql_gets_patience_and_sqlite_needs_none() -> None:
    assert engine_arguments("sqlite:///state.sqlite") == {}
    arguments = engine_arguments("postgresql+psycopg2://autogate@db/autogate")
    assert arguments["pool_pre_ping"]
    (plugin,) = arguments["plugins"]
    assert plugins.load(plugin) is Patience
    engine = sa.create_engine("postgresql+psycopg2://autogate@db/autogate", **arguments)
    assert engine.dialect.driver == "psycopg2"
