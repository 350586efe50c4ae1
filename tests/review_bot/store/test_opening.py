"""What cannot be opened says why, and what to do."""

import asyncio
import os
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from setuptools import find_packages

from autogate.cli.local import free_port
from review_bot.store.errors import StoreError
from review_bot.store.store import Store
from tests.review_bot.store.conftest import new_database
from tests.review_bot.store.values import ROOT, Address, Process, hint

pytestmark = pytest.mark.anyio

NOBODY = 65534


async def test_a_database_is_made_and_opened_again(address: Address) -> None:
    first = await address.open()
    await first.append("demo", hint(), trace="t")
    await first.close()
    again = await address.open()
    assert await again.unprocessed("demo") == 1
    await again.close()


async def test_two_processes_that_open_an_empty_database_make_the_tables_once(address: Address) -> None:
    processes = [Process(address, "contend", str(number)) for number in range(3)]
    try:
        assert [process.hear() for process in processes] == ["ready"] * 3
    finally:
        for process in processes:
            process.kill()


def test_a_path_is_relative_to_the_folder_unless_it_is_absolute(tmp_path: Path) -> None:
    for url in ("sqlite:///a b%20c.sqlite", f"sqlite:///{tmp_path}/absolute.sqlite"):
        asyncio.run(close(Address(url, tmp_path)))
    assert {"a b c.sqlite", "absolute.sqlite"} <= {path.name for path in tmp_path.iterdir()}


async def test_a_driver_in_the_url_that_only_buildbot_has_is_no_hindrance(postgresql: str, tmp_path: Path) -> None:
    url = new_database(postgresql).replace("postgresql:", "postgresql+psycopg2:")
    store = await Store.open(url, folder=tmp_path)
    assert await store.unprocessed("demo") == 0
    await store.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
async def test_a_database_in_memory_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"keeps nothing: name a file, such as sqlite:///bot\.sqlite"):
        await Store.open(url, folder=tmp_path)


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing/bot\.sqlite fails \(unable to open.*the file and its folder must"):
        await Store.open("sqlite:///missing/bot.sqlite", folder=tmp_path)


async def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bot.sqlite").write_text("a" * 5000)
    with pytest.raises(StoreError, match=r"file is not a database.*: this file is something else"):
        await Store.open("sqlite:///bot.sqlite", folder=tmp_path)
    assert (tmp_path / "bot.sqlite").read_text() == "a" * 5000


@pytest.fixture
def write_protected() -> Iterator[Path]:
    """A folder with a database that this process may read and not write."""
    with tempfile.TemporaryDirectory(prefix="autogate-store-") as name:
        folder = Path(name)
        asyncio.run(close(Address("sqlite:///bot.sqlite", folder)))
        folder.chmod(0o555)
        (folder / "bot.sqlite").chmod(0o444)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)  # nothing is forbidden to root
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


async def close(address: Address) -> None:
    store = await address.open()
    await store.close()


async def test_a_write_protected_file_is_found_out_at_start(write_protected: Path) -> None:
    with pytest.raises(StoreError, match="the file and its folder must exist and be writable"):
        await Store.open("sqlite:///bot.sqlite", folder=write_protected)


async def test_a_server_that_is_not_there_is_named_without_a_password(tmp_path: Path) -> None:
    url = f"postgresql://autogate@127.0.0.1:{free_port()}/bot"
    with pytest.raises(StoreError, match=r"the database bot fails .*refused.*: is the server running") as raised:
        await Store.open(url, "hunter2", folder=tmp_path)
    assert "hunter2" not in str(raised.value)


async def test_a_host_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is the server running, and is its address in `url` right"):
        await Store.open("postgresql://autogate@nowhere.invalid/bot", folder=tmp_path)


async def test_a_missing_database_is_made_once_even_by_three_at_a_time(postgresql: str, tmp_path: Path) -> None:
    url = sa.make_url(postgresql).set(database="made by the bot's own").render_as_string()
    stores = await asyncio.gather(*(Store.open(url, folder=tmp_path) for _ in range(3)))
    assert await stores[0].append("demo", hint(), trace="t")
    assert [await store.unprocessed("demo") for store in stores] == [1, 1, 1]
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_missing_database_or_user_is_named(postgresql: str, tmp_path: Path) -> None:
    url = sa.make_url(postgresql)
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE ROLE humble LOGIN")
    with pytest.raises(StoreError, match="createdb"):
        await Store.open(url.set(username="humble", database="nothing").render_as_string(), folder=tmp_path)
    with pytest.raises(StoreError, match="createuser"):
        await Store.open(url.set(username="nobody").render_as_string(), folder=tmp_path)


async def test_a_read_only_server_is_found_out_at_start(postgresql: str, tmp_path: Path) -> None:
    url = new_database(postgresql)
    await close(Address(url, tmp_path))
    with psycopg.connect(postgresql, autocommit=True) as connection:
        name = sa.make_url(url).database
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match=r"read-only transaction.*name the primary"):
        await Store.open(url, folder=tmp_path)


@pytest.fixture
def guarded(postgresql: str) -> Iterator[str]:
    """The url of a database whose user needs the password ``right``."""
    url = sa.make_url(new_database(postgresql))
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE ROLE bot LOGIN PASSWORD 'right'")
        connection.execute(f"ALTER DATABASE {url.database} OWNER TO bot")
        found = connection.execute("SHOW hba_file").fetchone()
        assert found
        rules = Path(found[0])
        before = rules.read_text()
        rules.write_text("host all bot 127.0.0.1/32 scram-sha-256\n" + before)
        connection.execute("SELECT pg_reload_conf()")
        yield url.set(username="bot").render_as_string()
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"ALTER DATABASE {url.database} OWNER TO autogate")
        connection.execute(f"DROP DATABASE {url.database} WITH (FORCE)")
        connection.execute("DROP ROLE bot")


async def test_a_password_is_needed_and_must_be_right(guarded: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="name the secret with the right password") as raised:
        await Store.open(guarded, "wr0ng", folder=tmp_path)
    assert "wr0ng" not in str(raised.value)
    with pytest.raises(StoreError, match=r"no password supplied.*as `secret`"):
        await Store.open(guarded, folder=tmp_path)
    store = await Store.open(guarded, "right", folder=tmp_path)
    assert await store.append("demo", hint(), trace="t")
    assert "right" not in repr(vars(store))
    await store.close()


async def test_a_connection_that_was_lost_is_made_again(postgresql: str, tmp_path: Path) -> None:
    url = new_database(postgresql)
    store = await Store.open(url, folder=tmp_path)
    await store.append("demo", hint(), trace="t")
    await store.unprocessed("demo")
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [sa.make_url(url).database]
        )
    assert await store.unprocessed("demo") == 1
    assert await store.append("demo", hint(), trace="t")
    await store.close()


async def test_a_database_of_a_newer_autogate_is_left_alone(address: Address) -> None:
    await close(address)
    engine = address.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE autogate_bot_revision SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer Autogate \(its tables have revision 9999\): install that version"):
        await address.open()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM autogate_bot_revision").scalar_one() == "9999"
    engine.dispose()


def test_the_migrations_are_installed_with_the_package() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["tool"]["setuptools"]["packages"]["find"]["include"]
    assert "review_bot.store.migrations.versions" in find_packages(str(ROOT), include=wanted)
