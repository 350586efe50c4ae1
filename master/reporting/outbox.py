"""The outbox: two tables of our own in the master's database that outlive every crash."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from buildbot.db.base import DBConnectorComponent
from sqlalchemy.dialects import postgresql, sqlite
from twisted.internet.defer import Deferred

from autogate.contract import RESULTS, Event, Result

SAFETY_MARGIN = 1000
"""So many of the newest ids are always looked at again: a database may show a lower id after a higher one."""

LONG_ABSENCE_SECONDS = 30 * 86400
"""A builder that was not configured for longer than this begins anew, and what it did meanwhile is not reported."""

_METADATA = sa.MetaData()

OUTBOX = sa.Table(
    "autogate_outbox",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("reporter", sa.String(100), nullable=False),
    # with `reporter` these two name the event: what is in the table is never made again
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("builderid", sa.Integer, nullable=False),
    sa.Column("buildrequestid", sa.Integer, nullable=False),
    sa.Column("delivery", sa.String(36), nullable=False),
    sa.Column("protocol", sa.String(16), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Integer, nullable=False),
    # when it was delivered, or found to be undeliverable; NULL while it waits
    sa.Column("settled_at", sa.Integer),
    sa.Column("note", sa.Text, nullable=False),
    sa.UniqueConstraint("reporter", "event", "number", name="autogate_outbox_event"),
    sa.Index("autogate_outbox_settled", "reporter", "settled_at"),
    sa.Index("autogate_outbox_request", "reporter", "buildrequestid"),
    sqlite_autoincrement=True,
)

MARKS = sa.Table(
    "autogate_marks",
    _METADATA,
    sa.Column("reporter", sa.String(100), primary_key=True),
    sa.Column("builderid", sa.Integer, primary_key=True, autoincrement=False),
    # what ended before is history, and not reported
    sa.Column("since", sa.Integer, nullable=False),
    # all that is to be reported up to these ids is in the outbox, or was and has been pruned
    sa.Column("build_floor", sa.Integer, nullable=False),
    sa.Column("request_floor", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.Integer, nullable=False),
)

_INDEXES = (
    # on these Buildbot 4.3 reads whole tables, for every report
    "CREATE INDEX IF NOT EXISTS autogate_test_result_sets_build ON test_result_sets (buildid)",
    "CREATE INDEX IF NOT EXISTS autogate_test_results_set ON test_results (test_result_setid)",
)


Connector = Any
Work = Any
Clause = Any
"""Buildbot's database layer, and the work and SQL that it takes, have no types that mypy could follow."""


class Entry(NamedTuple):
    """A delivery that waits.

    Attributes:
        id: Its place in the outbox; older ones are smaller.
        request: The ``buildrequestid`` that it is about.
    """

    id: int
    request: int


@dataclass(frozen=True)
class NewRow:
    """An event that enters the outbox.

    Attributes:
        event: What happened.
        number: To which build or request.
        builder_id: On which builder.
        request: The ``buildrequestid``.
        delivery: The delivery's id.
        protocol: What the body is written in.
        body: What is posted, without what is fresh in each try.
        fault: Why it can never be delivered; empty when it can.
    """

    event: Event
    number: int
    builder_id: int
    request: int
    delivery: str
    protocol: str
    body: bytes
    fault: str = ""


class Stored(NamedTuple):
    """What is posted, and the builder that it is about."""

    builder_id: int
    delivery: str
    protocol: str
    body: bytes


class Floors(NamedTuple):
    """Up to these ids all that is to be reported of a builder is stored."""

    build_floor: int
    request_floor: int


class Foreign(NamedTuple):
    """A waiting row that is written in another protocol than the one that is spoken now."""

    id: int
    event: Event
    number: int
    request: int


