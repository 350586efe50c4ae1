"""Whether a received report is believed, and what is answered when it is not: for every receiver, no I/O."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from .contract import (
    DELIVERY_HEADER,
    MAX_BODY_BYTES,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Report,
    SignatureError,
    signer,
)

KNOWN_VERSIONS = {1}

_SHOWN_CHARACTERS = 60


class Refusal(Exception):  # noqa: N818  (an answer, not an error)
    """A request that is not accepted.

    Args:
        status: The HTTP status to answer with.
        reason: What is wrong with it, for the sender's log.
    """

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Secrets:
    """What senders prove themselves with.

    Attributes:
        shared: Stands for every repository that has none of its own.
        own: Repository -> the only secret that stands for it.
    """

    shared: str = field(repr=False)
    own: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def known(self) -> tuple[str, ...]:
        """Every secret, once."""
        return tuple(dict.fromkeys((self.shared, *self.own.values())))

    def check(self, secret: str, repository: str) -> None:
        """Check that a secret that somebody knows stands for a repository.

        Raises:
            Refusal: it is another repository's.
        """
        if not hmac.compare_digest(secret.encode(), self.own.get(repository, self.shared).encode()):
            reason = (
                f"this secret does not stand for the repository {shown(repository)}: is its report_secret the same?"
            )
            raise Refusal(HTTPStatus.FORBIDDEN, reason)


class Headers(Protocol):
    """Headers by name."""

    def get(self, name: str, default: str, /) -> str:
        """Return a header."""
        ...


class _Versioned(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: int


def judge(headers: Headers, body: bytes, now: datetime, secrets: Secrets) -> Report:
    """Return the report in a request; nothing in it is parsed before its signature was found good.

    Args:
        headers: As received; looked up as `contract` spells them.
        body: As received.
        now: The receiver's clock.
        secrets: What master and bot share.

    Raises:
        Refusal: it is not to be believed (401, or 403 with another repository's secret), or no report (400).
    """
    timestamp, signature = headers.get(TIMESTAMP_HEADER, ""), headers.get(SIGNATURE_HEADER, "")
    try:
        secret = signer(secrets.known, timestamp, signature, body, now)
    except SignatureError as error:
        raise Refusal(HTTPStatus.UNAUTHORIZED, str(error)) from None
    try:
        version = _Versioned.model_validate_json(body).version
        if version not in KNOWN_VERSIONS:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"version {version} is not known here, only {KNOWN_VERSIONS}")
        report = Report.model_validate_json(body)
    except ValidationError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"no report: {faults(error)}") from None
    secrets.check(secret, report.repository)
    if headers.get(DELIVERY_HEADER, "").lower() != str(report.delivery):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{DELIVERY_HEADER} is missing, or not the report's own delivery")
    return report


def too_large() -> Refusal:
    """Return the answer to a body above the limit."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")


def shown(name: str) -> str:
    """Return a name that somebody sent, in quotes and at a length that fits into a line."""
    return repr(name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…")


def faults(error: ValidationError) -> str:
    """Return what is wrong with what was sent, without repeating it."""
    found = [
        ": ".join(part for part in (".".join(map(str, detail["loc"])), detail["msg"]) if part)
        for detail in error.errors(include_url=False, include_input=False)
    ]
    return "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")  # noqa: PLR2004
