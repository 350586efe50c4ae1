"""One process leads; the others stand by.

Three things together keep a former leader from acting:

- Every write of the leader names its *fence*, a number that rises whenever the lease changes hands, and is refused in
  the same transaction when that is not the newest. This holds whatever the clocks say.
- What is done outside the database is done only while `Lease.is_safe`: less than 60 % of the lease's time has passed
  since the last renewal *began*, by a clock that goes on while the process is stopped or the machine sleeps.
- The outside actions themselves are compare-and-swap, or the same when done twice.

`expires_at` is written and compared by the processes' own wall clocks. Those may differ by up to 40 % of the lease's
time, less the duration of one action; with a greater skew two processes could both act for a moment outside the
database, and the third point alone protects.
"""

import time
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from .database import Database
from .errors import LeaseLostError
from .rows import Fence
from .schema import LEASES

SAFE_PART = 0.6

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def elapsed() -> float:
    """Return seconds on a clock that is never set, and goes on while the process is stopped or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _elapsed_at(now: datetime) -> float:
    """Return what `elapsed` said at ``now``: the process may have been stopped since."""
    present = elapsed()
    return present - max(0.0, (datetime.now(UTC) - now).total_seconds())


class Lease:
    """The right to lead, for a while.

    Args:
        store: The database that all contenders share.
        name: What is led.
        holder: This contender; no other, not even a later life of the same process, has the same.
        ttl: How long a renewal lasts.
    """

    def __init__(self, store: Database, name: str, holder: str, ttl: timedelta) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._ttl = ttl
        self._number: int | None = None
        self._renewed_at = 0.0

    @property
    def fence(self) -> Fence:
        """What proves to the store that the lease is held.

        Raises:
            LeaseLostError: it is not.
        """
        if self._number is None:
            raise LeaseLostError(f"{self._holder} does not have the lease {self._name!r}")
        return Fence(self._name, self._number)

    def is_safe(self, now: float) -> bool:
        """Tell whether no other process can have the lease yet.

        Args:
            now: What `elapsed` says.
        """
        return self._number is not None and now - self._renewed_at < SAFE_PART * self._ttl.total_seconds()

    async def acquire(self, now: datetime) -> bool:
        """Take the lease if it is free or has expired; the fence rises.

        Args:
            now: The wall clock.

        Returns:
            Whether it is ours now; as `renew` does when it was ours before.

        Raises:
            StoreError: the database failed.
        """
        if self._number is not None and await self.renew(now):
            return True
        started = _elapsed_at(now)
        free = {"name": self._name, "holder": None, "fence": 0, "expires_at": _NEVER}
        taken = (
            sa.update(LEASES)
            .where(LEASES.c.name == self._name, sa.or_(LEASES.c.holder.is_(None), LEASES.c.expires_at <= now))
            .values(holder=self._holder, fence=LEASES.c.fence + 1, expires_at=now + self._ttl)
            .returning(LEASES.c.fence)
        )

        def take(connection: sa.Connection) -> int | None:
            connection.execute(self._store.insert(LEASES).values(free).on_conflict_do_nothing())
            return connection.execute(taken).scalar_one_or_none()

        self._number, self._renewed_at = await self._store.write(take, durable=False), started
        return self._number is not None

    async def renew(self, now: datetime) -> bool:
        """Keep the lease for another `ttl`, expired or not, unless somebody took it.

        Args:
            now: The wall clock.

        Returns:
            Whether it is still ours.

        Raises:
            StoreError: the database failed; `is_safe` tells how long that can be borne.
        """
        if self._number is None:
            return False
        started = _elapsed_at(now)
        keep = sa.update(LEASES).where(self._is_ours()).values(expires_at=now + self._ttl)
        if await self._store.write(lambda connection: connection.execute(keep).rowcount, durable=False):
            self._renewed_at = started
        else:
            self._number = None
        return self._number is not None

    async def release(self) -> None:
        """Give the lease up, so that another need not wait; nothing when it is not ours.

        Raises:
            StoreError: the database failed.
        """
        if self._number is not None:
            free = sa.update(LEASES).where(self._is_ours()).values(holder=None)
            self._number = None
            await self._store.write(lambda connection: connection.execute(free), durable=False)

    def _is_ours(self) -> sa.ColumnElement[bool]:
        return sa.and_(LEASES.c.name == self._name, LEASES.c.holder == self._holder, LEASES.c.fence == self._number)