class Outbox(DBConnectorComponent):
    """The tables, and everything that is asked of them.

    Args:
        connector: The master's database.
        reporter: The reporter's name; several reporters share the tables.
    """

    def __init__(self, connector: Connector, reporter: str) -> None:
        super().__init__(connector)
        self._reporter = reporter

    def create(self) -> Deferred[None]:
        """Make the tables when they are not there."""

        def thd(engine: sa.Engine) -> None:
            with engine.connect() as connection:
                try:
                    _METADATA.create_all(connection, checkfirst=True)
                    for statement in _INDEXES:
                        connection.execute(sa.text(statement))
                    connection.commit()
                except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
                    # another master made them in the same moment
                    connection.rollback()
                    _METADATA.create_all(connection, checkfirst=True)
                    connection.commit()

        return self._engine(thd)

    def add(self, rows: Iterable[NewRow], now: int) -> Deferred[list[Entry]]:
        """Store events in the order given, in one transaction; leave those alone that are there already.

        Returns:
            The new ones that wait for delivery.
        """

        def thd(connection: sa.Connection) -> list[Entry]:
            entries = []
            for row in rows:
                values = {
                    "reporter": self._reporter,
                    "event": row.event.value,
                    "number": row.number,
                    "builderid": row.builder_id,
                    "buildrequestid": row.request,
                    "delivery": row.delivery,
                    "protocol": row.protocol,
                    "body": row.body,
                    "created_at": now,
                    "settled_at": now if row.fault else None,
                    "note": row.fault,
                }
                made = connection.execute(self._insert(OUTBOX, values).returning(OUTBOX.c.id)).scalar_one_or_none()
                if made is not None and not row.fault:
                    entries.append(Entry(made, row.request))
            return entries

        return self._transaction(thd)

    def known(self, request: int) -> Deferred[set[tuple[str, int]]]:
        """Return (event, number) of all that is stored about a request."""

        def thd(connection: sa.Connection) -> set[tuple[str, int]]:
            found = connection.execute(
                sa.select(OUTBOX.c.event, OUTBOX.c.number).where(
                    OUTBOX.c.reporter == self._reporter, OUTBOX.c.buildrequestid == request
                )
            )
            return {(row.event, row.number) for row in found}

        return self._read(thd)

    def waiting(self) -> Deferred[list[Entry]]:
        """Return all that waits, oldest first."""

        def thd(connection: sa.Connection) -> list[Entry]:
            found = connection.execute(
                sa.select(OUTBOX.c.id, OUTBOX.c.buildrequestid).where(*self._waits()).order_by(OUTBOX.c.id)
            )
            return [Entry(row.id, row.buildrequestid) for row in found]

        return self._read(thd)

    def stored(self, entry: int) -> Deferred[Stored | None]:
        """Return what to post; None when it is settled already."""

        def thd(connection: sa.Connection) -> Stored | None:
            row = connection.execute(
                sa.select(OUTBOX.c.builderid, OUTBOX.c.delivery, OUTBOX.c.protocol, OUTBOX.c.body).where(
                    OUTBOX.c.id == entry, OUTBOX.c.settled_at.is_(None)
                )
            ).one_or_none()
            return row and Stored(row.builderid, row.delivery, row.protocol, bytes(row.body))

        return self._read(thd)

    def settle(self, entry: int, now: int, note: str = "") -> Deferred[None]:
        """Note that a row was delivered, or with a ``note`` that it never can be."""

        def thd(connection: sa.Connection) -> None:
            connection.execute(sa.update(OUTBOX).where(OUTBOX.c.id == entry).values(settled_at=now, note=note))

        return self._transaction(thd)

    def foreign(self, protocol: str) -> Deferred[list[Foreign]]:
        """Return the waiting rows that are written in another protocol."""

        def thd(connection: sa.Connection) -> list[Foreign]:
            found = connection.execute(
                sa.select(OUTBOX).where(*self._waits(), OUTBOX.c.protocol != protocol).order_by(OUTBOX.c.id)
            )
            return [Foreign(row.id, Event(row.event), row.number, row.buildrequestid) for row in found]

        return self._read(thd)

    def rewrite(self, entry: int, protocol: str, body: bytes) -> Deferred[None]:
        """Replace a waiting row's body by the same event in another protocol."""

        def thd(connection: sa.Connection) -> None:
            connection.execute(sa.update(OUTBOX).where(OUTBOX.c.id == entry).values(protocol=protocol, body=body))

        return self._transaction(thd)

    def baseline(self, builder_ids: Collection[int], now: int) -> Deferred[None]:
        """Begin to watch builders; what the database says of their past is history. Known ones are left alone."""

        def thd(connection: sa.Connection) -> None:
            mine = MARKS.c.reporter == self._reporter
            connection.execute(sa.delete(MARKS).where(mine, MARKS.c.seen_at < now - LONG_ABSENCE_SECONDS))
            known = set(connection.execute(sa.select(MARKS.c.builderid).where(mine)).scalars())
            fresh = [builder for builder in builder_ids if builder not in known]
            # what is under way now ends later and is reported, what ended before is held back by `since`
            for builder, floors in self._floors(connection, fresh).items():
                mark = {"reporter": self._reporter, "builderid": builder, "since": now, "seen_at": now}
                connection.execute(self._insert(MARKS, mark | floors._asdict()))

        return self._transaction(thd)

    def floors(self, builder_ids: Collection[int]) -> Deferred[dict[int, Floors]]:
        """Return the floors that hold for each builder once all that `missing` finds from now on is stored."""
        return self._read(lambda connection: self._floors(connection, builder_ids))

    def missing(self, builder_ids: Collection[int], above: int = 0, limit: int = 500) -> Deferred[list[int]]:
        """Return requests with events that Buildbot recorded and the outbox does not hold.

        Args:
            builder_ids: Of these builders.
            above: Requests with a greater id only.
            limit: At most so many, the oldest first.
        """
        builds, requests = self._builds, self._requests

        def absent(event: Event, number: Clause) -> Clause:
            return ~sa.exists().where(
                OUTBOX.c.reporter == self._reporter, OUTBOX.c.event == event.value, OUTBOX.c.number == number
            )

        def thd(connection: sa.Connection) -> list[int]:
            mine = sa.and_(MARKS.c.reporter == self._reporter, MARKS.c.builderid.in_(builder_ids))
            # the lowest floor as a number lets the database begin there in the table
            lowest = connection.execute(
                sa.select(sa.func.min(MARKS.c.build_floor), sa.func.min(MARKS.c.request_floor)).where(mine)
            ).one()
            if lowest[0] is None:
                return []
            watched_builds = (
                sa.select(requests.c.id)
                .select_from(
                    builds.join(requests, builds.c.buildrequestid == requests.c.id).join(
                        MARKS, MARKS.c.builderid == requests.c.builderid
                    )
                )
                .where(mine, builds.c.id > lowest[0], builds.c.id > MARKS.c.build_floor, requests.c.id > above)
            )
            queries = (
                watched_builds.where(builds.c.started_at >= MARKS.c.since, absent(Event.STARTED, builds.c.id)),
                watched_builds.where(
                    builds.c.results == RESULTS.index(Result.RETRY),
                    builds.c.complete_at >= MARKS.c.since,
                    absent(Event.RETRYING, builds.c.id),
                ),
                sa.select(requests.c.id)
                .select_from(requests.join(MARKS, MARKS.c.builderid == requests.c.builderid))
                .where(
                    mine,
                    requests.c.complete == 1,
                    requests.c.id > max(lowest[1], above),
                    requests.c.id > MARKS.c.request_floor,
                    requests.c.complete_at >= MARKS.c.since,
                    absent(Event.FINISHED, requests.c.id),
                ),
            )
            found: set[int] = set()
            for query in queries:
                found.update(connection.execute(query.distinct().order_by(requests.c.id).limit(limit)).scalars())
            return sorted(found)[:limit]

        return self._read(thd)

    def advance(self, floors: Mapping[int, Floors], now: int) -> Deferred[None]:
        """Store floors, after all that was missing below them has been stored."""

        def thd(connection: sa.Connection) -> None:
            for builder, values in floors.items():
                connection.execute(
                    sa.update(MARKS)
                    .where(MARKS.c.reporter == self._reporter, MARKS.c.builderid == builder)
                    .values(seen_at=now, **values._asdict())
                )

        return self._transaction(thd)

    def prune(self, settled_before: int) -> Deferred[int]:
        """Delete settled rows of that age that reconciliation will never ask for again; return how many."""

        def thd(connection: sa.Connection) -> int:
            floor = sa.case((OUTBOX.c.event == Event.FINISHED.value, MARKS.c.request_floor), else_=MARKS.c.build_floor)
            return connection.execute(
                sa.delete(OUTBOX).where(
                    OUTBOX.c.reporter == self._reporter,
                    OUTBOX.c.settled_at < settled_before,
                    sa.exists().where(
                        MARKS.c.reporter == self._reporter,
                        MARKS.c.builderid == OUTBOX.c.builderid,
                        OUTBOX.c.number <= floor,
                    ),
                )
            ).rowcount

        return self._transaction(thd)

    @property
    def _builds(self) -> sa.Table:
        table: sa.Table = self.db.model.builds
        return table

    @property
    def _requests(self) -> sa.Table:
        table: sa.Table = self.db.model.buildrequests
        return table

    def _waits(self) -> tuple[Clause, ...]:
        return OUTBOX.c.reporter == self._reporter, OUTBOX.c.settled_at.is_(None)

    def _floors(self, connection: sa.Connection, builder_ids: Collection[int]) -> dict[int, Floors]:
        builds, requests = self._builds, self._requests
        newest_build, newest_request = (
            (connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0) - SAFETY_MARGIN
            for table in (builds, requests)
        )
        # unfinished builds have no index: below the lowest floor there are none
        looked_at = connection.execute(
            sa.select(sa.func.min(MARKS.c.build_floor)).where(
                MARKS.c.reporter == self._reporter, MARKS.c.builderid.in_(builder_ids)
            )
        ).scalar()
        open_builds = dict(
            connection.execute(
                sa.select(requests.c.builderid, sa.func.min(builds.c.id))
                .select_from(builds.join(requests, builds.c.buildrequestid == requests.c.id))
                .where(
                    builds.c.id > (looked_at or 0),
                    builds.c.complete_at.is_(None),
                    requests.c.builderid.in_(builder_ids),
                )
                .group_by(requests.c.builderid)
            )
            .tuples()
            .all()
        )
        open_requests = dict(
            connection.execute(
                sa.select(requests.c.builderid, sa.func.min(requests.c.id))
                .where(requests.c.complete == 0, requests.c.builderid.in_(builder_ids))
                .group_by(requests.c.builderid)
            )
            .tuples()
            .all()
        )
        return {
            builder: Floors(
                max(0, min(newest_build, open_builds.get(builder, newest_build + 1) - 1)),
                max(0, min(newest_request, open_requests.get(builder, newest_request + 1) - 1)),
            )
            for builder in builder_ids
        }

    def _insert(self, table: sa.Table, values: Mapping[str, Any]) -> Clause:
        dialect = postgresql if self._pool.engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table).values(values).on_conflict_do_nothing()

    @property
    def _pool(self) -> Connector:
        return self.db.pool

    # the seams to Buildbot, which has no types here

    def _read(self, thd: Work) -> Deferred[Any]:
        deferred: Deferred[Any] = self._pool.do(thd)
        return deferred

    def _transaction(self, thd: Work) -> Deferred[Any]:
        deferred: Deferred[Any] = self._pool.do_with_transaction(thd)
        return deferred

    def _engine(self, thd: Work) -> Deferred[Any]:
        deferred: Deferred[Any] = self._pool.do_with_engine(thd)
        return deferred
