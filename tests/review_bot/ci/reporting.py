"""Reports, settings and a desk that the tests of this folder share."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from autogate.contract import DELIVERY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Event, Report, Result, sign
from autogate.settings import Bot, Deploy, Repository, Settings, SiteFile, Worker
from review_bot.desk import UnknownRepositoryError
from review_bot.domain.events import Event as Happening

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHA = "0123456789abcdef0123456789abcdef01234567"
SHARED, TILLS = "shared by master and bot", "only the till's"
SECRETS = {"bot": SHARED, "till": TILLS}


def settings() -> Settings:
    """Return a site with a repository that shares the bot's secret, and one with its own."""
    return Settings(
        SiteFile(
            bot=Bot.model_validate({"url": "http://127.0.0.1:1/buildbot", "secret": "bot"}),
            workers=(Worker(name="w", secret="w"),),
        ),
        (
            Repository(name="shop", url="h:shop", deploy=Deploy(command=("./deploy",))),
            Repository(name="till", url="h:till", report_secret="till"),
        ),
    )


def a_report(**changes: Any) -> Report:
    """Return a report that shop-lint passed on a candidate."""
    report: dict[str, Any] = {
        "delivery": uuid.uuid4(),
        "event": Event.FINISHED,
        "repository": "shop",
        "builder": "shop-lint",
        "kind": "lint",
        "branch": "auto",
        "revision": SHA,
        "request": 7,
        "result": Result.SUCCESS,
        "summary": "no findings",
        "occurred_at": NOW,
    }
    return Report.model_validate(report | changes)


def signed(body: bytes, secret: str = SHARED, now: datetime = NOW, delivery: str | None = None) -> dict[str, str]:
    """Return the headers of a report."""
    timestamp = int(now.timestamp())
    return {
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: sign(secret, timestamp, body),
        DELIVERY_HEADER: json.loads(body)["delivery"] if delivery is None else delivery,
        "Content-Type": "application/json",
    }


@dataclass
class RecordingDesk:
    """Stores what is handed in, as the bot's own desk does in its database.

    Attributes:
        stored: (repository, key) -> event.
        traces: All traces.
        fault: Raised instead of storing, while it is set.
    """

    stored: dict[tuple[str, str | None], Happening] = field(default_factory=dict)
    traces: list[str] = field(default_factory=list)
    fault: Exception | None = None

    @property
    def events(self) -> Sequence[Happening]:
        return list(self.stored.values())

    async def hand_in(self, repository: str, event: Happening, *, key: str | None = None, trace: str) -> bool:
        if self.fault:
            raise self.fault
        if repository not in {"shop", "till"}:
            raise UnknownRepositoryError(repository)
        new = (repository, key) not in self.stored
        self.stored.setdefault((repository, key), event)
        self.traces.append(trace)
        return new
