"""A story in which everything happens once, told by lives of a bot that end anywhere; Buildbot is not real in it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autogate.contract import Cause, Result
from autogate.settings import Bot, Repository
from review_bot.domain.events import (
    BuilderStatus,
    BuildStarted,
    Comment,
    CommentHinted,
    FreezeAsked,
    PauseAsked,
    VerdictReached,
)
from review_bot.domain.events import Event as Happening
from review_bot.domain.model import AttemptKind, PullRequest, Stage, Standing, Verdict
from review_bot.engine import Consumer, FencedGit, configured
from review_bot.forges.git import GitForge
from review_bot.hands import Hands
from review_bot.merging.merger import Identity
from review_bot.merging.mirror import Mirror
from review_bot.metrics import Metrics
from review_bot.store.lease import Lease, elapsed
from review_bot.store.store import Store

from .bot_that_dies import prepare
from .repository import Repository as RealRepository

TOPICS = ("good", "one", "two", "three", "conflict", "tried", "cancelled", "moved", "stale", "gone", "frozen")
BUILDER = "shop-test"
LEASE = timedelta(minutes=10)


def create(folder: Path) -> tuple[RealRepository, dict[str, str]]:
    """Make the repository with all topics, and return it and the heads that are going to be approved."""
    real = RealRepository.create(folder)
    heads = {}
    for topic in TOPICS:
        real.git("checkout", "-q", "-B", topic, "main")
        name = "README" if topic == "conflict" else topic
        heads[topic] = real.commit({name: "bad\n" if topic == "two" else f"{topic}\n"}, f"Work on {topic}")
        real.push(f"HEAD:refs/for/main/{topic}")
    real.git("checkout", "-q", "main")
    real.commit({"README": "another\n"}, "By hand")
    real.push("main")
    for topic in ("moved", "stale"):
        real.git("checkout", "-q", topic)
        heads[f"{topic} again"] = real.commit({topic: "again\n"}, f"Work on {topic}")
    (folder / "heads").write_text(json.dumps(heads))
    return real, heads


def passes(bare: Path, sha: str) -> bool:
    """Tell whether a commit is good: none of its files says otherwise."""
    found = subprocess.run(["git", "grep", "--quiet", "bad", sha, "--"], cwd=bare, capture_output=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    return found.returncode == 1


def live(folder: Path, life: int) -> None:
    """Live once: go on with the story until it is over, or the bot dies."""
    with (folder / "log").open("a") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    prepare(folder)
    asyncio.run(_live(folder, life))


async def _live(folder: Path, life: int) -> None:
    store = await Store.open("sqlite:///bot.sqlite", folder=folder)
    # as if the lease of the one before had expired
    begun = datetime.now(UTC) + life * 2 * LEASE
    lease = Lease(store, "bot", str(life), LEASE)
    assert await lease.acquire(begun)
    story = Story(folder, store, lease)
    await story.consumer.load()
    await story.tell()


@dataclass
class Story:
    """One life's part of the story.

    Attributes:
        folder: Where all is.
        store: The database.
        lease: The right to act.
    """

    folder: Path
    store: Store
    lease: Lease
    consumer: Consumer = field(init=False)
    ahead: timedelta = timedelta()

    def __post_init__(self) -> None:
        self.bare = self.folder / "project.git"
        self.heads: dict[str, str] = json.loads((self.folder / "heads").read_text())
        review = {"reviewers": ["ada"]}
        settings = {"name": "shop", "url": str(self.bare), "lint": {"enabled": False}, "review": review}
        repository = Repository.model_validate(settings)
        git = FencedGit(may_push=lambda: self.lease.is_safe(elapsed()))
        mirror = Mirror(self.folder / "mirror", str(self.bare), git, Identity("autogate", "a@example.org"))
        forge = GitForge(mirror, ("main",), self.now)
        buildbot: Any = self

        async def no_status(_number: int) -> None:
            return None

        def hands(state: Any) -> Hands:
            return Hands(repository, mirror, forge, buildbot, state, no_status, self.now)

        bot = Bot.model_validate({"url": "http://127.0.0.1:9/", "secret": "bot_secret"})
        policy = configured(repository, bot, self.now)
        self.consumer = Consumer(repository, self.store, self.lease, hands, policy, Metrics(), self.now)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    # Buildbot

    async def poke(self, repository: str) -> None:
        """It hears of everything in any case."""

    async def cancel(self, sha: str, builders: Collection[str]) -> int:
        return len(builders)

    async def ask(self, sha: str, builders: Collection[str]) -> dict[str, BuilderStatus]:
        return {each: BuilderStatus(status="finished", verdict=self.verdict(sha)) for each in builders}

    def verdict(self, sha: str) -> Verdict:
        good = passes(self.bare, sha)
        result, cause = (Result.SUCCESS, None) if good else (Result.FAILURE, Cause.CHANGE)
        return Verdict(builder=BUILDER, result=result, cause=cause, at=self.now())

    # People, who say everything again until they are heard

    async def hand_in(self, key: str, event: Happening) -> None:
        await self.store.append("shop", event, key=key, trace=key)

    async def say(self, key: str, topic: str, body: str) -> None:
        number = await self.number(topic)
        at = self.now()
        comment = Comment(id=key, number=number, author="ada", body=f"@autogate {body}", written_at=at)
        await self.hand_in(f"comment:{key}", CommentHinted(comment=comment, at=at))

    async def approve(self, *topics: str, head: str | None = None) -> None:
        for topic in topics:
            sha = head or (await self.pull(topic)).head
            again = " again" if sha == self.heads.get(f"{topic} again") else ""
            await self.say(f"r+ {topic}{again}", topic, f"r+ {sha}")

    async def pull(self, topic: str) -> PullRequest:
        pull = await self.store.pull_request("shop", await self.number(topic))
        assert pull is not None
        return pull

    async def number(self, topic: str) -> int:
        for number in range(1, len(TOPICS) + 1):
            pull = await self.store.pull_request("shop", number)
            if pull and pull.source == f"refs/for/main/{topic}":
                return number
        raise LookupError(topic)

    # How it goes on

    async def work(self) -> None:
        """Do all that can be done now, and let time pass when that is nothing."""
        await self.consumer.look()
        worked = False
        while await self.consumer.step() or await self.consumer.step_outside():
            worked = True
        if not worked:
            self.ahead += timedelta(seconds=61)

    async def until(self, done: Callable[[], Awaitable[bool]], *, report: bool = True) -> None:
        for _ in range(40):
            if await done():
                return
            await self.work()
            state = self.consumer.state
            assert state
            for attempt in state.attempts.values():
                if report and attempt.stage is Stage.TESTING and attempt.sha and BUILDER not in attempt.verdicts:
                    started = BuildStarted(at=self.now(), revision=attempt.sha, builder=BUILDER, url="http://b/1")
                    await self.hand_in(f"started:{attempt.sha}", started)
                    verdict = VerdictReached(at=self.now(), revision=attempt.sha, verdict=self.verdict(attempt.sha))
                    await self.hand_in(f"verdict:{attempt.sha}", verdict)
        raise AssertionError("the story does not go on")

    async def landed(self, *topics: str) -> bool:
        return all([(await self.pull(topic)).standing is Standing.LANDED for topic in topics])

    async def aside(self, topic: str) -> bool:
        return (await self.pull(topic)).setback is not None

    async def testing(self, topic: str) -> bool:
        attempts = await self.store.attempts_of("shop", await self.number(topic))
        return any(attempt.stage is Stage.TESTING for attempt in attempts)

    async def ever_tested(self, topic: str) -> bool:
        attempts = await self.store.attempts_of("shop", await self.number(topic))
        return any(attempt.pushed_at for attempt in attempts)

    @asynccontextmanager
    async def paused(self, key: str) -> AsyncIterator[None]:
        await self.hand_in(f"pause {key}", PauseAsked(at=self.now(), by="ada"))
        yield
        await self.hand_in(f"resume {key}", PauseAsked(at=self.now(), by="ada", resume=True))

    async def tell(self) -> None:
        """Tell it from the beginning; what was told already takes no time."""

        async def all_known() -> bool:
            state = self.consumer.state
            assert state
            return state.repository.next_number > len(TOPICS)

        await self.until(all_known)
        await self.approve("good")
        await self.until(lambda: self.landed("good"))
        async with self.paused("batch"):
            await self.approve("one", "two", "three")
        await self.until(lambda: self.landed("one", "three"))
        await self.until(lambda: self.aside("two"))
        await self.approve("conflict")
        await self.until(lambda: self.aside("conflict"))
        await self.say("try", "tried", "try")
        # nobody reports this one: Buildbot is asked
        await self.until(self.tried, report=False)
        await self.approve("cancelled")
        await self.until(lambda: self.ever_tested("cancelled"), report=False)
        await self.say("cancel", "cancelled", "cancel")
        await self.until(lambda: self.aside("cancelled"), report=False)
        await self.move_late()
        await self.until(lambda: self.landed("moved"))
        await self.move_early()
        await self.until(lambda: self.landed("stale"))
        await self.freeze()
        await self.until(lambda: self.landed("frozen"))
        self.git("update-ref", "-d", "refs/for/main/gone")
        await self.until(self.gone)
        await self.until(self.at_rest)

    async def tried(self) -> bool:
        attempts = await self.store.attempts_of("shop", await self.number("tried"))
        return any(attempt.kind is AttemptKind.TRY and attempt.stage is Stage.GREEN for attempt in attempts)

    async def move_late(self) -> None:
        """Push while it is tested, which nobody notices before it is to land; then approve what is there now."""
        await self.approve("moved", head=self.heads["moved"])
        await self.until(lambda: self.ever_tested("moved"), report=False)
        state = self.consumer.state
        assert state
        shas = [attempt.sha for attempt in state.attempts.values() if attempt.sha]
        self.push_again("moved")
        for sha in shas:
            await self.hand_in(f"verdict:{sha}", VerdictReached(at=self.now(), revision=sha, verdict=self.verdict(sha)))
        await self.without_looking()
        await self.approve_again("moved")

    async def move_early(self) -> None:
        """Push after the approval, which nobody notices before it is to be merged; then approve what is there now."""
        async with self.paused("early"):
            await self.approve("stale", head=self.heads["stale"])
            await self.without_looking()
            self.push_again("stale")
        await self.without_looking()
        await self.approve_again("stale")

    def push_again(self, topic: str) -> None:
        old, new = self.heads[topic], self.heads[f"{topic} again"]
        if self.git("for-each-ref", "--format=%(objectname)", f"refs/for/main/{topic}") == old:
            self.git("fetch", "-q", str(self.folder / "project-tree"), new)
            self.git("update-ref", f"refs/for/main/{topic}", new, old)

    async def without_looking(self) -> None:
        while await self.consumer.step() or await self.consumer.step_outside():
            pass

    async def approve_again(self, topic: str) -> None:
        new = self.heads[f"{topic} again"]

        async def noticed() -> bool:
            return (await self.pull(topic)).head == new

        await self.until(noticed)
        await self.approve(topic, head=new)

    async def freeze(self) -> None:
        await self.hand_in("freeze", FreezeAsked(at=self.now(), target="main", by="ada", reason="release"))
        await self.approve("frozen")
        await self.hand_in("thaw", FreezeAsked(at=self.now(), target="main", by="ada", thaw=True))

    async def gone(self) -> bool:
        return (await self.pull("gone")).standing is Standing.CLOSED

    async def at_rest(self) -> bool:
        return (await self.store.backlog()).get("shop") is None

    def git(self, *args: str) -> str:
        command = ["git", *args]
        return subprocess.run(command, cwd=self.bare, capture_output=True, text=True, check=True).stdout.strip()
