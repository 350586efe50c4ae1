"""``kill -9`` in the middle of a transaction leaves all of it or nothing."""

import pytest

from review_bot.store.rows import Fence
from review_bot.store.store import Store
from tests.review_bot.store.values import NOW, Address, Process, after, empty, hint

pytestmark = pytest.mark.anyio

STATEMENTS = {"sqlite": 10, "postgresql": 8}
"""Fence, event, record, pull requests, attempts, members, effects, COMMIT; before them SQLite's PRAGMA and BEGIN."""


@pytest.mark.parametrize("statement", range(11))
async def test_a_decision_is_written_whole_or_not_at_all(
    store: Store, fence: Fence, address: Address, statement: int
) -> None:
    await store.append("demo", hint(), trace="t")
    with Process(address, "decide", str(fence.number), str(statement)) as process:
        assert process.hear() == ("here" if statement < STATEMENTS[address.url.split(":")[0]] else "written")
    stored = await store.next_event("demo")
    state = await store.load("demo")
    due = [each.effect.kind for each in await store.due_effects("demo", after(10**6), limit=9)]
    if statement < STATEMENTS[address.url.split(":")[0]]:
        assert stored is not None
        assert (state, due) == (empty(), [])
        # and another may write at once
        await store.commit(fence, stored, state, state, (), NOW)
    else:
        assert stored is None
        assert (list(state.pulls), list(state.attempts), due) == ([1], [1], ["read_comment", "reply"])
        assert "main" in state.repository.targets
        assert await store.attempts_of("demo", 1) == [state.attempts[1]]


async def test_an_event_is_there_once_append_has_returned_and_not_before(store: Store, address: Address) -> None:
    with Process(address, "append") as process:
        assert process.hear() == "here"
        assert await store.unprocessed("demo") == 0
    assert await store.unprocessed("demo") == 0
    with Process(address, "append") as process:
        assert process.hear() == "here"
        process.tell()
        assert process.hear() == "written"
    assert await store.unprocessed("demo") == 1
    assert await store.append("demo", hint(2), key="k", trace="t") is None
