"""`/healthz` and `/metrics`."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

import structlog
from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from autogate import botapi
from review_bot.desk import Desk
from review_bot.domain.queue import order
from review_bot.metrics import Metrics
from review_bot.store.errors import StoreError
from review_bot.store.rows import Backlog
from review_bot.store.store import Store

from .auth import Auth, Given
from .problems import documented

STUCK_SECONDS = 300
"""A leader that has not come round for longer is stuck: one push or poke never takes so long."""

_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}, "description": "Prometheus' format."}}

_LOG = structlog.get_logger(__name__)


def router(desk: Desk, store: Store, metrics: Metrics, auth: Auth, clock: Callable[[], datetime]) -> APIRouter:
    """Return the two routes."""
    routes = APIRouter(tags=["operation"])

    @routes.get(
        "/healthz",
        response_model=botapi.Health,
        responses={503: {"model": botapi.Health, "description": "No database, or the leader is stuck."}},
        operation_id="health",
    )
    async def healthz(given: Given) -> Response:
        """Say whether the bot can work. Anybody may ask; the repositories are told to a caller with a token only."""
        try:
            behind = await store.oldest_unprocessed_age(clock())
            backlog = await store.backlog()
            owner = await auth.owner_if_any(given)
        except StoreError as error:
            _LOG.error("database unreachable", error=str(error))
            health = botapi.Health(status="no_database", role=_role(desk), database=False)
        else:
            stuck = desk.stuck_seconds() > STUCK_SECONDS
            health = botapi.Health(
                status="stuck" if stuck else "ok",
                role=_role(desk),
                database=True,
                behind_seconds=round(behind, 1),
                repositories=tuple([await _repository(desk, name, backlog) for name in desk.repositories if owner]),
            )
        status = HTTPStatus.OK if health.status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(health.model_dump_json(), status, media_type="application/json")

    @routes.get(
        "/metrics",
        dependencies=[Depends(auth.owner)],
        response_class=Response,
        responses=_TEXT | documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
        operation_id="metrics",
    )
    async def numbers() -> Response:
        """Give the bot's numbers to Prometheus; they name repositories, so that needs a token too."""
        queued: dict[tuple[str, str], int] = {}
        live: Counter[tuple[str, str]] = Counter()
        for name in desk.repositories:
            state = await desk.state(name)
            for target in state.repository.policy.targets:
                queued[name, target] = len(order(state, target))
            live.update({(name, kind): 0 for kind in ("auto", "try")})
            live.update((name, attempt.kind.value) for attempt in state.attempts.values() if attempt.is_live)
        metrics.show_work(queued, live)
        metrics.show_lease(held=desk.is_leader)
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes


def _role(desk: Desk) -> Literal["leader", "standby"]:
    return "leader" if desk.is_leader else "standby"


async def _repository(desk: Desk, name: str, backlog: Mapping[str, Backlog]) -> botapi.RepositoryHealth:
    waiting = backlog.get(name, Backlog())
    return botapi.RepositoryHealth(
        name=name,
        looked_at=desk.looked_at(name),
        events_waiting=waiting.unprocessed,
        effects_waiting=waiting.undone,
        failing=tuple(f"{trouble.what}: {trouble.error}" for trouble in await desk.troubles(name)),
    )
