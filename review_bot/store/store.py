"""What the engine asks of the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from review_bot.desk import Trouble
from review_bot.domain.answers import Answer
from review_bot.domain.effects import EFFECT, Effect, Reply
from review_bot.domain.events import EVENT, Event
from review_bot.domain.model import Attempt, PullRequest, Repository, Standing, State

from .errors import LeaseLostError, StoreError
from .queries import Queries
from .rows import ATTEMPT, PULL_REQUEST, REPOSITORY, Backlog, Fence, StoredEffect, StoredEvent, parse, parsed
from .schema import ATTEMPT_MEMBERS, ATTEMPTS, EFFECTS, EVENTS, LEASES, PULL_REQUESTS, REPOSITORIES
from .subject import subject, subject_found, subject_of_effect
from .tokens import Tokens

T = TypeVar("T", PullRequest, Attempt)


class Store(Queries, Tokens):
    """The bot's database. Whatever takes a `Fence` changes nothing once another process has the lease.

    Every method may raise `StoreError`: the database failed, and nothing was changed.
    """

    async def load(self, repository: str) -> State:
        """Return what is known of a repository: all that is open or alive. A new one is empty.

        Raises:
            CorruptRowError: a row cannot be read.
        """
        pulls = (
            sa.select(PULL_REQUESTS.c.number, PULL_REQUESTS.c.body)
            .where(PULL_REQUESTS.c.repository == repository, PULL_REQUESTS.c.standing == Standing.OPEN.value)
            .order_by(PULL_REQUESTS.c.number)
        )
        attempts = (
            sa.select(ATTEMPTS.c.id, ATTEMPTS.c.body)
            .where(ATTEMPTS.c.repository == repository, ATTEMPTS.c.live)
            .order_by(ATTEMPTS.c.id)
        )
        record = sa.select(REPOSITORIES.c.body).where(REPOSITORIES.c.name == repository)

        def look_up(connection: sa.Connection) -> State:
            body = connection.execute(record).scalar_one_or_none()
            return State(
                repository=Repository(name=repository)
                if body is None
                else parse(REPOSITORY, body, "repositories", repository),
                pulls={
                    row.number: parse(PULL_REQUEST, row.body, "pull_requests", repository, row.number)
                    for row in connection.execute(pulls)
                },
                attempts={
                    row.id: parse(ATTEMPT, row.body, "attempts", repository, row.id)
                    for row in connection.execute(attempts)
                },
            )

        return await self.read(look_up)

    async def append(
        self, repository: str, event: Event, *, key: str | None = None, trace: str, fence: Fence | None = None
    ) -> int | None:
        """Store an event, to be acted on.

        Args:
            repository: Whose it is.
            event: The event.
            key: Two events of a repository with the same key are one; None when repeating does no harm.
            trace: Joins all that comes of it.
            fence: The leader's, for what it found by itself; None for what anybody may hand in.

        Returns:
            Its id; None when its key was there already.

        Raises:
            LeaseLostError: another process leads.
        """

        def write(connection: sa.Connection) -> int | None:
            if fence is not None:
                self._check(connection, fence)
            return self._append(connection, repository, event, key, trace)

        return await self.write(write)

    async def next_event(self, repository: str) -> StoredEvent | None:
        """Return the oldest event that was not acted on; None when there is none.

        Raises:
            CorruptRowError: it cannot be read.
        """
        query = (
            sa.select(EVENTS.c.id, EVENTS.c.body, EVENTS.c.trace, EVENTS.c.key)
            .where(EVENTS.c.repository == repository, EVENTS.c.processed_at.is_(None))
            .order_by(EVENTS.c.id)
            .limit(1)
        )
        row = await self.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return None
        return StoredEvent(row.id, repository, parse(EVENT, row.body, "events", row.id), row.trace, row.key)

    async def unprocessed(self, repository: str) -> int:
        """Return how many events were not acted on."""
        query = sa.select(sa.func.count()).where(EVENTS.c.repository == repository, EVENTS.c.processed_at.is_(None))
        return int(await self.read(lambda connection: connection.execute(query).scalar_one()))

    async def commit(
        self,
        fence: Fence,
        stored: StoredEvent,
        before: State,
        after: State,
        effects: Sequence[Effect],
        at: datetime,
    ) -> None:
        """Write down a decision, whole or not at all: the event is processed, the state changed, the effects wait.

        What is the same object before and after is not written again.

        Args:
            fence: The leader's.
            stored: The event that was acted on.
            before: The state before.
            after: The state after: what was in it before is still there, unless it has ended.
            effects: What is to be done now, in this order.
            at: When this was decided.

        Raises:
            LeaseLostError: another process leads.
            StoreError: the event was acted on before, or ``after`` lacks something.
        """
        name = stored.repository
        pulls = _changed(before.pulls, after.pulls)
        # an attempt that ends makes room for the next one of its target
        attempts = sorted(_changed(before.attempts, after.attempts), key=lambda attempt: attempt.is_live)
        number, attempt_id = subject_found(stored.event, [*before.attempts.values(), *after.attempts.values()], pulls)
        processed = (
            sa.update(EVENTS)
            .where(EVENTS.c.id == stored.id, EVENTS.c.processed_at.is_(None))
            .values(processed_at=at, number=number, attempt=attempt_id)
        )
        members = [
            {"repository": name, "attempt": attempt.id, "number": number}
            for attempt in attempts
            if attempt.id not in before.attempts or before.attempts[attempt.id].members is not attempt.members
            for number in attempt.numbers
        ]

        def write(connection: sa.Connection) -> None:
            self._check(connection, fence)
            if not connection.execute(processed).rowcount:
                raise StoreError(f"event {stored.id} was acted on before: load the state again")
            if after.repository is not before.repository:
                self._upsert(connection, REPOSITORIES, [{"name": name, "body": after.repository.model_dump_json()}])
            self._upsert(connection, PULL_REQUESTS, [_pull_row(name, pull, at) for pull in pulls])
            self._upsert(connection, ATTEMPTS, [_attempt_row(name, attempt) for attempt in attempts])
            if members:
                connection.execute(self.insert(ATTEMPT_MEMBERS).on_conflict_do_nothing(), members)
            if effects:
                rows = [_effect_row(stored, place, effect, at) for place, effect in enumerate(effects)]
                connection.execute(sa.insert(EFFECTS), rows)

        await self.write(write)

    async def due_effects(
        self, repository: str, now: datetime, kinds: frozenset[str] | None = None, limit: int = 1
    ) -> list[StoredEffect]:
        """Return effects that are to be carried out now, oldest first.

        Args:
            repository: Whose.
            now: Those that failed and wait until later are left out.
            kinds: Only these; None for any.
            limit: At most so many.

        Raises:
            CorruptRowError: one cannot be read.
        """
        query = sa.select(EFFECTS).where(_undone(repository), EFFECTS.c.not_before <= now)
        if kinds is not None:
            query = query.where(EFFECTS.c.kind.in_(sorted(kinds)))
        rows = await self.read(lambda connection: connection.execute(query.order_by(EFFECTS.c.id).limit(limit)).all())
        return [
            StoredEffect(
                id=row.id,
                repository=repository,
                effect=parse(EFFECT, row.body, "effects", row.id),
                key=row.key,
                trace=row.trace,
                tries=row.tries,
                failing_since=row.failing_since,
                not_before=row.not_before,
            )
            for row in rows
        ]

    async def next_due(self, repository: str) -> datetime | None:
        """Return when the first of the undone effects is due; None when there is none."""
        query = sa.select(sa.func.min(EFFECTS.c.not_before, type_=EFFECTS.c.not_before.type)).where(_undone(repository))
        due: datetime | None = await self.read(lambda connection: connection.execute(query).scalar_one())
        return due

    async def effect_done(self, fence: Fence, stored: StoredEffect, result: Event | None, at: datetime) -> None:
        """Note that an effect was carried out, and in the same transaction what it gave; a second time is nothing.

        Raises:
            LeaseLostError: another process leads.
        """
        done = sa.update(EFFECTS).where(EFFECTS.c.id == stored.id, EFFECTS.c.done_at.is_(None)).values(done_at=at)

        def write(connection: sa.Connection) -> None:
            self._check(connection, fence)
            if connection.execute(done).rowcount and result is not None:
                self._append(connection, stored.repository, result, f"effect:{stored.id}", stored.trace)

        # lost in a power cut, it is carried out again, which changes nothing
        await self.write(write, durable=False)

    async def effect_failed(
        self, fence: Fence, stored: StoredEffect, error: str, not_before: datetime, at: datetime
    ) -> None:
        """Note that an effect failed.

        Args:
            fence: The leader's.
            stored: The effect.
            error: What went wrong, with its cure.
            not_before: When it is to be tried again.
            at: When it failed.

        Raises:
            LeaseLostError: another process leads.
        """
        failed = (
            sa.update(EFFECTS)
            .where(EFFECTS.c.id == stored.id, EFFECTS.c.done_at.is_(None))
            .values(
                tries=EFFECTS.c.tries + 1,
                # PostgreSQL's texts hold any character but this one
                error=error.replace("\0", "\\0"),
                failing_since=sa.func.coalesce(
                    EFFECTS.c.failing_since, sa.bindparam(None, at, EFFECTS.c.failing_since.type)
                ),
                not_before=not_before,
            )
        )

        def write(connection: sa.Connection) -> None:
            self._check(connection, fence)
            connection.execute(failed)

        await self.write(write, durable=False)

    async def effect_later(self, fence: Fence, stored: StoredEffect, not_before: datetime) -> None:
        """Note that an effect is to be carried out later, though nothing failed.

        Raises:
            LeaseLostError: another process leads.
        """
        later = sa.update(EFFECTS).where(EFFECTS.c.id == stored.id, EFFECTS.c.done_at.is_(None))

        def note(connection: sa.Connection) -> None:
            self._check(connection, fence)
            connection.execute(later.values(not_before=not_before))

        await self.write(note, durable=False)

    async def troubles(self, repository: str) -> list[Trouble]:
        """Return what failed and was not done since, oldest first."""
        query = sa.select(EFFECTS).where(_undone(repository), EFFECTS.c.tries > 0).order_by(EFFECTS.c.id)
        rows = await self.read(lambda connection: connection.execute(query).all())
        return [
            Trouble(
                what=row.kind,
                number=row.number,
                attempt=row.attempt,
                error=row.error,
                since=row.failing_since,
                again_at=row.not_before,
            )
            for row in rows
        ]

    async def settled(self, repository: str, trace: str) -> bool:
        """Tell whether all that a trace's first event directly led to is done: it is decided what to answer."""
        waits = sa.exists().where(
            EVENTS.c.repository == repository, EVENTS.c.processed_at.is_(None), EVENTS.c.trace == trace
        )
        reads = sa.exists().where(_undone(repository), EFFECTS.c.kind == "read_comment", EFFECTS.c.trace == trace)
        return not await self.read(lambda connection: connection.execute(sa.select(sa.or_(waits, reads))).scalar_one())

    async def replies(self, repository: str, trace: str) -> list[Answer]:
        """Return what the bot answers in a trace, in order.

        Raises:
            CorruptRowError: a row cannot be read.
        """
        query = (
            sa.select(EFFECTS.c.id, EFFECTS.c.body)
            # written like the index, which a parameter would not be
            .where(EFFECTS.c.repository == repository, EFFECTS.c.trace == trace)
            .where(EFFECTS.c.kind == sa.literal_column("'reply'"))
            .order_by(EFFECTS.c.id)
        )
        rows = await self.read(lambda connection: connection.execute(query).all())
        effects = parsed(EFFECT, rows, "effects", "id")
        return [effect.answer for effect in effects if isinstance(effect, Reply)]

    async def backlog(self) -> Mapping[str, Backlog]:
        """Return what each repository has before it; those with nothing are left out."""
        events = (
            sa.select(EVENTS.c.repository, sa.func.count())
            .where(EVENTS.c.processed_at.is_(None))
            .group_by(EVENTS.c.repository)
        )
        effects = (
            sa.select(EFFECTS.c.repository, sa.func.count(), sa.func.sum(sa.case((EFFECTS.c.tries > 0, 1), else_=0)))
            .where(EFFECTS.c.done_at.is_(None))
            .group_by(EFFECTS.c.repository)
        )

        def look_up(connection: sa.Connection) -> tuple[dict[str, int], dict[str, list[int]]]:
            counted = connection.execute(effects)
            return dict(iter(connection.execute(events))), {name: counts for name, *counts in counted}

        unprocessed, undone = await self.read(look_up)
        return {
            name: Backlog(unprocessed.get(name, 0), *map(int, undone.get(name, (0, 0))))
            for name in sorted(unprocessed.keys() | undone.keys())
        }

    async def oldest_unprocessed_age(self, now: datetime) -> float:
        """Return for how many seconds the oldest event of any repository has waited; 0 when none does."""
        query = sa.select(sa.func.min(EVENTS.c.at, type_=EVENTS.c.at.type)).where(EVENTS.c.processed_at.is_(None))
        oldest: datetime | None = await self.read(lambda connection: connection.execute(query).scalar_one())
        return max(0.0, (now - oldest).total_seconds()) if oldest else 0.0

    def _append(
        self, connection: sa.Connection, repository: str, event: Event, key: str | None, trace: str
    ) -> int | None:
        number, attempt = subject(event)
        row = {
            "repository": repository,
            "kind": event.kind,
            "key": key,
            "trace": trace,
            "number": number,
            "attempt": attempt,
            "at": event.at,
            "body": event.model_dump_json(),
        }
        statement = self.insert(EVENTS).values(row).on_conflict_do_nothing().returning(EVENTS.c.id)
        made: int | None = connection.execute(statement).scalar_one_or_none()
        return made

    def _check(self, connection: sa.Connection, fence: Fence) -> None:
        """Refuse an old fence; a new one cannot be given out before the transaction ends."""
        query = sa.select(LEASES.c.fence).where(LEASES.c.name == fence.lease, LEASES.c.holder.is_not(None))
        newest = connection.execute(query.with_for_update(read=True)).scalar_one_or_none()
        if newest != fence.number:
            raise LeaseLostError(f"the lease {fence.lease!r} with fence {fence.number} is over")

    def _upsert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            insert = self.insert(table)
            new = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
            connection.execute(
                insert.on_conflict_do_update(index_elements=table.primary_key.columns.keys(), set_=new), rows
            )


