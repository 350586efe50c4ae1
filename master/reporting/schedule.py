"""Which delivery is tried next, and when: no database, no network; the clock is an argument.

Three rules: a receiver that is down is asked by one delivery at a time; a delivery that fails by itself holds up
nothing but, for a while, later ones about the same request; and when the receiver recovers, all that waits is tried at
once.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

from .backoff import Outcome, Pace, Verdict
from .outbox import Entry

PATIENCE = 3
"""After so many failures a delivery no longer holds up later ones about its request."""

OUTAGE = 10
"""So many deliveries that fail with none between them that passes are no fault of their own."""


class _State(Enum):
    HELD = auto()
    READY = auto()
    UNDER_WAY = auto()


@dataclass
class _Item:
    entry: Entry
    state: _State = _State.HELD
    due: float = 0.0
    failures: int = 0
    woken: bool = False
    ticket: int = -1


class Schedule:
    """The deliveries that wait.

    Args:
        pace: How long to wait after failures.
        concurrency: At most so many at a time.
        chance: Returns random numbers in [0, 1).
    """

    def __init__(self, pace: Pace, concurrency: int, chance: Callable[[], float]) -> None:
        self.pace = pace
        self.concurrency = concurrency
        self._chance = chance
        self._items: dict[int, _Item] = {}
        self._chains: dict[int, list[int]] = {}
        self._heap: list[tuple[float, int, int]] = []
        self._tickets = itertools.count()
        self._failed: set[int] = set()
        self._parked: set[int] = set()
        self._under_way = 0
        self._shut_until = 0.0
        self._outages = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, entries: Iterable[Entry], now: float) -> None:
        """Take up deliveries; those that it knows are left alone."""
        for entry in entries:
            if entry.id in self._items:
                continue
            self._items[entry.id] = _Item(entry)
            chain = self._chains.setdefault(entry.request, [])
            chain.append(entry.id)
            chain.sort()
            self._release(entry.request, now)

    def next(self, now: float) -> Entry | None:
        """Return a delivery to try now and count it as under way, or None."""
        limit = 1 if self._outages else self.concurrency
        if now < self._shut_until or self._under_way >= limit:
            return None
        while self._heap and self._heap[0][0] <= now:
            _, number, ticket = heapq.heappop(self._heap)
            item = self._items.get(number)
            if item and item.ticket == ticket:
                item.state = _State.UNDER_WAY
                item.ticket = -1
                self._under_way += 1
                return item.entry
        return None

    def when(self) -> float | None:
        """Return when `next` may have something; None when that takes the end of one that is under way."""
        while self._heap and self._stale(self._heap[0]):
            heapq.heappop(self._heap)
        limit = 1 if self._outages else self.concurrency
        if not self._heap or self._under_way >= limit:
            return None
        return max(self._heap[0][0], self._shut_until)

    def settled(self, entry: Entry, now: float, *, delivered: bool = True) -> None:
        """Forget a delivery that was under way and needs no further try."""
        self._under_way -= 1
        self._items.pop(entry.id, None)
        self._failed.discard(entry.id)
        self._parked.discard(entry.id)
        chain = self._chains.get(entry.request, [])
        if entry.id in chain:
            chain.remove(entry.id)
        if chain:
            self._release(entry.request, now)
        else:
            self._chains.pop(entry.request, None)
        if delivered:
            self._recover(now)

    def failed(self, entry: Entry, outcome: Outcome, now: float) -> None:
        """Plan the next try of a delivery that was under way."""
        self._under_way -= 1
        item = self._items[entry.id]
        if outcome.verdict is Verdict.UNREACHABLE:
            # the receiver's trouble, not the delivery's: it does not count against it
            self._parked.add(entry.id)
            wait = self._shut(outcome, now)
        else:
            item.failures += 1
            wait = self._wait(outcome, item.failures)
            self._failed.add(entry.id)
            if outcome.verdict is Verdict.FAILED and len(self._failed) >= OUTAGE:
                wait = self._shut(outcome, now)
            else:
                # somebody answered, so that others may try
                self._outages = 0
        self._ready(item, now + wait)
        self._release(entry.request, now)

    def hurry(self, now: float) -> None:
        """Make everything due: something was put right."""
        self._shut_until, self._outages = 0.0, 0
        for item in self._items.values():
            item.woken = False
            if item.state is _State.READY:
                self._ready(item, now)

    def _wait(self, outcome: Outcome, failures: int) -> float:
        if outcome.retry_after is not None:
            return outcome.retry_after
        return self.pace.wait(outcome.verdict, failures, self._chance())

    def _shut(self, outcome: Outcome, now: float) -> float:
        self._outages += 1
        wait = self._wait(outcome, self._outages)
        self._shut_until = max(self._shut_until, now + wait)
        return wait

    def _recover(self, now: float) -> None:
        self._shut_until, self._outages = 0.0, 0
        for number in self._parked:
            item = self._items[number]
            if item.state is _State.READY:
                self._ready(item, min(now, item.due))
        self._parked.clear()
        for number in self._failed:
            item = self._items[number]
            # once only: one that fails again among others that pass is to blame itself
            if not item.woken and item.state is _State.READY:
                item.woken = True
                self._ready(item, min(now, item.due))
        self._failed.clear()

    def _release(self, request: int, now: float) -> None:
        """Make those of a request ready that no earlier one holds up."""
        for number in self._chains.get(request, ()):
            item = self._items[number]
            if item.state is _State.HELD:
                self._ready(item, now)
            if item.failures < PATIENCE:
                return

    def _ready(self, item: _Item, due: float) -> None:
        item.state, item.due, item.ticket = _State.READY, due, next(self._tickets)
        heapq.heappush(self._heap, (due, item.entry.id, item.ticket))

    def _stale(self, top: tuple[float, int, int]) -> bool:
        item = self._items.get(top[1])
        return item is None or item.ticket != top[2]
