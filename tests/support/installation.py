"""A configuration, secrets and state of Autogate in a test's own folder."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from autogate import settings
from autogate.cli import app
from autogate.places import Places

AUTOGATE = Path(sys.executable).parent / "autogate"

SITE = """\
[[workers]]
name = "worker-1"
secret = "worker_password"
"""


class Installation:
    """The three folders below ``folder``, with the simplest site that is right."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(folder / "config", folder / "secrets", folder / "var")
        self.places.repositories.mkdir(parents=True)
        self.places.secrets.mkdir(mode=0o700)
        self.write_site(SITE)
        self.secret("worker_password", "correct horse")

    def write_site(self, text: str) -> None:
        self.places.site_file.write_text(text)

    def write_repository(self, name: str, text: str) -> Path:
        path = self.places.repositories / f"{name}.toml"
        path.write_text(text)
        return path

    def secret(self, name: str, value: str) -> None:
        (self.places.secrets / name).write_text(value)

    def load(self) -> settings.Settings:
        return settings.load(self.places)

    def run(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``autogate ARGS`` in this process, without a terminal; unexpected errors pass through."""
        found = dict.fromkeys(name for name in os.environ if name.startswith("AUTOGATE_"))
        done = CliRunner().invoke(app, args, env=found | self.places.to_environ() | environment)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(args, done.exit_code, done.stdout, done.stderr)

    def run_process(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run ``autogate ARGS`` as a process of its own."""
        return subprocess.run(
            [AUTOGATE, *args],
            env=os.environ | self.places.to_environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
