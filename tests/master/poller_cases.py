"""What any poller of a merge gate must do, on real git and a real master."""

import os
from typing import Any

from buildbot.util.twisted import async_to_deferred
from twisted.internet import defer

from tests.master.polling import PollerHarness
from tests.support.repository import Repository


class PollerCases(PollerHarness):
    """Each case pushes, polls, and looks at the changes table. Mixed into a harness that has a poller."""

    __test__ = False

    @async_to_deferred
    async def test_first_auto_ever_is_there_at_the_first_poll(self) -> None:
        sha = self.new_candidate()
        await self.start()
        await self.expect(("auto", sha))
        await self.poll()
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_first_auto_ever_comes_after_the_first_poll(self) -> None:
        await self.start()
        sha = self.new_candidate()
        await self.poll(2)
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_target_at_the_first_poll_is_a_baseline(self) -> None:
        await self.start()
        await self.poll()
        await self.expect()

    @async_to_deferred
    async def test_repository_without_a_branch_at_the_first_poll(self) -> None:
        self.repository.git("--git-dir", self.url, "update-ref", "-d", "refs/heads/main")
        await self.start()
        self.repository.push("main")
        await self.poll()
        sha = self.new_candidate()
        await self.poll()
        await self.expect(("main", self.repository.tip("main")), ("auto", sha))

    @async_to_deferred
    async def test_two_new_branches_at_once(self) -> None:
        await self.start()
        one, two = self.new_candidate("one"), self.new_candidate("two", "try")
        await self.poll(2)
        await self.expect(("auto", one), ("try", two))

    @async_to_deferred
    async def test_force_push(self) -> None:
        await self.start()
        first = self.new_candidate("one")
        await self.poll()
        second = self.new_candidate("two")
        await self.poll()
        await self.expect(("auto", first), ("auto", second))

    @async_to_deferred
    async def test_force_push_back_to_an_older_candidate(self) -> None:
        await self.start()
        first = self.new_candidate("one")
        await self.poll()
        second = self.new_candidate("two")
        await self.poll()
        self.repository.push(f"{first}:refs/heads/auto")
        await self.poll(2)
        await self.expect(("auto", first), ("auto", second), ("auto", first))

    @async_to_deferred
    async def test_target_is_fast_forwarded_to_what_was_built_on_auto(self) -> None:
        await self.start()
        sha = self.new_candidate()
        await self.poll()
        self.repository.push("auto:refs/heads/main")
        await self.poll(2)
        await self.expect(("auto", sha), ("main", sha))

    @async_to_deferred
    async def test_batch_of_five_merges_is_one_change(self) -> None:
        await self.start()
        topics = [f"topic-{number}" for number in range(5)]
        for topic in topics:
            self.repository.git("checkout", "-q", "-B", topic, "main")
            self.repository.commit({f"{topic}.txt": topic})
        sha = self.repository.merge(topics)
        self.repository.push("auto")
        await self.poll()
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_target_moves_by_a_batch(self) -> None:
        await self.start()
        for number in range(3):
            self.repository.commit({f"{number}.txt": "x"})
        self.repository.push("main")
        await self.poll()
        await self.expect(("main", self.repository.tip("main")))

    @async_to_deferred
    async def test_auto_is_reset_to_the_target(self) -> None:
        await self.start()
        sha = self.new_candidate()
        await self.poll()
        self.repository.push("main:refs/heads/auto")
        await self.poll(2)
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_auto_stands_at_the_target_when_the_target_moves(self) -> None:
        self.repository.push("main:refs/heads/auto")
        await self.start()
        self.repository.commit({"by-hand.txt": "x"})
        self.repository.push("main")
        await self.poll()
        self.repository.push("main:refs/heads/auto")
        await self.poll()
        await self.expect(("main", self.repository.tip("main")))

    @async_to_deferred
    async def test_push_while_the_master_is_down(self) -> None:
        await self.start()
        first = self.new_candidate("one")
        await self.poll()
        await self.stop()
        second = self.new_candidate("two")
        self.repository.push(f"{first}:refs/heads/main")
        await self.start()
        await self.poll()
        await self.expect(("auto", first), ("auto", second), ("main", first))

    @async_to_deferred
    async def test_nothing_moves_while_the_master_is_down(self) -> None:
        await self.start()
        sha = self.new_candidate()
        await self.poll()
        await self.restart()
        await self.restart()
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_branch_is_deleted_and_pushed_again(self) -> None:
        await self.start()
        sha = self.new_candidate()
        await self.poll()
        self.repository.push(":auto")
        await self.poll()
        await self.restart()
        self.repository.push("auto")
        await self.poll(2)
        await self.expect(("auto", sha), ("auto", sha))

    @async_to_deferred
    async def test_unreachable_for_ten_polls(self) -> None:
        await self.start()
        away = self.repository.bare.with_name("away")
        self.repository.bare.rename(away)
        del self.lines[:]
        await self.poll(10)
        complaints = [line for line in self.lines if "does not appear to be a git repository" in line]
        away.rename(self.repository.bare)
        one, two = self.new_candidate("one"), self.new_candidate("two", "try")
        await self.poll(2)
        await self.expect(("auto", one), ("try", two))
        assert len(complaints) == 1, complaints
        assert "Traceback" not in "".join(self.lines)

    @async_to_deferred
    async def test_trouble_with_one_branch(self) -> None:
        await self.start()
        real = self.master.data.updates.addChange
        failures = [OSError("the disk is full")]

        @async_to_deferred
        async def add_change(**change: Any) -> Any:
            if change["branch"] == "auto" and failures:
                raise failures.pop()
            return await real(**change)

        self.master.data.updates.addChange = add_change
        one, two = self.new_candidate("one"), self.new_candidate("two", "try")
        await self.poll()
        await self.expect(("try", two))
        await self.poll(2)
        await self.expect(("auto", one), ("try", two))
        self.forgive(OSError)

    @async_to_deferred
    async def test_stored_but_reported_as_failed(self) -> None:
        await self.start()
        real = self.master.data.updates.addChange
        failures = [OSError("the connection was lost")]

        @async_to_deferred
        async def add_change(**change: Any) -> Any:
            number = await real(**change)
            if failures:
                raise failures.pop()
            return number

        self.master.data.updates.addChange = add_change
        sha = self.new_candidate()
        await self.poll(2)
        await self.restart()
        await self.expect(("auto", sha))
        self.forgive(OSError)

    @async_to_deferred
    async def test_state_cannot_be_saved(self) -> None:
        await self.start()
        real = self.master.db.state.setState
        self.master.db.state.setState = lambda *_: defer.fail(OSError("the disk is full"))
        one = self.new_candidate("one")
        await self.poll()
        await self.poll()
        self.master.db.state.setState = real
        await self.restart()
        two = self.new_candidate("two")
        await self.poll()
        await self.expect(("auto", one), ("auto", two))
        self.forgive(OSError)

    @async_to_deferred
    async def test_poke_during_a_poll(self) -> None:
        self.options["gitbin"] = self.gate.git
        await self.start()
        begun = self.begun
        self.gate.arm("after-ls-remote")
        self.poller.force()
        await self.until(lambda: self.gate.reached("after-ls-remote"), "ls-remote")
        sha = self.new_candidate()
        self.poller.force()
        self.gate.release()
        await self.idle(begun + 1)
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_branch_moves_between_ls_remote_and_fetch(self) -> None:
        self.options["gitbin"] = self.gate.git
        await self.start()
        self.new_candidate("one")
        begun = self.begun
        self.gate.arm("before-fetch")
        self.poller.force()
        await self.until(lambda: self.gate.reached("before-fetch"), "fetch")
        sha = self.new_candidate("two")
        self.gate.release()
        await self.idle(begun)
        await self.poll()
        await self.expect(("auto", sha))

    @async_to_deferred
    async def test_branch_is_reset_between_ls_remote_and_fetch(self) -> None:
        self.options["gitbin"] = self.gate.git
        await self.start()
        self.new_candidate("one")
        begun = self.begun
        self.gate.arm("before-fetch")
        self.poller.force()
        await self.until(lambda: self.gate.reached("before-fetch"), "fetch")
        self.repository.push("main:refs/heads/auto")
        self.gate.release()
        await self.idle(begun)
        await self.poll()
        await self.expect()

    @async_to_deferred
    async def test_branch_is_deleted_between_ls_remote_and_fetch(self) -> None:
        self.options["gitbin"] = self.gate.git
        await self.start()
        self.new_candidate("one")
        two = self.new_candidate("two", "try")
        begun = self.begun
        self.gate.arm("before-fetch")
        self.poller.force()
        await self.until(lambda: self.gate.reached("before-fetch"), "fetch")
        self.repository.push(":auto")
        self.gate.release()
        await self.idle(begun)
        # Not the next poll but this one: the deleted branch must not keep the other back.
        await self.expect(("try", two))

    @async_to_deferred
    async def test_reconfigure_in_mid_poll(self) -> None:
        self.options["gitbin"] = self.gate.git
        await self.start()
        sha = self.new_candidate("one")
        self.gate.arm("after-ls-remote")
        self.poller.force()
        await self.until(lambda: self.gate.reached("after-ls-remote"), "ls-remote")
        two = self.new_candidate("two", "try")
        reconfigured = defer.ensureDeferred(self.reconfigure(pollInterval=1800))
        await self.until(lambda: self.master.initLock.locked, "the reconfiguration to begin")
        self.gate.release(alive=False)
        await reconfigured
        await self.poll(2)
        await self.expect(("auto", sha), ("try", two))

    @async_to_deferred
    async def test_odd_bytes_in_a_commit(self) -> None:
        await self.start()
        self.repository.git("checkout", "-q", "-B", "topic", "main")
        (self.repository.tree / os.fsdecode(b"caf\xe9 \n.txt")).write_text("x")
        message = self.folder / "message"
        message.write_bytes(b"Caf\xe9\n\nbody \xff\n")
        self.repository.git("add", "--all")
        self.repository.git("commit", "-q", "--cleanup=verbatim", "-F", str(message))
        self.repository.push("topic:auto")
        await self.poll()
        await self.expect(("auto", self.repository.head()))
        [change] = await self.master.data.get(("changes",))
        assert "body" in change["comments"]
        assert len(change["files"]) == 1

    @async_to_deferred
    async def test_fields_of_a_change(self) -> None:
        await self.start()
        self.repository.git("checkout", "-q", "-B", "topic", "main")
        self.repository.commit({"a/one.txt": "1", "two words.txt": "2"}, "Work")
        self.repository.git("checkout", "-q", "main")
        self.repository.commit({"elsewhere.txt": "3"}, "Go on")
        self.repository.push("main")
        sha = self.repository.merge(["topic"], "Merge topic\n\nIt is good.")
        self.repository.push("auto")
        await self.poll()
        [change] = [row for row in await self.master.data.get(("changes",)) if row["branch"] == "auto"]
        got = {key: change[key] for key in ("author", "committer", "comments", "revlink", "revision", "repository")}
        assert got == {
            "author": "Ada Author <ada@example.org>",
            "committer": "Ada Author <ada@example.org>",
            "comments": "Merge topic\n\nIt is good.",
            "revlink": "",
            "revision": sha,
            "repository": self.url,
        }
        assert (change["project"], change["codebase"]) == ("project", "")
        assert sorted(change["files"]) == ["a/one.txt", "two words.txt"]
        assert change["when_timestamp"] == int(self.repository.git("log", "-1", "--format=%ct", sha))

    @async_to_deferred
    async def test_branch_is_newly_configured(self) -> None:
        self.repository.push("main:refs/heads/release")
        one = self.new_candidate("one", "staging")
        self.options["branches"] = [["main"], ["auto"]]
        await self.start()
        await self.reconfigure(branches=[["main", "release"], ["auto", "staging"]])
        await self.poll()
        await self.expect(("staging", one))
        self.repository.push("auto:refs/heads/release")
        await self.poll(2)
        await self.expect(("staging", one), ("release", one))

    @async_to_deferred
    async def test_two_pollers_share_a_host(self) -> None:
        other = Repository.create(self.folder, "other")
        self.others = [str(other.bare)]
        await self.start()
        one, two = self.new_candidate(), other.candidate({"two.txt": "2"})
        other.push("auto")
        await self.poll()
        for poller in self.master.change_svc:
            poller.force()
        await self.until(lambda: any(f"added change with revision {two}" in line for line in self.lines), "the other")
        rows = [(row.repository, row.revision) for row in await self.rows()]
        assert sorted(rows) == sorted([(self.url, one), (str(other.bare), two)])

    @async_to_deferred
    async def test_builds_are_requested_for_a_push_before_the_master_starts(self) -> None:
        await self.start()
        await self.stop()
        self.new_candidate()
        await self.start()
        await self.poll()
        await self.quiet()
        assert await self.requests() == 1

    @async_to_deferred
    async def test_builds_are_requested_when_the_master_died_before_a_scheduler_heard(self) -> None:
        await self.start()
        # What a master that is killed right after it stored the change never does.
        self.master.mq.produce = lambda *_: None
        sha = self.new_candidate()
        await self.poll()
        await self.expect(("auto", sha))
        await self.restart()
        await self.quiet()
        assert await self.requests() == 1
        await self.restart()
        await self.quiet()
        assert await self.requests() == 1
        await self.expect(("auto", sha))
