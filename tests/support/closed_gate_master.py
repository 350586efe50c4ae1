"""What runs inside the master of `closed_gate.ClosedGate`."""

import json
from pathlib import Path
from typing import Any

from autogate.settings import Web
from master.www import www as closed_www

from . import gate_master
from .closed_gate import PASSWORDS


async def do_change(self: gate_master.Conversation, revision: str) -> None:
    """Add a change, as a poller does."""
    await self._master.data.updates.addChange(files=[], author="a", comments="", revision=revision, branch="auto")


gate_master.Conversation.do_change = do_change  # type: ignore[attr-defined]


def configuration(folder: str, www: int, pb: int) -> dict[str, Any]:
    """Return the BuildmasterConfig."""
    web = Web(port=www, **json.loads((Path(folder) / "web.json").read_text()))
    passwords = iter(PASSWORDS.values())
    closed = closed_www(web, lambda _: next(passwords), frozenset(), [])
    return gate_master.configuration(folder, www, pb) | {"www": closed}
