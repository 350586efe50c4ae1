"""What these tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .case import Case


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case.create(tmp_path, {"README": "a project\n", "shared": "1\n2\n3\n4\n5\n6\n7\n8\n9\n"})
    yield made
    made.mirror.close()
