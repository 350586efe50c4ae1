"""The worker's own secrets, and keeping them from the builds that it runs."""

from collections.abc import MutableMapping

from autogate.places import Places
from autogate.secretstore import SecretStore

PASSWORD = "worker_password"  # noqa: S105  (a name)


def take_password(places: Places, environ: MutableMapping[str, str]) -> str:
    """Return the worker's password, and delete every secret from ``environ``, which all builds inherit.

    Raises:
        SecretMissingError: there is no secret called ``worker_password``.
    """
    password = SecretStore(places.secrets, dict(environ)).get(PASSWORD)
    for variable in [name for name in environ if name.startswith("AUTOGATE_SECRET_")]:
        del environ[variable]
    return password
