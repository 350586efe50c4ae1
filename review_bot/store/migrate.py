"""Brings the tables up to date."""

from typing import Any

import alembic.command
import alembic.config
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from .errors import StoreError
from .schema import LEASES

OPTIONS: dict[str, Any] = {"version_table": "autogate_bot_revision", "transactional_ddl": True}
"""Alembic's. Buildbot's own `alembic_version` may be in the same database."""

_LOCK = 0x6175746F67617465
"""The PostgreSQL advisory lock that lets one process migrate at a time. SQLite needs none."""


def prepare(connection: sa.Connection) -> None:
    """Make or migrate the tables in the connection's transaction, which must be one that writes.

    Raises:
        StoreError: they were made by a newer version.
    """
    script = ScriptDirectory.from_config(_config(connection))
    known = {step.revision for step in script.walk_revisions()}
    current = MigrationContext.configure(connection, opts=OPTIONS).get_current_revision()
    if current == script.get_current_head():
        # a standby server or a write-protected file is found out now, not at the first event
        connection.execute(sa.update(LEASES).where(sa.false()).values(holder=None))
    elif current is None or current in known:
        upgrade(connection)
    else:
        raise StoreError(
            f"the database was used by a newer Autogate (its tables have revision {current}): install that version "
            "again, or put back the backup from before the upgrade"
        )


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Migrate the tables to a revision in the connection's transaction: all the way, or not at all."""
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    alembic.command.upgrade(_config(connection), revision)
    if is_sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
        raise StoreError(f"the migration would lose {len(broken)} references, the first one {broken[0]}: report this")


def _config(connection: sa.Connection) -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", "review_bot.store:migrations")
    config.attributes["connection"] = connection
    return config
