"""What these tests share."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.botsite import BotSite, bot_site

hypothesis.settings.register_profile("autogate", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("autogate")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[BotSite]:
    with bot_site(tmp_path) as running:
        yield running
