"""Reads what Buildbot recorded about a request, through its data API."""

from typing import Any, Protocol, Self, TypeVar

from buildbot.reporters.utils import getURLForBuild
from twisted.python import log

from autogate.contract import (
    FAILED_TESTS_CATEGORY,
    FINDINGS_CATEGORY,
    MAX_FAILED_TESTS,
    MAX_FINDINGS,
    RESULTS,
    VALUE_UNIT,
    FailedTest,
    Finding,
    Result,
)

from .records import BuildRecord, RequestRecord, Step


class _FromTestResult(Protocol):
    @classmethod
    def from_test_result(cls, row: dict[str, Any]) -> Self: ...


BuildMaster = Any
"""Buildbot's master, whose data API has no types."""

T = TypeVar("T", bound=_FromTestResult)


async def read_request(master: BuildMaster, request: int) -> RequestRecord | None:
    """Return the request as it is now, or None when there is no such request (any more).

    Args:
        master: Buildbot's master.
        request: Its ``buildrequestid``.
    """
    row = await master.data.get(("buildrequests", request))
    if row is None:
        return None
    buildset = await master.data.get(("buildsets", row["buildsetid"]))
    stamp = _source_stamp(buildset["sourcestamps"])
    rows = sorted(await master.data.get(("buildrequests", request, "builds")), key=lambda build: int(build["buildid"]))
    builds = [await _read_build(master, build, in_full=bool(row["complete"]) and build is rows[-1]) for build in rows]
    return RequestRecord(
        id=row["buildrequestid"],
        builder_id=row["builderid"],
        branch=stamp["branch"] or "",
        revision=stamp["revision"],
        builds=tuple(builds),
        finished_at=row["complete_at"] if row["complete"] else None,
        result=_result(row["results"]) if row["complete"] else None,
    )


async def _read_build(master: BuildMaster, row: dict[str, Any], *, in_full: bool) -> BuildRecord:
    properties = await master.data.get(("builds", row["buildid"], "properties"))
    worker = await master.data.get(("workers", row["workerid"])) if row["workerid"] else None
    details: dict[str, Any] = {}
    if in_full:
        steps = await master.data.get(("builds", row["buildid"], "steps"))
        details["steps"] = tuple(Step(step["name"], step["state_string"], _result(step["results"])) for step in steps)
        for field, model, category, limit in (
            ("findings", Finding, FINDINGS_CATEGORY, MAX_FINDINGS),
            ("failed_tests", FailedTest, FAILED_TESTS_CATEGORY, MAX_FAILED_TESTS),
        ):
            found, total = await _read_test_results(master, row["buildid"], model, category, limit)
            details |= {field: found, f"{field}_total": total}
    return BuildRecord(
        id=row["buildid"],
        number=row["number"],
        url=getURLForBuild(master, row["builderid"], row["number"]),
        worker=worker["name"] if worker else "",
        started_at=row["started_at"],
        finished_at=row["complete_at"],
        result=_result(row["results"]) if row["complete_at"] else None,
        state=row["state_string"],
        properties={name: value for name, (value, _) in properties.items()},
        **details,
    )


async def _read_test_results(
    master: BuildMaster, build: int, model: type[T], category: str, limit: int
) -> tuple[tuple[T, ...], int]:
    """Return the first ``limit`` of a build's findings or failing tests, and how many there are."""
    found: list[T] = []
    total = 0
    for result_set in await master.data.get(("builds", build, "test_result_sets")):
        # other steps than ours store results of the same category in forms of their own
        if result_set["category"] != category or result_set["value_unit"] != VALUE_UNIT:
            continue
        rows = await master.data.get(("test_result_sets", result_set["test_result_setid"], "results"))
        total += len(rows)
        for row in sorted(rows, key=lambda row: int(row["test_resultid"]))[: limit - len(found)]:
            try:
                found.append(model.from_test_result(row))
            except (TypeError, ValueError) as error:
                log.msg(f"test result {row['test_resultid']} of build {build} is left out of the report: {error}")
    return tuple(found), total


def _source_stamp(stamps: list[dict[str, Any]]) -> dict[str, Any]:
    # with several codebases the one that says what to build
    return next((stamp for stamp in stamps if stamp["revision"]), stamps[0])


def _result(number: int | None) -> Result | None:
    return None if number is None else RESULTS[number]
