"""How long a push waits for its build, a result for its delivery, and what a hundred repositories cost the master.

Beside it, in the same run: Buildbot's own GitPoller, poked as well, and HttpStatusPush. Times are taken at the bot:
when the report of the start arrived, and when the report of the end arrived after the build's last command had ended.
"""

import contextlib
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil

from autogate.cli.local import LocalInstallation
from bench.table import Row, publish
from tests.support.processes import Master, Worker
from tests.support.repository import Repository
from tests.support.waiting import wait_for

PUSHES = 25
MANY = 100

OURS = """\
url = "{url}"
poll_interval = 3600
[lint]
enabled = false
[test]
command = ["sh", "-c", "date +%s.%N >{stamp}"]
"""

STOCK = """\
from buildbot.plugins import *
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator
from buildbot.reporters.message import MessageFormatterFunction
as_json = MessageFormatterFunction(lambda context: context["build"], "json")
factory = util.BuildFactory([
    steps.Git(repourl={url!r}, mode="full", method="clobber"),
    steps.ShellCommand(command=["sh", "-c", "date +%s.%N >{stamp}"]),
])
c = BuildmasterConfig = dict(
    workers=[worker.Worker("worker-1", "pass")],
    protocols={{"pb": {{"port": "tcp:{{pb}}:interface=127.0.0.1"}}}},
    change_source=[changes.GitPoller({url!r}, name="stock", branches=["main", "auto"], pollInterval=3600,
                                     pollAtLaunch=True)],
    schedulers=[schedulers.AnyBranchScheduler("auto", treeStableTimer=None, builderNames=["test"],
                                              change_filter=util.ChangeFilter(branch="auto"))],
    builders=[util.BuilderConfig(name="test", workernames=["worker-1"], factory=factory, collapseRequests=False)],
    services=[reporters.HttpStatusPush({bot!r}, generators=[
        BuildStartEndStatusGenerator(start_formatter=as_json, end_formatter=as_json)])],
    www=dict(port="tcp:{{www}}:interface=127.0.0.1", change_hook_dialects={{"poller": True}}),
    buildbotNetUsageData=None,
    db_url="sqlite:///state.sqlite",
)
"""


@dataclass
class Arrivals:
    """When the start and the end of each revision's build were told."""

    started: dict[str, float] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)

    def tell(self, body: dict[str, Any]) -> None:
        """Note a report, in Autogate's words or in HttpStatusPush's."""
        now = time.time()
        if "event" in body:
            revision, started = body["revision"], body["event"] == "started"
        else:
            revision = body["buildset"]["sourcestamps"][0]["revision"]
            started = body["results"] is None
        (self.started if started else self.finished).setdefault(revision, now)


@contextmanager
def bot(arrivals: Arrivals) -> Iterator[str]:
    """Receive reports; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            arrivals.tell(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/buildbot"
        server.shutdown()


@dataclass(frozen=True)
class Figures:
    """Seconds, one a push.

    Attributes:
        to_start: From the push's end to the report of the build's start.
        to_delivery: From the end of the build's last command to the report of its end.
    """

    to_start: list[float]
    to_delivery: list[float]


def push_often(repository: Repository, stamp: Path, arrivals: Arrivals, poke: Callable[[], object]) -> Figures:
    """Push candidates one after the other, and time each. The first, which fills caches, does not count."""
    figures = Figures([], [])
    for number in range(PUSHES + 1):
        sha = repository.candidate({f"file{number}": f"{number}\n"})
        repository.push("auto")
        pushed = time.time()
        poke()
        wait_for(lambda sha=sha: sha in arrivals.finished, f"the result of push {number}")  # type: ignore[misc]
        if number:
            figures.to_start.append(arrivals.started[sha] - pushed)
            figures.to_delivery.append(arrivals.finished[sha] - float(stamp.read_text()))
    return figures


def ours(folder: Path) -> Figures:
    """Time Autogate's master and worker."""
    repository, arrivals, stamp = Repository.create(folder), Arrivals(), folder / "stamp"
    with bot(arrivals) as url:
        installation = LocalInstallation(folder / "ours", url)
        installation.add_repository("shop", OURS.format(url=repository.bare, stamp=stamp))
        try:
            installation.start()
            return push_often(repository, stamp, arrivals, lambda: installation.poke("shop"))
        finally:
            installation.stop()


def stock(folder: Path) -> Figures:
    """Time Buildbot's own parts, put together as its manual does."""
    repository, arrivals, stamp = Repository.create(folder), Arrivals(), folder / "stamp"
    with bot(arrivals) as url:
        master = Master(folder / "master", STOCK.format(url=str(repository.bare), stamp=stamp, bot=url))
        worker = Worker(folder / "worker", master)
        try:
            master.start()
            worker.start()
            wait_for(lambda: "worker is ready" in worker.log(), "the worker")
            # the stock poller makes no change of what it sees first
            repository.candidate({"first": "1\n"})
            repository.push("auto")
            hook = f"{master.url}change_hook/poller"
            httpx.post(hook, data={"poller": "stock"}).raise_for_status()
            wait_for(lambda: "gitpoller: processing" in master.log() or "auto" in master.log(), "the first poll")
            return push_often(repository, stamp, arrivals, lambda: httpx.post(hook, data={"poller": "stock"}))
        finally:
            worker.stop()
            master.stop()


def memory(folder: Path, repositories: int) -> float:
    """Return the resident memory of a master that has so many repositories, in MiB."""
    installation = LocalInstallation(folder, "http://127.0.0.1:9/buildbot")
    bare = Repository.create(folder).bare
    for number in range(repositories):
        # one repository under many names is enough: each has its own poller, schedulers, builders and mirror
        link = folder / f"link{number}.git"
        link.symlink_to(bare)
        installation.add_repository(f"repo{number}", f'url = "{link}"\n')
    try:
        installation.start()
        builders = httpx.get(f"{installation.url}api/v2/builders", timeout=60).json()["builders"]
        assert len(builders) == 2 * repositories + 1, "lint and test of each, and the janitor"
        for number in range(repositories):
            installation.poke(f"repo{number}")
        database = installation.places.state / "master" / "state.sqlite"
        wait_for(lambda: polled(database) == repositories, "every poller to have looked")
        assert installation.master.pid is not None
        return psutil.Process(installation.master.pid).memory_info().rss / 2**20
    finally:
        installation.stop()


def polled(database: Path) -> int:
    """Return how many pollers have saved what they saw."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM object_state JOIN objects ON objects.id = objectid WHERE class_name LIKE '%Poller%'"
        )
        return int(rows.fetchone()[0])


def main() -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory(prefix="autogate-bench-") as name:
        folder = Path(name)
        for each in ("a", "b", "one", "many"):
            (folder / each).mkdir()
        mine, peer = ours(folder / "a"), stock(folder / "b")
        one, many = memory(folder / "one", 1), memory(folder / "many", MANY)
    rows = []
    for figure, limit, a, b in (
        ("push to build started, poked: median", 1.0, mine.to_start, peer.to_start),
        ("build finished to delivered: median", 0.3, mine.to_delivery, peer.to_delivery),
    ):
        median, other = statistics.median(a), statistics.median(b)
        rows.append(Row(figure, median, other, other / median, "s", f"<= {limit}", median <= limit))
        rows.append(Row(figure.replace("median", "slowest"), max(a), max(b), max(b) / max(a), "s", "", None))
    rows.append(Row(f"memory of the master, {MANY} repositories", many, None, None, "MiB", "", None))
    rows.append(Row("memory of the master, 1 repository", one, None, None, "MiB", "", None))
    publish("latency", rows)


if __name__ == "__main__":
    main()
