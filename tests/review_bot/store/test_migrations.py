"""Every migration step, on a database with rows in every table."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from review_bot.domain.effects import Effect
from review_bot.domain.events import Event
from review_bot.domain.model import AttemptKind, Standing
from review_bot.store.migrate import OPTIONS, upgrade
from review_bot.store.schema import METADATA
from tests.review_bot.store.conftest import new_database
from tests.review_bot.store.values import NOW, Address, kinds

pytestmark = pytest.mark.anyio

SAMPLES = Path(__file__).parent / "samples"
VERSIONS = OPTIONS["version_table"]
REVISIONS = [step.revision for step in ScriptDirectory("review_bot/store/migrations").walk_revisions()]


def sample(revision: str) -> dict[str, list[dict[str, Any]]]:
    """Return rows for every table as of a revision: table -> rows, in an order that foreign keys allow."""
    path = SAMPLES / f"{revision}.json"
    assert path.exists(), f"write rows for every table of revision {revision} to {path}"
    rows: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())
    return rows


@pytest.fixture
def engine(address: Address) -> Iterator[sa.Engine]:
    engine = address.engine()
    yield engine
    engine.dispose()


def fill(connection: sa.Connection, rows: dict[str, list[dict[str, Any]]]) -> None:
    tables = sa.MetaData()
    tables.reflect(connection)
    for name, lines in rows.items():
        for line in lines:
            connection.execute(sa.insert(tables.tables[name]).values({key: cell(key, line[key]) for key in line}))


def cell(column: str, value: Any) -> Any:
    if column == "body":
        return json.dumps(value)
    is_moment = column in {"at", "not_before", "failing_since"} or column.endswith("_at")
    return datetime.fromisoformat(value) if is_moment and value else value


@pytest.mark.parametrize("revision", REVISIONS)
async def test_rows_of_every_table_come_through_all_later_steps(
    address: Address, engine: sa.Engine, revision: str
) -> None:
    rows = sample(revision)
    with engine.begin() as connection:
        upgrade(connection, revision)
        assert set(rows) == set(sa.inspect(connection).get_table_names()) - {VERSIONS}, "a table has no sample"
        assert all(rows.values()), "a table has no sample"
        fill(connection, rows)
    store = await address.open()
    state = await store.load("demo")
    assert state.pulls.keys() == {1, 2}
    assert state.live(AttemptKind.AUTO, "main")
    assert await store.pull_request("demo", 3)
    assert [each.id for each in await store.attempts_of("demo", 3)] == [1]
    happenings = await store.timeline("demo", 1, 99)
    about_it = [row for row in rows["events"] if row["number"] == 1 or row["attempt"] in {1, 2}]
    assert len(happenings) == len(about_it)
    assert sum(len(each.replies) for each in happenings) == 1
    due = await store.due_effects("demo", NOW, limit=99)
    assert {stored.effect.kind for stored in due} == {row["kind"] for row in rows["effects"] if not row["done_at"]}
    assert (await store.next_event("demo")) is not None
    assert len(await store.recent("demo", Standing.LANDED, 9)) == 1
    assert [token.name for token in await store.tokens()] == ["ann"]
    await store.close()
    with engine.connect() as connection:
        for table in METADATA.sorted_tables:
            found = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            assert found >= len(rows.get(table.name, [])), f"the migration lost rows of {table.name}"


def test_the_newest_samples_hold_every_kind_of_event_and_effect() -> None:
    rows = sample(REVISIONS[0])
    for table, union in (("events", Event), ("effects", Effect)):
        expected = {kind.model_fields["kind"].default for kind in kinds(union)}
        assert {row["kind"] for row in rows[table]} == expected, (
            f"add the missing {table} to samples/{REVISIONS[0]}.json"
        )


async def test_the_migrations_make_the_tables_that_the_code_expects(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        upgrade(connection)
        context = MigrationContext.configure(connection, opts=OPTIONS | {"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def indexes(connection: sa.Connection) -> set[str]:
    """Return the definitions of all indexes, which Alembic compares but for their conditions."""
    query = (
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if connection.dialect.name == "sqlite"
        else "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
    )
    found = connection.exec_driver_sql(query).scalars()
    return {re.sub(r"\s+", " ", text).replace('"', "") for text in found if VERSIONS not in text}


async def test_the_conditions_of_partial_indexes_are_as_the_code_expects(
    request: pytest.FixtureRequest, address: Address, engine: sa.Engine, tmp_path: Path
) -> None:
    sqlite = address.url.startswith("sqlite")
    url = "sqlite:///other.sqlite" if sqlite else new_database(request.getfixturevalue("postgresql"))
    other = Address(url, tmp_path).engine()
    with engine.begin() as connection:
        upgrade(connection)
        migrated = indexes(connection)
    with other.begin() as connection:
        METADATA.create_all(connection)
        expected = indexes(connection)
    other.dispose()
    assert migrated == expected
    assert any("WHERE" in text for text in migrated)
