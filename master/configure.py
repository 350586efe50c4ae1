"""The shell round `assemble`: reads files, writes the ssh_config, and says what is wrong."""

import re
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from buildbot.config.errors import ConfigErrors
from buildbot.plugins.db import get_plugins
from twisted.python import log

from autogate import ssh
from autogate.places import Places
from autogate.secretstore import SecretMissingError, SecretStore
from autogate.settings import Database, Problem, Repository, Settings, SettingsError, load
from autogate.storage import write_private
from master.assemble import Surroundings, assemble


def configure(places: Places) -> dict[str, Any]:
    """Return the BuildmasterConfig for the configuration at ``places``; called by master.cfg.

    A repository with a broken file, or whose secrets are missing, is left out; it is named in the log and in the UI.

    Raises:
        ConfigErrors: the site's own settings cannot be used; Buildbot prints it, and keeps a running configuration.
    """
    store = SecretStore(places.secrets)
    try:
        settings = without_secretless(load(places), store, places)
        for problem in settings.problems:
            log.msg(f"autogate: left out: {problem}")
        ssh.install(settings.repositories, places)
        return assemble(
            settings,
            Surroundings(
                secret=store.get,
                secrets_folder=str(places.secrets),
                ssh_command=ssh.command(places),
                database_url=database_url(settings.site.database, store, places),
                revision=revision(places.config),
                plugins=frozenset(get_plugins("www").names),
            ),
        )
    except SettingsError as error:
        raise ConfigErrors([str(problem) for problem in error.problems]) from None
    except SecretMissingError as error:
        raise ConfigErrors([f"{places.site_file}: {error}"]) from None
    except OSError as error:
        raise ConfigErrors([f"{error.filename}: {error.strerror}"]) from None


def without_secretless(settings: Settings, store: SecretStore, places: Places) -> Settings:
    """Return ``settings`` without the repositories that name a secret which cannot be had."""
    kept: list[Repository] = []
    problems = list(settings.problems)
    for repository in settings.repositories:
        try:
            key = "report_secret"
            if repository.report_secret:
                store.get(repository.report_secret)
            key = "deploy.secrets"
            for secret in repository.deploy.secrets.values() if repository.deploy else ():
                store.get(secret)
        except SecretMissingError as error:
            problems.append(Problem(places.repositories / f"{repository.name}.toml", key, str(error)))
        else:
            kept.append(repository)
    return Settings(settings.site, tuple(kept), tuple(problems))


def database_url(database: Database, store: SecretStore, places: Places) -> str:
    """Return the database's URL; its password goes into a private file that only the URL's name leads to.

    The file is libpq's password file: https://www.postgresql.org/docs/current/libpq-pgpass.html

    Raises:
        SecretMissingError: the password is missing.
        OSError: the file cannot be written.
    """
    # the driver that is installed, by its name: SQLAlchemy 2.1 takes another one where none is named
    url = re.sub(r"^postgresql://", "postgresql+psycopg2://", database.url)
    if database.secret is None:
        return url
    password = store.get(database.secret).replace("\\", r"\\").replace(":", r"\:")
    passfile = places.state / "pgpass"
    write_private(passfile, f"*:*:*:*:{password}\n".encode())
    return f"{url}{'&' if '?' in url else '?'}passfile={quote(str(passfile))}"


def revision(folder: Path) -> str:
    """Return which version of the configuration this is: git's name for it, or a digest where there is no git."""
    try:
        described = subprocess.run(  # noqa: S603  (fixed words, and a folder that is no option)
            # the folder may belong to another user, as in a container, and is only read
            ["git", "-c", "safe.directory=*", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        described = ""
    if described:
        return described
    digest = sha256()
    for path in sorted(folder.rglob("*.toml")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return f"not in git, content {digest.hexdigest()[:12]}"
