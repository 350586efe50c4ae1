"""Programs that tests need and Debian has."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def program(name: str, package: str) -> str:
    """Return the path of a program; install its package where that can be done, else skip, or fail where CI=true."""
    if found := _find(name):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        # RUNLEVEL=1: no service is to be started, we start our own
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(
                ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments],
                env=environment,
                capture_output=True,
                check=False,
            )
    if found := _find(name):
        return found
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"there is no {name}: apt-get install {package}")
    pytest.skip(f"THERE IS NO {name.upper()}, SO THIS IS NOT TESTED: apt-get install {package}")


def _find(name: str) -> str | None:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian keeps them out of the PATH
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS, *map(str, versions)]))
