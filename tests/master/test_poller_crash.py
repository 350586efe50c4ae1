"""The poller in real master processes that are killed, stopped and reconfigured in every phase of a poll."""

import os
import signal
import sqlite3
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.master.git_gate import PHASES as GIT_PHASES
from tests.master.git_gate import GitGate
from tests.support.processes import Master
from tests.support.repository import Repository
from tests.support.waiting import wait_for

PHASES = (*(phase for phase in GIT_PHASES if phase != "after-ls-remote"), "before-store", "after-store", "after-save")
"""Between ls-remote and fetch is one phase here."""

AUTOGATE = """AutogatePoller({url!r}, name="p", project="project", pollInterval={interval})"""
STOCK = """GitPoller({url!r}, name="p", project="project", pollInterval={interval}, branches=["auto", "try", "main"],
    workdir="work", pollAtLaunch=True)"""

CONFIGURATION = """\
import pathlib
from buildbot.db.changes import ChangesConnectorComponent
from buildbot.db.state import StateConnectorComponent
from buildbot.plugins import changes, schedulers, steps, util, worker
from buildbot.util.poll import Poller
from buildbot.util.twisted import async_to_deferred
from twisted.internet import reactor, task

AutogatePoller, GitPoller = changes.AutogatePoller, changes.GitPoller
folder = pathlib.Path({folder!r})


async def hold(phase):
    reached = folder / f"reached-{{phase}}"
    try:
        (folder / f"armed-{{phase}}").rename(reached)
    except FileNotFoundError:
        return
    while reached.exists():
        await task.deferLater(reactor, 0.02)


def wrap(owner, name, before, after, applies=lambda *args: True):
    real = getattr(owner, name)

    @async_to_deferred
    async def wrapped(*args, **options):
        held = applies(*args)
        if before and held:
            await hold(before)
        result = await real(*args, **options)
        if after and held:
            await hold(after)
        return result

    if not hasattr(real, "wraps"):
        wrapped.wraps = True
        setattr(owner, name, wrapped)


def stop(poller, real=Poller.stop):
    (folder / "stopping").touch()
    return real(poller)


wrap(ChangesConnectorComponent, "addChange", "before-store", "after-store")
wrap(StateConnectorComponent, "setState", None, "after-save", lambda db, owner, key, value: key in ("tips", "lastRev"))
if Poller.stop.__name__ != stop.__name__ or not hasattr(Poller.stop, "wraps"):
    stop.wraps = True
    Poller.stop = stop

poller = {poller}
poll = poller.poll


@async_to_deferred
async def counted():
    try:
        await poll()
    finally:
        with (folder / "polls").open("a") as polls:
            polls.write("x")


poller.poll = counted
factory = util.BuildFactory([steps.ShellCommand(command=["true"])])
c = BuildmasterConfig = {{
    "change_source": [poller],
    "workers": [worker.Worker("nobody", "pass")],
    "protocols": {{"pb": {{"port": "tcp:{{pb}}:interface=127.0.0.1"}}}},
    "builders": [util.BuilderConfig("any", workernames=["nobody"], factory=factory, collapseRequests=False)],
    "schedulers": [schedulers.AnyBranchScheduler("any", builderNames=["any"], treeStableTimer=None)],
    "www": {{"port": "tcp:{{www}}:interface=127.0.0.1", "change_hook_dialects": {{"poller": True}}}},
    "buildbotNetUsageData": None,
}}
"""


