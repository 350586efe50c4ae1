"""Opens the database; every transaction begins here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from .errors import StoreError, cure
from .migrate import prepare

BUSY_SECONDS = 20
"""So long a write waits for another process that writes to the same SQLite file."""

CONNECT_SECONDS = 10

Upsert = Any
"""SQLite's and PostgreSQL's INSERT, which take the same and have no type in common."""

Driver = Any
"""A connection of the driver's, as SQLAlchemy adapts it."""


class Database:
    """A database whose tables are as this version of Autogate needs them. Made by `open`."""

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._is_sqlite = engine.dialect.name == "sqlite"
        # all that a block reads is as of one moment
        self._reader = engine if self._is_sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self._writer = engine.execution_options(writes=True)
        # SQLite takes one write at a time and lets the others poll; within a process they queue instead
        self._turn: contextlib.AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if self._is_sqlite else contextlib.nullcontext()
        )

    @classmethod
    async def open(cls, url: str, password: str | None = None, *, folder: Path) -> Self:
        """Open a database, and make or migrate its tables.

        SQLite runs in WAL mode with ``synchronous=FULL``: what was committed is on the disk. With less, a power cut
        would take back events that a forge was told are stored, and give the ids of pushed attempts out again.

        Args:
            url: ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``, without a password.
            password: PostgreSQL's; when None, libpq looks for one (``.pgpass``).
            folder: Where a relative SQLite path starts.

        Raises:
            StoreError: it cannot be used.
        """
        address = sa.make_url(url)
        if address.get_backend_name() == "sqlite":
            if address.database in {None, "", ":memory:"}:
                raise StoreError(f"{url} keeps nothing: name a file, such as sqlite:///bot.sqlite")
            address = address.set(drivername="sqlite+aiosqlite", database=str(folder / str(address.database)))
        else:
            address = address.set(drivername="postgresql+psycopg")
        database = cls(_engine(address, password, migrating=False), address.database or str(address))
        migrating = cls(_engine(address, password, migrating=True), address.database or str(address))
        try:
            async with migrating.writing() as connection:
                await connection.run_sync(prepare)
        finally:
            await migrating.close()
        return database

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Read in the block, all as of one moment.

        Raises:
            StoreError: the database failed.
        """
        with self._explained():
            async with self._reader.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Run the block as one transaction: all of it, or nothing when it raises.

        Raises:
            StoreError: the database failed, or refused.
        """
        with self._explained():
            async with self._turn, self._writer.begin() as connection:
                yield connection

    def insert(self, table: sa.Table) -> Upsert:
        """Return an INSERT that takes ``on_conflict_…``."""
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError as error:
            raise StoreError(
                f"the database refused what the bot wanted to write ({_first_line(error.orig)}): nothing was changed; "
                "this is a fault of the bot, please report it"
            ) from error
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            fault = str(getattr(error, "orig", error))
            raise StoreError(f"the database {self._name} fails ({_first_line(fault)}): {cure(fault)}") from error


def _engine(address: sa.URL, password: str | None, *, migrating: bool) -> AsyncEngine:
    if address.get_backend_name() == "postgresql":
        return create_async_engine(
            address,
            connect_args={"connect_timeout": CONNECT_SECONDS} | ({"password": password} if password else {}),
            # a server that was restarted is noticed before anything is asked of it
            pool_pre_ping=True,
            hide_parameters=True,
        )
    engine = create_async_engine(address, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)

    @sa.event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Driver, _record: object) -> None:
        # Python's sqlite3 would begin transactions late, or not at all: `_begin` does
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        # a migration drops tables to make them anew, which must not look like deleting their rows
        cursor.execute(f"PRAGMA foreign_keys = {'OFF' if migrating else 'ON'}")
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # a transaction that reads first and then writes would fail when another wrote in between
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _first_line(fault: object) -> str:
    return (str(fault).strip().splitlines() or [""])[0]
