"""From settings to Buildbot's configuration dictionary: no file, no network, no clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from buildbot.configurators.janitor import JanitorConfigurator
from buildbot.plugins import changes, reporters
from buildbot.process.project import Project

from autogate import names
from autogate.settings import Problem, Repository, Settings
from master import builders, database, schedulers
from master.secrets import MountedSecrets
from master.workers import GateWorker
from master.www import strports_quoted, www

JANITOR_HOUR = 4


@dataclass(frozen=True)
class Surroundings:
    """What the configuration takes from the machine that it runs on.

    Attributes:
        secret: Looks up a secret by its name; raises SecretMissingError.
        secrets_folder: Where builds' secrets are read when they are needed.
        ssh_command: The value of ``GIT_SSH_COMMAND`` for pollers.
        database_url: SQLAlchemy URL, without a password.
        revision: Which version of the configuration this is.
        plugins: The www plugins that are installed.
    """

    secret: Callable[[str], str]
    secrets_folder: str
    ssh_command: str
    database_url: str
    revision: str
    plugins: frozenset[str]


def assemble(settings: Settings, surroundings: Surroundings) -> dict[str, Any]:
    """Return the BuildmasterConfig.

    Raises:
        SecretMissingError: a secret that the site's settings name is missing.
    """
    site, repositories = settings.site, settings.repositories
    workers = [worker.name for worker in site.workers]
    return {
        "title": _title(site.site.title, settings.problems),
        "titleURL": site.site.base_url,
        "buildbotURL": site.site.base_url,
        "buildbotNetUsageData": None,
        "db": {
            "db_url": surroundings.database_url,
            "engine_kwargs": database.engine_arguments(surroundings.database_url),
        },
        "protocols": {
            "pb": {
                "port": f"tcp:{site.master.worker_port}:interface={strports_quoted(site.master.worker_interface)}",
            }
        },
        "workers": [
            GateWorker(worker.name, surroundings.secret(worker.secret), worker.max_builds) for worker in site.workers
        ],
        "projects": [Project(name=repository.name) for repository in repositories],
        "change_source": [_poller(repository, surroundings.ssh_command) for repository in repositories],
        "schedulers": [scheduler for repository in repositories for scheduler in schedulers.for_repository(repository)],
        "builders": [
            builder for repository in repositories for builder in builders.for_repository(repository, workers)
        ],
        "services": _services(settings, surroundings),
        "secretsProviders": [MountedSecrets(surroundings.secrets_folder)],
        "configurators": [
            JanitorConfigurator(
                hour=JANITOR_HOUR,
                logHorizon=timedelta(days=site.master.keep_logs_days),
                build_data_horizon=timedelta(days=site.master.keep_builds_days),
            )
        ],
        "www": www(
            site.web, surroundings.secret, surroundings.plugins, _versions(surroundings.revision, settings.problems)
        ),
    }


def _poller(repository: Repository, ssh_command: str) -> object:
    return changes.AutogatePoller(
        repository.fetch_url,
        name=names.poller(repository.name),
        project=repository.name,
        targets=repository.targets,
        candidates=(repository.auto, repository.try_branch),
        pollInterval=repository.poll_interval,
        ssh_command=ssh_command,
    )


def _services(settings: Settings, surroundings: Surroundings) -> list[object]:
    services: list[object] = [schedulers.canceller(settings.repositories)] if settings.repositories else []
    if bot := settings.site.bot:
        services.append(
            reporters.AutogateReporter(
                url=str(bot.url),
                secret=surroundings.secret(bot.secret),
                secrets={
                    repository.name: surroundings.secret(repository.report_secret)
                    for repository in settings.repositories
                    if repository.report_secret
                },
                protocol=bot.protocol,
                builders={
                    names.builder(repository.name, kind): (repository.name, kind.value)
                    for repository in settings.repositories
                    for kind in repository.kinds
                },
            )
        )
    return services


def _title(title: str, problems: tuple[Problem, ...]) -> str:
    left_out = len({problem.file for problem in problems})
    # Buildbot has room for 18 characters; the page About says the rest
    return f"{title}: {left_out} fault{'s' if left_out > 1 else ''}" if left_out else title


def _versions(revision: str, problems: tuple[Problem, ...]) -> list[tuple[str, str]]:
    return [("Configuration", revision), *((f"Left out: {problem.file.name}", str(problem)) for problem in problems)]
