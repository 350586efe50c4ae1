"""A real Buildbot master in this process, with a poller that is told when to poll."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from buildbot.changes.gitpoller import GitPoller
from buildbot.config.builder import BuilderConfig
from buildbot.master import BuildMaster
from buildbot.plugins import schedulers, steps, worker
from buildbot.process.factory import BuildFactory
from buildbot.test.util.integration import DictLoader
from buildbot.util.twisted import async_to_deferred
from twisted.internet import reactor, task
from twisted.python import log
from twisted.trial import unittest

from master.poller import AutogatePoller
from tests.master.git_gate import GitGate
from tests.support.repository import Repository


class PollerHarness(unittest.TestCase):
    """A repository, a master with one poller, and what came of it."""

    timeout = 60
    template: Path

    def make_poller(self, url: str, name: str = "project-poller", **options: Any) -> GitPoller:
        raise NotImplementedError

    # The master

    @classmethod
    def setUpClass(cls) -> None:
        cls.template = Path(tempfile.mkdtemp(prefix="autogate-test-"))

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.template)

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="autogate-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = Repository.create(self.folder)
        self.gate = GitGate(self.folder / "gate")
        self.lines: list[str] = []
        log.addObserver(self._observe)
        self.addCleanup(log.removeObserver, self._observe)
        self.options: dict[str, Any] = {}
        self.others: list[str] = []
        self.begun = self.ended = 0

    def _observe(self, event: dict[str, Any]) -> None:
        self.lines.append(log.textFromEventDict(event) or "")

    @property
    def url(self) -> str:
        return str(self.repository.bare)

    def configuration(self, *pollers: GitPoller) -> dict[str, Any]:
        factory = BuildFactory([steps.ShellCommand(command=["true"])])
        return {
            "change_source": [
                *pollers,
                *(self.make_poller(url, f"other-{number}") for number, url in enumerate(self.others)),
            ],
            "workers": [worker.Worker("nobody", "pass")],
            "protocols": {"null": {}},
            "builders": [BuilderConfig("any", workernames=["nobody"], factory=factory, collapseRequests=False)],
            "schedulers": [schedulers.AnyBranchScheduler("any", builderNames=["any"], treeStableTimer=None)],
            "buildbotNetUsageData": None,
            "db_url": f"sqlite:///{self.folder}/state.sqlite",
        }

    def poller_with_options(self) -> GitPoller:
        poller = self.make_poller(self.url, **self.options)
        real = poller.poll

        @async_to_deferred
        async def counted() -> None:
            self.begun += 1
            try:
                await real()
            finally:
                self.ended += 1

        poller.poll = counted  # type: ignore[method-assign]
        return poller

    async def start(self) -> None:
        """Start a master whose poller polls at once, and wait for that poll."""
        # A master that cannot start stops the reactor, which belongs to the whole test run.
        await task.deferLater(reactor, 0)
        self.replace(reactor, "stop", lambda: self.fail("the master cannot start: " + "\n".join(self.lines[-9:])))
        begun = self.begun
        database = self.folder / "state.sqlite"
        if not database.exists():
            await self.make_database(database)
        self.poller = self.poller_with_options()
        # Cases reach into it as they like.
        self.master: Any = self.make_master(self.configuration(self.poller))
        self.addCleanup(self.stop)
        await self.master.startService()
        await self.idle(begun)

    def make_master(self, configuration: dict[str, Any]) -> BuildMaster:
        return BuildMaster(str(self.folder), reactor=reactor, config_loader=DictLoader(configuration))

    async def make_database(self, path: Path) -> None:
        """Make Buildbot's tables; once, since that is slow."""
        template = self.template / "state.sqlite"
        if not template.exists():
            master = self.make_master({})
            master.config.db.db_url = f"sqlite:///{template}"
            await master.db.setup(check_version=False)
            await master.db.model.upgrade()
            assert master.db.pool
            await master.db.pool.stop()
        shutil.copy(template, path)

    @async_to_deferred
    async def stop(self) -> None:
        if self.master.running:
            await self.master.stopService()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def reconfigure(self, **options: Any) -> None:
        """Reconfigure the poller."""
        self.options |= options
        fresh = self.make_poller(self.url, **self.options)
        self.master.config_loader.config_dict = self.configuration(fresh)
        await self.master.reconfig()

    async def poll(self, times: int = 1) -> None:
        """Poke the poller, and wait until it has polled."""
        for _ in range(times):
            begun = self.begun
            self.poller.force()
            await self.idle(begun)

    async def idle(self, begun: int) -> None:
        """Wait until a poll after the first ``begun`` has ended and no other is under way or due."""
        await self.until(
            lambda: self.begun > begun and self.begun == self.ended and not self.poller.doPoll.pending, "the poll"
        )

    async def until(self, condition: Callable[[], object], what: str) -> None:
        for _ in range(6000):
            if condition():
                return
            await task.deferLater(reactor, 0.005)
        raise AssertionError(f"waited in vain for {what}")

    def replace(self, where: object, name: str, value: object) -> None:
        """Set an attribute until the case ends."""
        self.patch(where, name, value)  # type: ignore[no-untyped-call]

    def forgive(self, kind: type[Exception]) -> None:
        """Let the log hold errors of a kind."""
        self.flushLoggedErrors(kind)  # type: ignore[no-untyped-call]

    # What came of it

    async def rows(self) -> list[Any]:
        changes = self.master.db.model.changes
        rows: list[Any] = await self.master.db.pool.do(
            lambda connection: connection.execute(changes.select().order_by(changes.c.changeid)).fetchall()
        )
        return rows

    async def changes(self) -> list[tuple[str, str]]:
        """Return (branch, revision) of every change, oldest first."""
        return [(row.branch, row.revision) for row in await self.rows()]

    async def expect(self, *expected: tuple[str, str]) -> None:
        assert sorted(await self.changes()) == sorted(expected)

    async def requests(self) -> int:
        return len(await self.master.data.get(("buildrequests",)))

    def new_candidate(self, content: str = "one", branch: str = "auto") -> str:
        """Push a merge to a candidate branch and return its SHA."""
        sha = self.repository.candidate({f"{content}.txt": content}, topic=f"topic-{content}", message=f"Add {content}")
        self.repository.push(f"auto:refs/heads/{branch}")
        return sha

    async def quiet(self) -> None:
        """Wait until the schedulers have dealt with every change that was announced."""
        for scheduler in self.master.scheduler_manager:
            await scheduler._change_consumption_lock.run(lambda: None)
        await self.master.mq.impl._deferwaiter.wait()
        for scheduler in self.master.scheduler_manager:
            await scheduler._change_consumption_lock.run(lambda: None)


class AutogateHarness(PollerHarness):
    """With the gate's poller."""

    def make_poller(self, url: str, name: str = "project-poller", **options: Any) -> GitPoller:
        targets, candidates = options.pop("branches", [["main"], ["auto", "try"]])
        options = {"pollInterval": 3600} | options
        return AutogatePoller(url, name=name, project="project", targets=targets, candidates=candidates, **options)


class StockHarness(PollerHarness):
    """With Buildbot's own."""

    every_push = False

    def make_poller(self, url: str, name: str = "project-poller", **options: Any) -> GitPoller:
        targets, candidates = options.pop("branches", [["main"], ["auto", "try"]])
        options = {"pollInterval": 3600} | options
        return GitPoller(
            url,
            name=name,
            project="project",
            branches=[*candidates, *targets],
            workdir=f"{name}-work",
            pollAtLaunch=True,
            buildPushesWithNoCommits=self.every_push,
            **options,
        )
