"""Buildbot's web server, spoken to as a user of it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict

API = "api/v2/"

PATIENCE_SECONDS = (5.0, 20.0, 60.0)
"""What is only read is asked for again after such a silence.

Buildbot 4.3 writes what it was asked for from a second thread, which Twisted does not allow: of some thousand answers
one is stuck for a minute, and compressed ones come out broken.
"""

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class BuildbotError(Exception):
    """Buildbot cannot be asked, or refuses. The message names the cure, and never a password."""


class Row(BaseModel):
    """What is read of one thing in a collection of the REST API.

    Attributes:
        plural: What the API calls the collection.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    plural: ClassVar[str]


R = TypeVar("R", bound=Row)


class Rest:
    """Buildbot's web server.

    Args:
        url: Its address.
        user: Whom to sign in as; None to ask as nobody in particular.
        password: That user's.
        client: Makes the requests, and keeps the session's cookie.
    """

    def __init__(self, url: str, user: str | None, password: str | None, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/") + "/"
        self._user = user
        self._password = password or ""
        self._client = client
        self._signed_in = False

    async def get(self, path: str, row: type[R], query: Mapping[str, Any] | None = None) -> list[R]:
        """Return a collection, of which only the fields of ``row`` are transferred.

        Args:
            path: Below ``api/v2/``.
            row: What to read of each thing.
            query: Filters; lists need an operator, as in ``id__in``.

        Raises:
            BuildbotError: it cannot be read.
        """
        answer = await self._as_user("GET", path, {"params": {**(query or {}), "field": list(row.model_fields)}})
        if answer.status_code == HTTPStatus.FORBIDDEN:
            raise BuildbotError(
                f"Buildbot shows nothing to {self._user!r}: is that user still in [web.users] there?"
                if self._user
                else "Buildbot shows nothing to those who have not signed in: name a user of [web.users] in bot.user"
            )
        if answer.status_code != HTTPStatus.OK:
            raise self.unexpected(answer)
        try:
            return [row.model_validate(found) for found in answer.json()[row.plural]]
        except (ValueError, LookupError, TypeError):
            raise self.unexpected(answer) from None

    async def control(self, path: str, method: str, params: Mapping[str, str]) -> None:
        """Call a control method, which takes effect later.

        Raises:
            BuildbotError: it cannot be called, or not by this user.
        """
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self._as_user("POST", path, {"json": call})
        if answer.status_code == HTTPStatus.FORBIDDEN:
            who = repr(self._user) if self._user else "somebody who has not signed in"
            raise BuildbotError(f"Buildbot lets {who} {method} nothing: name a user in bot.user that is in web.admins")
        if answer.status_code != HTTPStatus.OK:
            raise self.unexpected(answer)

    async def send(self, method: str, path: str, content: Mapping[str, Any]) -> httpx.Response:
        """Send a request as it is.

        Args:
            method: The HTTP method.
            path: Below the address.
            content: Further arguments for httpx.

        Raises:
            BuildbotError: there is no answer.
        """
        address = self._url + path
        fault: httpx.HTTPError | None = None
        for patience in PATIENCE_SECONDS if method == "GET" else PATIENCE_SECONDS[-1:]:
            try:
                return await self._client.request(
                    method, address, headers=_HEADERS, timeout=patience, follow_redirects=False, **content
                )
            except (httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
                fault = error
            except httpx.HTTPError as error:
                fault = error
                break
        cure = "does it run, and is bot.master its address?"
        raise BuildbotError(f"Buildbot does not answer at {self._url} ({type(fault).__name__}): {cure}")

    def unexpected(self, answer: httpx.Response) -> BuildbotError:
        """Return the error for an answer that Buildbot 4 does not give."""
        what = f"{answer.status_code} to {answer.request.method} {answer.request.url.path}"
        cure = "is bot.master its address, and what does its log say?"
        return BuildbotError(f"Buildbot at {self._url} answered in a way that is not understood ({what}): {cure}")

    async def _as_user(self, method: str, path: str, content: Mapping[str, Any]) -> httpx.Response:
        if self._user is None:
            return await self.send(method, API + path, content)
        if not self._signed_in:
            await self._sign_in(self._user)
        answer = await self.send(method, API + path, content)
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            # sessions end after a week, and with the master's database
            await self._sign_in(self._user)
            answer = await self.send(method, API + path, content)
        return answer

    async def _sign_in(self, user: str) -> None:
        answer = await self.send("GET", "auth/login", {"auth": httpx.BasicAuth(user, self._password)})
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise BuildbotError(
                f"Buildbot does not let {user!r} sign in: is that user in [web.users] there, with the same password, "
                f"and was the master reconfigured since?"
            )
        if answer.status_code != HTTPStatus.FOUND:
            raise self.unexpected(answer)
        self._signed_in = True
