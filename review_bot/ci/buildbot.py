"""Buildbot as the bot asks it: pokes, what became of a commit, cancellation; over its REST API."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple, TypeVar

import httpx
import structlog
from pydantic import BaseModel, Field

from autogate import contract, names
from autogate.contract import (
    CAUSE_PROPERTY,
    FAILED_TESTS_CATEGORY,
    FINDINGS_CATEGORY,
    RESULTS,
    VALUE_UNIT,
    FailedTest,
    Finding,
)
from review_bot.domain.events import BuilderStatus
from review_bot.domain.model import KEPT_FINDINGS, KEPT_TESTS, Verdict

from .rest import BuildbotError, Rest, Row

POKE_USER = "poke"

CLOCK_MARGIN_SECONDS = 600
"""The master's clock may have been set back by so much between a change and its request."""

BUILDSETS_AT_A_TIME = 50

_log = structlog.get_logger(__name__)


class _Builder(Row):
    plural = "builders"

    builderid: int
    name: str
    masterids: tuple[int, ...]


class _SourceStamp(BaseModel):
    revision: str | None
    created_at: int


class _Change(Row):
    plural = "changes"

    revision: str | None
    sourcestamp: _SourceStamp


class _Request(Row):
    plural = "buildrequests"

    buildrequestid: int
    buildsetid: int
    builderid: int
    submitted_at: int
    complete: bool
    complete_at: int | None
    results: int


class _Buildset(Row):
    plural = "buildsets"

    bsid: int
    sourcestamps: tuple[_SourceStamp, ...]


class _Build(Row):
    plural = "builds"

    buildid: int
    number: int
    builderid: int
    buildrequestid: int
    complete: bool
    results: Annotated[int, Field(ge=0, lt=len(RESULTS))] | None
    state_string: str
    properties: Mapping[str, tuple[Any, Any]] | None = None


class _ResultSet(Row):
    plural = "test_result_sets"

    test_result_setid: int
    category: str
    value_unit: str


class _TestResult(Row):
    """A finding or a failing test, as `contract` reads it back."""

    plural = "test_results"

    test_resultid: int
    test_name: str | None
    test_code_path: str | None
    line: int | None
    value: str | None


class _Found(NamedTuple):
    findings: tuple[Finding, ...]
    findings_total: int
    failed_tests: tuple[FailedTest, ...]
    failed_tests_total: int


_NOTHING = _Found((), 0, (), 0)

F = TypeVar("F", Finding, FailedTest)


