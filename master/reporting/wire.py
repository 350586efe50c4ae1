"""What is posted, in each of the two protocols: what is kept in the outbox, and what is fresh in each try."""

from typing import Literal, NamedTuple

from autogate.contract import DELIVERY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

from . import homu, render
from .records import Happening, RequestRecord, Subject

Protocol = Literal["autogate", "homu"]
PROTOCOLS: tuple[Protocol, ...] = ("autogate", "homu")

USER_AGENT = "Autogate"


class Envelope(NamedTuple):
    """An HTTP request's headers and body."""

    headers: dict[str, str]
    body: bytes


def content(
    protocol: Protocol, request: RequestRecord, happening: Happening, subject: Subject, *, warnings_pass: bool
) -> bytes:
    """Return what is kept until it is delivered, which holds no secret.

    Raises:
        RevisionUnknownError: the commit is not known.
    """
    if protocol == "homu":
        return homu.to_json(homu.packets(request, happening, subject, warnings_pass=warnings_pass))
    return render.report(request, happening, subject).to_body()


def envelope(protocol: Protocol, body: bytes, delivery: str, secret: str, timestamp: int) -> Envelope:
    """Return what is posted in one try.

    Args:
        protocol: What the body is written in.
        body: What `content` returned.
        delivery: The delivery's id.
        secret: The secret that the receiver knows too.
        timestamp: Seconds since the epoch.
    """
    common = {"User-Agent": USER_AGENT, DELIVERY_HEADER: delivery}
    if protocol == "homu":
        return Envelope(common | {"Content-Type": homu.CONTENT_TYPE}, homu.form(body, secret))
    return Envelope(
        common
        | {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: sign(secret, timestamp, body),
        },
        body,
    )
