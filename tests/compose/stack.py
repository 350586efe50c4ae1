"""The project's own docker-compose.yml, brought up in a copy of the project, with a git server beside it."""

import json
import os
import re
import shutil
import subprocess
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx

from autogate.cli.local import free_port
from tests.support.repository import Repository
from tests.support.rule import assert_rule
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]

OURS = ("master", "worker-1", "worker-2", "bot")
WORKERS = ("worker-1", "worker-2")

# Only what the test needs on top: the file itself is what is tested.
OVERRIDE = """\
services:
  git:
    build: tests/compose/gitserver
    image: autogate-test-git:{tag}
    hostname: git
    networks: [builds, web]
    ports: ["127.0.0.1:{ssh_port}:22"]
    stop_grace_period: 0s
"""


class Stack:
    """Autogate in containers.

    Args:
        folder: An empty folder; gets a copy of the project.
        owner: The uid that owns configuration and secrets there, as a user of Docker would.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder = folder
        self.name = f"autogate-test-{os.getpid()}"
        self.web_port, self.bot_port, self.ssh_port = free_port(), free_port(), free_port()
        self.approved: set[str] = set()
        self._owner = owner
        self._environment = os.environ | {
            "AUTOGATE_PORT": str(self.web_port),
            "AUTOGATE_BOT_PORT": str(self.bot_port),
            "AUTOGATE_TAG": self.name,
            "COMPOSE_PROJECT_NAME": self.name,
            "AUTOGATE_TOKEN": "",
            "COMPOSE_PROFILES": "",
            "DOCKER_BUILDKIT": "1",
        }

    # -- set-up and end ------------------------------------------------------------------------------------------------

    def copy_project(self) -> None:
        """Copy what git knows or would add, and make the secrets."""
        names = run("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        for name in filter(None, names):
            source, target = ROOT / name, self.folder / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        override = OVERRIDE.format(tag=self.name, ssh_port=self.ssh_port)
        (self.folder / "docker-compose.override.yml").write_text(override)
        run(str(self.folder / "deploy" / "make-secrets"))
        if os.geteuid() == 0:
            run(
                "chown", "-R", f"{self._owner}:{self._owner}", str(self.folder / "secrets"), str(self.folder / "config")
            )

    def build(self) -> None:
        """Build all images."""
        self.compose("build", timeout=1500)

    def up(self) -> None:
        """Start what does not run, and wait until all is healthy."""
        self.compose("up", "--detach", "--wait", "--no-build", "--wait-timeout", "240", timeout=300)

    def destroy(self) -> None:
        """Remove containers, volumes, networks and images, whatever state they are in."""
        # not by a clean shutdown, which would wait for builds that a failed test left behind
        self._compose("kill", timeout=120)
        self._compose("--profile", "*", "down", "--volumes", "--remove-orphans", timeout=300)
        images = [f"autogate-{image}:{self.name}" for image in ("master", "worker", "bot", "test-git")]
        subprocess.run(["docker", "image", "rm", *images], capture_output=True, check=False)
        # each service's build tagged an image of its own; the last one kept the name
        run("docker", "image", "prune", "--force", "--filter", f"label=com.docker.compose.project={self.name}")

    # -- docker --------------------------------------------------------------------------------------------------------

    def compose(self, *args: str, timeout: float = 300) -> str:
        """Run docker compose and return what it printed on the standard output."""
        done = self._compose(*args, timeout=timeout)
        assert done.returncode == 0, f"docker compose {args}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def popen(self, *args: str) -> subprocess.Popen[str]:
        """Start docker compose and return at once."""
        return subprocess.Popen(
            ["docker", "compose", *args],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def cli(self, *args: str) -> str:
        """Run the command autogate in its container."""
        return self.compose("run", "--rm", "--no-deps", "-T", "cli", *args)

    def container(self, service: str) -> str:
        """Return the id of a service's container, running or not."""
        labels = {"project": self.name, "service": service, "oneoff": "False"}
        filters = [
            word for name, value in labels.items() for word in ("--filter", f"label=com.docker.compose.{name}={value}")
        ]
        identity = run("docker", "ps", "--all", "--quiet", "--no-trunc", *filters).strip()
        assert identity, f"{service} has no container"
        return identity

    def execute(self, service: str, *command: str) -> str:
        """Run a command in a service's container and return what it printed on the standard output."""
        return run("docker", "exec", self.container(service), *command)

    def succeeds(self, service: str, *command: str) -> bool:
        """Tell whether a command in a service's container does; it does not where the container is down."""
        done = subprocess.run(["docker", "exec", self.container(service), *command], capture_output=True, check=False)
        return done.returncode == 0

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what docker knows of a service's container."""
        (found,) = json.loads(run("docker", "inspect", self.container(service)))
        assert isinstance(found, dict)
        return found

    def state(self, service: str) -> dict[str, Any]:
        """Return the state of a service's container."""
        state = self.inspect(service)["State"]
        assert isinstance(state, dict)
        return state

    def kill(self, service: str) -> None:
        """Kill a service as a power cut would; docker does not start it again by itself."""
        run("docker", "kill", self.container(service))
        wait_for(lambda: not self.state(service)["Running"], f"{service} to be dead")

    def logs(self, *services: str) -> str:
        """Return what services, or all of them, printed over all the lives of their containers."""
        return "".join(said(self.container(service)) for service in services or (*OURS, "db", "git"))

    # -- the bot -------------------------------------------------------------------------------------------------------

    def add_token(self, name: str) -> None:
        """Make a token, with which the API and the command are used from now on."""
        token = self.compose("exec", "-T", "bot", "autogate-bot", "token", "add", name).strip()
        self._environment["AUTOGATE_TOKEN"] = token

    def ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Ask the bot's API, through the port that is published."""
        headers = {"Authorization": f"Bearer {self._environment['AUTOGATE_TOKEN']}"}
        url = f"http://127.0.0.1:{self.bot_port}/api/v1/repositories{path}"
        answer = httpx.request(method, url, headers=headers, timeout=60, **arguments)
        assert answer.is_success, answer.text
        found = answer.json()
        assert isinstance(found, dict)
        return found

    def propose(self, shop: Repository, topic: str, files: dict[str, str]) -> int:
        """Push a change for review, wait until the bot has seen it, and return the pull request's number."""
        shop.git("fetch", "-q", "origin")
        shop.topic(topic, files, base="origin/main")
        # by its poll: a poke is refused while a bot that was killed still has the lease
        (found,) = wait_for(lambda: self.found(topic), f"the bot to see {topic}")
        return int(found["number"])

    def found(self, topic: str) -> list[dict[str, Any]]:
        """Return the pull requests of a topic."""
        found = self.ask("GET", "/shop/pulls", params={"source": topic})["pulls"]
        assert isinstance(found, list)
        return found

    def approve(self, number: int) -> None:
        """Approve the head that the bot shows."""
        head = self.ask("GET", f"/shop/pulls/{number}")["pull"]["head"]
        self.approved.add(head)
        comment = {"id": str(uuid.uuid4()), "body": f"@autogate r+ {head}"}
        answer = self.ask("POST", f"/shop/pulls/{number}/comments", json=comment)
        assert not answer["refused"], answer

    def wait_until(self, number: int, *states: str) -> dict[str, Any]:
        """Wait until a pull request is in one of the states; return all that the bot tells of it."""

        def there() -> dict[str, Any] | None:
            try:
                detail = self.ask("GET", f"/shop/pulls/{number}")
            except (httpx.TransportError, AssertionError):  # bot or database are down
                return None
            return detail if detail["pull"]["state"] in states else None

        return wait_for(there, f"#{number} to be {' or '.join(states)}", timeout=240)

    def wait_until_landed(self, number: int) -> str:
        """Wait until a pull request has landed, check the rule, and return the merge."""
        pull = self.wait_until(number, "landed", "aside", "closed")["pull"]
        assert pull["state"] == "landed", pull
        self.check_rule()
        return str(pull["landed_as"])

    def check_rule(self) -> None:
        """Assert the rule, by the repository's own log and by Buildbot's own records."""
        copy = self.folder / "work" / "copy.git"
        shutil.rmtree(copy, ignore_errors=True)
        run("docker", "cp", "--quiet", f"{self.container('git')}:/srv/git/shop.git", str(copy))
        assert_rule(copy, "main", self.begin, self.approved, self._passed())

    # -- Buildbot ------------------------------------------------------------------------------------------------------

    def workers(self, sha: str, builder: str) -> list[str]:
        """Return the worker of each build that there was of a commit, the first build first."""
        rows = self._buildbot("buildsets", "buildrequests", "builds", "builders", "workers")
        names = {row["workerid"]: row["name"] for row in rows["workers"]}
        (builder_id,) = [row["builderid"] for row in rows["builders"] if row["name"] == builder]
        sets = {row["bsid"] for row in rows["buildsets"] if row["sourcestamps"][0]["revision"] == sha}
        requests = {
            row["buildrequestid"]
            for row in rows["buildrequests"]
            if row["buildsetid"] in sets and row["builderid"] == builder_id
        }
        builds = [row for row in rows["builds"] if row["buildrequestid"] in requests]
        return [names[row["workerid"]] for row in sorted(builds, key=lambda row: int(row["buildid"]))]

    def _passed(self) -> set[str]:
        """Return the commits that both builders passed on."""
        rows = self._buildbot("buildsets", "buildrequests", "builders")
        builders = {row["builderid"] for row in rows["builders"] if row["name"] in {"shop-lint", "shop-test"}}
        revisions = {row["bsid"]: row["sourcestamps"][0]["revision"] for row in rows["buildsets"]}
        results: dict[str, dict[int, int]] = defaultdict(dict)
        for row in rows["buildrequests"]:
            if row["complete"]:
                results[revisions[row["buildsetid"]]][row["builderid"]] = row["results"]
        return {sha for sha, found in results.items() if found.keys() >= builders and set(found.values()) <= {0, 1}}

    def _buildbot(self, *tables: str) -> dict[str, list[dict[str, Any]]]:
        password = (self.folder / "secrets" / "web_admin_password").read_text().strip()
        with httpx.Client(base_url=f"http://127.0.0.1:{self.web_port}", timeout=60) as client:
            client.get("/auth/login", auth=("admin", password))
            return {table: client.get(f"/api/v2/{table}").raise_for_status().json()[table] for table in tables}

    # -- a repository --------------------------------------------------------------------------------------------------

    def serve(self, name: str, read_key: str, write_key: str) -> None:
        """Make an empty repository on the git server that one deploy key may read, and the other write."""
        path = f"/srv/git/{name}.git"
        make = f"git init -q --bare -b main {path} && git -C {path} config core.logAllRefUpdates true"
        self.execute("git", "su", "git", "-c", make)
        self._admit(f'restrict,command="only read {path}" {read_key}')
        self._admit(f'restrict,command="only write {path}" {write_key}')

    def work_tree(self, name: str, files: dict[str, str]) -> Repository:
        """Return a work tree that pushes over ssh to a repository on the git server, with ``files`` on main."""
        folder = self.folder / "work"
        folder.mkdir(exist_ok=True)
        key, known_hosts = folder / "key", folder / "known_hosts"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
            self._admit("restrict " + key.with_suffix(".pub").read_text().strip())
            host_key = self.execute("git", "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
            known_hosts.write_text(f"[127.0.0.1]:{self.ssh_port} {host_key}")
        repository = Repository.create(folder, name, files)
        ssh = f"ssh -F none -i {key} -o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile={known_hosts}"
        repository.git("config", "core.sshCommand", ssh)
        repository.git("remote", "set-url", "origin", f"ssh://git@127.0.0.1:{self.ssh_port}/srv/git/{name}.git")
        repository.push("main")
        self.begin = repository.head()
        return repository

    def _admit(self, line: str) -> None:
        add = 'printf "%s\\n" "$1" >>/srv/git/.ssh/authorized_keys'
        run("docker", "exec", "--user", "git", self.container("git"), "sh", "-c", add, "sh", line.strip())

    def _compose(self, *args: str, timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", *args],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def secret_values(self) -> dict[str, str]:
        """Return what must not be seen anywhere: every secret, and of a private key a line that only it has."""
        values: dict[str, str] = {}
        for path in (self.folder / "secrets").rglob("*"):
            if path.is_file() and path.suffix != ".pub":
                text = path.read_text().strip()
                lines = re.findall(r"^(?!-----).{40,}$", text, re.MULTILINE)
                # of an ed25519 key, the fourth line: those before hold the public half and what all keys share
                values[str(path)] = lines[3] if "PRIVATE KEY" in text else text
        if token := self._environment["AUTOGATE_TOKEN"]:
            values["a token"] = token
        return values


def run(*command: str) -> str:
    """Run a program and return what it printed on the standard output."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def said(container: str) -> str:
    """Return everything that a container printed."""
    command = ["docker", "logs", container]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout
