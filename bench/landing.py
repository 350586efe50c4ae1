"""From `r+` to landed, less the builders' own time: plain git, a real master, a real worker, the bot, poked.

The clock starts before the comment is posted and stops when the ref has moved. The builders' own time, which is
taken off, lasts from the moment at which the bot heard that the first build had begun to the end of the build's last
command, by that command's own clock.
"""

import json
import math
import sqlite3
import statistics
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from rich.progress import Progress

from autogate.cli.local import LocalInstallation
from bench.table import Row, publish
from tests.support.repository import Repository
from tests.support.waiting import wait_for

LANDINGS = 40
MEDIAN_SECONDS = 1.5
P95_SECONDS = 3.0

TOML = """\
url = "{url}"
poll_interval = 3600
[lint]
enabled = false
[test]
command = ["sh", "-c", "date +%s.%N >{stamp}"]
[review]
reviewers = ["ada"]
"""


@dataclass(frozen=True)
class Landing:
    """How long one took, in seconds: all of it, and the builders' own part."""

    whole: float
    builders: float

    @property
    def gate(self) -> float:
        """The gate's own part."""
        return self.whole - self.builders


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="autogate-bench-") as folder, Progress() as progress:
        bar = progress.add_task("landings", total=LANDINGS)
        bench = Bench(Path(folder))
        try:
            bench.start()
            bench.land(0)  # the first fills caches
            landings = []
            for number in range(1, LANDINGS + 1):
                landings.append(bench.land(number))
                progress.advance(bar)
        finally:
            bench.installation.kill()
    own = sorted(landing.gate for landing in landings)
    median, p95 = statistics.median(own), own[math.ceil(0.95 * len(own)) - 1]
    publish(
        "landing",
        [
            Row("r+ to landed less the builders' time, median", median, None, None, "s",
                f"at most {MEDIAN_SECONDS} s", median <= MEDIAN_SECONDS),
            Row("the same, 95th percentile", p95, None, None, "s", f"at most {P95_SECONDS} s", p95 <= P95_SECONDS),
            Row("the same, slowest", own[-1], None, None, "s", "", None),
            Row("r+ to landed, all of it, median", statistics.median(each.whole for each in landings), None, None, "s",
                "", None),
        ],
    )  # fmt: skip


class Bench:
    """A whole installation and a reviewer.

    Args:
        folder: Where everything is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp = folder / "stamp"
        self._repository = Repository.create(folder, "shop")
        self.installation = LocalInstallation(folder / "in")
        self.installation.add_repository("shop", TOML.format(url=self._repository.bare, stamp=self._stamp))

    def start(self) -> None:
        """Start everything."""
        token = self.installation.add_token("ada")
        self.installation.start()
        self._client = httpx.Client(
            base_url=f"{self.installation.bot_url}/api/v1/repositories/shop/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )

    def land(self, number: int) -> Landing:
        """Land a change, and return how long that took."""
        repository = self._repository
        repository.git("fetch", "-q", "origin")
        repository.git("checkout", "-q", "-B", f"topic-{number}", "origin/main")
        head = repository.commit({f"file-{number}": f"{number}"})
        repository.push(f"HEAD:refs/for/main/topic-{number}")
        self._client.post("poke").raise_for_status()
        found = self._client.get("pulls", params={"source": f"topic-{number}"}).raise_for_status().json()
        pull = found["pulls"][0]["number"]
        before = repository.tip("main")
        comment = {"body": f"@autogate r+ {head}", "id": str(uuid.uuid4())}
        begun = time.time()
        self._client.post(f"pulls/{pull}/comments", json=comment).raise_for_status()
        ref = repository.bare / "refs" / "heads" / "main"
        wait_for(lambda: ref.read_text().strip() not in {before, ""}, "the landing")
        landed = ref.stat().st_mtime
        return Landing(landed - begun, float(self._stamp.read_text()) - self._build_began(begun))

    def _build_began(self, since: float) -> float:
        with closing(sqlite3.connect(self.installation.places.state / "bot" / "bot.sqlite", timeout=30)) as database:
            rows = database.execute("SELECT body FROM events WHERE kind = 'build_started' ORDER BY id DESC LIMIT 5")
            times = [datetime.fromisoformat(json.loads(body)["at"]).timestamp() for (body,) in rows]
        return min(at for at in times if at > since)


if __name__ == "__main__":
    main()
