"""A change source for git that loses no push and doubles none.

Buildbot's own ``GitPoller`` (Buildbot's manual, "Change Sources and Changes") is the base: its configuration, the claim
among several masters, the ``poller`` change hook and the poll timer are kept. What a poll does is written anew;
`master.tips` holds the decisions.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from buildbot.changes.gitpoller import GitPoller
from buildbot.config.errors import error as config_error
from buildbot.util.eventual import eventually
from buildbot.util.twisted import async_to_deferred
from twisted.internet import defer
from twisted.python import log

from autogate import gitwords
from autogate.git import GitError

from . import tips
from .changelog import ChangeLog
from .commits import Commit
from .gitprocess import GitRunner, Interrupted
from .mirror import Mirror, hash_name
from .tips import Backoff, Memory, State, Verdict, Watch

STATE_KEY = "tips"
"""The key of the saved `tips.State` among the poller's state, which Buildbot keeps by the poller's name."""

MAX_GIT_PROCESSES = 8
"""How many git processes the pollers of one master run at a time."""

DISCARD_AFTER = 3
"""Polls in a row that failed on a moved branch before the mirror is made anew."""

REPOSITORY = "any branch"
"""What is at fault when git could not list the branches; no branch's name holds a space."""


class Vanished(Exception):  # noqa: N818  said of the repository
    """The repository answers, but has none of the branches that it had."""


@dataclass(frozen=True)
class Options:
    """One configuration of a poller, as its class describes it."""

    project: str
    targets: Sequence[str]
    candidates: Sequence[str]
    interval: float
    ssh_command: str
    workdir: str
    gitbin: str
    category: str | None
    timeout: float
    max_git_processes: int

    @property
    def watch(self) -> Watch:
        """Return the branches."""
        return Watch(tuple(self.targets), tuple(self.candidates))


