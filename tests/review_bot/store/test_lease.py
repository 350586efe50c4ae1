"""One leads, and who led before changes nothing."""

import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from review_bot.domain.events import CommentRead
from review_bot.store.errors import LeaseLostError
from review_bot.store.lease import Lease, elapsed
from review_bot.store.rows import Fence, StoredEffect, StoredEvent
from review_bot.store.store import Store
from tests.review_bot.store.values import (
    NOW,
    Address,
    Process,
    after,
    comment,
    decide,
    empty,
    hint,
    pull,
    read,
    reply,
)
from tests.support.waiting import wait_for

pytestmark = pytest.mark.anyio

TTL = timedelta(seconds=100)


def contenders(store: Store) -> tuple[Lease, Lease]:
    return Lease(store, "bot", "one", TTL), Lease(store, "bot", "two", TTL)


async def test_a_lease_is_held_until_it_expires_and_then_the_fence_rises(store: Store) -> None:
    one, two = contenders(store)
    assert await one.acquire(NOW)
    assert one.fence == Fence("bot", 1)
    assert not await two.acquire(after(99))
    assert await two.acquire(after(100))
    assert two.fence == Fence("bot", 2)
    assert not await one.renew(after(100))
    assert not one.is_safe(elapsed())
    with pytest.raises(LeaseLostError, match="one does not have the lease 'bot'"):
        _ = one.fence


async def test_a_renewed_lease_lasts_longer_with_the_same_fence(store: Store) -> None:
    one, two = contenders(store)
    assert await one.acquire(NOW)
    assert await one.renew(after(50))
    assert not await two.acquire(after(149))
    assert await one.acquire(after(149))
    assert one.fence.number == 1


async def test_an_expired_lease_that_nobody_took_can_be_renewed(store: Store) -> None:
    one, two = contenders(store)
    assert await one.acquire(NOW)
    assert await one.renew(after(500))
    assert not await two.acquire(after(501))


async def test_a_released_lease_is_free_at_once_and_its_fence_is_void(store: Store) -> None:
    one, two = contenders(store)
    assert await one.acquire(NOW)
    fence = one.fence
    await one.release()
    await one.release()
    with pytest.raises(LeaseLostError):
        await decide(store, fence, empty(), empty())
    assert await two.acquire(NOW)
    assert two.fence.number == 2
    await one.release()
    assert await two.renew(after(1))


async def test_a_later_life_with_the_same_name_waits_like_any_other(store: Store) -> None:
    one, _ = contenders(store)
    assert await one.acquire(NOW)
    again, _ = contenders(store)
    assert not await again.acquire(after(1))
    assert await again.acquire(after(101))
    assert not await one.renew(after(101))


async def test_leases_of_other_names_are_others(store: Store) -> None:
    one, _ = contenders(store)
    other = Lease(store, "another", "one", TTL)
    assert await one.acquire(NOW)
    assert await other.acquire(NOW)


async def test_a_leader_is_safe_for_part_of_its_lease_only(store: Store) -> None:
    one, _ = contenders(store)
    assert not one.is_safe(elapsed())
    begin = elapsed()
    assert await one.acquire(datetime.now(UTC))
    end = elapsed()
    assert not one.is_safe(end + 60)
    assert one.is_safe(begin - (end - begin))
    assert not one.is_safe(end + 1000)
    await one.release()
    assert not one.is_safe(begin)


async def test_a_renewal_with_a_time_long_past_makes_nobody_safe(store: Store) -> None:
    # the process was stopped after it had looked at the clock
    one, _ = contenders(store)
    assert await one.acquire(after(-3600))
    assert not one.is_safe(elapsed())


@pytest.fixture
async def work(store: Store) -> tuple[Fence, StoredEvent, StoredEffect]:
    """What a leader has in hand when another takes over."""
    old, new = contenders(store)
    assert await old.acquire(NOW)
    await decide(store, old.fence, empty(), empty(), [read()])
    await store.append("demo", hint(2), trace="second")
    event = await store.next_event("demo")
    (effect,) = await store.due_effects("demo", NOW)
    assert event is not None
    fence = old.fence
    assert await new.acquire(after(100))
    return fence, event, effect


Act = Callable[[Store, Fence, StoredEvent, StoredEffect], Awaitable[None]]

ACTS: dict[str, Act] = {
    "commit": lambda store, fence, event, effect: store.commit(
        fence, event, empty(), empty().with_pull(pull()), [reply()], NOW
    ),
    "effect_done": lambda store, fence, event, effect: store.effect_done(
        fence, effect, CommentRead(at=NOW, comment=comment(), snapshot=None), NOW
    ),
    "effect_failed": lambda store, fence, event, effect: store.effect_failed(fence, effect, "no", after(9), NOW),
}


@pytest.mark.parametrize("act", ACTS)
async def test_a_former_leader_changes_nothing(
    store: Store, work: tuple[Fence, StoredEvent, StoredEffect], act: str
) -> None:
    fence, event, effect = work
    with pytest.raises(LeaseLostError, match="the lease 'bot' with fence 1 is over"):
        await ACTS[act](store, fence, event, effect)
    assert await store.load("demo") == empty()
    assert await store.next_event("demo") == event
    assert await store.unprocessed("demo") == 1
    assert await store.due_effects("demo", after(99), limit=9) == [effect]
    assert await store.troubles("demo") == []
    await ACTS[act](store, Fence("bot", 2), event, effect)


async def test_one_of_many_processes_leads(store: Store, address: Address) -> None:
    processes = [Process(address, "contend", f"process-{number}") for number in range(4)]
    try:
        assert {process.hear() for process in processes} == {"ready"}
        for process in processes:
            process.tell()
        assert sorted(process.hear() for process in processes) == ["leads with 1", *["stands by"] * 3]
    finally:
        for process in processes:
            process.kill()


async def test_a_leader_that_was_stopped_past_its_lease_knows_it_and_writes_nothing(
    store: Store, address: Address
) -> None:
    await store.append("demo", hint(), trace="t")
    with Process(address, "lead", "0.5") as leader:
        assert leader.hear() == "leads"
        leader.signal(signal.SIGSTOP)
        begin = elapsed()
        other = Lease(store, "bot", "other", TTL)
        assert await other.acquire(after(3600))
        wait_for(lambda: elapsed() > begin + 0.5, "the lease to expire")
        leader.signal(signal.SIGCONT)
        leader.tell()
        assert leader.hear() == "unsafe, refused"
    assert await store.load("demo") == empty()
    assert await store.unprocessed("demo") == 1
