"""One gate for all tests of the steps: starting it takes longer than most of them."""

from collections.abc import Iterator

import pytest

from .gate import Gate


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path_factory.mktemp("gate"))
    gate.start()
    yield gate
    gate.stop()
