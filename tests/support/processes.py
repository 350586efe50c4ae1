"""A real Buildbot master and real workers as processes of their own, so that they can be killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from .ports import reserve_port
from .waiting import wait_for

BIN = Path(sys.executable).parent

MASTER_TAC = """\
import os
from twisted.application import service
from buildbot.master import BuildMaster
application = service.Application('buildmaster')
BuildMaster(os.getcwd(), "master.cfg", umask=None).setServiceParent(application)
"""

WORKER_TAC = """\
import os
from twisted.application import service
from buildbot_worker.bot import Worker
application = service.Application("worker")
Worker("127.0.0.1", {port}, {name!r}, "pass", os.getcwd(), keepalive=5, maxdelay=1,
       allow_shutdown=None).setServiceParent(application)
"""


class Process:
    """A twistd application in the foreground, in ``folder``, logging to ``folder/process.log``."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def log(self) -> str:
        """Return everything it has logged, over all its lives."""
        path = self.folder / "process.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def start(self) -> None:
        """Start it; returns at once."""
        assert self._process is None or self._process.poll() is not None
        (self.folder / "twistd.pid").unlink(missing_ok=True)
        with (self.folder / "process.log").open("ab") as log:
            self._process = subprocess.Popen(
                [BIN / "twistd", "--nodaemon", "--no_save", "--python", "buildbot.tac"],
                cwd=self.folder,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def running(self) -> bool:
        """Tell whether it is alive."""
        return self._process is not None and self._process.poll() is None

    def wait_until_dead(self, timeout: float = 90) -> int:
        """Wait for it to end by itself; return its exit code (negative: the signal)."""
        assert self._process
        return self._process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone, not to its children."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """``kill -9`` it and its children; nothing when it is dead."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        if self.running():
            self.signal(signal.SIGTERM)
            try:
                self.wait_until_dead()
            finally:
                self.kill()


class Master(Process):
    """A Buildbot master on SQLite. ``{www}`` and ``{pb}`` in the configuration become its two ports."""

    def __init__(self, folder: Path, configuration: str, environment: dict[str, str] | None = None) -> None:
        super().__init__(folder, environment)
        folder.mkdir(parents=True, exist_ok=True)
        self.www_port, self.pb_port = reserve_port(), reserve_port()
        (folder / "buildbot.tac").write_text(MASTER_TAC)
        self.configure(configuration)
        upgrade = subprocess.run(
            [BIN / "buildbot", "upgrade-master", "--quiet", str(folder)],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert upgrade.returncode == 0, upgrade.stdout + upgrade.stderr

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.www_port}/"

    def configure(self, configuration: str) -> None:
        """Write master.cfg; a running master sees it at the next `reconfigure`."""
        text = configuration.replace("{www}", str(self.www_port)).replace("{pb}", str(self.pb_port))
        (self.folder / "master.cfg").write_text(text)

    def start(self, *, wait: bool = True) -> None:
        """Start it and, unless told otherwise, wait until it is running."""
        seen = self.log().count("BuildMaster is running")
        super().start()
        if wait:
            wait_for(
                lambda: self.log().count("BuildMaster is running") > seen or not self.running(), "the master to start"
            )
            assert self.running(), self.log()[-4000:]

    def reconfigure(self) -> None:
        """Reload master.cfg and wait until that is done."""
        seen = self._reconfigurations()
        self.signal(signal.SIGHUP)
        wait_for(lambda: self._reconfigurations() > seen, "the reconfiguration")

    def _reconfigurations(self) -> int:
        log = self.log()
        return sum(log.count(f"configuration update {end}") for end in ("complete", "partially applied", "aborted"))

    def get(self, path: str) -> Any:
        """Return the JSON of ``/api/v2/PATH``."""
        with urllib.request.urlopen(f"{self.url}api/v2/{path}", timeout=30) as answer:
            return json.load(answer)


class Worker(Process):
    """A worker of ``master`` with the password ``pass``."""

    def __init__(
        self, folder: Path, master: Master, name: str = "worker-1", environment: dict[str, str] | None = None
    ) -> None:
        super().__init__(folder, environment)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "buildbot.tac").write_text(WORKER_TAC.format(port=master.pb_port, name=name))
