"""Secrets for builds: `Secret("name")` looks where all of Autogate looks."""

from buildbot.secrets.providers.base import SecretProviderBase

from autogate.places import Places
from autogate.secretstore import SecretMissingError, SecretStore


class MountedSecrets(SecretProviderBase):
    """Serves the files of the secrets folder, whatever their permissions, and environment variables.

    Buildbot's own ``SecretInAFile`` refuses files that others may read, which Docker's mounted secrets are, and fails
    on Kubernetes' ``..data`` folder.

    Args:
        folder: The secrets folder.
    """

    name = "MountedSecrets"

    def __init__(self, folder: str) -> None:
        super().__init__(folder)  # type: ignore[no-untyped-call]

    def checkConfig(self, folder: str) -> None:  # noqa: N802  (Buildbot's way)
        """Accept any folder: one that is missing holds no secrets, and each is reported when it is asked for."""

    def reconfigService(self, folder: str) -> None:  # type: ignore[override]  # noqa: N802  (Buildbot's way)
        """Read from ``folder`` from now on."""
        self._store = SecretStore(Places.from_environ({"AUTOGATE_SECRETS": folder}).secrets)

    def get(self, entry: str) -> str | None:
        """Return the secret called ``entry``, or None, which Buildbot reports as missing."""
        try:
            return self._store.get(entry)
        except (SecretMissingError, ValueError):
            return None