class AutogatePoller(GitPoller):
    """Polls the branches of one repository and makes exactly one change for each moved tip.

    A poll that finds nothing moved is one ``git ls-remote``. Otherwise the moved branches are fetched into a bare
    mirror, and each gives one change for the tip as fetched, by however many commits and in whatever direction it
    moved. Nothing is lost or doubled by a stop, a reconfiguration or a kill at any point; a change that no scheduler
    heard of (the master died in between) is announced again.

    The first poll records the targets without a change; candidates that exist then give one. A candidate branch that is
    reset to a target's tip gives none.

    Args:
        repourl: What git calls the repository.
        name: Names the poller for the ``poller`` change hook, and is the key of its state in the database.
        project: The changes' project.
        targets: Long-lived branches.
        candidates: Branches that hold what is to be tested.
        pollInterval: Seconds between polls.
        ssh_command: The value of ``GIT_SSH_COMMAND``; empty to leave ssh as it is.
        workdir: The bare mirror's folder, absolute or below the master's; by default one of its own.
        gitbin: The git program.
        category: The changes' category.
        timeout: Seconds after which a git process that says nothing is killed.
        max_git_processes: The cap that this poller shares with all of the master's pollers that name the same number.
    """

    _options: Options | None = None
    _memory: Memory | None = None

    def __init__(  # noqa: PLR0913  all but the first are keywords
        self,
        repourl: str,
        *,
        name: str = "",
        project: str = "",
        targets: Sequence[str] = ("main",),
        candidates: Sequence[str] = ("auto", "try"),
        pollInterval: float = 60,  # noqa: N803  Buildbot's name
        ssh_command: str = "",
        workdir: str = "",
        gitbin: str = "git",
        category: str | None = None,
        timeout: float = 60,
        max_git_processes: int = MAX_GIT_PROCESSES,
    ) -> None:
        self._announced: set[int] = set()
        self._faults: dict[str, str] = {}
        self._failures_to_follow = 0
        self._poked = False
        options = Options(
            project=project,
            targets=targets if isinstance(targets, str) else tuple(targets),
            candidates=candidates if isinstance(candidates, str) else tuple(candidates),
            interval=pollInterval,
            ssh_command=ssh_command,
            workdir=workdir,
            gitbin=gitbin,
            category=category,
            timeout=timeout,
            max_git_processes=max_git_processes,
        )
        super().__init__(repourl, name=name, options=options)

    # Configuration

    def checkConfig(self, repourl: str, options: Options) -> None:  # type: ignore[override]  # noqa: D102, N802
        for fault in faults(self.name or "", repourl, options):
            config_error(f"AutogatePoller {self.name or ''}: {fault}")

    @async_to_deferred
    async def reconfigService(self, repourl: str, options: Options) -> None:  # type: ignore[override]  # noqa: D102, N802
        if self._options == options and self.repourl == repourl:
            # Buildbot asks at every reconfiguration; a poll that is under way goes on.
            return
        running = self.doPoll.running
        if running:
            await self._halt()
        folder = Path(self.master.basedir, options.workdir or f"autogate-mirrors/{quote(str(self.name), safe='')}.git")
        await super().reconfigService(
            repourl,
            name=self.name,
            project=options.project,
            branches=list(options.watch.branches),
            pollInterval=options.interval,  # type: ignore[arg-type]  # fractions work
            workdir=str(folder),
            gitbin=options.gitbin,
            category=options.category,
        )
        self._options, self._folder = options, folder
        self._faults.clear()
        if running:
            self._begin(options)

    def describe(self) -> str:
        """Return what is polled, and what is wrong with it."""
        if self._options is None:
            return f"AutogatePoller {self.name}"
        text = f"AutogatePoller {self.name}: {', '.join(self._options.watch.branches)} of {self._url}"
        return "; ".join([text, *(f"cannot read {where}: {why}" for where, why in sorted(self._faults.items()))])

    # Life

    @async_to_deferred
    async def activate(self) -> None:
        """Begin to poll, at once and then on a grid of the poller's own."""
        if self._options:
            self._begin(self._options)

    def deactivate(self) -> defer.Deferred[None]:
        """Stop polling; a git process that runs is killed, a database operation that runs is waited for."""
        return self._halt()

    def force(self) -> None:
        """Poll at once, also while backing off; when a poll runs, another follows it."""
        self._poked = True
        super().force()

    def _begin(self, options: Options) -> None:
        self._memory = None
        self._backoff = Backoff(options.interval)
        self._runner = GitRunner(
            self.master, options.gitbin, options.ssh_command, options.timeout, options.max_git_processes
        )
        self._mirror = Mirror(self._folder, self.repourl, self._runner)
        self._log = ChangeLog(self.master, options.project, self.repourl, options.watch.branches)
        self._watch = options.watch
        poll = self.doPoll
        poll.start(interval=options.interval)
        # Without an offset, all pollers of a master would poll in the same instant of every interval.
        poll._start_time -= options.interval * zlib.crc32(str(self.name).encode()) / 2**32  # noqa: SLF001
        poll()

    @async_to_deferred
    async def _halt(self) -> None:
        if self.doPoll.running:
            self._runner.stop()
        await self.doPoll.stop()

    # A poll

    @async_to_deferred
    async def poll(self) -> None:  # type: ignore[override]
        """Look once at the repository."""
        now = self.master.reactor.seconds()
        self._runner.urgent, self._poked = self._poked, False
        if self._backoff.holds(now) and not self._runner.urgent:
            return
        try:
            self._runner.check()
            if self._memory is None:
                self._memory = await self._load()
            memory = self._memory
            try:
                await self._look(memory)
            except (GitError, Vanished) as error:
                self._backoff.failed(now)
                self._blame(REPOSITORY, str(error), getattr(error, "cure", ""))
            else:
                failures = self._backoff.succeeded()
                self._absolve(REPOSITORY, f" after {failures} failed polls")
            finally:
                await self._save(memory)
            await self._settle(memory)
        except Interrupted:
            return
        except Exception:
            # Whatever did or did not reach the database is read from it again.
            self._memory = None
            raise
        if memory.doubtful:
            self._memory = None

    async def _look(self, memory: Memory) -> None:
        branches = self._watch.branches
        output = await self._runner.run(*gitwords.ls_remote_args(self.repourl, branches))
        seen = gitwords.parse_ls_remote(output, branches)
        if tips.vanished(memory.tips.values(), seen):
            raise Vanished("it shows none of its branches any more: was it emptied, or another put in its place?")
        moved = []
        for branch in branches:
            verdict = tips.judge(self._watch, branch, memory.tips.get(branch), seen)
            if verdict is Verdict.CHANGE:
                moved.append(branch)
                continue
            if verdict is Verdict.RECORD:
                memory.record(branch, seen.get(branch, tips.ABSENT))
            self._absolve(branch)
        # A baseline is saved before any change is stored: a crash in between would else move the baseline.
        await self._save(memory)
        if moved:
            await self._follow(memory, seen, moved)

    async def _follow(self, memory: Memory, seen: Mapping[str, str], moved: Sequence[str]) -> None:
        """Make the changes of the branches that ``moved``."""
        fetched = await self._mirror.fetch(moved, hash_name(seen[moved[0]]))
        # A branch that moved again since ls-remote is taken as fetched.
        seen = {**seen, **{branch: got.sha for branch, got in fetched.items() if isinstance(got, Commit)}}
        failed = False
        for branch, got in fetched.items():
            try:
                await self._take(memory, seen, branch, got)
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001  one branch's trouble must not keep the others back
                failed = True
                # The change may have been stored all the same, so the next poll reads the log again.
                memory.doubtful |= not isinstance(error, GitError)
                self._blame(branch, str(error) or repr(error))
            else:
                self._absolve(branch)
        self._failures_to_follow = self._failures_to_follow + 1 if failed else 0
        if self._failures_to_follow >= DISCARD_AFTER:
            self._failures_to_follow = 0
            await self._mirror.discard()

    async def _take(self, memory: Memory, seen: Mapping[str, str], branch: str, got: Commit | Exception) -> None:
        if isinstance(got, Exception):
            raise got
        verdict = tips.judge(self._watch, branch, memory.tips.get(branch), seen)
        if verdict is Verdict.RECORD:
            memory.record(branch, got.sha)
        elif verdict is Verdict.CHANGE:
            memory.changed(branch, got.sha, await self._store(branch, got), self.master.reactor.seconds())

    async def _store(self, branch: str, commit: Commit) -> int:
        files = await self._mirror.files(commit)
        await self._until_master_is_ready()
        change: int = await self.master.data.updates.addChange(
            author=commit.author,
            committer=commit.committer,
            revision=commit.sha,
            files=files,
            comments=commit.comments,
            when_timestamp=commit.when,
            branch=branch,
            category=self.category,
            repository=self.repourl,
            project=self.project,
            codebase="",
            src="git",
        )
        self._announced.add(change)
        return change

    async def _until_master_is_ready(self) -> None:
        """Wait while the master starts or reconfigures: pollers begin before the schedulers that would hear them."""
        lock = self.master.initLock
        if lock.locked:
            await self._runner.wait(lock.acquire())
            # In a turn of its own: the next poller that waits would else run within this one, and hundreds may wait.
            eventually(lock.release)
        self._runner.check()

    # What has been dealt with

    async def _load(self) -> Memory:
        saved = await self.getState(STATE_KEY, None)
        state = None if saved is None else State.from_json(saved)
        return Memory.load(self._watch, state, await self._log.newest(), self.master.reactor.seconds())

    async def _save(self, memory: Memory) -> None:
        if not memory.saved:
            await self.setState(STATE_KEY, memory.state().to_json())
            memory.saved = True

    async def _settle(self, memory: Memory) -> None:
        """See to it that the schedulers heard of every branch's newest change.

        Buildbot's message queues are not durable: a change that is stored just before the master dies, or while a
        scheduler is replaced, is never built. One that has led to a request was heard of; any other is announced again,
        which does nothing where no scheduler wants it.
        """
        now = self.master.reactor.seconds()
        old = memory.settles(now)
        for change in sorted(memory.fresh.values()):
            lost = change not in self._announced
            if not (lost or old) or await self._log.heard(change, memory.settled_at):
                continue
            await self._until_master_is_ready()
            if lost:
                log.msg(f"{self.name}: announces change {change} again, since nothing has come of it")
            await self._log.announce(change)
            self._announced.add(change)
        if old:
            memory.settle(now)
            self._announced.clear()
            await self._save(memory)

    # What is wrong

    @property
    def _url(self) -> str:
        return gitwords.without_userinfo(self.repourl)

    def _blame(self, where: str, why: str, cure: str = "") -> None:
        """Say once that something fails, and not again until it has worked."""
        why += f". What to do: {cure}" if cure else ""
        if where not in self._faults:
            log.msg(f"{self.name}: cannot read {where} of {self._url}: {why} (said once; polling goes on)")
        self._faults[where] = why

    def _absolve(self, where: str, after: str = "") -> None:
        if self._faults.pop(where, None) is not None:
            log.msg(f"{self.name}: can read {where} of {self._url} again{after}")


