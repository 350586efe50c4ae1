"""What these tests share."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.installation import Installation
from tests.support.sshd import GitServer, git_server

# nothing here depends on how fast the machine is
hypothesis.settings.register_profile("autogate", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("autogate")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with git_server(tmp_path / "sshd") as running:
        yield running
