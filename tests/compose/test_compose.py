"""docker-compose.yml and the images as users run them: what arrives, what is seen of secrets, what outlives a kill."""

import base64
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.compose.stack import OURS, WORKERS, Stack, run, said
from tests.support.repository import Repository
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(1800)

# Blocks until it is released while the change with it is tested, so that a test chooses what happens in mid-build.
HELD = """\
'A test that waits.'

import pathlib
import subprocess
import time
import unittest


class Held(unittest.TestCase):
    'Waits.'

    def test_held(self):
        'Waits until it is released.'
        changed = subprocess.check_output(["git", "diff", "--name-only", "HEAD^"], text=True)
        if "tests/test_{name}.py" in changed.split():
            pathlib.Path("/tmp/begun-{name}").touch()
            while not pathlib.Path("/tmp/go-{name}").exists():
                time.sleep(0.1)
"""

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


def proposed(stack: Stack, shop: Repository, topic: str, files: dict[str, str]) -> int:
    """Push a change for review, approve it, and return its number."""
    number = stack.propose(shop, topic, files)
    stack.approve(number)
    return number


def hold(stack: Stack, shop: Repository, name: str) -> int:
    """Propose and approve a change whose test build blocks until `release`."""
    return proposed(stack, shop, name, {f"tests/test_{name}.py": HELD.format(name=name)})


def where_it_runs(stack: Stack, name: str) -> str:
    """Wait until the blocked test runs; return the worker."""
    return wait_for(
        lambda: next(
            (worker for worker in WORKERS if stack.succeeds(worker, "test", "-e", f"/tmp/begun-{name}")), None
        ),
        f"the test {name} to begin",
        timeout=240,
    )


def release(stack: Stack, name: str, *workers: str) -> None:
    for worker in workers or WORKERS:
        stack.execute(worker, "touch", f"/tmp/go-{name}")


