"""What makes builders build: a candidate on `auto` or `try`, a target that moved, or a person."""

from buildbot.changes.filter import ChangeFilter
from buildbot.schedulers.basic import AnyBranchScheduler
from buildbot.schedulers.canceller import OldBuildCanceller
from buildbot.schedulers.forcesched import (
    ChoiceStringParameter,
    CodebaseParameter,
    FixedParameter,
    ForceScheduler,
    StringParameter,
)
from buildbot.util.ssfilter import SourceStampFilter

from autogate import names
from autogate.names import Kind
from autogate.settings import Repository

PRIORITY_AUTO = 20
PRIORITY_TARGET = 10
PRIORITY_TRY = 0

_FULL_SHA = r"[0-9a-f]{40}([0-9a-f]{24})?"


def for_repository(repository: Repository) -> list[AnyBranchScheduler | ForceScheduler]:
    """Return the schedulers of one repository.

    No tree-stable timer anywhere: it would drop the first of two candidates that are pushed together.
    """
    required = list(repository.required_builders)
    schedulers = [
        _scheduler(repository, "auto", (repository.auto,), required, PRIORITY_AUTO),
        _scheduler(repository, "try", (repository.try_branch,), required, PRIORITY_TRY),
    ]
    if repository.deploy:
        deploy = [names.builder(repository.name, Kind.DEPLOY)]
        schedulers.append(_scheduler(repository, "target", repository.targets, deploy, PRIORITY_TARGET))
    return [*schedulers, _by_hand(repository)]


def canceller(repositories: tuple[Repository, ...]) -> OldBuildCanceller:
    """Return the service that cancels what is queued or running for a candidate that was replaced by a newer one."""
    return OldBuildCanceller(
        "old-candidates",
        [
            (
                list(repository.required_builders),
                SourceStampFilter(project_eq=repository.name, branch_eq=[repository.auto, repository.try_branch]),
            )
            for repository in repositories
        ],
    )


def _scheduler(
    repository: Repository, what: str, branches: tuple[str, ...], builders: list[str], priority: int
) -> AnyBranchScheduler:
    return AnyBranchScheduler(
        name=f"{repository.name}-{what}",
        change_filter=ChangeFilter(project=repository.name, branch=list(branches)),
        treeStableTimer=None,
        builderNames=builders,
        priority=priority,
    )


def _by_hand(repository: Repository) -> ForceScheduler:
    return ForceScheduler(
        name=f"{repository.name}-force",
        buttonName="Build a commit",
        label="Build a commit",
        builderNames=[names.builder(repository.name, kind) for kind in repository.kinds],
        codebases=[
            CodebaseParameter(
                codebase="",
                label="What to build",
                project=FixedParameter(name="project", default=repository.name),
                repository=FixedParameter(name="repository", default=repository.fetch_url),
                branch=ChoiceStringParameter(
                    name="branch",
                    label="Branch",
                    choices=[repository.auto, repository.try_branch, *repository.targets],
                    default=repository.auto,
                ),
                revision=StringParameter(
                    name="revision",
                    label="Full SHA of the commit",
                    regex=f"^{_FULL_SHA}$",
                    required=True,
                    size=42,
                ),
            )
        ],
        reason=StringParameter(name="reason", label="Reason", default="by hand", size=60),
        properties=[],
    )
