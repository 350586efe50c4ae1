"""The bot's end of the wire: believes what is signed, and keeps it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from autogate.cli.receiver import Received, Receiver
from autogate.contract import Event, Report

from .ports import reserve_port
from .waiting import wait_for


@dataclass
class Bot:
    """Everything that was reported, in order of arrival.

    Attributes:
        url: Where to post.
        received: What was believed.
    """

    url: str
    port: int
    received: list[Received] = field(default_factory=list)

    @property
    def reports(self) -> list[Report]:
        """Every report once, however often it came."""
        return [received.report for received in self.received if not received.repeated]

    def finished(self, revision: str, builder: str) -> list[Report]:
        """Return the final reports of a builder on a commit."""
        return [
            report
            for report in self.reports
            if (report.revision, report.builder, report.event) == (revision, builder, Event.FINISHED)
        ]

    def verdict(self, revision: str, builder: str, timeout: float = 120) -> Report:
        """Wait for the final report of a builder on a commit, and return it."""
        what = f"{builder} on {revision[:12]}"
        return wait_for(lambda: self.finished(revision, builder), what, timeout)[0]

    def wait_for(self, condition: Callable[[Report], bool], what: str) -> Report:
        """Wait for a report of which ``condition`` holds, and return it."""
        return wait_for(lambda: next(filter(condition, self.reports), None), what)

    def listening(self, secret: str) -> AbstractContextManager[None]:
        """Listen while the block runs."""
        return Receiver("127.0.0.1", self.port, "/buildbot", secret, self.received.append).listening()


def new_bot() -> Bot:
    """Return a bot that does not listen yet."""
    port = reserve_port()
    return Bot(f"http://127.0.0.1:{port}/buildbot", port)
