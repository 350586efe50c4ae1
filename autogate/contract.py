"""The result report on the wire: what the Buildbot master posts and the review bot believes.

``docs/reporting.md`` is this module in prose. Nothing here knows Buildbot or a web framework; both sides import it.
"""

import hashlib
import hmac
import json
import uuid
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

TIMESTAMP_HEADER = "Autogate-Timestamp"
DELIVERY_HEADER = "Autogate-Delivery"
SIGNATURE_HEADER = "Autogate-Signature"
SIGNATURE_SCHEME = "sha256="

MAX_AGE_SECONDS = 300
"""A receiver refuses a report whose timestamp is further than this from its own clock."""

MAX_BODY_BYTES = 4 * 1024 * 1024
"""A sender keeps a report below this size; a receiver may refuse anything larger with 413."""

MAX_FINDINGS = 1000
MAX_FAILED_TESTS = 200
MAX_EXCERPT_CHARACTERS = 4000
MAX_SUMMARY_CHARACTERS = 500

CAUSE_PROPERTY = "autogate_cause"
"""The build property in which a step says who is to blame."""

FINDINGS_CATEGORY = "code_issue"
FAILED_TESTS_CATEGORY = "test_fail"
VALUE_UNIT = "json"
"""Category and unit of the Buildbot test-result sets that carry `Finding` and `FailedTest` values."""

Sha = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]


class Result(StrEnum):
    """Buildbot's seven results, by name."""

    SUCCESS = "success"
    WARNINGS = "warnings"
    FAILURE = "failure"
    SKIPPED = "skipped"
    EXCEPTION = "exception"
    RETRY = "retry"
    CANCELLED = "cancelled"


RESULTS = tuple(Result)
"""Buildbot's results by their number."""


class Event(StrEnum):
    """What a report tells: a build began, a build was lost and its request waits again, or the request is complete."""

    STARTED = "started"
    RETRYING = "retrying"
    FINISHED = "finished"


class Cause(StrEnum):
    """Who is to blame for a finished request that did not pass."""

    CHANGE = "change"
    """The change itself: lint findings, failing tests, a requirement that cannot be installed."""
    INFRASTRUCTURE = "infrastructure"
    """Lost workers, an unreachable repository, an exception in a step: never held against the change."""
    SUPERSEDED = "superseded"
    """The candidate was replaced before it could be checked out, or its request was cancelled."""


_CAUSES = {
    Result.FAILURE: Cause.CHANGE,
    Result.EXCEPTION: Cause.INFRASTRUCTURE,
    Result.RETRY: Cause.INFRASTRUCTURE,
    Result.SKIPPED: Cause.SUPERSEDED,
    Result.CANCELLED: Cause.SUPERSEDED,
}


class Severity(StrEnum):
    """A finding's weight, in pylint's words (``fatal`` is pylint's own failure on a file)."""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    REFACTOR = "refactor"
    CONVENTION = "convention"
    INFO = "info"


