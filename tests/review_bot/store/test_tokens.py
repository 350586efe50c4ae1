"""API tokens."""

import pytest

from review_bot.store.store import Store
from review_bot.store.tokens import TokenExistsError
from tests.review_bot.store.values import Address

pytestmark = pytest.mark.anyio


async def test_a_token_is_known_until_it_is_revoked(store: Store) -> None:
    token = await store.add_token("ann")
    assert await store.token_owner(token) == "ann"
    assert await store.revoke_token("ann")
    assert await store.token_owner(token) is None
    assert not await store.revoke_token("ann")
    (kept,) = await store.tokens()
    assert kept.name == "ann"
    assert kept.revoked_at is not None
    assert kept.last_used_at is not None


@pytest.mark.parametrize("wrong", ["", "x", "\0", "\ud800", "ann", "' OR 1=1 --"])
async def test_anything_else_is_no_token(store: Store, wrong: str) -> None:
    await store.add_token("ann")
    assert await store.token_owner(wrong) is None


async def test_a_name_has_one_token_at_a_time(store: Store) -> None:
    first = await store.add_token("ann")
    with pytest.raises(TokenExistsError, match="revoke that one first"):
        await store.add_token("ann")
    assert await store.token_owner(first) == "ann"
    await store.revoke_token("ann")
    second = await store.add_token("ann")
    assert second != first
    assert await store.token_owner(second) == "ann"
    assert await store.token_owner(first) is None
    assert [(token.name, token.revoked_at is None) for token in await store.tokens()] == [("ann", False), ("ann", True)]


async def test_the_token_itself_is_nowhere_in_the_database(store: Store, address: Address) -> None:
    token = await store.add_token("ann")
    engine = address.engine()
    with engine.connect() as connection:
        (row,) = connection.exec_driver_sql("SELECT * FROM tokens").all()
    engine.dispose()
    assert token not in str(row)


async def test_a_use_is_noted_once_a_minute_at_most(store: Store) -> None:
    token = await store.add_token("ann")
    await store.token_owner(token)
    (before,) = await store.tokens()
    await store.token_owner(token)
    (later,) = await store.tokens()
    assert before.last_used_at is not None
    assert later == before
