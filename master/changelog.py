"""The table of changes as a poller's log: its own small queries, on SQLite and PostgreSQL alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa
from buildbot.master import BuildMaster

from .tips import Logged

T = TypeVar("T")


@dataclass(frozen=True)
class ChangeLog:
    """The changes of one repository's branches.

    Attributes:
        master: Whose database it is.
        project: The changes' project.
        repository: The changes' repository.
        branches: The branches.
    """

    master: BuildMaster
    project: str
    repository: str
    branches: Sequence[str]

    async def newest(self) -> dict[str, Logged]:
        """Return the newest change of each branch that has one."""
        changes = self.master.db.model.changes
        newest = (
            sa.select(sa.func.max(changes.c.changeid))
            .where(
                changes.c.project == self.project,
                changes.c.repository == self.repository,
                changes.c.codebase == "",
                changes.c.branch.in_(self.branches),
            )
            .group_by(changes.c.branch)
        )
        query = sa.select(changes.c.branch, changes.c.changeid, changes.c.revision).where(
            changes.c.changeid.in_(newest)
        )

        def select(connection: sa.Connection) -> dict[str, Logged]:
            return {row.branch: Logged(row.changeid, row.revision or "") for row in connection.execute(query)}

        return await self._do(select)

    async def heard(self, change: int, since: int) -> bool:
        """Tell whether a scheduler has acted on a change: it requested builds, or waits for its tree to be stable.

        Args:
            change: The change's number.
            since: Requests older than this, in seconds since the epoch, were for an earlier push of the same commit.
        """
        model = self.master.db.model
        changes, stamps, sets = model.changes, model.buildset_sourcestamps, model.buildsets
        requested = (
            sa.select(sets.c.id)
            .join_from(sets, stamps, stamps.c.buildsetid == sets.c.id)
            .join(changes, changes.c.sourcestampid == stamps.c.sourcestampid)
            .where(changes.c.changeid == change, sets.c.submitted_at >= since)
        )
        classified = sa.select(model.scheduler_changes.c.changeid).where(model.scheduler_changes.c.changeid == change)

        def select(connection: sa.Connection) -> bool:
            return any(connection.execute(query.limit(1)).first() for query in (requested, classified))

        return await self._do(select)

    async def announce(self, change: int) -> None:
        """Tell the schedulers of a stored change, as Buildbot's ``addChange`` does."""
        stored = await self.master.data.get(("changes", change))
        self.master.data.rtypes.change.produceEvent(stored, "new")  # type: ignore[attr-defined]  # set by name

    async def _do(self, select: Callable[[sa.Connection], T]) -> T:
        pool = self.master.db.pool
        assert pool, "the database is connected before anything polls"  # noqa: S101  for the type checker
        found: T = await pool.do(select)
        return found
