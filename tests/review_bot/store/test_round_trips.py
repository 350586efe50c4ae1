"""Whatever the models can say comes out of the database as it went in."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from review_bot.domain.effects import Effect
from review_bot.domain.events import Event
from review_bot.domain.model import Attempt, AttemptKind, PullRequest, Repository, Stage, Standing, State
from review_bot.store.rows import Fence
from review_bot.store.store import Store
from review_bot.store.subject import subject, subject_of_effect
from tests.review_bot.store.values import ATTEMPTS, NOW, PULLS, after, decide, empty, hint, kinds

anything = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors],
)
LIMIT = 2**31


def fits(numbers: tuple[int | None, int | None]) -> bool:
    return all(number is None or -LIMIT <= number < LIMIT for number in numbers)


@pytest.mark.parametrize("kind", kinds(Event), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(anything, max_examples=15)
def test_an_event_comes_back_as_it_was(store: Store, fence: Fence, kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(st.from_type(kind).filter(lambda event: fits(subject(event))))

    async def store_it() -> None:
        await store.append("demo", event, trace="t")
        stored = await store.next_event("demo")
        assert stored is not None
        assert stored.event == event
        await store.commit(fence, stored, empty(), empty(), (), NOW)

    asyncio.run(store_it())


@pytest.mark.parametrize("kind", kinds(Effect), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(anything, max_examples=15)
def test_an_effect_comes_back_as_it_was(store: Store, fence: Fence, kind: type[Effect], data: st.DataObject) -> None:
    effect = data.draw(st.from_type(kind).filter(lambda effect: fits(subject_of_effect(effect))))

    async def store_it() -> None:
        await decide(store, fence, empty(), empty(), [effect])
        (stored,) = await store.due_effects("demo", after(1))
        assert stored.effect == effect
        await store.effect_done(fence, stored, None, NOW)

    asyncio.run(store_it())


@given(
    record=st.builds(Repository, name=st.just("demo")),
    pulls=st.lists(PULLS, max_size=4, unique_by=lambda pull: pull.number),
    attempts=st.lists(ATTEMPTS, max_size=3, unique_by=lambda attempt: attempt.id),
)
@anything
def test_a_state_comes_back_as_it_was_but_for_what_has_ended(
    store: Store, fence: Fence, record: Repository, pulls: list[PullRequest], attempts: list[Attempt]
) -> None:
    live_autos = [attempt.target for attempt in attempts if attempt.is_live and attempt.kind is AttemptKind.AUTO]
    live_tries = [attempt for attempt in attempts if attempt.is_live and attempt.kind is AttemptKind.TRY]
    if len(set(live_autos)) < len(live_autos) or len(live_tries) > 1:
        attempts = []
    if any(not fits((number, None)) for attempt in attempts for number in attempt.numbers):
        attempts = []
    state = State(record, {pull.number: pull for pull in pulls}, {attempt.id: attempt for attempt in attempts})
    # leaves nothing alive for the next example
    ended = State(
        record,
        {pull.number: pull.model_copy(update={"standing": Standing.CLOSED}) for pull in pulls},
        {attempt.id: attempt.model_copy(update={"stage": Stage.DISCARDED}) for attempt in attempts},
    )

    async def store_it() -> None:
        await decide(store, fence, empty(), state)
        assert await store.load("demo") == state.settled()
        for pull in pulls:
            assert await store.pull_request("demo", pull.number) == pull
        for attempt in attempts:
            assert await store.attempt("demo", attempt.id) == attempt
            for number in attempt.numbers:
                assert attempt in await store.attempts_of("demo", number)
        await decide(store, fence, state, ended)

    asyncio.run(store_it())


@pytest.mark.anyio
async def test_moments_are_kept_to_the_microsecond(store: Store) -> None:
    await store.append("demo", hint(at=NOW.replace(microsecond=123457)), trace="t")
    assert await store.oldest_unprocessed_age(NOW.replace(microsecond=123459)) == pytest.approx(2e-6)
