"""From a report that is believed to an event: no I/O, no clock."""

from datetime import datetime
from http import HTTPStatus

from autogate import names
from autogate.contract import Event, Report, Result
from autogate.judging import Refusal, shown
from autogate.names import Kind
from autogate.settings import Repository, Settings, UnknownRepositoryError
from review_bot.domain.events import BuildStarted, VerdictReached
from review_bot.domain.model import KEPT_FINDINGS, KEPT_TESTS, Verdict


def key(report: Report) -> str:
    """Return what all repeats of a report have in common."""
    return f"report:{report.delivery}"


def repository_of(report: Report, settings: Settings) -> Repository:
    """Return the repository that a report is about.

    Raises:
        Refusal: repository or builder is not configured (422); the master keeps the report until it is.
    """
    try:
        repository = settings.repository(report.repository)
    except UnknownRepositoryError:
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"no repository {shown(report.repository)} is configured here: do master and bot read the same files?",
        ) from None
    if report.builder not in {names.builder(repository.name, kind) for kind in repository.kinds}:
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{repository.name} has no builder {shown(report.builder)} here: do master and bot read the same files?",
        )
    return repository


def event(report: Report, repository: Repository, now: datetime) -> BuildStarted | VerdictReached | None:
    """Return what a report means to the bot; None when nothing: a deployment, another branch, a build that was lost.

    Args:
        report: The report, believed.
        repository: As `repository_of` found it.
        now: When the report came.
    """
    candidate = report.branch in {repository.auto, repository.try_branch}
    if not candidate or report.builder == names.builder(repository.name, Kind.DEPLOY):
        return None
    url = report.builds[-1].url if report.builds else ""
    match report.event:
        case Event.STARTED:
            return BuildStarted(at=now, revision=report.revision, builder=report.builder, url=url)
        case Event.RETRYING:
            return None
        case Event.FINISHED:
            if report.result in {None, Result.RETRY}:
                raise Refusal(HTTPStatus.BAD_REQUEST, "a report that is finished says how it ended")
            verdict = Verdict(
                builder=report.builder,
                kind=report.kind,
                result=report.result,
                cause=report.cause,
                summary=report.summary,
                url=url,
                findings=report.findings[:KEPT_FINDINGS],
                findings_total=max(report.findings_total, len(report.findings)),
                failed_tests=report.failed_tests[:KEPT_TESTS],
                failed_tests_total=max(report.failed_tests_total, len(report.failed_tests)),
                at=report.occurred_at,
            )
            return VerdictReached(at=now, revision=report.revision, verdict=verdict)
