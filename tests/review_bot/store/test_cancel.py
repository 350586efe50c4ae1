"""A write whose caller is cancelled ends before the caller does: nobody reads what is about to change."""

import asyncio

import pytest
import sqlalchemy as sa

from review_bot.store.schema import EVENTS
from review_bot.store.store import Store
from tests.review_bot.store.values import hint

pytestmark = pytest.mark.anyio


async def test_a_cancelled_write_is_seen_by_whoever_comes_after_it(store: Store) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(connection: sa.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
        event = hint(1)
        row = {"repository": "demo", "kind": event.kind, "trace": "t", "at": event.at, "body": event.model_dump_json()}
        connection.execute(sa.insert(EVENTS).values(row))

    writing = asyncio.create_task(store.write(work))
    await begun.wait()
    writing.cancel()
    for _ in range(20):
        # the loop goes round, and the caller would have heard of it
        await asyncio.sleep(0)
    # to cancel it once more changes nothing either
    writing.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not writing.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await store.unprocessed("demo") == 1
