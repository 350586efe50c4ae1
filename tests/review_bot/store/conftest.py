"""A database of each kind, empty for every test."""

import asyncio
import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from review_bot.store.lease import Lease
from review_bot.store.rows import Fence
from review_bot.store.store import Store
from tests.review_bot.store.values import NOW, Address
from tests.support.postgresql import postgresql_server

_NUMBERS = itertools.count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql_server(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


def new_database(server: str) -> str:
    """Make an empty database on a PostgreSQL server, and return its url."""
    url = sa.make_url(server).set(drivername="postgresql+psycopg")
    name = f"test{next(_NUMBERS)}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.set(drivername="postgresql", database=name).render_as_string()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    if request.param == "sqlite":
        return Address("sqlite:///bot.sqlite", tmp_path)
    return Address(new_database(request.getfixturevalue("postgresql")), tmp_path)


@pytest.fixture
def store(address: Address) -> Iterator[Store]:
    store = asyncio.run(address.open())
    yield store
    asyncio.run(store.close())


@pytest.fixture
def fence(store: Store) -> Fence:
    lease = Lease(store, "bot", "this test", timedelta(hours=1))
    assert asyncio.run(lease.acquire(NOW))
    return lease.fence