class Disturbed:
    """A repository and a master that is disturbed once a phase."""

    def __init__(self, folder: Path, poller: str) -> None:
        self.gate = GitGate(folder / "gate")
        self.repository = Repository.create(folder)
        self.poller = poller
        self.interval = 3600
        self.count = 0
        self.tips: set[tuple[str, str]] = set()
        path = f"{self.gate.bin}{os.pathsep}{os.environ['PATH']}"
        self.master = Master(folder / "master", self.configuration(), {"PATH": path})

    def begin(self) -> None:
        """Let the poller see its branches once, so that no case is about the first candidate ever."""
        self.start()
        self.push_candidate("auto")
        self.push_candidate("try")
        self.poll()

    def configuration(self) -> str:
        poller = self.poller.format(url=str(self.repository.bare), interval=self.interval)
        return CONFIGURATION.format(folder=str(self.gate.folder), poller=poller)

    def start(self) -> None:
        polls = self.polls()
        self.master.start()
        self.wait_for_a_poll_after(polls)

    def wait_for_a_poll_after(self, polls: int) -> None:
        wait_for(lambda: self.polls() > polls, "a poll")

    def polls(self) -> int:
        path = self.gate.folder / "polls"
        return path.stat().st_size if path.exists() else 0

    def poke(self) -> None:
        urllib.request.urlopen(f"{self.master.url}change_hook/poller?poller=p", timeout=30).close()

    def poll(self) -> None:
        """Poke twice: the first poll to end may have begun before this was called, the second has not."""
        for _ in range(2):
            polls = self.polls()
            self.poke()
            self.wait_for_a_poll_after(polls)

    def push_candidate(self, branch: str) -> str:
        self.count += 1
        sha = self.repository.candidate({f"{self.count}.txt": "x"}, topic=f"topic-{self.count}")
        self.repository.push(f"auto:refs/heads/{branch}")
        return sha

    def push_target(self) -> str:
        self.count += 1
        self.repository.git("checkout", "-q", "main")
        sha = self.repository.commit({f"{self.count}.txt": "x"})
        self.repository.push("main")
        return sha

    def query(self, sql: str) -> list[tuple[str, str]]:
        with sqlite3.connect(self.master.folder / "state.sqlite", timeout=30) as connection:
            return connection.execute(sql).fetchall()

    def changes(self) -> list[tuple[str, str]]:
        return self.query("SELECT branch, revision FROM changes ORDER BY changeid")

    def requests(self) -> Counter[tuple[str, str]]:
        """Return how many builds of each change were requested."""
        return Counter(
            self.query(
                "SELECT branch, revision FROM changes JOIN buildset_sourcestamps USING (sourcestampid)"
                " JOIN buildrequests USING (buildsetid)"
            )
        )

    def release(self, phase: str) -> None:
        if phase in GIT_PHASES:
            self.gate.release(alive=False)
        else:
            (self.gate.folder / f"reached-{phase}").unlink(missing_ok=True)

    def kill(self, phase: str) -> None:
        # Git is left alive, as it is when only the master dies, and goes on in its mirror while the next master starts.
        self.master.signal(signal.SIGKILL)
        self.master.wait_until_dead()
        self.release(phase)
        self.start()

    def stop(self, phase: str) -> None:
        stopping = self.gate.folder / "stopping"
        stopping.unlink(missing_ok=True)
        self.master.signal(signal.SIGTERM)
        wait_for(stopping.exists, "the poller to be stopped")
        self.release(phase)
        self.master.wait_until_dead()
        self.start()

    def reconfigure(self, phase: str) -> None:
        stopping = self.gate.folder / "stopping"
        stopping.unlink(missing_ok=True)
        self.interval += 1
        self.master.configure(self.configuration())
        done = self.master.log().count("configuration update complete")
        self.master.signal(signal.SIGHUP)
        wait_for(stopping.exists, "the poller to be stopped")
        self.release(phase)
        wait_for(lambda: self.master.log().count("configuration update complete") > done, "the reconfiguration")

    def disturb(self, phase: str, how: str, *, again: bool) -> list[str]:
        """Disturb one poll; return what is wrong afterwards.

        Args:
            phase: When.
            how: The name of the method that does it.
            again: Whether the branch that the poll is about moves once more meanwhile.
        """
        known = len(self.changes())
        first = self.push_candidate("auto")
        self.gate.arm(phase)
        self.poke()
        wait_for(lambda: self.gate.reached(phase), phase)
        expected = Counter({("try", self.push_candidate("try")): 1, ("main", self.push_target()): 1})
        last = self.push_candidate("auto") if again else first
        expected["auto", last] = 1
        getattr(self, how)(phase)
        self.poll()
        self.tips |= expected.keys()
        got = Counter(self.changes()[known:])
        if last != first and got["auto", first] == 1:
            # It was the tip when it was fetched.
            del got["auto", first]
        faults = [f"{phase}: {branch} lost" for branch, _ in expected - got]
        return faults + [f"{phase}: {branch} doubled" for branch, _ in got - expected]


@pytest.mark.parametrize(
    ("how", "again"), [("kill", False), ("stop", True), ("reconfigure", False), ("reconfigure", True)]
)
def test_no_push_is_lost_or_doubled_whatever_the_phase(tmp_path: Path, how: str, again: bool) -> None:
    disturbed = Disturbed(tmp_path, AUTOGATE)
    try:
        disturbed.begin()
        faults = [fault for phase in PHASES for fault in disturbed.disturb(phase, how, again=again)]
        assert faults == []
        # What was pushed over while the master was down need not be built, but nothing is built twice.
        wait_for(lambda: disturbed.tips <= disturbed.requests().keys(), "a build request for every tip")
        assert disturbed.requests().most_common(1)[0][1] == 1
        assert "Traceback" not in disturbed.master.log()
    finally:
        disturbed.master.kill()


@pytest.mark.parametrize("phase", ["before-fetch", "after-store"])
def test_the_very_first_poll_is_killed(tmp_path: Path, phase: str) -> None:
    disturbed = Disturbed(tmp_path, AUTOGATE)
    try:
        candidate = disturbed.push_candidate("auto")
        disturbed.gate.arm(phase)
        disturbed.master.start()
        wait_for(lambda: disturbed.gate.reached(phase), phase)
        target = disturbed.push_target()
        disturbed.kill(phase)
        disturbed.poll()
        assert sorted(disturbed.changes()) == [("auto", candidate), ("main", target)]
    finally:
        disturbed.master.kill()


STOCK_PHASES = ("during-ls-remote", "during-fetch", "before-store", "after-store")
"""As many as it takes."""

STOCK_FAILS: dict[str, list[str]] = {
    "kill": ["after-store: auto doubled"],
    "stop": ["during-fetch: try lost", "during-fetch: main lost", "during-fetch: auto lost"],
    "reconfigure": ["during-fetch: try lost", "during-fetch: main lost", "during-fetch: auto lost"],
}


@pytest.mark.parametrize("how", STOCK_FAILS)
def test_the_phases_bite(tmp_path: Path, how: str) -> None:
    """Buildbot's own poller loses and doubles pushes in exactly these phases."""
    disturbed = Disturbed(tmp_path, STOCK)
    try:
        disturbed.begin()
        faults = [fault for phase in STOCK_PHASES for fault in disturbed.disturb(phase, how, again=False)]
        assert faults == STOCK_FAILS[how], "\n".join(faults)
    finally:
        disturbed.master.kill()
