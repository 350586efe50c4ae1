"""The Pythons that the steps are shown to work with."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import BIN

VERSIONS = ("3.11", "3.13")


def python(version: str) -> str:
    """Return the path of a Python; skip the test aloud when there is none, or fail it where CI is set."""
    command = [str(BIN / "uv"), "python", "find", "--no-project", version]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    candidates = [found.stdout.strip(), shutil.which(f"python{version}") or ""]
    candidates += [str(path) for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))]
    for candidate in candidates:
        if candidate and _runs(candidate, version):
            return candidate
    message = f"NOT SHOWN: there is no Python {version} on this machine"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def _runs(path: str, version: str) -> bool:
    command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.stdout.strip() == version
