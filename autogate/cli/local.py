"""A whole installation on this machine's loopback interface: master, workers, bot, and all they need, in a folder."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from autogate import names
from autogate.places import Places
from autogate.storage import write_private

ROOT = Path(__file__).resolve().parents[2]
"""The clone that this file belongs to: the installation runs its entrypoints."""

START_SECONDS = 120
STOP_SECONDS = 60

_SITE = """\
[site]
title = "{title}"
url = "http://127.0.0.1:{web}/"
[web]
port = {web}
anonymous = "{anonymous}"
users = {{ admin = "web_admin_password", bot = "bot_web_password" }}
admins = ["admin", "bot"]
poke_secret = "poke_secret"
badges = true
[master]
worker_port = {pb}
[bot]
url = "{bot}"
port = {bot_port}
user = "bot"
secret = "bot_secret"
"""


class StartError(RuntimeError):
    """A process of the installation did not start; the message ends with what it said."""


@dataclass
class Process:
    """One program of the installation, in the foreground of a session of its own.

    Attributes:
        command: What is run.
        environment: Added to this process's own.
        log: Where its output goes.
    """

    command: Path
    environment: Mapping[str, str]
    log: Path
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it; returns at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(  # noqa: S603  (an entrypoint of this clone)
                [self.command],
                env=os.environ | dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """Its process id, which is also its session's; None while it does not run."""
        return self._running.pid if self._running and self._running.poll() is None else None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it, not to its children."""
        if pid := self.pid:
            os.kill(pid, number)

    def kill(self) -> None:
        """End it and its children at once, as a power cut would."""
        if self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()

    def stop(self) -> None:
        """Ask it to end, and wait until it has; end it by force when it does not."""
        self.signal(signal.SIGTERM)
        if self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running.wait(STOP_SECONDS)
        self.kill()

    def said(self) -> str:
        """Return everything it has printed so far."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""


