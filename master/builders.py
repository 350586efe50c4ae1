"""The builders of a repository: what is done, in which order, with which limits."""

from collections.abc import Sequence

from buildbot.config.builder import BuilderConfig
from buildbot.locks import MasterLock
from buildbot.plugins import steps
from buildbot.process.factory import BuildFactory
from buildbot.process.properties import Secret
from buildbot.steps.shell import ShellCommand

from autogate import names
from autogate.names import Kind
from autogate.settings import Repository
from master.build import JUDGES_SPEAK, GateBuild

PYLINT = "pylint>=4.1,<4.2"

_DESCRIPTIONS = {
    Kind.LINT: "Judges what the merge introduces, and nothing else.",
    Kind.TEST: "Runs the tests on the merge.",
    Kind.DEPLOY: "Deploys a target when it moved.",
}


def for_repository(repository: Repository, workers: Sequence[str]) -> list[BuilderConfig]:
    """Return a builder for each kind that the repository has, on all ``workers``."""
    return [_builder(repository, kind, workers) for kind in repository.kinds]


def _builder(repository: Repository, kind: Kind, workers: Sequence[str]) -> BuilderConfig:
    name = names.builder(repository.name, kind)
    factory = BuildFactory({Kind.LINT: _lint, Kind.TEST: _test, Kind.DEPLOY: _deploy}[kind](repository))
    factory.buildClass = GateBuild
    return BuilderConfig(
        name=name,
        workernames=list(workers),
        factory=factory,
        project=repository.name,
        tags=[repository.name, kind.value],
        description=_DESCRIPTIONS[kind],
        # each request is a candidate of its own: merged requests of one branch would leave the older without a build
        collapseRequests=False,
        # two deployments at once would race for the same place
        locks=[MasterLock(f"{name} one at a time").access("exclusive")] if kind is Kind.DEPLOY else [],
    )


def _lint(repository: Repository) -> list[object]:
    lint = repository.lint
    return [
        _checkout(repository),
        _virtualenv(repository, (PYLINT, *lint.also)),
        steps.SoftReset(),
        steps.DiffPylint(
            scope=lint.scope,
            limit=lint.limit,
            fail_on=lint.fail_on,
            also=lint.also,
            config_from=lint.config_from,
            suppressions=lint.suppressions,
            dependents=lint.dependents,
            dependents_time=lint.dependents_time,
            file_time=lint.file_time,
            file_memory=lint.file_memory,
            pylintrc=lint.pylintrc,
            link=repository.line_link or None,
            timeout=lint.timeout,
            maxTime=lint.max_time,
            updateBuildSummaryPolicy=JUDGES_SPEAK,
        ),
    ]


def _test(repository: Repository) -> list[object]:
    test = repository.test
    runner = ("pytest",) if test.framework == "pytest" and not test.command else ()
    return [
        _checkout(repository),
        _virtualenv(repository, runner),
        steps.RunTests(
            command=list(test.command) if test.command else None,
            framework=test.framework,
            directory=test.directory,
            silence=test.timeout,
            duration=test.max_time,
            updateBuildSummaryPolicy=JUDGES_SPEAK,
        ),
    ]


def _deploy(repository: Repository) -> list[object]:
    deploy = repository.deploy
    assert deploy is not None  # noqa: S101  (Repository.kinds says so)
    command = ShellCommand(
        name="deploy",
        command=list(deploy.command),
        env={variable: Secret(secret) for variable, secret in deploy.secrets.items()},
        timeout=deploy.timeout,
        maxTime=deploy.max_time,
        logEnviron=False,
        haltOnFailure=True,
        updateBuildSummaryPolicy=JUDGES_SPEAK,
    )
    return [_checkout(repository), command]


def _checkout(repository: Repository) -> object:
    return steps.CheckoutExact(url=repository.fetch_url, submodules=repository.submodules)


def _virtualenv(repository: Repository, packages: Sequence[str]) -> object:
    python = repository.python
    return steps.Virtualenv(
        requirements=python.requirements, packages=(*python.packages, *packages), python=python.version
    )
