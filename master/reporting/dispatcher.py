"""Brings what waits in the outbox to the receiver."""

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python import log
from twisted.python.failure import Failure

from .backoff import Outcome, Pace, Verdict
from .outbox import Entry, Outbox, Stored
from .schedule import Schedule

Reactor = Any
"""Twisted's, which has no type that says all it can do."""


class Dispatcher:
    """Tries one delivery after the other, and notes those that arrived.

    Args:
        name: Under which it writes to the log.
        reactor: Twisted's reactor.
        outbox: Where deliveries wait.
        post: Makes one try.
        pace: How long to wait after failures.
        concurrency: At most so many tries at a time.
    """

    def __init__(
        self,
        name: str,
        reactor: Reactor,
        outbox: Outbox,
        post: Callable[[Stored], Awaitable[Outcome]],
        pace: Pace,
        concurrency: int,
    ) -> None:
        self._name = name
        self._reactor = reactor
        self._outbox = outbox
        self._post = post
        self._schedule = Schedule(pace, concurrency, random.SystemRandom().random)
        self._under_way: dict[int, Deferred[Any]] = {}
        self._timer: Any = None
        self._stopped = False
        # what is wrong now, and what was last said of single deliveries: each is logged once
        self._trouble = ""
        self._said: dict[int, str] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Take up deliveries."""
        self._schedule.add(entries, self._reactor.seconds())
        self._pump()

    def hurry(self) -> None:
        """Try at once all that waits: something may have been put right."""
        self._schedule.hurry(self._reactor.seconds())
        self._pump()

    async def stop(self) -> None:
        """Break off what is under way; it waits in the outbox for the next start."""
        self._stopped = True
        self._disarm()
        tries = list(self._under_way.values())
        for attempt in tries:
            attempt.cancel()
        await DeferredList(tries, consumeErrors=True)

    def _pump(self) -> None:
        self._disarm()
        while not self._stopped and (entry := self._schedule.next(self._reactor.seconds())):
            attempt = Deferred.fromCoroutine(self._try(entry))
            if not attempt.called:
                self._under_way[entry.id] = attempt
            attempt.addBoth(self._tried, entry)
        if not self._stopped and (due := self._schedule.when()) is not None:
            self._timer = self._reactor.callLater(max(0.0, due - self._reactor.seconds()), self._pump)

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    async def _try(self, entry: Entry) -> Outcome | None:
        stored = await self._outbox.stored(entry.id)
        if stored is None:
            return None
        outcome = await self._post(stored)
        if outcome.verdict is Verdict.DELIVERED:
            await self._outbox.settle(entry.id, int(self._reactor.seconds()))
        return outcome

    def _tried(self, result: Outcome | Failure | None, entry: Entry) -> None:
        self._under_way.pop(entry.id, None)
        if self._stopped:
            return
        now = self._reactor.seconds()
        if result is None:
            self._said.pop(entry.id, None)
            self._schedule.settled(entry, now, delivered=False)
        elif not isinstance(result, Outcome):
            log.err(result, f"{self._name}: while delivering {entry.id} of the outbox")
            self._schedule.failed(entry, Outcome(Verdict.FAILED), now)
        elif result.verdict is Verdict.DELIVERED:
            self._said.pop(entry.id, None)
            self._schedule.settled(entry, now)
            if self._trouble:
                self._trouble = ""
                log.msg(f"{self._name}: deliveries arrive again; {len(self._schedule)} wait")
        else:
            self._complain(entry, result)
            self._schedule.failed(entry, result, now)
        # not from within: a long queue would become a deep stack
        self._disarm()
        self._timer = self._reactor.callLater(0, self._pump)

    def _complain(self, entry: Entry, outcome: Outcome) -> None:
        if outcome.detail not in (self._trouble, self._said.get(entry.id)):
            cure = f" ({outcome.cure})" if outcome.cure else ""
            log.msg(
                f"{self._name}: {outcome.detail}{cure}; delivery {entry.id} is kept and tried again, "
                f"{len(self._schedule)} wait"
            )
        self._trouble = outcome.detail
        self._said[entry.id] = outcome.detail
