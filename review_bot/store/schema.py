"""The tables, as the newest migration leaves them."""

from datetime import UTC, datetime

import sqlalchemy as sa


class Moment(sa.types.TypeDecorator[datetime]):
    """A moment, kept in UTC. SQLite has no time zones, so none is written there."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002  (SQLAlchemy's)
        """Return what is written."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002  (SQLAlchemy's)
        """Return what was read."""
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


METADATA = sa.MetaData()

_RISING = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite counts up in a column of exactly the type INTEGER only."""


def _text(name: str, *, nullable: bool = False, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable, primary_key=primary_key)


EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", _RISING, primary_key=True),
    _text("repository"),
    _text("kind"),
    _text("key", nullable=True),
    _text("trace"),
    # what it is about, for timelines
    sa.Column("number", sa.Integer),
    sa.Column("attempt", sa.Integer),
    sa.Column("at", Moment, nullable=False),
    _text("body"),
    sa.Column("processed_at", Moment),
    sa.UniqueConstraint("repository", "key", name="events_key"),
    sqlite_autoincrement=True,
)
_WAITS = EVENTS.c.processed_at.is_(None)
sa.Index("events_unprocessed", EVENTS.c.repository, EVENTS.c.id, sqlite_where=_WAITS, postgresql_where=_WAITS)
for _column in (EVENTS.c.number, EVENTS.c.attempt):
    _known = _column.is_not(None)
    sa.Index(
        f"events_{_column.name}",
        EVENTS.c.repository,
        _column,
        EVENTS.c.id,
        sqlite_where=_known,
        postgresql_where=_known,
    )

REPOSITORIES = sa.Table("repositories", METADATA, _text("name", primary_key=True), _text("body"))

PULL_REQUESTS = sa.Table(
    "pull_requests",
    METADATA,
    _text("repository", primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _text("standing"),
    _text("source"),
    _text("target"),
    sa.Column("changed_at", Moment, nullable=False),
    _text("body"),
    sa.Index("pull_requests_source", "repository", "source", "number"),
    sa.Index("pull_requests_standing", "repository", "standing", "changed_at"),
)

ATTEMPTS = sa.Table(
    "attempts",
    METADATA,
    _text("repository", primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    _text("kind"),
    _text("target"),
    sa.Column("live", sa.Boolean, nullable=False),
    _text("body"),
)
_LIVE = ATTEMPTS.c.live
# in queries SQLAlchemy compares with 1 where there are no booleans
_LIVE_IN_SQLITE = sa.text("live = 1")
sa.Index("attempts_live", ATTEMPTS.c.repository, sqlite_where=_LIVE_IN_SQLITE, postgresql_where=_LIVE)
# whatever the code does: one live attempt a target at most, and one live try attempt a repository
_LIVE_AUTO = sa.and_(_LIVE, ATTEMPTS.c.kind == sa.literal_column("'auto'"))
_LIVE_TRY = sa.and_(_LIVE, ATTEMPTS.c.kind == sa.literal_column("'try'"))
sa.Index(
    "attempts_live_auto",
    ATTEMPTS.c.repository,
    ATTEMPTS.c.target,
    unique=True,
    sqlite_where=_LIVE_AUTO,
    postgresql_where=_LIVE_AUTO,
)
sa.Index("attempts_live_try", ATTEMPTS.c.repository, unique=True, sqlite_where=_LIVE_TRY, postgresql_where=_LIVE_TRY)

ATTEMPT_MEMBERS = sa.Table(
    "attempt_members",
    METADATA,
    _text("repository", primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.ForeignKeyConstraint(["repository", "attempt"], ["attempts.repository", "attempts.id"], name="members_attempt"),
    sa.Index("attempt_members_number", "repository", "number", "attempt"),
)

EFFECTS = sa.Table(
    "effects",
    METADATA,
    sa.Column("id", _RISING, primary_key=True),
    _text("repository"),
    sa.Column("event", _RISING, sa.ForeignKey("events.id", name="effects_event"), nullable=False),
    _text("kind"),
    _text("key"),
    _text("trace"),
    sa.Column("number", sa.Integer),
    sa.Column("attempt", sa.Integer),
    _text("body"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("done_at", Moment),
    sa.Column("tries", sa.Integer, nullable=False),
    _text("error"),
    sa.Column("failing_since", Moment),
    sa.Column("not_before", Moment, nullable=False),
    sa.UniqueConstraint("repository", "key", name="effects_key"),
    sa.Index("effects_of_event", "event"),
    sqlite_autoincrement=True,
)
_UNDONE = EFFECTS.c.done_at.is_(None)
_REPLIES = EFFECTS.c.kind == sa.literal_column("'reply'")
sa.Index("effects_undone", EFFECTS.c.repository, EFFECTS.c.id, sqlite_where=_UNDONE, postgresql_where=_UNDONE)
sa.Index("effects_replies", EFFECTS.c.repository, EFFECTS.c.trace, sqlite_where=_REPLIES, postgresql_where=_REPLIES)

LEASES = sa.Table(
    "leases",
    METADATA,
    _text("name", primary_key=True),
    # NULL while nobody has it
    _text("holder", nullable=True),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)

TOKENS = sa.Table(
    "tokens",
    METADATA,
    sa.Column("id", _RISING, primary_key=True),
    _text("name"),
    _text("hash"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("last_used_at", Moment),
    sa.Column("revoked_at", Moment),
    sa.UniqueConstraint("hash", name="tokens_hash"),
    sqlite_autoincrement=True,
)
_VALID = TOKENS.c.revoked_at.is_(None)
sa.Index("tokens_name", TOKENS.c.name, unique=True, sqlite_where=_VALID, postgresql_where=_VALID)