class TestImages:
    def test_the_example_configuration_is_healthy_without_an_edit(self, stack: Stack) -> None:
        for service in (*OURS, "db"):
            assert stack.state(service)["Health"]["Status"] == "healthy", service

    def test_nothing_runs_as_root_or_with_more_rights_than_it_needs(self, stack: Stack) -> None:
        for service in (*OURS, "db"):
            container = stack.inspect(service)
            processes = run("docker", "top", container["Id"], "-eo", "uid,pid,args").splitlines()[1:]
            assert processes
            # (compose's health check of the database looks in as root)
            roots = [line for line in processes if line.split()[0] == "0" and "pg_isready" not in line]
            assert not roots, service
            assert container["HostConfig"]["ReadonlyRootfs"]
            assert container["HostConfig"]["CapDrop"] == ["ALL"]
            assert "no-new-privileges:true" in container["HostConfig"]["SecurityOpt"]
            if service in OURS:
                assert container["Config"]["User"] == "10001:10001"
                status = stack.execute(service, "cat", "/proc/1/status")
                assert "CapEff:\t0000000000000000" in status
                assert "NoNewPrivs:\t1" in status

    def test_no_build_tool_is_in_the_images(self, stack: Stack) -> None:
        for service in ("master", "worker-1", "bot"):
            for tool in ("gcc", "make", "pip"):
                assert not stack.succeeds(service, "sh", "-c", f"command -v {tool}"), f"{tool} in {service}"

    def test_the_bot_s_image_has_no_buildbot(self, stack: Stack) -> None:
        assert stack.succeeds("bot", "python3", "-c", "import review_bot.main")
        assert not stack.succeeds("bot", "python3", "-c", "import buildbot")
        assert not stack.succeeds("bot", "python3", "-c", "import master")

    def test_the_web_ui_is_published_on_the_loopback_interface_only_and_closed(self, stack: Stack) -> None:
        ports = stack.inspect("master")["NetworkSettings"]["Ports"]
        assert ports["8010/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(stack.web_port)}]
        assert not ports["9989/tcp"]
        url = f"http://127.0.0.1:{stack.web_port}"
        with urllib.request.urlopen(f"{url}/", timeout=30) as page:
            assert b"Autogate" in page.read()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/api/v2/builders", timeout=30)
        assert refused.value.code in {401, 403}

    def test_the_bot_is_published_on_the_loopback_interface_only_and_closed(self, stack: Stack) -> None:
        ports = stack.inspect("bot")["NetworkSettings"]["Ports"]
        assert ports == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.bot_port)}]}
        url = f"http://127.0.0.1:{stack.bot_port}"
        health = httpx.get(f"{url}/healthz").raise_for_status().json()
        assert (health["status"], health["role"], health["repositories"]) == ("ok", "leader", [])
        for path in ("/api/v1/repositories", "/metrics"):
            assert httpx.get(url + path).status_code == 401, path

    def test_the_printed_password_opens_the_web_ui(self, stack: Stack) -> None:
        password = (stack.folder / "secrets" / "web_admin_password").read_text()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(), _NoRedirect())
        url = f"http://127.0.0.1:{stack.web_port}"
        basic = base64.b64encode(f"admin:{password}".encode()).decode()
        with pytest.raises(urllib.error.HTTPError) as redirected:
            opener.open(urllib.request.Request(f"{url}/auth/login", headers={"Authorization": f"Basic {basic}"}))
        assert redirected.value.code == 302
        with opener.open(f"{url}/api/v2/workers", timeout=30) as answer:
            workers = json.load(answer)["workers"]
        connected = {worker["name"] for worker in workers if worker["connected_to"]}
        assert set(WORKERS) <= connected

    def test_checkconfig_passes_inside_the_image(self, stack: Stack) -> None:
        said = stack.compose(
            "run", "--rm", "--no-deps", "-T", "master", "buildbot", "checkconfig", "/opt/autogate/master/master.cfg"
        )
        assert "Config file is good!" in said

    def test_checkconfig_fails_inside_the_image_on_a_broken_site(self, stack: Stack, tmp_path: Path) -> None:
        broken = tmp_path / "config"
        shutil.copytree(stack.folder / "config", broken)
        site = broken / "autogate.toml"
        site.write_text(site.read_text() + "\n[nonsense]\n")
        process = stack.popen(
            *("run", "--rm", "--no-deps", "-T", "--volume", f"{broken}:/broken:ro", "--env", "AUTOGATE_CONFIG=/broken"),
            *("master", "buildbot", "checkconfig", "/opt/autogate/master/master.cfg"),
        )
        said, _ = process.communicate(timeout=120)
        assert process.returncode != 0
        assert "nonsense" in said

    def test_a_worker_with_a_wrong_password_is_not_healthy(self, stack: Stack) -> None:
        impostor = f"{stack.name}-impostor"
        given = ("--env", "AUTOGATE_WORKER=nobody", "--env", "AUTOGATE_STATE=/tmp/state")
        stack.compose("run", "--detach", "--no-deps", "--name", impostor, *given, "worker-2")
        try:
            wait_for(lambda: "unauthorized" in said(impostor), "the impostor to be refused")
            _, *check = stack.inspect("worker-2")["Config"]["Healthcheck"]["Test"]
            assert stack.succeeds("worker-2", *check)
            refused = subprocess.run(["docker", "exec", impostor, *check], capture_output=True, check=False)
            assert refused.returncode == 1
        finally:
            run("docker", "rm", "--force", impostor)


