"""What Buildbot recorded about a build request, as plain values that rendering needs no Buildbot for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from autogate.contract import Event, FailedTest, Finding, Result


@dataclass(frozen=True)
class Step:
    """A step of a build."""

    name: str
    state: str
    result: Result | None


@dataclass(frozen=True)
class BuildRecord:
    """A build of the request.

    Attributes:
        id: Its ``buildid``.
        number: Its number within its builder.
        url: Its page.
        worker: The worker's name, or nothing.
        started_at: When it began.
        finished_at: When it ended.
        result: Its result, once it ended.
        state: Its state string.
        properties: Name -> value.
        steps: Its steps in order; read for the last build of a complete request only, like all below.
        findings: The first lint messages.
        findings_total: How many there were.
        failed_tests: The first failing tests.
        failed_tests_total: How many there were.
    """

    id: int
    number: int
    url: str
    worker: str
    started_at: datetime
    finished_at: datetime | None = None
    result: Result | None = None
    state: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    findings_total: int = 0
    failed_tests: tuple[FailedTest, ...] = ()
    failed_tests_total: int = 0


@dataclass(frozen=True)
class RequestRecord:
    """A build request.

    Attributes:
        id: Its ``buildrequestid``.
        builder_id: Its ``builderid``.
        branch: The branch that it is for.
        revision: The commit that was asked for, when one was.
        builds: Its builds, oldest first.
        finished_at: When it was completed, once it is.
        result: Its final result, once it is complete.
    """

    id: int
    builder_id: int
    branch: str
    revision: str | None
    builds: tuple[BuildRecord, ...] = ()
    finished_at: datetime | None = None
    result: Result | None = None


@dataclass(frozen=True)
class Subject:
    """What is reported on, as the configuration calls it.

    Attributes:
        master: What tells this master's numbers from another's.
        repository: The repository's name.
        builder: The builder's name.
        kind: What the builder does.
    """

    master: str
    repository: str
    builder: str
    kind: str


class Happening(NamedTuple):
    """Something that is reported once.

    Attributes:
        event: What happened.
        number: The ``buildid`` of ``started`` and ``retrying``, the ``buildrequestid`` of ``finished``.
        at: When.
    """

    event: Event
    number: int
    at: datetime
