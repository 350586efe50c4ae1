"""A `gate.Gate` whose web UI is closed, and which hears of commits, as one that pollers feed."""

import json
from pathlib import Path
from typing import Any

from .gate import Gate
from .receiver import Receiver

PASSWORDS = {"bot": "the bot's password", "reader": "a reader's password", "admin": "an admin's password"}
ADMINS = ("bot", "admin")

CONFIGURATION = """\
from tests.support.closed_gate_master import configuration
c = BuildmasterConfig = configuration(basedir, {www}, {pb})
"""


class ClosedGate(Gate):
    """The master; it reports to nobody. ``anonymous`` is the setting ``web.anonymous``."""

    def __init__(self, folder: Path, anonymous: str = "nothing") -> None:
        super().__init__(folder, Receiver(), reporter=False)
        web = {"anonymous": anonymous, "users": dict.fromkeys(PASSWORDS, "x"), "admins": ADMINS}
        (folder / "web.json").write_text(json.dumps(web))
        self.configure(CONFIGURATION)

    def change(self, revision: str) -> None:
        """Let it hear of a commit on ``auto``."""
        self.do("change", revision=revision)

    def asked(self, builder: str, revision: str, **properties: Any) -> int:
        """Let it hear of a commit, and of a request to build it."""
        self.change(revision)
        return self.ask(builder, revision, **properties)
