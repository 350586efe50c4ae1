"""A real master with the reporter, whose builds end as the test says, and which dies where the test says."""

import json
import socket
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from autogate.contract import Event, Report

from .processes import Master
from .receiver import Receiver
from .waiting import wait_for

SECRET = "a-secret-that-must-not-be-logged"
SHA = "0123456789abcdef0123456789abcdef01234567"
BUILDERS = {
    "shop-test": ("shop", "test"),
    "shop-lint": ("shop", "lint"),
    "shop-skip": ("shop", "lint"),
    "shop-collapse": ("shop", "test"),
}
RESULTS = ("success", "warnings", "failure", "skipped", "exception", "retry", "cancelled")
FAST = (0.02, 0.2, 0.05, 0.2)
"""A pace that makes a test short."""

CONFIGURATION = """\
from tests.support.gate_master import configuration
c = BuildmasterConfig = configuration(basedir, {www}, {pb})
"""

ROOT = Path(__file__).parents[2]


class Gate(Master):
    """The master. Keyword arguments are the reporter's; None for a reporter leaves it out."""

    def __init__(
        self,
        folder: Path,
        receiver: Receiver,
        *,
        local: bool = True,
        workers: tuple[str, ...] = (),
        database: str = "sqlite:///state.sqlite",
        reporter: bool = True,
        **options: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.receiver = receiver
        self.told: dict[str, Any] = {
            "local": local,
            "workers": workers,
            "database": database,
            "builders": [*BUILDERS, "unreported"],
            "reporter": None,
        }
        self.options = {
            "url": receiver.url,
            "secret": SECRET,
            "builders": BUILDERS,
            "pace": FAST,
            "reconcile_interval": 1,
            **options,
        }
        self.tell(reporter=reporter)
        super().__init__(folder, CONFIGURATION, {"PYTHONPATH": str(ROOT)})

    def tell(self, *, reporter: bool = True, **options: Any) -> None:
        """Change the reporter's options; the master sees them when it starts or reconfigures."""
        self.options |= options
        self.told["reporter"] = self.options if reporter else None
        (self.folder / "gate.json").write_text(json.dumps(self.told))

    def do(self, command: str, **arguments: Any) -> Any:
        """Ask the control socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(90)
            connection.connect(f"{self.folder}/control")
            connection.sendall(json.dumps([command, arguments]).encode() + b"\n")
            with connection.makefile() as answer:
                line = answer.readline()
        assert line, self.log()[-4000:]
        told = json.loads(line)
        assert "fault" not in told, f"{command}: {told['fault']}"
        return told["answer"]

    def ask(self, builder: str = "shop-test", revision: str | None = SHA, **properties: Any) -> int:
        """Add a request and return its id."""
        return int(self.do("ask", builder=builder, revision=revision, **properties))

    def die_at(self, point: str) -> None:
        """Let it die at its next pass of a point of `gate_master`."""
        (self.folder / "die").write_text(point)

    def tries(self) -> int:
        """Return how many posts it tried, over all its lives."""
        path = self.folder / "tries"
        return path.stat().st_size if path.exists() else 0

    def happened(self) -> set[tuple[str, int]]:
        """Return all that is to be reported, by Buildbot's own records."""
        wanted = {builder["builderid"] for builder in self.get("builders")["builders"] if builder["name"] in BUILDERS}
        requests = {
            row["buildrequestid"]: row
            for row in self.get("buildrequests")["buildrequests"]
            if row["builderid"] in wanted
        }
        found = {(Event.FINISHED.value, number) for number, row in requests.items() if row["complete"]}
        for build in self.get("builds")["builds"]:
            if build["buildrequestid"] in requests:
                found.add((Event.STARTED.value, build["buildid"]))
                if build["results"] == RESULTS.index("retry"):
                    found.add((Event.RETRYING.value, build["buildid"]))
        return found

    def complete(self, request: int) -> bool:
        """Tell whether Buildbot's records say that a request has ended."""
        return bool(self.get(f"buildrequests/{request}")["buildrequests"][0]["complete"])

    def wait_for_ends(self, requests: Collection[int], timeout: float = 90) -> None:
        """Wait until the receiver has accepted the report on the end of each request."""

        def missing() -> set[int]:
            return set(requests) - {r.request for r in self.receiver.reports() if r.event is Event.FINISHED}

        self._wait_for_none(missing, "the ends of requests", timeout)

    def wait_for_all(self, *, but: Collection[tuple[str, int]] = (), timeout: float = 90) -> None:
        """Wait until all that happened ``but`` this has been reported, and nothing else."""

        def different() -> set[tuple[str, int]]:
            return set(told(self.receiver.reports())) ^ (self.happened() - set(but))

        self._wait_for_none(different, "all that happened", timeout)

    def _wait_for_none(self, different: Callable[[], set[Any]], what: str, timeout: float) -> None:
        wait_for(lambda: not different(), lambda: f"{what}: {sorted(different())}\n{self.log()[-6000:]}", timeout)


def told(reports: list[Report]) -> Counter[tuple[str, int]]:
    """Return what reports are about, and how often each was told."""
    return Counter(
        (report.event.value, report.request if report.event is Event.FINISHED else report.builds[-1].id)
        for report in reports
    )


def finished(receiver: Receiver, request: int) -> Report | None:
    """Return the report that a request ended, once it was accepted."""
    ends = [report for report in receiver.reports() if report.request == request and report.event is Event.FINISHED]
    return ends[0] if ends else None
