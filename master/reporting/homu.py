"""Homu's own packets, so that an unmodified Homu works with Buildbot 4: no database, no clock.

Homu reads a form with ``packets``, a JSON list, and ``secret``. It was written for Buildbot 0.8.
"""

import json
from typing import Any
from urllib.parse import urlencode

from autogate.contract import RESULTS, Event, Result, delivery_id

from .records import Happening, RequestRecord, Subject
from .render import at_the_time, revision

CONTENT_TYPE = "application/x-www-form-urlencoded"


def packets(
    request: RequestRecord, happening: Happening, subject: Subject, *, warnings_pass: bool = True
) -> list[dict[str, Any]]:
    """Return the packets that tell Homu what happened.

    A retry is told as a finished build with the text ``retry``, which Homu ignores. A cancelled request is never built
    again by Buildbot, and so is an exception. A request that ended without a build is told as started too, since only
    that frees Homu's one slot.

    Args:
        request: The request as it is now.
        happening: What is told.
        subject: What the configuration says about the builder.
        warnings_pass: Whether Homu takes WARNINGS for a success; else for a failure.

    Raises:
        RevisionUnknownError: the commit is not known.
    """
    then = at_the_time(request, happening)
    common = {
        "builderName": subject.builder,
        "properties": [
            ["revision", revision(then), "Build"],
            # Homu answers 500 to a packet without a number
            ["buildnumber", then.builds[-1].number if then.builds else 0, "Build"],
        ],
    }
    started = {**common, "text": [], "steps": []}
    if happening.event is Event.STARTED:
        return [_packet("buildStarted", started, happening, subject)]
    result = then.result if happening.event is Event.FINISHED else Result.RETRY
    assert result is not None  # noqa: S101  (what finished has a result)
    steps = then.builds[-1].steps if then.builds else ()
    finished = {
        **common,
        "text": text(result, [step.name for step in steps if step.result is Result.FAILURE], warnings_pass),
        "results": RESULTS.index(result),
        "steps": [{"name": step.name, "text": [step.state]} for step in steps],
    }
    told = [_packet("buildFinished", finished, happening, subject)]
    return told if then.builds else [_packet("buildStarted", started, happening, subject), *told]


def text(result: Result, failed_steps: list[str], warnings_pass: bool) -> list[str]:  # noqa: FBT001
    """Return the ``text`` of a finished build, which is what Homu decides by."""
    match result:
        case Result.SUCCESS:
            return ["build", "successful"]
        case Result.WARNINGS:
            return ["build", "successful"] if warnings_pass else ["warnings"]
        case Result.FAILURE:
            return ["failed", *failed_steps[:1]]
        case Result.SKIPPED:
            return ["failed", "skipped"]
        case Result.RETRY:
            return ["retry"]
        case Result.EXCEPTION | Result.CANCELLED:
            return ["exception"]


def form(packets_json: bytes, secret: str) -> bytes:
    """Return the form that is posted."""
    return urlencode({"packets": packets_json.decode(), "secret": secret}).encode()


def to_json(told: list[dict[str, Any]]) -> bytes:
    """Return the packets as they are kept until they are posted."""
    return json.dumps(told, ensure_ascii=False).encode()


def _packet(event: str, build: dict[str, Any], happening: Happening, subject: Subject) -> dict[str, Any]:
    at = happening.at.isoformat()
    return {
        "id": str(delivery_id(subject.master, happening.event, happening.number)),
        "timestamp": at,
        "project": subject.repository,
        "started": at,
        "event": event,
        "payload": {"build": build},
    }