def faults(name: str, repourl: str, options: Options) -> list[str]:
    """Return what is wrong with a configuration, each with what to write instead."""
    if isinstance(options.targets, str) or isinstance(options.candidates, str):
        return ["targets and candidates are lists of branches, not one branch"]
    found = []
    if not name:
        found.append("name is missing; the poller's state is kept under it, so give each poller its own")
    if not options.project:
        found.append("project is missing; give the name that the changes are to carry")
    if not repourl or repourl.startswith("-") or not repourl.isprintable():
        found.append(f"the repository's url {repourl!r} is none; give what `git clone` would take")
    branches = options.watch.branches
    found += [f"the branch {branch!r} {fault}" for branch in branches if (fault := gitwords.branch_name_fault(branch))]
    found += [
        f"the branch {branch!r} is named twice" for branch in sorted({b for b in branches if branches.count(b) > 1})
    ]
    if not branches:
        found.append("no branch is named in targets or candidates")
    if options.interval <= 0:
        found.append(f"pollInterval is {options.interval}; give a number of seconds above 0")
    if options.timeout <= 0:
        found.append(f"timeout is {options.timeout}; give a number of seconds above 0")
    if options.max_git_processes < 1:
        found.append(f"max_git_processes is {options.max_git_processes}; give at least 1")
    return found