class WireModel(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(WireModel):
    """One lint message.

    Attributes:
        path: File, relative to the repository's root, with forward slashes.
        line: Line number, from 1; 0 when the message concerns the whole file.
        column: Column, from 0, in characters.
        symbol: The message's name, such as ``unused-import``.
        severity: Its weight.
        text: What the linter says.
    """

    path: str
    line: int = Field(ge=0)
    column: int = Field(default=0, ge=0)
    symbol: str
    severity: Severity
    text: str

    def to_test_result(self) -> dict[str, Any]:
        """Return the keyword arguments of Buildbot's ``addTestResult`` that `from_test_result` reads back."""
        value = {"column": self.column, "severity": self.severity.value, "text": self.text}
        return {
            "value": json.dumps(value, ensure_ascii=False),
            "test_name": self.symbol,
            "test_code_path": self.path,
            "line": self.line,
        }

    @classmethod
    def from_test_result(cls, row: dict[str, Any]) -> Self:
        """Build a finding from a row of Buildbot's ``test_results`` data API.

        Raises:
            ValueError: the row was not written by `to_test_result`.
        """
        fields = {"path": row["test_code_path"], "line": row["line"] or 0, "symbol": row["test_name"]}
        return cls.model_validate(_json_object(row["value"]) | fields)


class FailedTest(WireModel):
    """One failing test.

    Attributes:
        name: The test's full dotted or slashed name, as its runner prints it.
        path: File, relative to the repository's root; empty when the runner does not say.
        line: Line number, from 1; 0 when unknown.
        excerpt: The end of what the runner said about it, at most `MAX_EXCERPT_CHARACTERS` characters.
    """

    name: str
    path: str = ""
    line: int = Field(default=0, ge=0)
    excerpt: str = Field(default="", max_length=MAX_EXCERPT_CHARACTERS)

    def to_test_result(self) -> dict[str, Any]:
        """Return the keyword arguments of Buildbot's ``addTestResult`` that `from_test_result` reads back."""
        return {
            "value": json.dumps({"excerpt": self.excerpt}, ensure_ascii=False),
            "test_name": self.name,
            "test_code_path": self.path,
            "line": self.line,
        }

    @classmethod
    def from_test_result(cls, row: dict[str, Any]) -> Self:
        """Build a failed test from a row of Buildbot's ``test_results`` data API.

        Raises:
            ValueError: the row was not written by `to_test_result`.
        """
        fields = {"name": row["test_name"], "path": row["test_code_path"] or "", "line": row["line"] or 0}
        return cls.model_validate(_json_object(row["value"]) | fields)


class Build(WireModel):
    """One Buildbot build of the request.

    Attributes:
        id: Buildbot's ``buildid``, unique in the master.
        number: The build's number within its builder.
        url: The build's page.
        worker: The worker's name; empty when none was assigned.
        started_at: When it began.
        finished_at: When it ended; None while it runs.
        result: Its own result; None while it runs.
    """

    id: int
    number: int
    url: str
    worker: str
    started_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    result: Result | None = None


class Report(WireModel):
    """What happened to one build request of one candidate.

    Attributes:
        version: Of this contract. A receiver refuses a version it does not know with 400.
        delivery: Unique for the event, the same in every repeat of it.
        event: What happened.
        repository: The repository's name, as its configuration file is called.
        builder: The builder's name.
        kind: What the builder does.
        branch: The branch that was built (``auto``, ``try``, or a target).
        revision: The commit that was built.
        request: Buildbot's ``buildrequestid``.
        builds: Every build of the request so far, oldest first; empty when it was skipped or cancelled unbuilt.
        result: The request's final result for ``finished``, ``retry`` for ``retrying``, None for ``started``.
        cause: Why it did not pass; None when it passed or has not finished.
        summary: One line for people.
        occurred_at: When it happened, by the master's clock.
        findings: Lint messages, at most `MAX_FINDINGS`.
        findings_total: How many there were.
        failed_tests: Failing tests, at most `MAX_FAILED_TESTS`.
        failed_tests_total: How many there were.
    """

    version: Literal[1] = 1
    delivery: uuid.UUID
    event: Event
    repository: str
    builder: str
    kind: Literal["lint", "test", "deploy"]
    branch: str
    revision: Sha
    request: int
    builds: tuple[Build, ...] = ()
    result: Result | None = None
    cause: Cause | None = None
    summary: str = ""
    occurred_at: AwareDatetime
    findings: tuple[Finding, ...] = Field(default=(), max_length=MAX_FINDINGS)
    findings_total: int = Field(default=0, ge=0)
    failed_tests: tuple[FailedTest, ...] = Field(default=(), max_length=MAX_FAILED_TESTS)
    failed_tests_total: int = Field(default=0, ge=0)

    def to_body(self) -> bytes:
        """Return the JSON text that is signed and posted, in UTF-8."""
        return self.model_dump_json().encode()


class SignatureError(ValueError):
    """The report was not signed by somebody who knows the secret, or is too old. The message says which."""


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of `SIGNATURE_HEADER`.

    Args:
        secret: The secret that master and bot share.
        timestamp: Seconds since the epoch, the value of `TIMESTAMP_HEADER`.
        body: The raw body.
    """
    return SIGNATURE_SCHEME + hmac.new(secret.encode(), b"%d.%s" % (timestamp, body), hashlib.sha256).hexdigest()


def verify(secret: str, timestamp: str, signature: str, body: bytes, now: datetime) -> None:
    """Check a received report before anything in it is parsed; as `signer`, with one secret.

    Raises:
        SignatureError: forged, signed with another secret, or further than `MAX_AGE_SECONDS` from ``now``.
    """
    signer((secret,), timestamp, signature, body, now)


def signer(secrets: Iterable[str], timestamp: str, signature: str, body: bytes, now: datetime) -> str:
    """Return which secret a received report was signed with, before anything in it is parsed.

    Args:
        secrets: Those that it may be signed with.
        timestamp: The value of `TIMESTAMP_HEADER`, as received.
        signature: The value of `SIGNATURE_HEADER`, as received.
        body: The raw body, as received.
        now: The receiver's clock.

    Raises:
        SignatureError: forged, signed with another secret, or further than `MAX_AGE_SECONDS` from ``now``.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):  # noqa: PLR2004
        raise SignatureError(f"{TIMESTAMP_HEADER} is missing or not a number of seconds")
    given = signature.encode("utf-8", "replace")
    for secret in secrets:
        if hmac.compare_digest(sign(secret, int(timestamp), body).encode(), given):
            break
    else:
        raise SignatureError(f"{SIGNATURE_HEADER} does not match: do both sides have the same secret?")
    age = abs(now.timestamp() - int(timestamp))
    if age > MAX_AGE_SECONDS:
        raise SignatureError(f"{TIMESTAMP_HEADER} is {age:.0f} s off: is one of the two clocks wrong?")
    return secret


def delivery_id(master: str, event: Event, number: int) -> uuid.UUID:
    """Return the id that every repeat of one event carries.

    Args:
        master: What tells this master's numbers from another's, such as its URL.
        event: The event.
        number: The ``buildid`` for ``started`` and ``retrying``, the ``buildrequestid`` for ``finished``.
    """
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{master}#{event}/{number}")


def cause(result: Result, said: object) -> Cause | None:
    """Return who is to blame for a complete request, or None when it passed.

    Args:
        result: Its result.
        said: The value of `CAUSE_PROPERTY` in its last build, if it has one.
    """
    if result not in _CAUSES:
        return None
    # a change is blamed for failures only: what a step said before the build broke otherwise no longer counts
    if isinstance(said, str) and said in list(Cause) and (said != Cause.CHANGE or result is Result.FAILURE):
        return Cause(said)
    return _CAUSES[result]


def summary(result: Result, last: tuple[int, Result | None, str] | None) -> str:
    """Return one line for people about a complete request.

    Args:
        result: Its result.
        last: Number, result and state string of its last build; None when it ended without one.
    """
    if last is None:
        return f"{result} before a build began"
    number, built, state = last
    return one_line(state if built is result else f"{result} after build {number} ({state})")


def one_line(text: str) -> str:
    """Return text as a summary: on one line of at most `MAX_SUMMARY_CHARACTERS` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SUMMARY_CHARACTERS else line[: MAX_SUMMARY_CHARACTERS - 1] + "…"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `Report`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema()}


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object: {text[:80]}")  # noqa: TRY004
    return value