class LocalInstallation:
    """A master, workers and the review bot below ``folder``.

    Args:
        folder: Gets ``config``, ``secrets``, ``state`` and the logs.
        bot: Another address that results are posted to; then the bot is not started.
        workers: How many workers there are.
        title: The web UI's title.
        anonymous: What somebody who has not signed in may see: ``nothing`` or ``read``.
    """

    def __init__(
        self,
        folder: Path,
        bot: str | None = None,
        workers: int = 1,
        title: str = "Autogate",
        anonymous: str = "read",
    ) -> None:
        self.folder = folder
        self.places = Places(folder / "config", folder / "secrets", folder / "state")
        self.web_port, self.worker_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}/"
        self.bot_port = free_port()
        self.bot_url = f"http://127.0.0.1:{self.bot_port}"
        self._secrets: dict[str, str] = {}
        site = _SITE.format(
            title=title,
            web=self.web_port,
            pb=self.worker_port,
            bot=bot or f"{self.bot_url}/buildbot",
            bot_port=self.bot_port,
            anonymous=anonymous,
        )
        for name in ("web_admin_password", "bot_web_password", "poke_secret", "bot_secret"):
            self.add_secret(name)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self.environment = environment = {**self.places.to_environ(), "PATH": path}
        self.bot = Process(ROOT / "review_bot" / "entrypoint", environment, folder / "bot.log") if bot is None else None
        self.master = Process(ROOT / "master" / "entrypoint", environment, folder / "master.log")
        self.workers: list[Process] = []
        for number in range(1, workers + 1):
            name = f"worker-{number}"
            site += f'[[workers]]\nname = "{name}"\nsecret = "{name}"\n'
            own = Places(self.places.config, folder / name / "secrets", folder / name / "state")
            write_private(own.secrets / "worker_password", self.add_secret(name).encode())
            (own.secrets / "keys").symlink_to(self.places.secrets / "keys")
            self.workers.append(
                Process(
                    ROOT / "worker" / "entrypoint",
                    {
                        **environment,
                        **own.to_environ(),
                        "AUTOGATE_WORKER": name,
                        "AUTOGATE_MASTER": f"127.0.0.1:{self.worker_port}",
                    },
                    folder / f"{name}.log",
                )
            )
        self.places.repositories.mkdir(parents=True, exist_ok=True)
        self.places.site_file.write_text(site, "utf-8")

    def add_secret(self, name: str) -> str:
        """Make a random secret, and return it."""
        value = secrets.token_urlsafe(24)
        write_private(self.places.secrets / name, value.encode())
        self._secrets[name] = value
        return value

    def secret(self, name: str) -> str:
        """Return a secret that was made."""
        return self._secrets[name]

    def add_repository(self, name: str, toml: str) -> None:
        """Write the repository's file; a running master knows it after `reconfigure`."""
        (self.places.repositories / f"{name}.toml").write_text(toml, "utf-8")

    def start(self) -> None:
        """Start everything, and return when the workers are connected.

        Raises:
            StartError: something did not come up.
        """
        self.start_master()
        self.start_bot()
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            wait_until(partial(_connected, worker), worker)

    def start_master(self) -> None:
        """Start the master alone, and return when it runs.

        Raises:
            StartError: it did not come up.
        """
        before = self.master.said().count("BuildMaster is running")
        self.master.start()
        wait_until(lambda: self.master.said().count("BuildMaster is running") > before, self.master)

    def start_bot(self) -> None:
        """Start the bot alone, and return when it acts; nothing where another one is meant.

        Raises:
            StartError: it did not come up.
        """
        if self.bot:
            before = self.bot.said().count("this process leads")
            self.bot.start()
            bot = self.bot
            wait_until(lambda: bot.said().count("this process leads") > before, bot)

    def add_token(self, name: str) -> str:
        """Make a token with which somebody uses the bot's API, and return it.

        Raises:
            subprocess.CalledProcessError: it could not be made.
        """
        done = subprocess.run(  # noqa: S603  (a program of this environment)
            [Path(sys.executable).parent / "autogate-bot", "token", "add", name],
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def reconfigure(self) -> None:
        """Make the master read its configuration again, and return when it has.

        Raises:
            StartError: it did not.
        """
        before = self._reconfigurations()
        self.master.signal(signal.SIGHUP)
        wait_until(lambda: self._reconfigurations() > before, self.master)

    def _reconfigurations(self) -> int:
        said = self.master.said()
        return sum(said.count(f"configuration update {end}") for end in ("complete", "partially applied", "aborted"))

    def poke(self, repository: str) -> None:
        """Make the repository's poller look at once.

        Raises:
            httpx.HTTPError: the master does not answer, or refuses.
        """
        httpx.post(
            f"{self.url}change_hook/poller",
            data={"poller": names.poller(repository)},
            auth=("poke", self.secret("poke_secret")),
            timeout=30,
        ).raise_for_status()

    def stop(self) -> None:
        """Stop everything that was started."""
        for process in self._processes:
            process.stop()

    def kill(self) -> None:
        """End everything at once; nothing is left running."""
        for process in self._processes:
            process.kill()

    @property
    def _processes(self) -> list[Process]:
        return [*self.workers, self.master, *([self.bot] if self.bot else [])]


def wait_until(condition: Callable[[], bool], process: Process, seconds: float = START_SECONDS) -> None:
    """Return when ``condition`` holds.

    Raises:
        StartError: it does not within ``seconds``, or ``process`` ended before.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if process.pid is None or time.monotonic() > deadline:
            why = "ended" if process.pid is None else f"did not get there within {seconds:g} s"
            raise StartError(f"{process.command} {why}; its log {process.log} ends with:\n{process.said()[-3000:]}")
        time.sleep(0.05)


def _connected(worker: Process) -> bool:
    return "Connected to buildmaster; worker is ready" in worker.said()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
