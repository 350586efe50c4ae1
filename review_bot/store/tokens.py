"""Who may use the API."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from .database import Database
from .schema import TOKENS

_NOTED_EVERY = timedelta(minutes=1)
"""A token's use is written down no more often than this."""


class TokenExistsError(ValueError):
    """Somebody of that name has a token. The message names the cure."""


@dataclass(frozen=True)
class Token:
    """What is known of a token; the token itself is not kept.

    Attributes:
        name: Whose it is.
        created_at: When it was made.
        last_used_at: When it was used last, to the minute; None when it never was.
        revoked_at: When it was revoked; None while it is valid.
    """

    name: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class Tokens(Database):
    """Bearer tokens. Each method may raise `StoreError`.

    Kept is the SHA-256 of a token. A slow hash with a salt makes guessing dear, which matters for what people think up;
    a token is 256 random bits, which nobody guesses at any speed, and the same bits are never drawn twice.
    """

    async def add_token(self, name: str) -> str:
        """Make a token for somebody, and return it: it is not shown again.

        Raises:
            TokenExistsError: there is a valid one of that name.
        """
        token = secrets.token_urlsafe(32)
        row = {"name": name, "hash": _hash(token), "created_at": datetime.now(UTC)}
        statement = self.insert(TOKENS).values(row).on_conflict_do_nothing().returning(TOKENS.c.id)
        if await self.write(lambda connection: connection.execute(statement).scalar_one_or_none()) is None:
            raise TokenExistsError(f"{name} has a token already: revoke that one first")
        return token

    async def token_owner(self, token: str) -> str | None:
        """Return whose token this is; None when it is not valid, or was never one."""
        now = datetime.now(UTC)
        query = sa.select(TOKENS).where(TOKENS.c.hash == _hash(token), TOKENS.c.revoked_at.is_(None))
        row = await self.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return None
        if row.last_used_at is None or now - row.last_used_at >= _NOTED_EVERY:
            used = sa.update(TOKENS).where(TOKENS.c.id == row.id).values(last_used_at=now)
            await self.write(lambda connection: connection.execute(used), durable=False)
        name: str = row.name
        return name

    async def revoke_token(self, name: str) -> bool:
        """Make somebody's token invalid, at once; return whether there was a valid one."""
        valid = sa.and_(TOKENS.c.name == name, TOKENS.c.revoked_at.is_(None))
        statement = sa.update(TOKENS).where(valid).values(revoked_at=datetime.now(UTC))
        return await self.write(lambda connection: connection.execute(statement).rowcount) > 0

    async def tokens(self) -> list[Token]:
        """Return all tokens that ever were, by name and age."""
        query = sa.select(TOKENS).order_by(TOKENS.c.name, TOKENS.c.id)
        rows = await self.read(lambda connection: connection.execute(query).all())
        return [Token(row.name, row.created_at, row.last_used_at, row.revoked_at) for row in rows]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
