"""A row that cannot be read is named, and nothing is passed over."""

from collections.abc import Awaitable, Callable

import pytest

from review_bot.domain.model import Standing
from review_bot.store.errors import CorruptRowError
from review_bot.store.rows import Fence
from review_bot.store.store import Store
from tests.review_bot.store.values import NOW, Address, attempt, decide, empty, hint, pull, read, reply

pytestmark = pytest.mark.anyio

READS: dict[str, tuple[str, str, Callable[[Store], Awaitable[object]]]] = {
    "the record": ("repositories", "'demo'", lambda store: store.load("demo")),
    "an open pull request": ("pull_requests", "'demo', 1", lambda store: store.load("demo")),
    "a live attempt": ("attempts", "'demo', 1", lambda store: store.load("demo")),
    "a pull request": ("pull_requests", "'demo', 1", lambda store: store.pull_request("demo", 1)),
    "a source": ("pull_requests", "'demo', 1", lambda store: store.find_source("demo", pull(1).source)),
    "recent ones": ("pull_requests", "'demo', 1", lambda store: store.recent("demo", Standing.OPEN, 9)),
    "an attempt": ("attempts", "'demo', 1", lambda store: store.attempt("demo", 1)),
    "attempts": ("attempts", "'demo', 1", lambda store: store.attempts_of("demo", 1)),
    "the next event": ("events", r"\d+", lambda store: store.next_event("demo")),
    "a timeline's events": ("events", r"\d+", lambda store: store.timeline("demo", 1, 9)),
    "a timeline's replies": ("effects", r"\d+", lambda store: store.timeline("demo", 1, 9)),
    "due effects": ("effects", r"\d+", lambda store: store.due_effects("demo", NOW)),
    "replies": ("effects", r"\d+", lambda store: store.replies("demo", "trace")),
}


@pytest.mark.parametrize("body", ["", "{", "null", '{"kind": "unheard_of"}', '{"number": "x"}'])
@pytest.mark.parametrize("what", READS)
async def test_a_broken_row_is_named(store: Store, fence: Fence, address: Address, what: str, body: str) -> None:
    state = empty().with_pull(pull(1)).with_attempt(attempt(1, 1))
    state = state.with_repository(state.repository.model_copy(update={"next_number": 2}))
    await decide(store, fence, empty(), state, [read(), reply()])
    await store.append("demo", hint(), trace="trace")
    table, key, look = READS[what]
    await look(store)
    engine = address.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET body = '{body}'")
    engine.dispose()
    with pytest.raises(CorruptRowError, match=rf"row {key} of the table {table} cannot be read .*: put a backup"):
        await look(store)
