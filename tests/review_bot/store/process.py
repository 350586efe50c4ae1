"""A bot that does one thing in a process of its own, and obeys line by line.

Arguments: url, folder, what to do, and what that needs. It prints a line whenever it waits for one.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from review_bot.store.errors import LeaseLostError
from review_bot.store.lease import Lease, elapsed
from review_bot.store.rows import Fence
from review_bot.store.store import Store
from tests.review_bot.store.values import NOW, attempt, empty, hint, pull, read, reply


def pause(word: str) -> None:
    """Say something, and wait for a line."""
    print(word, flush=True)
    sys.stdin.readline()


async def contend(store: Store, holder: str) -> None:
    """Try to get the lease, and say how that went."""
    lease = Lease(store, "bot", holder, timedelta(hours=1))
    pause("ready")
    got = await lease.acquire(datetime.now(UTC))
    pause(f"leads with {lease.fence.number}" if got else "stands by")


async def lead(store: Store, ttl: str) -> None:
    """Lead until told to act; say whether that is safe, and try it all the same."""
    lease = Lease(store, "bot", "leader", timedelta(seconds=float(ttl)))
    assert await lease.acquire(datetime.now(UTC))
    fence = lease.fence
    stored = await store.next_event("demo")
    assert stored is not None
    pause("leads")
    safe = "safe" if lease.is_safe(elapsed()) else "unsafe"
    try:
        await store.commit(fence, stored, empty(), empty().with_pull(pull()), [reply()], NOW)
    except LeaseLostError:
        pause(f"{safe}, refused")
    else:
        pause(f"{safe}, written")


async def decide(store: Store, fence: str, statement: str) -> None:
    """Write a decision, and wait before the given statement of it, the last one being the COMMIT."""
    stored = await store.next_event("demo")
    assert stored is not None
    done = 0

    def step(*_: object) -> None:
        nonlocal done
        if done == int(statement):
            pause("here")
        done += 1

    sa.event.listen(store._engine, "before_cursor_execute", step)
    sa.event.listen(store._engine, "commit", step)
    state = empty().with_pull(pull()).with_attempt(attempt()).with_target(empty().target("main"))
    await store.commit(Fence("bot", int(fence)), stored, empty(), state, [read(), reply()], NOW)
    pause("written")


async def append(store: Store) -> None:
    """Append an event, and wait before it is committed and after."""
    sa.event.listen(store._engine, "commit", lambda *_: pause("here"))
    await store.append("demo", hint(2), key="k", trace="t")
    pause("written")


async def main(url: str, folder: str, what: str, *arguments: str) -> None:
    """Do it."""
    store = await Store.open(url, folder=Path(folder))
    acts: dict[str, Callable[..., Awaitable[None]]]
    acts = {"contend": contend, "lead": lead, "decide": decide, "append": append}
    await acts[what](store, *arguments)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
