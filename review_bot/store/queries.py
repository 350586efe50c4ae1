"""What pages and the API ask of the database."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from review_bot.domain.effects import EFFECT, Reply
from review_bot.domain.events import EVENT
from review_bot.domain.model import Attempt, PullRequest, Standing

from .database import Database
from .rows import ATTEMPT, PULL_REQUEST, Happening, parse, parsed
from .schema import ATTEMPT_MEMBERS, ATTEMPTS, EFFECTS, EVENTS, PULL_REQUESTS


class Queries(Database):
    """Reads of what is or was. Each may raise `StoreError`; `CorruptRowError` when a row cannot be read."""

    async def pull_request(self, repository: str, number: int) -> PullRequest | None:
        """Return a pull request, ended or not; None when it never was."""
        return await self._pull(PULL_REQUESTS.c.repository == repository, PULL_REQUESTS.c.number == number)

    async def find_source(self, repository: str, source: str) -> PullRequest | None:
        """Return the newest pull request that comes or came from ``source``; None when there never was one."""
        return await self._pull(PULL_REQUESTS.c.repository == repository, PULL_REQUESTS.c.source == source)

    async def recent(self, repository: str, standing: Standing, limit: int) -> list[PullRequest]:
        """Return the pull requests of a standing, last changed first, at most ``limit``."""
        query = (
            sa.select(PULL_REQUESTS)
            .where(PULL_REQUESTS.c.repository == repository, PULL_REQUESTS.c.standing == standing.value)
            .order_by(PULL_REQUESTS.c.changed_at.desc(), PULL_REQUESTS.c.number.desc())
            .limit(limit)
        )
        rows = await self.read(lambda connection: connection.execute(query).all())
        return parsed(PULL_REQUEST, rows, "pull_requests", "repository", "number")

    async def attempt(self, repository: str, attempt: int) -> Attempt | None:
        """Return an attempt, ended or not; None when it never was."""
        query = sa.select(ATTEMPTS).where(ATTEMPTS.c.repository == repository, ATTEMPTS.c.id == attempt)
        rows = await self.read(lambda connection: connection.execute(query).all())
        return next(iter(parsed(ATTEMPT, rows, "attempts", "repository", "id")), None)

    async def attempts_of(self, repository: str, number: int) -> list[Attempt]:
        """Return every attempt that a pull request is or was in, oldest first."""
        query = (
            sa.select(ATTEMPTS)
            .where(ATTEMPTS.c.repository == repository, ATTEMPTS.c.id.in_(_attempts_with(repository, number)))
            .order_by(ATTEMPTS.c.id)
        )
        rows = await self.read(lambda connection: connection.execute(query).all())
        return parsed(ATTEMPT, rows, "attempts", "repository", "id")

    async def timeline(self, repository: str, number: int, limit: int, before: int | None = None) -> list[Happening]:
        """Return what happened to a pull request or to an attempt with it, newest first.

        Args:
            repository: Whose.
            number: The pull request.
            limit: At most so many.
            before: Only what has a lower id; the last one of a page continues it.
        """
        about_it = EVENTS.c.number == number
        about_an_attempt = EVENTS.c.attempt.in_(_attempts_with(repository, number))
        # each half has an index of its own; one condition with OR would read all events
        halves = [
            sa.select(EVENTS.c.id)
            .where(EVENTS.c.repository == repository, about, *([] if before is None else [EVENTS.c.id < before]))
            .order_by(EVENTS.c.id.desc())
            .limit(limit)
            .subquery()
            for about in (about_it, about_an_attempt)
        ]
        ids = sa.union(*(sa.select(half.c.id) for half in halves)).subquery()
        events = sa.select(EVENTS).where(EVENTS.c.id.in_(sa.select(ids.c.id))).order_by(EVENTS.c.id.desc()).limit(limit)
        answers = (
            sa.select(EFFECTS.c.id, EFFECTS.c.event, EFFECTS.c.body)
            .where(EFFECTS.c.event.in_(sa.bindparam("events", expanding=True)))
            .where(EFFECTS.c.kind == "reply", EFFECTS.c.number == number)
            .order_by(EFFECTS.c.id)
        )

        def look_up(connection: sa.Connection) -> tuple[Sequence[Any], Sequence[Any]]:
            found = connection.execute(events).all()
            return found, connection.execute(answers, {"events": [row.id for row in found]}).all()

        rows, answered = await self.read(look_up)
        replies: dict[int, list[Reply]] = {}
        for row in answered:
            effect = parse(EFFECT, row.body, "effects", row.id)
            if isinstance(effect, Reply):
                replies.setdefault(row.event, []).append(effect)
        return [
            Happening(
                id=row.id,
                event=parse(EVENT, row.body, "events", row.id),
                trace=row.trace,
                processed_at=row.processed_at,
                replies=replies.get(row.id, ()),
            )
            for row in rows
        ]

    async def _pull(self, *conditions: sa.ColumnElement[bool]) -> PullRequest | None:
        query = sa.select(PULL_REQUESTS).where(*conditions).order_by(PULL_REQUESTS.c.number.desc()).limit(1)
        rows = await self.read(lambda connection: connection.execute(query).all())
        return next(iter(parsed(PULL_REQUEST, rows, "pull_requests", "repository", "number")), None)


def _attempts_with(repository: str, number: int) -> sa.Select[tuple[int]]:
    return sa.select(ATTEMPT_MEMBERS.c.attempt).where(
        ATTEMPT_MEMBERS.c.repository == repository, ATTEMPT_MEMBERS.c.number == number
    )
