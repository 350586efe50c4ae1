"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
RISING = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "events",
        sa.Column("id", RISING, primary_key=True),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("trace", sa.Text, nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("attempt", sa.Integer),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("processed_at", MOMENT),
        sa.UniqueConstraint("repository", "key", name="events_key"),
        sqlite_autoincrement=True,
    )
    _partial_index("events_unprocessed", "events", ["repository", "id"], "processed_at IS NULL")
    _partial_index("events_number", "events", ["repository", "number", "id"], "number IS NOT NULL")
    _partial_index("events_attempt", "events", ["repository", "attempt", "id"], "attempt IS NOT NULL")
    op.create_table(
        "repositories",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "pull_requests",
        sa.Column("repository", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("standing", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("pull_requests_source", "pull_requests", ["repository", "source", "number"])
    op.create_index("pull_requests_standing", "pull_requests", ["repository", "standing", "changed_at"])
    op.create_table(
        "attempts",
        sa.Column("repository", sa.Text, primary_key=True),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    _partial_index("attempts_live", "attempts", ["repository"], "live")
    _partial_index("attempts_live_auto", "attempts", ["repository", "target"], "live AND kind = 'auto'", unique=True)
    _partial_index("attempts_live_try", "attempts", ["repository"], "live AND kind = 'try'", unique=True)
    op.create_table(
        "attempt_members",
        sa.Column("repository", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.ForeignKeyConstraint(
            ["repository", "attempt"], ["attempts.repository", "attempts.id"], name="members_attempt"
        ),
    )
    op.create_index("attempt_members_number", "attempt_members", ["repository", "number", "attempt"])
    op.create_table(
        "effects",
        sa.Column("id", RISING, primary_key=True),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("event", RISING, sa.ForeignKey("events.id", name="effects_event"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("trace", sa.Text, nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("attempt", sa.Integer),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("done_at", MOMENT),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("failing_since", MOMENT),
        sa.Column("not_before", MOMENT, nullable=False),
        sa.UniqueConstraint("repository", "key", name="effects_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("effects_of_event", "effects", ["event"])
    _partial_index("effects_undone", "effects", ["repository", "id"], "done_at IS NULL")
    _partial_index("effects_replies", "effects", ["repository", "trace"], "kind = 'reply'")
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("id", RISING, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_used_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.UniqueConstraint("hash", name="tokens_hash"),
        sqlite_autoincrement=True,
    )
    _partial_index("tokens_name", "tokens", ["name"], "revoked_at IS NULL", unique=True)


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    # SQLAlchemy asks SQLite whether a boolean is 1, and the index must ask the same
    sqlite = where.replace("live", "live = 1")
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(sqlite), postgresql_where=sa.text(where))
