"""Errors as `application/problem+json` (RFC 9457), each with its cure."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from autogate.botapi import PREFIX, Problem

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """A request that cannot be served.

    Args:
        status: The HTTP status.
        detail: What is wrong.
        cure: What to do about it.
        near: Names that exist.
    """

    def __init__(self, status: HTTPStatus, detail: str, cure: str = "", near: Iterable[str] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.cure = cure
        self.near = tuple(near)


def answer(
    status: HTTPStatus, detail: str, cure: str = "", near: Iterable[str] = (), headers: dict[str, str] | None = None
) -> Response:
    """Return the answer that tells of an error."""
    problem = Problem(title=status.phrase, status=status, detail=detail, cure=cure, near=tuple(near))
    headers = dict(headers or {})
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="autogate"'
    return Response(problem.model_dump_json(), status, headers, MEDIA_TYPE)


async def of_problem(_request: Request, error: Exception) -> Response:
    """Answer a `ProblemError`."""
    assert isinstance(error, ProblemError)  # noqa: S101  (how it is registered)
    return answer(error.status, str(error), error.cure, error.near)


async def of_validation(_request: Request, error: Exception) -> Response:
    """Answer a request of the wrong form; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  (how it is registered)
    faults = "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()[:5]
    )
    cure = f"see {PREFIX}/openapi.json for what is expected"
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, faults, cure)


async def of_http(_request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: an unknown path, a wrong method, an unreadable body."""
    assert isinstance(error, HTTPException)  # noqa: S101  (how it is registered)
    status = HTTPStatus(error.status_code)
    cures = {
        HTTPStatus.NOT_FOUND: f"see {PREFIX}/openapi.json for the paths",
        HTTPStatus.METHOD_NOT_ALLOWED: f"see {PREFIX}/openapi.json for the methods",
        HTTPStatus.BAD_REQUEST: "send JSON",
    }
    return answer(status, error.detail or status.description, cures.get(status, ""), headers=dict(error.headers or {}))


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of these errors."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        int(status): {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }
