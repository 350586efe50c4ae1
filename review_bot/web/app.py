"""Puts the bot's web side together."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from autogate import botapi
from review_bot.desk import Desk
from review_bot.metrics import Metrics
from review_bot.store.errors import StoreError
from review_bot.store.store import Store

from . import health, problems
from .api import Api
from .auth import Auth
from .guard import Guard

_LOG = structlog.get_logger(__name__)


def make_app(
    desk: Desk,
    store: Store,
    metrics: Metrics,
    *,
    routers: Sequence[APIRouter] = (),
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FastAPI:
    """Return the ASGI application.

    Args:
        desk: The bot.
        store: Its database.
        metrics: Its numbers.
        routers: Further routes, such as the one that takes Buildbot's results.
        clock: Gives the time that events get.
    """
    auth = Auth(store)
    app = FastAPI(
        title="Autogate's review bot",
        summary="The queue, the pull requests, and what may be asked of them.",
        version=version("autogate"),
        openapi_url=f"{botapi.PREFIX}/openapi.json",
        docs_url=None,  # it loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        exception_handlers={
            problems.ProblemError: problems.of_problem,
            RequestValidationError: problems.of_validation,
            HTTPException: problems.of_http,
            StoreError: _of_store,
        },
    )
    app.add_middleware(Guard)
    app.openapi = partial(_openapi, app)  # type: ignore[method-assign]  # how FastAPI wants it extended
    app.include_router(Api(desk, store, auth, clock).router)
    app.include_router(health.router(desk, store, metrics, auth, clock))
    for router in routers:
        app.include_router(router)
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with what the errors refer to."""
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        schema["components"]["schemas"]["Problem"] = botapi.Problem.model_json_schema()
    return FastAPI.openapi(app)


async def _of_store(_request: Request, error: Exception) -> Response:
    _LOG.error("database unreachable", error=str(error))
    return problems.answer(
        HTTPStatus.SERVICE_UNAVAILABLE, "the bot's database cannot be used", "try again; the bot's log says more"
    )