class TestLanding:
    def test_a_push_and_an_approval_by_the_command_land_a_change(self, stack: Stack, shop: Repository) -> None:
        shop.git("fetch", "-q", "origin")
        head = shop.topic("vat", {"shop/vat.py": '"""Tax."""\n\nRATE = 19\n'}, base="origin/main")
        stack.approved.add(head)
        shown = stack.cli("approve", "shop", "vat", "--watch")
        assert "landed" in shown.splitlines()[-1]
        stack.check_rule()
        refs = shop.git("ls-remote", "origin")
        assert "refs/for/main/vat" not in refs
        shop.git("fetch", "-q", "origin")
        assert shop.git("rev-parse", "origin/main^2") == head

    @pytest.mark.parametrize(
        ("topic", "path", "content", "told"),
        [
            (
                "bad-lint",
                "shop/bad.py",
                "import os\nimport sys\ndef f(x):\n  return undefined\n",
                ("undefined-variable", "shop/bad.py"),
            ),
            (
                "bad-test",
                "tests/test_bad.py",
                (
                    '"""Fails."""\n\nimport unittest\n\n\nclass Bad(unittest.TestCase):\n    """Fails."""\n\n'
                    '    def test_bad(self):\n        """Fails."""\n        self.fail("as it should")\n'
                ),
                ("test_bad.Bad.test_bad", "as it should"),
            ),
        ],
    )
    def test_a_bad_change_does_not_land_and_the_command_tells_why(
        self, stack: Stack, shop: Repository, topic: str, path: str, content: str, told: tuple[str, ...]
    ) -> None:
        before = shop.git("ls-remote", "origin", "refs/heads/main")
        stack.wait_until(proposed(stack, shop, topic, {path: content}), "aside")
        shown = stack.cli("show", "shop", topic)
        for words in told:
            assert words in shown
        queue = json.loads(stack.cli("queue", "shop", "--json"))["queues"][0]
        assert (topic, "aside") in {(entry["topic"], entry["state"]) for entry in queue["entries"]}
        assert shop.git("ls-remote", "origin", "refs/heads/main") == before
        stack.check_rule()

    def test_the_doctor_finds_nothing_wrong(self, stack: Stack, shop: Repository) -> None:
        table = stack.cli("check")
        assert not {"failed", "warning"} & set(re.findall(r"^│ ?(\w+)", table, re.MULTILINE)), table
        assert "shop: push" in table

    def test_what_the_command_writes_belongs_to_the_owner_of_the_secrets(self, stack: Stack, shop: Repository) -> None:
        owner = (stack.folder / "secrets").stat().st_uid
        secrets = stack.folder / "secrets"
        keys = [path for folder in ("keys", "write-keys") for path in (secrets / folder).iterdir()]
        written = [*keys, stack.folder / "config" / "known_hosts"]
        assert len(written) == 5
        assert {path.stat().st_uid for path in written} == {owner}
        assert (stack.folder / "secrets").stat().st_mode & 0o777 == 0o700


