"""What the engine may rely on."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autogate.contract import Result
from review_bot.domain import effects, events
from review_bot.domain.answers import Pong
from review_bot.domain.model import AttemptKind, Stage, Standing, State, Target, Verdict
from review_bot.store.errors import StoreError
from review_bot.store.lease import Lease
from review_bot.store.rows import Backlog, Fence
from review_bot.store.schema import METADATA
from review_bot.store.store import Store
from tests.review_bot.store.values import NOW, Address, after, attempt, comment, decide, empty, hint, pull, read, reply

pytestmark = pytest.mark.anyio


async def test_an_unknown_repository_is_empty(store: Store) -> None:
    assert await store.load("demo") == empty()
    assert await store.next_event("demo") is None
    assert await store.next_due("demo") is None
    assert await store.unprocessed("demo") == 0
    assert await store.oldest_unprocessed_age(NOW) == 0
    assert await store.backlog() == {}


async def test_two_events_with_the_same_key_are_one(store: Store) -> None:
    first = await store.append("demo", hint(1), key="delivery-1", trace="a")
    assert first is not None
    assert await store.append("demo", hint(2), key="delivery-1", trace="b") is None
    assert await store.append("other", hint(2), key="delivery-1", trace="b") is not None
    stored = await store.next_event("demo")
    assert stored is not None
    assert (stored.id, stored.event, stored.trace, stored.key) == (first, hint(1), "a", "delivery-1")
    assert await store.unprocessed("demo") == 1


async def test_a_key_handed_in_twice_at_the_same_moment_is_one_event(store: Store) -> None:
    made = await asyncio.gather(*(store.append("demo", hint(), key="k", trace="t") for _ in range(20)))
    assert sum(id_ is not None for id_ in made) == 1


async def test_events_without_a_key_are_all_kept_and_come_in_order(store: Store, fence: Fence) -> None:
    for number in (3, 1, 2):
        await store.append("demo", hint(number), trace="t")
    seen = []
    while stored := await store.next_event("demo"):
        seen.append(stored.event)
        await store.commit(fence, stored, empty(), empty(), (), NOW)
    assert seen == [hint(3), hint(1), hint(2)]


async def test_a_decision_is_written_and_its_effects_come_in_order(store: Store, fence: Fence) -> None:
    state = empty().with_pull(pull(1)).with_attempt(attempt(1, 1)).with_target(Target(name="main", tip="a" * 40))
    await decide(store, fence, empty(), state, [read(1), reply(1), reply(2)])
    assert await store.load("demo") == state
    due = await store.due_effects("demo", NOW, limit=10)
    assert [stored.effect for stored in due] == [read(1), reply(1), reply(2)]
    assert [stored.key.partition("/")[2] for stored in due] == ["0", "1", "2"]
    assert {stored.trace for stored in due} == {"trace"}
    assert await store.due_effects("demo", NOW) == due[:1]
    assert await store.due_effects("demo", NOW, frozenset({"reply"}), 1) == due[1:2]
    assert await store.due_effects("demo", after(-1), limit=10) == []
    assert await store.due_effects("other", NOW, limit=10) == []


async def test_only_what_is_another_object_is_written(store: Store, fence: Fence, address: Address) -> None:
    first = empty().with_pull(pull(1)).with_pull(pull(2)).with_attempt(attempt(1, 1))
    await decide(store, fence, empty(), first)
    engine = address.engine()
    with engine.begin() as connection:
        for table in ("pull_requests", "attempts", "repositories"):
            connection.exec_driver_sql(f"UPDATE {table} SET body = 'untouched'")
    await decide(store, fence, first, first.with_pull(pull(2, title="changed")))
    with engine.connect() as connection:
        bodies = connection.exec_driver_sql("SELECT body FROM pull_requests ORDER BY number").scalars().all()
        others = connection.exec_driver_sql("SELECT body FROM attempts UNION ALL SELECT body FROM repositories")
        assert list(others.scalars()) == ["untouched", "untouched"]
    engine.dispose()
    assert bodies[0] == "untouched"
    assert "changed" in bodies[1]


async def test_an_event_is_decided_on_once(store: Store, fence: Fence) -> None:
    await store.append("demo", hint(), trace="t")
    stored = await store.next_event("demo")
    assert stored is not None
    await store.commit(fence, stored, empty(), empty(), [reply()], NOW)
    with pytest.raises(StoreError, match="was acted on before"):
        await store.commit(fence, stored, empty(), empty().with_pull(pull()), [reply()], NOW)
    assert await store.load("demo") == empty()
    assert len(await store.due_effects("demo", NOW, limit=10)) == 1


@pytest.mark.parametrize(
    "state",
    [
        empty().with_attempt(attempt(1)).with_attempt(attempt(2)),
        empty().with_attempt(attempt(1, kind=AttemptKind.TRY)).with_attempt(attempt(2, kind=AttemptKind.TRY)),
    ],
    ids=["auto", "try"],
)
async def test_the_database_refuses_a_second_live_attempt_and_changes_nothing(
    store: Store, fence: Fence, state: State
) -> None:
    with pytest.raises(StoreError, match="refused what the bot wanted to write"):
        await decide(store, fence, empty(), state.with_pull(pull()), [reply()])
    assert await store.load("demo") == empty()
    assert await store.unprocessed("demo") == 1
    assert await store.due_effects("demo", NOW) == []


async def test_the_database_refuses_a_second_live_attempt_in_a_later_decision_too(store: Store, fence: Fence) -> None:
    await decide(store, fence, empty(), empty().with_attempt(attempt(1)))
    with pytest.raises(StoreError, match="refused what the bot wanted to write"):
        await decide(store, fence, empty(), empty().with_attempt(attempt(2)))
    assert await store.load("demo") == empty().with_attempt(attempt(1))


async def test_an_attempt_for_each_target_and_a_try_attempt_live_side_by_side(store: Store, fence: Fence) -> None:
    other = attempt(2).model_copy(update={"target": "stable"})
    state = empty().with_attempt(attempt(1)).with_attempt(other).with_attempt(attempt(3, kind=AttemptKind.TRY))
    await decide(store, fence, empty(), state)
    await decide(
        store, fence, empty("second"), replace(state, repository=empty("second").repository), repository="second"
    )
    assert await store.load("demo") == state


async def test_an_attempt_ends_and_the_next_begins_in_one_decision(store: Store, fence: Fence) -> None:
    first = empty().with_attempt(attempt(2, 1))
    await decide(store, fence, empty(), first)
    # the new one comes first by number, and must still be written last
    second = first.with_attempt(attempt(1, 1)).with_attempt(attempt(2, 1, stage=Stage.DISCARDED))
    await decide(store, fence, first, second)
    assert (await store.load("demo")).attempts == {1: attempt(1, 1)}
    assert await store.attempts_of("demo", 1) == [attempt(1, 1), attempt(2, 1, stage=Stage.DISCARDED)]


async def test_a_decision_that_forgets_something_open_is_refused(store: Store, fence: Fence) -> None:
    full = empty().with_pull(pull(1)).with_pull(pull(2))
    await decide(store, fence, empty(), full)
    with pytest.raises(StoreError, match="dropped PullRequest 1"):
        await decide(store, fence, full, empty().with_pull(pull(2)))
    with pytest.raises(StoreError, match="dropped PullRequest 1"):
        await decide(store, fence, full, empty().with_pull(pull(2)).with_pull(pull(3)))
    assert await store.load("demo") == full


async def test_a_decision_may_leave_out_what_had_ended(store: Store, fence: Fence) -> None:
    landed = empty().with_pull(pull(1, standing="landed")).with_attempt(attempt(1, stage=Stage.LANDED))
    await decide(store, fence, empty(), landed)
    await decide(store, fence, landed, empty().with_pull(pull(2)))
    assert await store.load("demo") == empty().with_pull(pull(2))


async def test_what_an_effect_gave_becomes_an_event_of_the_same_trace_once(store: Store, fence: Fence) -> None:
    await decide(store, fence, empty(), empty(), [read()])
    (stored,) = await store.due_effects("demo", NOW)
    result = events.CommentRead(at=NOW, comment=comment(), snapshot=None)
    for _ in range(2):
        await store.effect_done(fence, stored, result, NOW)
    assert await store.due_effects("demo", NOW) == []
    assert await store.unprocessed("demo") == 1
    event = await store.next_event("demo")
    assert event is not None
    assert (event.event, event.trace, event.key) == (result, "trace", f"effect:{stored.id}")


async def test_an_effect_that_failed_waits_and_says_why(store: Store, fence: Fence) -> None:
    await decide(
        store, fence, empty(), empty(), [read(7), effects.AskBuildbot(attempt=3, sha="a", builders=(), turn=1)]
    )
    one, other = await store.due_effects("demo", NOW, limit=2)
    await store.effect_failed(fence, one, "no route to host", after(5), after(1))
    await store.effect_failed(fence, one, "still none\0", after(50), after(6))
    assert await store.due_effects("demo", after(10), limit=5) == [other]
    (trouble,) = await store.troubles("demo")
    assert (trouble.what, trouble.number, trouble.attempt) == ("read_comment", 7, None)
    assert (trouble.error, trouble.since, trouble.again_at) == ("still none\\0", after(1), after(50))
    assert await store.next_due("demo") == NOW
    await store.effect_done(fence, other, None, NOW)
    assert await store.next_due("demo") == after(50)
    (again,) = await store.due_effects("demo", after(50))
    assert (again.id, again.tries, again.failing_since) == (one.id, 2, after(1))
    await store.effect_done(fence, again, None, after(51))
    await store.effect_failed(fence, again, "late", after(99), after(52))
    assert await store.troubles("demo") == []
    assert await store.next_due("demo") is None


async def test_a_trace_is_settled_when_its_comment_was_read_and_decided_on(store: Store, fence: Fence) -> None:
    await store.append("demo", hint(), trace="one")
    await store.append("demo", hint(2), trace="another")
    assert not await store.settled("demo", "one")
    stored = await store.next_event("demo")
    assert stored is not None
    await store.commit(fence, stored, empty(), empty(), [read()], NOW)
    assert not await store.settled("demo", "one")
    (effect,) = await store.due_effects("demo", NOW)
    await store.effect_done(fence, effect, events.CommentRead(at=NOW, comment=comment(), snapshot=None), NOW)
    assert not await store.settled("demo", "one")
    while (stored := await store.next_event("demo")) and stored.trace != "one":
        await store.commit(fence, stored, empty(), empty(), (), NOW)
    assert stored is not None
    await store.commit(fence, stored, empty(), empty(), [reply(), effects.ShowStatus(number=1)], NOW)
    assert await store.settled("demo", "one")
    assert await store.replies("demo", "one") == [Pong()]
    assert await store.replies("demo", "another") == []
    assert await store.replies("other", "one") == []


async def test_what_waits_is_counted_by_repository(store: Store, fence: Fence) -> None:
    await decide(store, fence, empty(), empty(), [read(1), read(2)])
    (stored,) = await store.due_effects("demo", NOW)
    await store.effect_failed(fence, stored, "no", after(1), NOW)
    await store.append("demo", hint(at=after(-30)), trace="t")
    await store.append("other", hint(at=after(-10)), trace="t")
    assert await store.backlog() == {"demo": Backlog(1, 2, 1), "other": Backlog(1, 0, 0)}
    assert await store.oldest_unprocessed_age(NOW) == 30
    assert await store.oldest_unprocessed_age(after(-60)) == 0


async def test_ended_pull_requests_and_attempts_are_found(store: Store, fence: Fence) -> None:
    state = empty().with_pull(pull(1, standing="closed")).with_pull(pull(2, source=pull(1).source))
    state = state.with_attempt(attempt(1, 1, 2, stage=Stage.FAILED))
    await decide(store, fence, empty(), state)
    assert await store.pull_request("demo", 1) == state.pulls[1]
    assert await store.pull_request("demo", 3) is None
    assert await store.find_source("demo", pull(1).source) == state.pulls[2]
    assert await store.find_source("demo", "refs/for/main/none") is None
    assert await store.attempt("demo", 1) == state.attempts[1]
    assert await store.attempt("demo", 2) is None
    assert await store.attempts_of("demo", 2) == [state.attempts[1]]
    assert await store.attempts_of("demo", 3) == []


async def test_members_that_an_attempt_lost_keep_it_in_their_history(store: Store, fence: Fence) -> None:
    first = empty().with_attempt(attempt(1, 1, 2))
    await decide(store, fence, empty(), first)
    await decide(store, fence, first, first.with_attempt(attempt(1, 2)))
    assert await store.attempts_of("demo", 1) == [attempt(1, 2)]


async def test_recent_ones_come_last_changed_first(store: Store, fence: Fence) -> None:
    state = empty()
    for place, number in enumerate((3, 1, 2)):
        await store.append("demo", hint(number), trace="t")
        stored = await store.next_event("demo")
        assert stored is not None
        new = state.with_pull(pull(number, standing="landed"))
        await store.commit(fence, stored, state, new, (), after(place))
        state = new
    landed = await store.recent("demo", Standing.LANDED, 2)
    assert [each.number for each in landed] == [2, 1]
    assert await store.recent("demo", Standing.OPEN, 2) == []


async def test_a_timeline_holds_all_about_a_pull_request_and_its_attempts(store: Store, fence: Fence) -> None:
    seen = events.PullRequestSeen(
        at=NOW,
        snapshot=events.Snapshot(number=None, source=pull(1).source, target="main", head="a" * 40, read_at=NOW),
    )
    one = empty().with_pull(pull(1))
    await decide(store, fence, empty(), one, event=seen)
    await decide(store, fence, one, one, [reply(1)], event=hint(1))
    await decide(store, fence, one, one, [reply(2)], event=hint(2))
    two = one.with_attempt(attempt(1, 1))
    made = events.CandidateMade(at=NOW, attempt=1, base="b" * 40, sha=attempt(1).sha)
    await decide(store, fence, one, two, event=made)
    told = events.VerdictReached(
        at=NOW, revision=str(attempt(1).sha), verdict=Verdict(builder="demo-test", result=Result.SUCCESS, at=NOW)
    )
    await decide(store, fence, two, two, event=told)
    await store.append("demo", hint(1), trace="waits")

    whole = await store.timeline("demo", 1, 10)
    assert [each.event for each in whole] == [hint(1), told, made, hint(1), seen]
    assert [each.processed_at for each in whole] == [None, NOW, NOW, NOW, NOW]
    assert [list(each.replies) for each in whole] == [[], [], [], [reply(1)], []]
    assert whole[0].trace == "waits"
    assert await store.timeline("demo", 1, 2) == whole[:2]
    assert await store.timeline("demo", 1, 2, before=whole[1].id) == whole[2:4]
    assert await store.timeline("demo", 3, 10) == []
    assert await store.timeline("other", 1, 10) == []


async def test_sqlite_reads_no_table_from_end_to_end(tmp_path: Path) -> None:
    store = await Address("sqlite:///bot.sqlite", tmp_path).open()
    lease = Lease(store, "bot", "this test", timedelta(hours=1))
    await lease.acquire(NOW)
    state = empty().with_pull(pull()).with_attempt(attempt())
    await decide(store, lease.fence, empty(), state, [read(), reply()])
    steps: list[str] = []

    def explain(connection: sa.Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT"):
            plan = connection.connection.cursor()
            plan.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps.extend(row[3] for row in plan.fetchall())

    sa.event.listen(store._engine, "before_cursor_execute", explain)
    await store.load("demo")
    await store.next_event("demo")
    await store.due_effects("demo", NOW)
    await store.next_due("demo")
    await store.unprocessed("demo")
    await store.oldest_unprocessed_age(NOW)
    await store.settled("demo", "trace")
    await store.replies("demo", "trace")
    await store.timeline("demo", 1, 10)
    await store.attempts_of("demo", 1)
    await store.find_source("demo", pull().source)
    await store.recent("demo", Standing.LANDED, 10)
    await store.troubles("demo")
    await store.backlog()
    await store.token_owner("x")
    await store.close()
    assert "SEARCH pull_requests USING INDEX pull_requests_standing (repository=? AND standing=?)" in steps
    assert not [step for step in steps if step.removeprefix("SCAN ") in METADATA.tables]
