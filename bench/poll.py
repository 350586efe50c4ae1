"""100 idle repositories, polled once: what that costs with our poller and with Buildbot's own.

Each runs in a real master process of its own. The repositories are real and read over file paths, so the server's side
(``git-upload-pack``) is on this machine too, for both. Processes are counted by git itself: with ``GIT_TRACE2_EVENT``
every git process, children of git included, writes its start to a file. CPU is that of the master plus that of all its
children, by the kernel's account.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from bench.table import Row, publish

REPOSITORIES = 100
FEWER_PROCESSES = 5
LESS_CPU = 4
TARGETS = ("main",)
CANDIDATES = ("auto", "try")


@dataclass(frozen=True)
class Cost:
    """What one round of polls cost."""

    processes: int
    cpu: float
    elapsed: float


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="autogate-bench-") as folder, Progress() as progress:
        bar = progress.add_task("repositories", total=REPOSITORIES)
        urls = []
        for number in range(REPOSITORIES):
            urls.append(make_repository(Path(folder), number))
            progress.advance(bar)
        costs = {}
        for poller in ("ours", "peer"):
            bar = progress.add_task(f"polls, {poller}", total=None)
            costs[poller] = measure(Path(folder, poller), poller, urls)
            progress.update(bar, total=1, completed=1)
    ours, peer = costs["ours"], costs["peer"]
    fewer, less = peer.processes / ours.processes, peer.cpu / ours.cpu
    rows = [
        Row(
            f"git processes, {REPOSITORIES} idle repositories polled once",
            ours.processes,
            peer.processes,
            fewer,
            "processes",
            f"at least {FEWER_PROCESSES} times fewer",
            fewer >= FEWER_PROCESSES,
        ),
        Row(
            "CPU of the master and its git processes",
            ours.cpu,
            peer.cpu,
            less,
            "s",
            f"at least {LESS_CPU} times less",
            less >= LESS_CPU,
        ),
        Row("time until all are polled", ours.elapsed, peer.elapsed, peer.elapsed / ours.elapsed, "s", "", None),
    ]
    publish("poll", rows)


def make_repository(folder: Path, number: int) -> str:
    """Make a bare repository with three branches; return its path."""
    tree, bare = folder / f"tree-{number}", folder / f"repository-{number}.git"
    identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{role}_NAME": "Bench", f"GIT_{role}_EMAIL": "bench@example.org"}

    def git(*args: str) -> None:
        subprocess.run(["git", *args], check=True, env=os.environ | identity, stdout=subprocess.DEVNULL)

    git("init", "--quiet", "--initial-branch=main", str(tree))
    at = ("-C", str(tree))
    (tree / "file").write_text(f"{number}\n")
    git(*at, "add", "file")
    git(*at, "commit", "--quiet", "--message=Begin")
    for branch in CANDIDATES:
        git(*at, "checkout", "--quiet", "-b", branch, "main")
        git(*at, "commit", "--quiet", "--allow-empty", f"--message={branch}")
    git("clone", "--quiet", "--bare", str(tree), str(bare))
    return str(bare)


def measure(folder: Path, poller: str, urls: Sequence[str]) -> Cost:
    """Poll in a process of its own, so that nothing of one poller is warm for the other."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "bench.poll", "--child", poller, "--folder", str(folder), *urls],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the measured master failed:\n{done.stdout}{done.stderr}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def child(poller: str, folder: Path, urls: Sequence[str]) -> None:  # noqa: PLR0915  half of it is imports
    """Run a master: two rounds of polls to know everything, then the one that is measured."""
    # Only this process needs Buildbot, and the reactor must not be installed in the other.
    from buildbot.changes.base import ReconfigurablePollingChangeSource  # noqa: PLC0415
    from buildbot.config.master import MasterConfig  # noqa: PLC0415
    from buildbot.interfaces import IConfigLoader  # noqa: PLC0415
    from buildbot.master import BuildMaster  # noqa: PLC0415
    from buildbot.plugins import changes  # noqa: PLC0415
    from buildbot.util.twisted import async_to_deferred  # noqa: PLC0415
    from twisted.internet import defer, reactor, task  # noqa: PLC0415
    from zope.interface.declarations import implementer  # noqa: PLC0415

    @implementer(IConfigLoader)  # type: ignore[no-untyped-call]
    class Loader:
        def __init__(self, configuration: dict[str, object]) -> None:
            self.configuration = configuration

        def loadConfig(self) -> MasterConfig:  # noqa: N802  Buildbot's name
            return MasterConfig.loadFromDict(self.configuration, "bench")

    ended = 0

    def make(number: int, url: str) -> ReconfigurablePollingChangeSource:
        name, project = f"poller-{number}", f"project-{number}"
        source: ReconfigurablePollingChangeSource
        if poller == "ours":
            source = changes.AutogatePoller(
                url, name=name, project=project, targets=TARGETS, candidates=CANDIDATES, pollInterval=3600
            )
        else:
            source = changes.GitPoller(
                url,
                name=name,
                project=project,
                branches=[*CANDIDATES, *TARGETS],
                workdir=f"work-{number}",
                pollInterval=3600,
                pollAtLaunch=True,
            )
        poll = source.poll

        @async_to_deferred
        async def counted() -> None:
            nonlocal ended
            try:
                await defer.maybeDeferred(poll)
            finally:
                ended += 1

        source.poll = counted  # type: ignore[method-assign,assignment]
        return source

    async def until(count: int) -> None:
        while ended < count:
            await task.deferLater(reactor, 0.01)

    async def run() -> None:
        sources = [make(number, url) for number, url in enumerate(urls)]
        configuration = {
            "change_source": sources,
            "multiMaster": True,
            "buildbotNetUsageData": None,
            "db_url": f"sqlite:///{folder}/state.sqlite",
        }
        master = BuildMaster(str(folder), reactor=reactor, config_loader=Loader(configuration))
        master.config.db.db_url = str(configuration["db_url"])
        await master.db.setup(check_version=False)
        await master.db.model.upgrade()
        await master.db.pool.stop()  # type: ignore[union-attr]
        await master.startService()
        await until(len(sources))
        for source in sources:
            source.force()
        await until(2 * len(sources))
        trace = folder / "trace"
        os.environ["GIT_TRACE2_EVENT"] = str(trace)
        cpu, start = cpu_seconds(), time.monotonic()
        for source in sources:
            source.force()
        await until(3 * len(sources))
        cost = Cost(count_starts(trace), cpu_seconds() - cpu, time.monotonic() - start)
        await master.stopService()
        print(json.dumps(vars(cost)))

    task.react(lambda _: defer.ensureDeferred(run()))


def cpu_seconds() -> float:
    """Return what this process and its ended children have used, in seconds of user and system time."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def count_starts(trace: Path) -> int:
    """Return how many git processes wrote their start to a trace."""
    with trace.open() as lines:
        return sum(json.loads(line)["event"] == "start" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--child", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("urls", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder, options.urls)
    else:
        main()
