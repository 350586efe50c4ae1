"""One stack for all tests here: it takes a minute to build, and the tests are about what it survives."""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.compose.stack import OURS, Stack, run
from tests.support.repository import Repository
from tests.support.waiting import wait_for

OWNER = 1234
"""Neither root nor the containers' user, as on most machines."""

SITE_PACKAGE = {
    "shop/__init__.py": '"""A shop."""\n',
    "shop/price.py": '"""Prices."""\n\n\ndef total(prices):\n    """Return the sum."""\n    return sum(prices)\n',
    "tests/__init__.py": "",
    "tests/test_price.py": (
        "import unittest\n\nfrom shop.price import total\n\n\n"
        "class Price(unittest.TestCase):\n"
        "    def test_total(self):\n"
        "        self.assertEqual(total([1, 2]), 3)\n"
    ),
}

REPOSITORY = """\
url = "ssh://git@git/srv/git/shop.git"
poll_interval = 1

[review]
reviewers = ["ada"]
"""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Autogate as `docker compose up --wait` brings it up from a clean copy, with no repository."""
    stack = Stack(tmp_path_factory.mktemp("compose"), OWNER)
    stack.copy_project()
    try:
        stack.build()
        stack.up()
        yield stack
    finally:
        stack.destroy()
        left = run("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={stack.name}")
        assert not left, "containers are left behind"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the containers said into the report of a test that failed."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        for service in (*OURS, "db", "git"):
            with contextlib.suppress(AssertionError):
                report.sections.append((service, stack.logs(service)[-20000:]))
    return report


@pytest.fixture(scope="session")
def shop(stack: Stack) -> Repository:
    """A repository that was added to the running stack as an operator would add it, and a work tree to push from."""
    running = ("master", "worker-1", "worker-2", "bot")
    before = {service: stack.state(service)["StartedAt"] for service in running}
    file = Path(stack.folder, "config", "repos.d", "shop.toml")
    file.write_text(REPOSITORY)
    read_key = stack.cli("keys", "add", "shop", "--accept-host-key").strip().splitlines()[-1]
    write_key = stack.cli("keys", "add", "shop", "--write").strip().splitlines()[-1]
    assert read_key != write_key
    stack.serve("shop", read_key, write_key)
    tree = stack.work_tree("shop", SITE_PACKAGE)
    said = stack.execute("master", "buildbot", "reconfig", "/var/lib/autogate/master")
    assert "Reconfiguration appears to have completed successfully" in said
    stack.add_token("ada")

    def noticed() -> bool:
        repositories = stack.ask("GET", "")["repositories"]
        return bool(repositories and repositories[0]["targets"][0]["tip"] == tree.head())

    wait_for(noticed, "the bot to see the new repository")
    after = {service: stack.state(service)["StartedAt"] for service in running}
    assert after == before, "something was restarted"
    return tree
