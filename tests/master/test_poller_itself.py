"""What is the gate's poller's own: its cost, its manners, and its messages."""

import json
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import changes
from buildbot.util.twisted import async_to_deferred
from twisted.internet import defer

from master import gitprocess, mirror
from master.poller import AutogatePoller
from tests.master.polling import AutogateHarness
from tests.support.repository import Repository


class TestPollerItself(AutogateHarness):
    """With a master in this process."""

    poller: AutogatePoller

    async def started(self, **options: Any) -> None:
        self.options |= options
        await self.start()

    def complaints(self) -> list[str]:
        return [line for line in self.lines if "cannot read" in line]

    async def scheduled_poll(self) -> None:
        """Let the poll timer fire, as opposed to a poke."""
        begun = self.begun
        self.poller.doPoll()
        await self.idle(begun)

    @async_to_deferred
    async def test_an_idle_poll_is_one_ls_remote_and_its_server(self) -> None:
        await self.started()
        trace = self.folder / "trace"
        self.patch_environment("GIT_TRACE2_EVENT", str(trace))
        await self.poll()
        events = [json.loads(line) for line in trace.read_text().splitlines()]
        started = [event["argv"] for event in events if event["event"] == "start"]
        assert [Path(argv[0]).name for argv in started] == ["git", "git-upload-pack"], started
        assert started[0][1] == "ls-remote"
        assert not (self.folder / "autogate-mirrors").exists()

    def patch_environment(self, name: str, value: str) -> None:
        self.replace(os, "environ", os.environ | {name: value})

    @async_to_deferred
    async def test_unreachable_is_said_once_with_git_s_words_and_a_cure(self) -> None:
        await self.started()
        away = self.repository.bare.with_name("away")
        self.repository.bare.rename(away)
        await self.poll(3)
        [complaint] = self.complaints()
        assert "does not appear to be a git repository" in complaint
        assert "What to do: the path in the url is wrong" in complaint
        assert "does not appear" in self.poller.describe()
        away.rename(self.repository.bare)
        await self.poll()
        assert len([line for line in self.lines if "again after 3 failed polls" in line]) == 1
        assert "does not appear" not in self.poller.describe()

    @async_to_deferred
    async def test_no_password_is_said(self) -> None:
        self.replace(type(self), "url", property(lambda _: "http://ada:hunter2@127.0.0.1:1/project.git"))
        await self.started()
        assert len(self.complaints()) == 1
        assert "hunter2" not in "".join(self.lines) + self.poller.describe()

    @async_to_deferred
    async def test_a_poke_does_not_wait_for_the_back_off(self) -> None:
        await self.started()
        self.repository.bare.rename(self.repository.bare.with_name("away"))
        ran: list[str] = []
        real = gitprocess.GitRunner.run

        async def run(runner: gitprocess.GitRunner, *args: str, **options: Any) -> bytes:
            ran.append(args[0])
            return await real(runner, *args, **options)

        self.replace(gitprocess.GitRunner, "run", run)
        await self.poll(2)
        await self.scheduled_poll()
        assert ran == ["ls-remote"] * 2
        await self.poll()
        assert ran == ["ls-remote"] * 3

    @async_to_deferred
    async def test_a_hung_git_is_killed(self) -> None:
        await self.started(gitbin=self.gate.git, timeout=0.5)
        self.gate.arm("before-ls-remote")
        sha = self.new_candidate()
        await self.poll()
        assert "git ls-remote timed out: no answer within 0.5 s" in "".join(self.complaints())
        self.options["timeout"] = 60
        await self.reconfigure()
        await self.poll()
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_git_is_not_there(self) -> None:
        await self.started(gitbin=str(self.folder / "no-git"))
        assert len(self.complaints()) == 1
        assert "Traceback" not in "".join(self.lines)

    @async_to_deferred
    async def test_hosts_that_hang_leave_room_for_a_poke(self) -> None:
        await self.started(max_git_processes=4)
        slots = await gitprocess.GitSlots.getService(self.master, 4)
        for _ in range(3):
            await slots.scheduled.acquire()
            await slots.all.acquire()
        begun = self.begun
        self.poller.doPoll()
        await self.until(lambda: self.begun > begun, "the scheduled poll")
        assert self.ended == begun
        slots.scheduled.release()
        slots.all.release()
        await self.idle(begun)
        await slots.scheduled.acquire()
        await slots.all.acquire()
        sha = self.new_candidate()
        await self.poll()
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_stop_does_not_wait_for_a_slot_or_a_hung_git(self) -> None:
        await self.started(gitbin=self.gate.git, max_git_processes=1)
        sha = self.new_candidate()
        slots = await gitprocess.GitSlots.getService(self.master, 1)
        await slots.all.acquire()
        self.poller.force()
        await self.until(lambda: slots.all.waiting, "the poll to wait for a slot")
        await self.stop()
        await self.start()
        await self.expect(("auto", sha))
        self.gate.arm("before-ls-remote")
        self.poller.force()
        await self.until(lambda: self.gate.reached("before-ls-remote"), "ls-remote")
        await self.stop()
        await self.start()
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_the_cap_holds_over_all_pollers(self) -> None:
        self.others = [str(Repository.create(self.folder, f"other-{number}").bare) for number in range(5)]
        running, most = 0, 0
        real = gitprocess.GitRunner._run

        async def run(runner: gitprocess.GitRunner, *args: Any) -> bytes:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                return await real(runner, *args)
            finally:
                running -= 1

        self.replace(gitprocess.GitRunner, "_run", run)
        await self.started(max_git_processes=2)
        for poller in self.master.change_svc:
            poller.force()
        await self.poll()
        assert most == 2

    @async_to_deferred
    async def test_hundreds_of_pollers_that_wait_do_not_pile_up(self) -> None:
        await self.started()
        await self.master.initLock.acquire()
        ready = [defer.ensureDeferred(self.poller._until_master_is_ready()) for _ in range(500)]
        self.master.initLock.release()
        await defer.gatherResults(ready)
        slots = await gitprocess.GitSlots.getService(self.master, 8)
        for _ in range(8):
            await slots.all.acquire()

        async def fail() -> bytes:
            raise OSError("too many open files")

        runs = [defer.ensureDeferred(self.poller._runner._within(slots.all, fail)) for _ in range(500)]
        for _ in range(8):
            slots.all.release()
        ended: list[Any] = await defer.DeferredList(runs, consumeErrors=True)
        assert [failure.type for _, failure in ended] == [OSError] * 500
        await self.poll()

    def make_poller(self, url: str, name: str = "project-poller", **options: Any) -> Any:
        options.setdefault("max_git_processes", self.options.get("max_git_processes", 8))
        return super().make_poller(url, name, **options)

    @async_to_deferred
    async def test_pollers_do_not_poll_in_the_same_instant(self) -> None:
        self.others = [self.url, self.url]
        await self.started()
        starts = {poller.doPoll._start_time for poller in self.master.change_svc}
        assert len(starts) == 3

    @async_to_deferred
    async def test_a_mirror_that_a_crash_left_locked(self) -> None:
        await self.started()
        first = self.new_candidate("one")
        await self.poll()
        [refs] = (self.folder / "autogate-mirrors").glob("*.git/refs/autogate")
        (refs / "auto.lock").touch()
        second = self.new_candidate("two")
        await self.poll()
        await self.expect(("auto", first), ("auto", second))

    @async_to_deferred
    async def test_a_mirror_that_lost_an_object(self) -> None:
        await self.started()
        first = self.new_candidate("one")
        await self.poll()
        second = self.new_candidate("two")
        [folder] = (self.folder / "autogate-mirrors").iterdir()
        tree = self.repository.git("rev-parse", f"{second}^{{tree}}")
        subprocess.run(["git", f"--git-dir={folder}", "fetch", "-q", self.url, "+auto:refs/autogate/auto"], check=True)  # noqa: ASYNC221  nothing else is to run
        for pack in (folder / "objects/pack").glob("*"):
            pack.unlink()
        loose = folder / "objects" / tree[:2] / tree[2:]
        loose.unlink(missing_ok=True)
        await self.poll(5)
        await self.expect(("auto", first), ("auto", second))
        assert any("anew" in line for line in self.lines)

    @async_to_deferred
    async def test_a_repository_that_shows_no_branch_any_more(self) -> None:
        await self.started()
        sha = self.new_candidate()
        await self.poll()
        away = self.repository.bare.with_name("away")
        self.repository.bare.rename(away)
        subprocess.run(["git", "init", "-q", "--bare", self.url], check=True)  # noqa: ASYNC221  nothing else is to run
        await self.poll(2)
        assert len(self.complaints()) == 1
        self.repository.bare.rename(away.with_name("empty"))
        away.rename(self.repository.bare)
        await self.poll(2)
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_files_of_a_batch_are_those_since_its_verified_base(self) -> None:
        await self.started()
        base = self.repository.head()
        for topic in ("one", "two"):
            self.repository.git("checkout", "-q", "-B", topic, "main")
            self.repository.commit({f"{topic}.txt": topic})
        self.repository.merge(["one", "two"], f"Merge\n\nAutogate-Base: {base}")
        self.repository.push("auto")
        forged = self.repository.git("rev-parse", "two")
        self.repository.merge(["one", "two"], f"Merge\n\nAutogate-Base: {forged}", onto="try")
        self.repository.push("try")
        await self.poll()
        rows = {row["branch"]: row["files"] for row in await self.master.data.get(("changes",))}
        assert sorted(rows["auto"]) == ["one.txt", "two.txt"]
        assert rows["try"] == ["two.txt"]

    @async_to_deferred
    async def test_a_root_commit_and_a_huge_one(self) -> None:
        await self.started()
        self.repository.git("checkout", "-q", "--orphan", "fresh")
        files = {f"{number:04}.txt": "x" for number in range(1500)}
        message = self.folder / "message"
        message.write_text("Add all\n\n" + "long " * 200_000)
        self.repository.commit(files)
        self.repository.git("commit", "-q", "--amend", "-F", str(message))
        self.repository.push("fresh:auto")
        await self.poll()
        [change] = await self.master.data.get(("changes",))
        assert len(change["files"]) == 1000
        assert change["comments"].startswith("Add all\n\nlong")
        assert len(change["comments"]) < 20000

    @async_to_deferred
    async def test_a_repository_of_sha256(self) -> None:
        bare, tree = self.folder / "256.git", self.folder / "256"
        for arguments in (["--bare", str(bare)], [str(tree)]):
            subprocess.run(["git", "init", "-q", "-b", "main", "--object-format=sha256", *arguments], check=True)  # noqa: ASYNC221  nothing else is to run
        repository = Repository(bare, tree)
        repository.git("remote", "add", "origin", str(bare))
        repository.commit({"a": "b"})
        repository.push("main")
        self.repository = repository
        await self.started()
        sha = self.new_candidate()
        await self.poll()
        assert len(sha) == 64
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_one_branch_becomes_a_folder(self) -> None:
        await self.started(branches=[["main"], ["auto", "auto/next"]])
        first = self.new_candidate("one")
        await self.poll()
        self.repository.push(":auto")
        second = self.new_candidate("two", "auto/next")
        await self.poll(2)
        await self.expect(("auto", first), ("auto/next", second))

    @async_to_deferred
    async def test_a_change_that_a_scheduler_missed_is_announced_once_more(self) -> None:
        await self.started()
        produce = self.master.mq.produce
        self.master.mq.produce = lambda *_: None
        self.new_candidate()
        await self.poll()
        self.master.mq.produce = produce
        await self.poll()
        await self.quiet()
        assert await self.requests() == 0
        memory = self.poller._memory
        assert memory
        memory.fresh_since -= 60
        await self.poll()
        await self.quiet()
        assert await self.requests() == 1
        assert memory.fresh == {}
        await self.restart()
        await self.poll()
        await self.quiet()
        assert await self.requests() == 1

    @async_to_deferred
    async def test_a_reconfiguration_that_changes_nothing_leaves_the_poll_alone(self) -> None:
        await self.started(gitbin=self.gate.git)
        sha = self.new_candidate()
        begun = self.begun
        self.gate.arm("after-ls-remote")
        self.poller.force()
        await self.until(lambda: self.gate.reached("after-ls-remote"), "ls-remote")
        await self.reconfigure()
        self.gate.release()
        await self.idle(begun)
        assert self.begun == begun + 1
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_a_target_that_moves_while_the_very_first_poll_is_cut_short(self) -> None:
        self.options["gitbin"] = self.gate.git
        sha = self.new_candidate()
        self.gate.arm("before-fetch")
        starting = defer.ensureDeferred(self.start())
        await self.until(lambda: self.gate.reached("before-fetch"), "fetch")
        self.repository.git("checkout", "-q", "main")
        moved = self.repository.commit({"more.txt": "x"})
        self.repository.push("main")
        await self.stop()
        await starting
        await self.start()
        await self.expect(("auto", sha), ("main", moved))

    @async_to_deferred
    async def test_a_saved_state_that_cannot_be_read_makes_no_change(self) -> None:
        await self.started()
        sha = self.new_candidate()
        await self.poll()
        await self.stop()
        await self.start_with_state({"version": 99})
        await self.poll()
        await self.expect(("auto", sha))
        self.forgive(ValueError)

    async def start_with_state(self, state: object) -> None:
        database = self.folder / "state.sqlite"
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE object_state SET value_json = ? WHERE name = 'tips'", (json.dumps(state),))
        await self.start()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"candidates": ["--upload-pack=x"]}, "the branch '--upload-pack=x' starts with a dash"),
        ({"targets": ["a..b"]}, "the branch 'a..b' contains '..'"),
        ({"targets": ["auto"]}, "the branch 'auto' is named twice"),
        ({"targets": "main"}, "lists of branches"),
        ({"targets": [], "candidates": []}, "no branch is named"),
        ({"repourl": "--upload-pack=x"}, "the repository's url '--upload-pack=x' is none"),
        ({"repourl": ""}, "the repository's url '' is none"),
        ({"name": ""}, "name is missing"),
        ({"project": ""}, "project is missing"),
        ({"pollInterval": 0}, "pollInterval is 0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"max_git_processes": 0}, "max_git_processes is 0"),
    ],
)
def test_a_wrong_configuration_is_refused_with_what_to_write(options: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"repourl": "ssh://host/a.git", "name": "a-poller", "project": "a"} | options
    with pytest.raises(ConfigErrors) as caught:
        AutogatePoller(arguments.pop("repourl"), **arguments)
    assert words in "".join(caught.value.errors)


def test_it_is_offered_as_a_plugin() -> None:
    assert changes.AutogatePoller is AutogatePoller


def test_progress_is_no_error() -> None:
    stderr = (
        b"remote: Counting objects: 3\nReceiving objects: 50%\rReceiving objects: 100%\nremote: No access\nfatal: x\n"
    )
    assert gitprocess.without_progress(stderr) == "remote: No access\nfatal: x\n"


def test_mirror_refs_are_flat() -> None:
    assert mirror._ref("a/b") == "refs/autogate/a%2Fb"
