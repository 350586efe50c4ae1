"""The web UI of a real master: closed by default, with a way in."""

import base64
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from buildbot.plugins.db import get_plugins

from autogate.cli.local import LocalInstallation
from tests.support.repository import Repository

CLOSED = [
    "api/v2/builders",
    "api/v2/builds",
    "api/v2/masters",
    "api/v2/changes",
    "api/v2/logs/1/raw",
    "api/v2/workers",
    "api/v2",
]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalInstallation]:
    folder = tmp_path_factory.mktemp("web")
    installation = LocalInstallation(folder, "http://127.0.0.1:9/buildbot", workers=0, anonymous="nothing")
    installation.places.site_file.write_text(
        installation.places.site_file.read_text() + '[[workers]]\nname = "w"\nsecret = "w"\n'
    )
    installation.add_secret("w")
    add_reader(installation)
    installation.add_repository("shop", f'url = "{Repository.create(folder).bare}"\n')
    try:
        installation.start()
        yield installation
    finally:
        installation.kill()


def add_reader(installation: LocalInstallation) -> None:
    site = installation.places.site_file
    site.write_text(site.read_text().replace("users = {", 'users = { bob = "web_bob",'))
    installation.add_secret("web_bob")


@contextmanager
def signed_in(installation: LocalInstallation, user: str, password: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=installation.url) as client:
        client.get("auth/login", auth=(user, password))
        yield client


@pytest.mark.parametrize("path", CLOSED)
def test_nothing_is_shown_to_somebody_who_has_not_signed_in(installation: LocalInstallation, path: str) -> None:
    assert httpx.get(installation.url + path).status_code == 403


@pytest.mark.parametrize("path", ["sse/listen", "sse/listen/builds/*/new", "sse/add/x/builds/*/*", "sse"])
def test_the_event_stream_that_buildbot_does_not_guard_is_not_there(installation: LocalInstallation, path: str) -> None:
    assert httpx.get(installation.url + path).status_code == 404


def websocket_answer(installation: LocalInstallation) -> bytes:
    with socket.create_connection(("127.0.0.1", installation.web_port), timeout=30) as connection:
        key = base64.b64encode(bytes(16)).decode()
        connection.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{installation.web_port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        return connection.recv(4096).split(b"\r\n")[0]


def test_the_websocket_is_closed_too(installation: LocalInstallation) -> None:
    assert b"403" in websocket_answer(installation)


def test_a_password_is_the_way_in(installation: LocalInstallation) -> None:
    with signed_in(installation, "bob", installation.secret("web_bob")) as bob:
        builders = bob.get("api/v2/builders").json()["builders"]
    assert {builder["name"] for builder in builders} == {"shop-lint", "shop-test", "__Janitor"}


def test_a_wrong_password_is_not(installation: LocalInstallation) -> None:
    with signed_in(installation, "bob", "guess") as guesser:
        assert guesser.get("api/v2/builders").status_code == 403


def force(client: httpx.Client) -> httpx.Response:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "force",
        "params": {"builderNames": ["shop-lint"], "revision": "0" * 40},
    }
    return client.post("api/v2/forceschedulers/shop-force", json=call)


def test_a_reader_cannot_force_a_build(installation: LocalInstallation) -> None:
    with signed_in(installation, "bob", installation.secret("web_bob")) as bob:
        answer = force(bob)
        assert answer.status_code == 403
        assert "admins" in answer.text


def test_an_admin_can(installation: LocalInstallation) -> None:
    with signed_in(installation, "admin", installation.secret("web_admin_password")) as admin:
        answer = force(admin)
        assert answer.status_code == 200, answer.text
        assert admin.get("api/v2/buildrequests").json()["buildrequests"]


def test_forcing_asks_for_a_full_sha(installation: LocalInstallation) -> None:
    with signed_in(installation, "admin", installation.secret("web_admin_password")) as admin:
        call = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"revision": "main; rm -rf /"}}
        assert admin.post("api/v2/forceschedulers/shop-force", json=call).status_code == 400


def test_the_poke_needs_its_password(installation: LocalInstallation) -> None:
    hook = installation.url + "change_hook/poller"
    assert httpx.post(hook, data={"poller": "shop-poller"}).status_code == 401
    assert httpx.post(hook, data={"poller": "shop-poller"}, auth=("poke", "guess")).status_code == 401
    installation.poke("shop")


@pytest.mark.parametrize("dialect", ["github", "gitlab", "gitea", "bitbucket", "base"])
def test_buildbots_forge_hooks_are_not_enabled(installation: LocalInstallation, dialect: str) -> None:
    answer = httpx.post(
        f"{installation.url}change_hook/{dialect}",
        auth=("poke", installation.secret("poke_secret")),
        json={"ref": "refs/heads/auto"},
    )
    assert answer.status_code == 400, answer.text


@pytest.mark.skipif(
    "badges" not in get_plugins("www").names and os.environ.get("CI") != "true",
    reason="badges need libcairo: on Debian, apt install libcairo2, and then make clean venv",
)
def test_badges_are_open_because_the_settings_say_so(installation: LocalInstallation) -> None:
    badge = httpx.get(installation.url + "plugins/badges/shop-lint.svg")
    assert badge.status_code == 200
    assert "<svg" in badge.text


def test_the_views_are_installed_and_the_configurations_revision_is_shown(installation: LocalInstallation) -> None:
    with signed_in(installation, "bob", installation.secret("web_bob")) as bob:
        config = bob.get("config").json()
    assert {"console_view", "grid_view", "waterfall_view"} <= config["plugins"].keys()
    assert dict(map(tuple, config["versions"]))["Configuration"].startswith("not in git, content ")


def test_no_secret_stands_in_the_log(installation: LocalInstallation) -> None:
    for name in ("web_admin_password", "web_bob", "poke_secret", "bot_secret", "w"):
        assert installation.secret(name) not in installation.master.said()


def test_a_broken_repository_is_reported_at_reconfiguration_and_the_others_go_on(
    installation: LocalInstallation, tmp_path: Path
) -> None:
    installation.add_repository("broken", 'url = "h:x"\nlimt = 3\n')
    try:
        installation.reconfigure()
        with signed_in(installation, "bob", installation.secret("web_bob")) as bob:
            config = bob.get("config").json()
            builders = [builder["name"] for builder in bob.get("api/v2/builders").json()["builders"]]
        assert config["title"] == "Autogate: 1 fault"
        assert "broken.toml" in str(config["versions"])
        assert "shop-lint" in builders
        assert "left out: " in installation.master.said()
        assert "limt: is no key that Autogate knows" in installation.master.said()
    finally:
        (installation.places.repositories / "broken.toml").unlink()
        installation.reconfigure()


def test_a_broken_site_file_keeps_the_running_configuration(installation: LocalInstallation) -> None:
    site = installation.places.site_file.read_text()
    try:
        installation.places.site_file.write_text("[site\n")
        before = len(installation.master.said())
        installation.reconfigure()
        said = installation.master.said()[before:]
        assert "is not TOML" in said
        assert "Traceback" not in said
        with signed_in(installation, "bob", installation.secret("web_bob")) as bob:
            assert bob.get("api/v2/builders").status_code == 200
    finally:
        installation.places.site_file.write_text(site)
        installation.reconfigure()
