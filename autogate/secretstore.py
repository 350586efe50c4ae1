"""Secrets by name: a file in the secrets folder, or an environment variable."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

SecretName = Annotated[str, StringConstraints(pattern=rf"^{SECRET_NAME.pattern}$")]
"""What stands in a TOML file in place of a secret."""


class SecretMissingError(LookupError):
    """A secret that the configuration names cannot be had. The message is ``FAULT: CURE``."""


class SecretStore:
    """Reads secrets when they are asked for, so that a changed file counts at once.

    Any permission bits and symbolic links are fine: Docker mounts secrets with mode 0444, Kubernetes behind ``..data``.

    Args:
        folder: Holds one file a secret, named like it; a newline at its end is dropped.
        environ: Looked at where there is no file: ``web_admin`` is ``AUTOGATE_SECRET_WEB_ADMIN``.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._environ = environ

    def get(self, name: str) -> str:
        """Return the secret.

        Raises:
            SecretMissingError: there is no such file or variable, or it is empty or unreadable.
            ValueError: ``name`` is no name of a secret.
        """
        if not SECRET_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a secret")
        path, variable = self._folder / name, variable_name(name)
        cure = f"write it to the file {path} or set {variable}"
        try:
            value = path.read_text("utf-8").rstrip("\r\n")
        except (FileNotFoundError, NotADirectoryError):
            value = self._environ.get(variable, "")
            if not value:
                raise SecretMissingError(f"the secret {name!r} is missing: {cure}") from None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            cure = f"make {path} a text file that this user may read"
            raise SecretMissingError(f"the secret {name!r} cannot be read ({reason}): {cure}") from None
        if not value:
            raise SecretMissingError(f"the secret {name!r} is empty: {cure}")
        return value


def variable_name(name: str) -> str:
    """Return the environment variable that stands for a secret without a file."""
    return "AUTOGATE_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