class TestSecrets:
    def test_a_build_sees_no_secret_in_any_environment_or_argument_list(self, stack: Stack, shop: Repository) -> None:
        spy = (
            '"""Spies."""\n\nimport contextlib\nimport glob\nimport pathlib\nimport unittest\n\n\n'
            'class Spy(unittest.TestCase):\n    """One."""\n\n'
            '    def test_spy(self):\n        """Read what all processes were given."""\n'
            "        seen = b''\n"
            "        for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
            "            with contextlib.suppress(OSError):\n"
            "                seen += pathlib.Path(path).read_bytes()\n"
            "        pathlib.Path('/tmp/spied').write_bytes(seen.replace(b'\\0', b'\\n'))\n"
        )
        merge = stack.wait_until_landed(proposed(stack, shop, "spy", {"tests/test_spy.py": spy}))
        spied = stack.execute(stack.workers(merge, "shop-test")[-1], "cat", "/tmp/spied")
        assert "AUTOGATE_WORKER=" in spied, "the worker's own environment is among what was read"
        assert not _shown(stack, spied)

    def test_docker_shows_no_secret(self, stack: Stack, shop: Repository) -> None:
        for service in (*OURS, "db"):
            container = stack.inspect(service)
            seen = json.dumps(container)
            seen += run("docker", "top", container["Id"], "-eo", "pid,args")
            seen += run("docker", "history", "--no-trunc", container["Image"])
            seen += run("docker", "inspect", container["Image"])
            if service in OURS:
                seen += stack.execute(service, "sh", "-c", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
                assert "AUTOGATE_CONFIG=" in seen
            assert not _shown(stack, seen), service

    def test_no_log_shows_a_secret(self, stack: Stack, shop: Repository) -> None:
        seen = stack.logs()
        assert "BuildMaster is running" in seen
        assert not _shown(stack, seen)

    def test_no_layer_holds_a_secret_or_the_history(self, stack: Stack, tmp_path: Path) -> None:
        patterns = tmp_path / "patterns"
        patterns.write_text("\n".join(stack.secret_values().values()) + "\n")
        for service in ("master", "worker-1", "bot"):
            image = stack.inspect(service)["Image"]
            inside = (
                "docker",
                "run",
                "--rm",
                "--user",
                "0",
                "--network",
                "none",
                "--volume",
                f"{patterns}:/patterns:ro",
            )
            search = "! grep -rlFf /patterns /etc /home /opt /root /srv /usr /var && grep -qFf /patterns /patterns"
            run(*inside, "--entrypoint", "sh", image, "-c", search)
            kept = run(*inside, "--entrypoint", "ls", image, "-A", "/opt/autogate").split()
            assert "autogate" in kept
            assert not {".git", ".env", "secrets", "config", "tests"} & set(kept)

    def test_a_build_reaches_neither_the_database_nor_the_bot(self, stack: Stack) -> None:
        assert stack.succeeds("worker-1", "python3", "-c", CONNECT, "master", "9989")
        closed = [
            (network["IPAddress"], port)
            for service, port in (("db", "5432"), ("bot", "8080"))
            for network in stack.inspect(service)["NetworkSettings"]["Networks"].values()
        ]
        assert len(closed) == 4
        with ThreadPoolExecutor() as pool:  # what is closed does not answer at all
            for who, reached in (("master", True), ("worker-1", False)):
                found = pool.map(lambda door, who=who: stack.succeeds(who, "python3", "-c", CONNECT, *door), closed)
                assert list(found) == [reached] * 4

    def test_the_master_may_report_to_the_bot_and_nothing_else(self, stack: Stack) -> None:
        ask = (
            "import sys, urllib.request, urllib.error\n"
            "data = b'{}' if sys.argv[2] == 'POST' else None\n"
            "asked = urllib.request.Request(sys.argv[1], data, {'Content-Type': 'application/json'})\n"
            "try:\n    urllib.request.urlopen(asked)\n"
            "except urllib.error.HTTPError as error:\n    print(error.code)\n"
        )
        for path, method in (
            ("api/v1/repositories", "GET"),
            ("api/v1/repositories/shop/pulls/1/comments", "POST"),
            ("buildbot", "POST"),  # without a signature
        ):
            assert stack.execute("master", "python3", "-c", ask, f"http://bot:8080/{path}", method).strip() == "401"

    def test_each_container_has_the_keys_and_secrets_that_it_needs(self, stack: Stack, shop: Repository) -> None:
        worker = {"worker_password", "keys"}
        expected = {
            "bot": {"db_password", "bot_secret", "bot_web_password", "poke_secret", "write-keys"},
            "master": {
                *("db_password", "bot_secret", "bot_web_password", "poke_secret", "web_admin_password"),
                *("worker_1_password", "worker_2_password", "keys"),
            },
            "worker-1": worker,
            "worker-2": worker,
        }
        for service, names in expected.items():
            assert set(stack.execute(service, "ls", "-A", "/run/secrets").split()) == names
        write_key = (stack.folder / "secrets" / "write-keys" / "shop").read_text()
        assert stack.execute("bot", "cat", "/run/secrets/write-keys/shop") == write_key
        assert not stack.succeeds("bot", "touch", "/run/secrets/write-keys/another")


class TestKills:
    def test_the_bot_is_killed_in_mid_build(self, stack: Stack, shop: Repository) -> None:
        number = hold(stack, shop, "bot_killed")
        where_it_runs(stack, "bot_killed")
        stack.kill("bot")
        release(stack, "bot_killed")
        stack.up()
        merge = stack.wait_until_landed(number)
        assert len(stack.workers(merge, "shop-test")) == 1, "it was built again"

    def test_the_master_is_killed_between_push_and_verdict(self, stack: Stack, shop: Repository) -> None:
        number = hold(stack, shop, "master_killed")
        where_it_runs(stack, "master_killed")
        stack.kill("master")
        release(stack, "master_killed")
        stack.up()
        stack.wait_until_landed(number)

    def test_a_dead_master_misses_no_candidate_and_keeps_no_worker_from_stopping(
        self, stack: Stack, shop: Repository
    ) -> None:
        stack.kill("master")
        number = proposed(stack, shop, "while-dead", {"shop/while_dead.py": '"""Pushed to nobody."""\n'})
        stack.wait_until(number, "testing")
        stack.compose("stop", "worker-1")
        assert stack.state("worker-1")["ExitCode"] == 0
        stack.up()
        stack.wait_until_landed(number)

    def test_a_worker_is_killed_in_mid_build(self, stack: Stack, shop: Repository) -> None:
        number = hold(stack, shop, "worker_killed")
        worker = where_it_runs(stack, "worker_killed")
        stack.kill(worker)
        (other,) = {*WORKERS} - {worker}
        release(stack, "worker_killed", other)
        merge = stack.wait_until_landed(number)
        assert stack.workers(merge, "shop-test") == [worker, other]
        stack.up()

    def test_the_database_is_killed_in_mid_build(self, stack: Stack, shop: Repository) -> None:
        number = hold(stack, shop, "database_killed")
        where_it_runs(stack, "database_killed")
        waits = stack.logs("master").count("the database is away")
        stack.kill("db")
        release(stack, "database_killed")
        wait_for(lambda: stack.logs("master").count("the database is away") > waits, "the master to miss it")
        stack.up()
        stack.wait_until_landed(number)

    def test_a_push_while_the_database_is_dead_is_seen(self, stack: Stack, shop: Repository) -> None:
        shop.git("fetch", "-q", "origin")
        stack.kill("db")
        files = {"shop/no_database.py": '"""Pushed to a bot without a memory."""\n'}
        shop.topic("no-database", files, base="origin/main")
        stack.up()
        # by its poll, not by a poke
        (found,) = wait_for(lambda: stack.found("no-database"), "the bot to see it")
        stack.approve(found["number"])
        stack.wait_until_landed(found["number"])

    def test_the_database_is_restarted_in_mid_build(self, stack: Stack, shop: Repository) -> None:
        number = hold(stack, shop, "database_restarted")
        where_it_runs(stack, "database_restarted")
        stack.compose("restart", "db")
        release(stack, "database_restarted")
        stack.wait_until_landed(number)

    @pytest.mark.parametrize("service", ["bot", "master", "worker-1"])
    def test_what_crashes_comes_back_by_itself(self, stack: Stack, service: str) -> None:
        before = stack.state(service)["StartedAt"]
        # whatever this answers: its own container ends under it
        stack.succeeds(service, "sh", "-c", "kill -KILL $(cat /proc/1/task/1/children)")
        wait_for(lambda: stack.state(service)["StartedAt"] != before, f"{service} to be started again")
        wait_for(
            lambda: stack.state(service).get("Health", {}).get("Status") == "healthy", f"{service} to be healthy", 180
        )


class TestGracefulStop:
    def test_a_stopping_master_lets_a_build_finish(self, stack: Stack, shop: Repository) -> None:
        self._drains(stack, shop, "master", "drain_master")

    def test_a_stopping_worker_lets_a_build_finish(self, stack: Stack, shop: Repository) -> None:
        self._drains(stack, shop, "worker", "drain_worker")

    def test_all_stop_together_and_know_everything_afterwards(self, stack: Stack, shop: Repository) -> None:
        number = hold(stack, shop, "drain_all")
        where_it_runs(stack, "drain_all")
        stopping = stack.popen("stop")
        wait_for(lambda: "Initiating shutdown because we got SIGHUP" in stack.logs(*WORKERS), "the workers to drain")
        release(stack, "drain_all")
        said, _ = stopping.communicate(timeout=300)
        assert stopping.returncode == 0, said
        assert stack.state("bot")["ExitCode"] == 0
        stack.up()
        merge = stack.wait_until_landed(number)
        assert len(stack.workers(merge, "shop-test")) == 1, "the build was cut off and made again"

    def _drains(self, stack: Stack, shop: Repository, what: str, name: str) -> None:
        number = hold(stack, shop, name)
        worker = where_it_runs(stack, name)
        service = worker if what == "worker" else what
        sign = "Initiating shutdown because we got SIGHUP" if what == "worker" else "Initiating clean shutdown"
        told = stack.logs(service).count(sign)
        stopping = stack.popen("stop", service)
        wait_for(lambda: stack.logs(service).count(sign) > told, f"{service} to be told to stop")
        assert stack.state(service)["Running"], "it did not wait for the build"
        release(stack, name)
        said, _ = stopping.communicate(timeout=300)
        assert stopping.returncode == 0, said
        state = stack.state(service)
        assert (state["Running"], state["ExitCode"]) == (False, 0)
        stack.up()
        merge = stack.wait_until_landed(number)
        assert len(stack.workers(merge, "shop-test")) == 1, "the build was cut off and made again"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        """Follow nothing: the sign-in's cookie is what is wanted."""


def _shown(stack: Stack, text: str) -> list[str]:
    """Return the names of the secrets whose values stand in ``text``."""
    return [name for name, value in stack.secret_values().items() if value in text]
