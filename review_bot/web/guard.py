"""What holds for every request and answer: no body too large, no header missing."""

from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autogate import botapi, contract

from . import problems

_LOG = structlog.get_logger(__name__)

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Given to every answer that does not say otherwise."""


class Guard:
    """ASGI middleware that refuses bodies which are too large, answers faults of the bot, and adds security headers.

    The framework's own limit answers in plain text, and its own answer to a fault goes round all middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = botapi.MAX_BODY_BYTES if scope["path"].startswith(botapi.PREFIX) else contract.MAX_BODY_BYTES
        detail = f"a body here may have {limit} bytes at the most"
        seen = 0
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        async def receive_limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            return message

        length = Headers(scope=scope).get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > len(str(limit)) or int(length) > limit):
            refusal = problems.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, "send less")
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive_limited, send_guarded)
        except Exception:
            _LOG.exception("a request failed", method=scope["method"], path=scope["path"])
            if started:
                raise
            status, cure = HTTPStatus.INTERNAL_SERVER_ERROR, "look into its log, and report it"
            await problems.answer(status, "the bot has a fault", cure)(scope, receive, send_guarded)
