"""A PostgreSQL server of its own for a test."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .debian import program
from .ports import reserve_port
from .waiting import wait_for


@dataclass
class Server:
    """A server that can be stopped and started again.

    Attributes:
        command: What is run.
        home: Where, and as whom.
        data: Its data.
        log: Where its output goes.
        url: A database in which the user may do everything.
    """

    command: list[str]
    home: Path
    account: dict[str, Any]
    data: Path
    log: Path
    url: str
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        with self.log.open("ab") as output:
            server = self._running = subprocess.Popen(
                self.command,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **self.account,
            )
        wait_for(lambda: server.poll() is not None or _ready(self.data), "PostgreSQL to start")
        assert server.poll() is None, self.log.read_text("utf-8", "replace")

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        if server := self._running:
            # SIGTERM would wait for clients that are still there
            server.send_signal(signal.SIGINT)
            try:
                server.wait(60)
            finally:
                server.kill()
                server.wait()


@contextlib.contextmanager
def postgresql(folder: Path, *, durable: bool = False) -> Iterator[Server]:
    """Run an empty server while the block runs.

    Args:
        folder: Is made if need be; its log goes there.
        durable: Whether it waits for the disk, which tests need not and a benchmark must.
    """
    postgres, initdb = program("postgres", "postgresql"), program("initdb", "postgresql")
    folder.mkdir(parents=True, exist_ok=True)
    with _home(folder) as (home, account):
        data, port = home / "data", reserve_port()
        _run([initdb, "-D", str(data), "-U", "autogate", "-A", "trust", "--no-sync"], home, account)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories="
        options += f" -c fsync={'on' if durable else 'off'}"
        url = f"postgresql://autogate@127.0.0.1:{port}/postgres"
        log = folder / "postgresql.log"
        server = Server([postgres, "-D", str(data), *options.split()], home, account, data, log, url)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def postgresql_server(folder: Path, *, durable: bool = False) -> Iterator[str]:
    """Run an empty server while the block runs, as `postgresql` does.

    Yields:
        The url of a database in which the user may do everything: ``postgresql://autogate@127.0.0.1:PORT/postgres``.
    """
    with postgresql(folder, durable=durable) as server:
        yield server.url


@contextlib.contextmanager
def _home(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Return where the server's files go, and as whom to run it: it refuses to run as root."""
    if os.geteuid() != 0:
        yield folder, {}
        return
    # pytest's folders are root's alone, and every session that starts makes them so again
    with tempfile.TemporaryDirectory(prefix="autogate-postgresql-") as home:
        shutil.chown(home, "postgres")
        yield Path(home), {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid, "extra_groups": []}


def _run(command: list[str], folder: Path, account: dict[str, Any]) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **account)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"


def _ready(data: Path) -> bool:
    """Tell what pg_ctl looks for: asking the port could reach another server."""
    with contextlib.suppress(FileNotFoundError):
        return (data / "postmaster.pid").read_text().splitlines()[7:8] == ["ready   "]
    return False
