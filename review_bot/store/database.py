"""Opens the database; every transaction begins here."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from .errors import StoreError, cure
from .migrate import prepare

T = TypeVar("T")

Work = Callable[[sa.Connection], T]

THREADS = 4

BUSY_SECONDS = 20
"""So long a write waits for another process that writes to the same SQLite file."""

CONNECT_SECONDS = 10

Upsert = Any
"""SQLite's and PostgreSQL's INSERT, which take the same and have no type in common."""

Driver = Any
"""A connection of the driver's."""


class Database:
    """A database whose tables are as this version of Autogate needs them. Made by `open`.

    A transaction is a function that runs in a thread of its own from begin to end. An async driver would change
    threads (aiosqlite, three times) or wait for the event loop at every statement, and take several times as long.
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._is_sqlite = engine.dialect.name == "sqlite"
        # all that is read together is as of one moment
        self._reader = engine if self._is_sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self._readers: Executor = ThreadPoolExecutor(THREADS, "database-read")
        # SQLite takes one write at a time and lets others poll: in one process they queue instead
        self._writers: Executor = ThreadPoolExecutor(1 if self._is_sqlite else THREADS, "database-write")

    @classmethod
    async def open(cls, url: str, password: str | None = None, *, folder: Path) -> Self:
        """Open a database, and make or migrate its tables.

        On PostgreSQL a missing database is made, where the user may do so.

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
            address = address.set(drivername="sqlite", database=str(folder / str(address.database)))
        else:
            address = address.set(drivername="postgresql+psycopg")
            await asyncio.to_thread(_make_if_missing, address, password)
        name = address.database or str(address)
        migrating = cls(_engine(address, password, migrating=True), name)
        try:
            await migrating.write(prepare)
        finally:
            await migrating.close()
        return cls(_engine(address, password, migrating=False), name)

    async def close(self) -> None:
        """Let what is under way end, and close all connections."""

        def shut() -> None:
            self._writers.shutdown()
            self._readers.shutdown()
            self._engine.dispose()

        await asyncio.to_thread(shut)

    async def read(self, work: Work[T]) -> T:
        """Return what ``work`` reads, all as of one moment.

        Raises:
            StoreError: the database failed.
        """

        def job() -> T:
            with self._explained(), self._reader.connect() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, job)

    async def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run ``work`` as one transaction: all of it, or nothing when it raises.

        Cancelling does not stop it: the caller is cancelled when it has ended, so that whoever reads next sees it.

        Args:
            work: What to do.
            durable: Whether it must outlive a power cut from now on; else it does so from the next durable write on.
                It outlives the process in any case.

        Raises:
            StoreError: the database failed, or refused.
        """
        writer = self._engine.execution_options(writes="durably" if durable else "soon")

        def job() -> T:
            with self._explained(), writer.begin() as connection:
                return work(connection)

        future = asyncio.get_running_loop().run_in_executor(self._writers, job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            future.exception()  # else Python complains that nobody asked
            raise

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


def _make_if_missing(address: sa.URL, password: str | None) -> None:
    """Make the database if it cannot be reached and can be made; what else is wrong is found when it is used."""
    try:
        with _connected(address, password):
            return
    except sa.exc.DBAPIError:
        pass
    with (
        contextlib.suppress(sa.exc.DBAPIError),  # another process may have been faster
        _connected(address.set(database="postgres"), password) as connection,
    ):
        name = connection.dialect.identifier_preparer.quote_identifier(str(address.database))
        connection.exec_driver_sql(f"CREATE DATABASE {name}")


@contextlib.contextmanager
def _connected(address: sa.URL, password: str | None) -> Iterator[sa.Connection]:
    # CREATE DATABASE refuses to be part of a transaction
    engine = _postgresql_engine(address, password).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _engine(address: sa.URL, password: str | None, *, migrating: bool) -> sa.Engine:
    if address.get_backend_name() == "postgresql":
        return _postgresql_engine(address, password)
    return _sqlite_engine(address, migrating=migrating)


def _postgresql_engine(address: sa.URL, password: str | None) -> sa.Engine:
    engine = sa.create_engine(
        address,
        connect_args={"connect_timeout": CONNECT_SECONDS} | ({"password": password} if password else {}),
        pool_size=2 * THREADS,
        # a server that was restarted is noticed before anything is asked of it
        pool_pre_ping=True,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("writes") == "soon":
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    return engine


def _sqlite_engine(address: sa.URL, *, migrating: bool) -> sa.Engine:
    engine = sa.create_engine(address, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Driver, _record: object) -> None:
        # Python's sqlite3 would begin transactions late, or not at all: `_begin` does
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        # a migration drops tables to make them anew, which must not look like deleting their rows
        connection.execute(f"PRAGMA foreign_keys = {'OFF' if migrating else 'ON'}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        if writes:
            # NORMAL leaves the log in the system's hands, and the next FULL one brings all of it to the disk
            connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if writes == 'durably' else 'NORMAL'}")
        # what reads first and then writes would fail when another wrote in between
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _first_line(fault: object) -> str:
    return (str(fault).strip().splitlines() or [""])[0]
