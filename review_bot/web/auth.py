"""Who may come in: the owner of a token."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from review_bot.store.store import Store

from .problems import ProblemError

_BEARER = HTTPBearer(
    auto_error=False, scheme_name="token", description="Made with `autogate-bot token add NAME`; NAME is who speaks."
)
Given = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
"""What a request carries in its header."""

_LONGEST_TOKEN = 200


class Auth:
    """Looks tokens up by their hash, so that how long it takes tells nothing about them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def owner(self, given: Given) -> str:
        """Return the name of the token that the request carries.

        Raises:
            ProblemError: it carries none that is valid.
        """
        name = await self.owner_if_any(given)
        if name is None:
            fault = "the token is unknown or was revoked" if given else "there is no token"
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                fault,
                "make one with `autogate-bot token add NAME`, and send it as `Authorization: Bearer TOKEN`",
            )
        return name

    async def owner_if_any(self, given: Given) -> str | None:
        """Return the name of the token that the request carries; None without a valid one."""
        if given is None or not given.credentials or len(given.credentials) > _LONGEST_TOKEN:
            return None
        return await self._store.token_owner(given.credentials)
