"""``POST /buildbot``: takes results from Buildbot, and answers when they are stored."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from secrets import token_hex

import structlog
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from autogate.contract import MAX_BODY_BYTES, SIGNATURE_HEADER
from autogate.judging import Refusal, Secrets, judge, too_large
from autogate.secretstore import SecretMissingError
from autogate.settings import Settings
from review_bot.desk import Desk, UnknownRepositoryError
from review_bot.domain.events import Event

from . import homu, reports

PATH = "/buildbot"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Told:
    """What is to be handed in: (repository, key, event) each, and what had to be left out."""

    events: Sequence[tuple[str, str, Event]]
    skipped: Sequence[str] = field(default=())


def router(
    desk: Desk, settings: Callable[[], Settings], secret: Callable[[str], str], now: Callable[[], datetime]
) -> APIRouter:
    """Return the route.

    Args:
        desk: Where events are handed in.
        settings: Returns the configuration as it is now.
        secret: Looks up a secret by its name; raises SecretMissingError.
        now: The clock.
    """
    routes = APIRouter()

    # no further methods: everything else is answered with 405
    @routes.post(PATH, include_in_schema=False)
    async def take(request: Request) -> Response:
        try:
            body = await read_body(request)
            # a signature over 4 MiB takes its time
            told = await asyncio.to_thread(_understand, request, body, settings(), secret, now())
            return _answer(await _hand_in(desk, told), told.skipped)
        except Refusal as refusal:
            _log.warning("report refused", status=refusal.status.value, reason=str(refusal))
            headers = {"WWW-Authenticate": SIGNATURE_HEADER} if refusal.status is HTTPStatus.UNAUTHORIZED else None
            return JSONResponse({"error": str(refusal)}, refusal.status, headers)

    return routes


async def read_body(request: Request) -> bytes:
    """Return a request's body.

    Raises:
        Refusal: it is larger than `MAX_BODY_BYTES`, of which no more was kept (413), or ended early (400).
    """
    length = request.headers.get("Content-Length", "")
    if (
        length.isascii()
        and length.isdigit()
        and (len(length) > len(str(MAX_BODY_BYTES)) or int(length) > MAX_BODY_BYTES)
    ):
        raise too_large()
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise too_large()
    except ClientDisconnect:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body ended after {len(body)} bytes") from None
    return bytes(body)


def known_secrets(settings: Settings, secret: Callable[[str], str]) -> Secrets:
    """Return what results are signed with.

    Args:
        settings: The configuration.
        secret: Looks up a secret by its name.

    Raises:
        Refusal: there is no bot in the configuration, or its secret cannot be read (503).
    """
    bot = settings.site.bot
    if bot is None:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "autogate.toml has no [bot]; add it")
    own = {}
    try:
        shared = secret(bot.secret)
    except SecretMissingError as error:
        _log.exception("no result can be judged")
        reason = "bot.secret cannot be read here; the bot's log says more"
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason) from error
    for repository in settings.repositories:
        if repository.report_secret:
            try:
                own[repository.name] = secret(repository.report_secret)
            except SecretMissingError:
                _log.exception("no result can be judged", repository=repository.name)
                # one that nobody knows: `shared` does not stand for it
                own[repository.name] = token_hex()
    return Secrets(shared, own)


def _understand(
    request: Request, body: bytes, settings: Settings, secret: Callable[[str], str], now: datetime
) -> _Told:
    secrets = known_secrets(settings, secret)
    match request.headers.get("Content-Type", "").partition(";")[0].strip().lower():
        case "application/json":
            report = judge(request.headers, body, now, secrets)
            event = reports.event(report, reports.repository_of(report, settings), now)
            return _Told([(report.repository, reports.key(report), event)] if event else [])
        case homu.CONTENT_TYPE:
            told, skipped = homu.read(homu.open_form(body, secrets), settings, secrets, now)
            return _Told([(one.repository, one.key, one.event) for one in told], skipped)
    reason = f"Content-Type must be application/json, or {homu.CONTENT_TYPE} for Homu's packets"
    raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)


async def _hand_in(desk: Desk, told: _Told) -> bool:
    """Store events; return whether one was new, or there was none.

    Raises:
        Refusal: one could not be stored; all are to be sent again.
    """
    new = not told.events
    for repository, key, event in told.events:
        try:
            new |= await desk.hand_in(repository, event, key=key, trace=key)
        except UnknownRepositoryError as error:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        except Exception as error:  # whatever it was: nothing is acknowledged that is not stored
            _log.exception("result not stored", repository=repository, key=key)
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "it could not be stored; send it again") from error
    return new


def _answer(new: bool, skipped: Sequence[str]) -> Response:  # noqa: FBT001
    for reason in skipped:
        _log.warning("packet skipped", reason=reason)
    answer: dict[str, object] = {"status": "accepted" if new else "repeated"}
    return JSONResponse(answer | ({"skipped": list(skipped)} if skipped else {}))