def _changed(before: Mapping[int, T], after: Mapping[int, T]) -> list[T]:
    """Return the entries of ``after`` that are not the very objects of ``before``.

    Raises:
        StoreError: one is missing that had not ended: it would stay in the database for ever.
    """
    if after is before:
        return []
    changed = [entry for number, entry in after.items() if before.get(number) is not entry]
    new = sum(number not in before for number in (_id(entry) for entry in changed))
    if len(after) - new != len(before):
        for number, entry in before.items():
            if number not in after and _is_open(entry):
                raise StoreError(
                    f"a decision dropped {type(entry).__name__} {number}, which has not ended: report this"
                )
    return changed


def _id(entry: PullRequest | Attempt) -> int:
    return entry.number if isinstance(entry, PullRequest) else entry.id


def _is_open(entry: PullRequest | Attempt) -> bool:
    return entry.standing is Standing.OPEN if isinstance(entry, PullRequest) else entry.is_live


def _undone(repository: str) -> sa.ColumnElement[bool]:
    return sa.and_(EFFECTS.c.repository == repository, EFFECTS.c.done_at.is_(None))


def _pull_row(repository: str, pull: PullRequest, at: datetime) -> dict[str, Any]:
    return {
        "repository": repository,
        "number": pull.number,
        "standing": pull.standing.value,
        "source": pull.source,
        "target": pull.target,
        "changed_at": at,
        "body": pull.model_dump_json(),
    }


def _attempt_row(repository: str, attempt: Attempt) -> dict[str, Any]:
    return {
        "repository": repository,
        "id": attempt.id,
        "kind": attempt.kind.value,
        "target": attempt.target,
        "live": attempt.is_live,
        "body": attempt.model_dump_json(),
    }


def _effect_row(cause: StoredEvent, place: int, effect: Effect, at: datetime) -> dict[str, Any]:
    number, attempt = subject_of_effect(effect)
    return {
        "repository": cause.repository,
        "event": cause.id,
        "kind": effect.kind,
        "key": f"{cause.id}/{place}",
        "trace": cause.trace,
        "number": number,
        "attempt": attempt,
        "body": effect.model_dump_json(),
        "created_at": at,
        "tries": 0,
        "error": "",
        "not_before": at,
    }
