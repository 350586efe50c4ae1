"""The project's own docker-compose.yml, brought up in a copy of the project, with a git server beside it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autogate.cli.local import free_port
from tests.support.repository import Repository
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]

OURS = ("master", "worker-1", "worker-2", "bot")
WORKERS = ("worker-1", "worker-2")

# Only what the test needs on top: the file itself is what is tested.
OVERRIDE = """\
services:
  bot:
    command: [autogate, listen, --host, 0.0.0.0, --port, "8080", --json]
  git:
    build: tests/compose/gitserver
    image: autogate-test-git:{tag}
    hostname: git
    networks: [builds]
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
        self.web_port, self.ssh_port = free_port(), free_port()
        self._owner = owner
        self._environment = os.environ | {
            "AUTOGATE_PORT": str(self.web_port),
            "AUTOGATE_TAG": self.name,
            "COMPOSE_PROJECT_NAME": self.name,
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
        images = [f"autogate-{image}:{self.name}" for image in ("master", "worker", "test-git")]
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

    # -- what comes out ------------------------------------------------------------------------------------------------

    def reports(self, sha: str) -> list[dict[str, Any]]:
        """Return every report about a commit that the bot got, oldest first."""
        lines = [line for line in self.logs("bot").splitlines() if line.startswith("{")]
        reports = [json.loads(line)["report"] for line in lines]
        return [report for report in reports if report["revision"] == sha]

    def verdicts(self, sha: str, builders: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Wait for the final report of each builder about a commit; return them by the builder's name.

        A repeated report is none: it must be the same one.
        """
        wanted = set(builders)

        def final() -> dict[str, dict[str, Any]] | None:
            found: dict[str, dict[str, Any]] = {}
            for report in self.reports(sha):
                if report["event"] == "finished":
                    known = found.setdefault(report["builder"], report)
                    assert known == report, "two verdicts about one request"
            return found if found.keys() >= wanted else None

        verdicts = wait_for(final, f"the verdicts of {sorted(wanted)} on {sha[:12]}", timeout=240)
        assert verdicts.keys() == wanted
        return verdicts

    # -- a repository --------------------------------------------------------------------------------------------------

    def serve(self, name: str, deploy_key: str) -> None:
        """Make an empty repository on the git server that a deploy key may read."""
        path = f"/srv/git/{name}.git"
        line = f'restrict,command="only-read {path}" {deploy_key}'
        self.execute("git", "su", "git", "-c", f"git init -q --bare -b main {path}")
        self._admit(line)

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
                values[path.name] = lines[3] if "PRIVATE KEY" in text else text
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
