"""From Buildbot's records to the report on the wire: no database, no clock."""

import re
from dataclasses import replace
from typing import Any

from autogate.contract import (
    CAUSE_PROPERTY,
    MAX_BODY_BYTES,
    MAX_FAILED_TESTS,
    MAX_FINDINGS,
    Build,
    Cause,
    Event,
    Finding,
    Report,
    Result,
    delivery_id,
    one_line,
)
from autogate.contract import cause as cause_of
from autogate.contract import summary as summary_of

from .records import BuildRecord, Happening, RequestRecord, Subject

MAX_TEXT_CHARACTERS = 4000
"""Longer texts of single findings are cut."""

REVISION_PROPERTY = "got_revision"

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class RevisionUnknownError(Exception):
    """Neither the request nor a build of it names the commit, so that a report would be about nothing."""


def happenings(request: RequestRecord) -> list[Happening]:
    """Return everything about a request that is to be reported, in the order in which it happened."""
    found = []
    for build in request.builds:
        found.append(Happening(Event.STARTED, build.id, build.started_at))
        if build.result is Result.RETRY and build.finished_at:
            found.append(Happening(Event.RETRYING, build.id, build.finished_at))
    if request.result and request.finished_at:
        found.append(Happening(Event.FINISHED, request.id, request.finished_at))
    return found


def at_the_time(request: RequestRecord, happening: Happening) -> RequestRecord:
    """Return the request as it was when something happened, so that a late rendering equals an early one."""
    if happening.event is Event.FINISHED:
        return request
    builds = tuple(build for build in request.builds if build.id <= happening.number)
    if happening.event is Event.STARTED:
        builds = (*builds[:-1], replace(builds[-1], finished_at=None, result=None))
    return replace(request, builds=builds, finished_at=None, result=None)


def revision(request: RequestRecord) -> str:
    """Return the full SHA of the commit that was built.

    Raises:
        RevisionUnknownError: nobody said.
    """
    built = (build.properties.get(REVISION_PROPERTY) for build in reversed(request.builds))
    for candidate in (request.revision, *built):
        # with several codebases the property is a table of them
        for sha in candidate.values() if isinstance(candidate, dict) else [candidate]:
            if isinstance(sha, str) and _SHA.fullmatch(sha):
                return sha
    raise RevisionUnknownError


def report(request: RequestRecord, happening: Happening, subject: Subject) -> Report:
    """Return the report.

    Args:
        request: The request as it is now.
        happening: What is reported.
        subject: What the configuration says about the builder.

    Raises:
        RevisionUnknownError: the commit is not known.
    """
    then = at_the_time(request, happening)
    fields: dict[str, Any] = {}
    match happening.event:
        case Event.STARTED:
            fields["summary"] = f"build {then.builds[-1].number} started"
        case Event.RETRYING:
            fields |= {"result": Result.RETRY, "summary": one_line(then.builds[-1].state)}
        case Event.FINISHED:
            fields |= {"result": then.result, "cause": cause(then), "summary": summary(then)}
            if then.builds:
                last = then.builds[-1]
                fields |= {
                    "findings": tuple(_short_text(finding) for finding in last.findings[:MAX_FINDINGS]),
                    "findings_total": last.findings_total,
                    "failed_tests": last.failed_tests[:MAX_FAILED_TESTS],
                    "failed_tests_total": last.failed_tests_total,
                }
    return fit(
        Report(
            delivery=delivery_id(subject.master, happening.event, happening.number),
            event=happening.event,
            repository=subject.repository,
            builder=subject.builder,
            kind=subject.kind,
            branch=request.branch,
            revision=revision(then),
            request=request.id,
            builds=tuple(_build(build) for build in then.builds),
            occurred_at=happening.at,
            **fields,
        )
    )


def cause(request: RequestRecord) -> Cause | None:
    """Return who is to blame for a complete request, or None when it passed."""
    said = request.builds[-1].properties.get(CAUSE_PROPERTY) if request.builds else None
    return cause_of(_result(request), said)


def summary(request: RequestRecord) -> str:
    """Return one line for people about a complete request."""
    last = request.builds[-1] if request.builds else None
    return summary_of(_result(request), (last.number, last.result, last.state) if last else None)


def fit(report: Report, limit: int = MAX_BODY_BYTES) -> Report:
    """Return the report with fewer excerpts, failing tests and findings, in this order, until its body is small enough.

    The totals go on saying how many there were.
    """
    while len(report.to_body()) >= limit:
        if any(test.excerpt for test in report.failed_tests):
            longest = max(len(test.excerpt) for test in report.failed_tests)
            # the end of an excerpt is where the error stands
            cut = tuple(
                test.model_copy(update={"excerpt": test.excerpt[-(longest // 2) :] if longest > 1 else ""})
                for test in report.failed_tests
            )
            report = report.model_copy(update={"failed_tests": cut})
        elif report.failed_tests:
            report = report.model_copy(update={"failed_tests": report.failed_tests[: len(report.failed_tests) // 2]})
        elif report.findings:
            report = report.model_copy(update={"findings": report.findings[: len(report.findings) // 2]})
        else:
            raise ValueError(f"a report without findings and tests is larger than {limit} bytes")
    return report


def _result(request: RequestRecord) -> Result:
    assert request.result is not None  # noqa: S101  (what is complete has a result)
    return request.result


def _build(build: BuildRecord) -> Build:
    return Build(
        id=build.id,
        number=build.number,
        url=build.url,
        worker=build.worker,
        started_at=build.started_at,
        finished_at=build.finished_at,
        result=build.result,
    )


def _short_text(finding: Finding) -> Finding:
    if len(finding.text) <= MAX_TEXT_CHARACTERS:
        return finding
    return finding.model_copy(update={"text": finding.text[:MAX_TEXT_CHARACTERS] + "…"})
