"""Where things are: the configuration, the secrets, and what is made at run time."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Places:
    """The three folders of an installation, each an absolute path.

    Attributes:
        config: ``autogate.toml``, ``repos.d/`` and ``known_hosts``; read only (``AUTOGATE_CONFIG``).
        secrets: One file a secret, ``keys/`` and ``write-keys/``; read only (``AUTOGATE_SECRETS``).
        state: Generated files, such as the ssh_config; private to the user (``AUTOGATE_STATE``).
    """

    config: Path
    secrets: Path
    state: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the places that the environment names; ``./config``, ``./secrets`` and ``./var`` where it does not."""
        return cls(
            config=Path(environ.get("AUTOGATE_CONFIG") or "config").absolute(),
            secrets=Path(environ.get("AUTOGATE_SECRETS") or "secrets").absolute(),
            state=Path(environ.get("AUTOGATE_STATE") or "var").absolute(),
        )

    def to_environ(self) -> dict[str, str]:
        """Return the variables from which `from_environ` makes the same places."""
        return {
            "AUTOGATE_CONFIG": str(self.config),
            "AUTOGATE_SECRETS": str(self.secrets),
            "AUTOGATE_STATE": str(self.state),
        }

    @property
    def site_file(self) -> Path:
        """The file that all repositories share."""
        return self.config / "autogate.toml"

    @property
    def repositories(self) -> Path:
        """The folder with a file a repository."""
        return self.config / "repos.d"

    @property
    def known_hosts(self) -> Path:
        """The pinned host keys of all git servers, in the format of sshd(8)."""
        return self.config / "known_hosts"