class Buildbot:
    """One Buildbot master.

    Args:
        url: Address of its web UI, as the bot reaches it.
        pages: Address of its web UI, as browsers reach it: links to builds begin with it.
        user: Whom to sign in as; None to ask as nobody in particular, where the web UI allows that.
        password: That user's.
        poke_password: Of the user ``poke``; None when nobody may poke.
        client: Makes the requests, and keeps the session's cookie.
    """

    def __init__(
        self,
        url: str,
        *,
        pages: str,
        user: str | None,
        password: str | None,
        poke_password: str | None,
        client: httpx.AsyncClient,
    ) -> None:
        self._rest = Rest(url, user, password, client)
        self._pages = pages.rstrip("/") + "/"
        self._poke_password = poke_password

    async def poke(self, repository: str) -> None:
        """Make a repository's poller look at once. Without a password nothing is done: it looks by itself, later.

        Raises:
            BuildbotError: it cannot be poked.
        """
        if self._poke_password is None:
            return
        login = httpx.BasicAuth(POKE_USER, self._poke_password)
        form = {"poller": names.poller(repository)}
        answer = await self._rest.send("POST", "change_hook/poller", {"data": form, "auth": login})
        match answer.status_code:
            case HTTPStatus.ACCEPTED | HTTPStatus.OK:
                return
            case HTTPStatus.UNAUTHORIZED:
                raise BuildbotError("Buildbot refuses the poke: give master and bot the same web.poke_secret")
            case HTTPStatus.BAD_REQUEST:
                raise BuildbotError(
                    f"Buildbot has no poller for {repository}: is web.poke_secret configured there, and was the master "
                    f"reconfigured since the repository was added?"
                )
        raise self._rest.unexpected(answer)

    async def ask(self, sha: str, builders: Collection[str]) -> dict[str, BuilderStatus]:
        """Return what each builder has done for a commit; its newest request decides.

        Args:
            sha: The commit. What is complete is found when Buildbot has a change of it, as after a push.
            builders: Names of builders.

        Raises:
            BuildbotError: Buildbot cannot be asked.
        """
        ids = await self._builder_ids(builders)
        seen = await self._rest.get("changes", _Change, {"revision": sha}) if ids else []
        since = min((change.sourcestamp.created_at for change in seen), default=None)
        # nothing in Buildbot leads from a commit to its requests but the time
        narrowed = {"complete": False} if since is None else {"submitted_at__ge": since - CLOCK_MARGIN_SECONDS}
        newest: dict[int, _Request] = {}
        async for request in self._requests(sha, ids, narrowed):
            newest.setdefault(request.builderid, request)
            if len(newest) == len(ids):
                break
        builds = await self._newest_builds(request.buildrequestid for request in newest.values())
        statuses = {}
        for builder in builders:
            if builder not in ids:
                statuses[builder] = BuilderStatus(status="unknown_builder")
            elif asked := newest.get(ids[builder]):
                statuses[builder] = await self._status(builder, asked, builds.get(asked.buildrequestid))
            else:
                statuses[builder] = BuilderStatus(status="no_request")
        return statuses

    async def cancel(self, sha: str, builders: Collection[str]) -> int:
        """Stop all that is still built or queued for a commit; doing it again changes nothing.

        Args:
            sha: The commit.
            builders: Names of builders.

        Returns:
            How many requests were told to end; each does soon after.

        Raises:
            BuildbotError: Buildbot cannot be asked, or the bot may not cancel.
        """
        ids = await self._builder_ids(builders)
        told = 0
        async for request in self._requests(sha, ids, {"complete": False}):
            # a request that is being built loses its build
            why = {"reason": "nobody waits for its result any more"}
            await self._rest.control(f"buildrequests/{request.buildrequestid}", "cancel", why)
            told += 1
        return told

    async def _builder_ids(self, builders: Collection[str]) -> dict[str, int]:
        """Return name -> id of those that are configured."""
        rows = await self._rest.get("builders", _Builder, {"name__in": sorted(builders)}) if builders else []
        # Buildbot forgets no builder; one that no master has was taken out of the configuration
        return {row.name: row.builderid for row in rows if row.masterids}

    async def _requests(self, sha: str, ids: Mapping[str, int], narrowed: Mapping[str, Any]) -> AsyncIterator[_Request]:
        """Yield the requests for a commit among some, newest first."""
        if not ids:
            return
        rows = await self._rest.get("buildrequests", _Request, {"builderid__in": sorted(ids.values()), **narrowed})
        rows.sort(key=lambda row: -row.buildrequestid)
        for first in range(0, len(rows), BUILDSETS_AT_A_TIME):
            chunk = rows[first : first + BUILDSETS_AT_A_TIME]
            wanted = sorted({row.buildsetid for row in chunk})
            meant = {
                buildset.bsid
                for buildset in await self._rest.get("buildsets", _Buildset, {"bsid__in": wanted})
                if any(stamp.revision == sha for stamp in buildset.sourcestamps)
            }
            for row in chunk:
                if row.buildsetid in meant:
                    yield row

    async def _newest_builds(self, requests: Iterable[int]) -> dict[int, _Build]:
        """Return request -> its newest build."""
        wanted = sorted(requests)
        if not wanted:
            return {}
        query = {"buildrequestid__in": wanted, "property": CAUSE_PROPERTY}
        rows = await self._rest.get("builds", _Build, query)
        return {row.buildrequestid: row for row in sorted(rows, key=lambda row: row.buildid)}

    async def _status(self, builder: str, request: _Request, build: _Build | None) -> BuilderStatus:
        url = f"{self._pages}#/builders/{build.builderid}/builds/{build.number}" if build else ""
        if not request.complete:
            return BuilderStatus(status="running" if build and not build.complete else "waiting", url=url)
        result = RESULTS[request.results]
        last, said, found = None, None, _NOTHING
        if build:
            last = (build.number, None if build.results is None else RESULTS[build.results], build.state_string)
            said, _source = (build.properties or {}).get(CAUSE_PROPERTY, (None, None))
            found = await self._found(build.buildid)
        verdict = Verdict(
            builder=builder,
            kind=names.kind_of(builder) or "",
            result=result,
            cause=contract.cause(result, said),
            summary=contract.summary(result, last),
            url=url,
            findings=found.findings,
            findings_total=found.findings_total,
            failed_tests=found.failed_tests,
            failed_tests_total=found.failed_tests_total,
            at=datetime.fromtimestamp(request.complete_at or request.submitted_at, UTC),
        )
        return BuilderStatus(status="finished", url=url, verdict=verdict)

    async def _found(self, build: int) -> _Found:
        """Return what a build's steps stored about findings and failing tests."""
        sets = [
            result_set
            for result_set in await self._rest.get(f"builds/{build}/test_result_sets", _ResultSet)
            # other steps than ours store results of the same category in forms of their own
            if result_set.value_unit == VALUE_UNIT
        ]
        findings, findings_total = await self._stored(sets, FINDINGS_CATEGORY, Finding, KEPT_FINDINGS)
        tests, tests_total = await self._stored(sets, FAILED_TESTS_CATEGORY, FailedTest, KEPT_TESTS)
        return _Found(findings, findings_total, tests, tests_total)

    async def _stored(
        self, sets: Iterable[_ResultSet], category: str, model: type[F], limit: int
    ) -> tuple[tuple[F, ...], int]:
        found: list[F] = []
        total = 0
        for result_set in sets:
            if result_set.category != category:
                continue
            path = f"test_result_sets/{result_set.test_result_setid}/results"
            rows = await self._rest.get(path, _TestResult)
            total += len(rows)
            rows.sort(key=lambda row: row.test_resultid)
            for row in rows[: limit - len(found)]:
                try:
                    found.append(model.from_test_result(row.model_dump()))
                except (TypeError, ValueError) as error:
                    _log.warning("test result left out", result=row.test_resultid, reason=str(error))
        return tuple(found), total
