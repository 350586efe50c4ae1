"""The engine on a real database and real git: one repository's trouble is its own, and who leads no longer stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autogate.contract import Result
from autogate.settings import Bot, Repository
from review_bot.domain.events import BuilderStatus, Comment, CommentHinted, PauseAsked, VerdictReached
from review_bot.domain.model import Standing, Verdict
from review_bot.engine import Consumer, Engine, FencedGit, configured, utc_now
from review_bot.forges.git import GitForge
from review_bot.forges.protocol import Known, Overview
from review_bot.hands import Hands
from review_bot.merging.merger import Identity
from review_bot.merging.mirror import Mirror
from review_bot.metrics import Metrics
from review_bot.store.errors import LeaseLostError
from review_bot.store.lease import Lease, elapsed
from review_bot.store.schema import EVENTS
from review_bot.store.store import Store
from tests.support.repository import Repository as RealRepository

pytestmark = pytest.mark.anyio

LATER = timedelta(hours=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def eventually(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait for a condition; the time is a safety net against a hang."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110  (what is waited for is in a database or in git)
            await asyncio.sleep(0.02)


@dataclass
class Place:
    """Repositories and a bot for them. Buildbot is not real, and passes everything once it is poked.

    Attributes:
        folder: Where all is.
        store: The database.
        real: Name -> repository.
        breaks: What poking Buildbot breaks with, the next first.
        puzzles: So many times nobody understands what a repository shows.
        ahead: So much the bot's clock is ahead.
        silent: Whether Buildbot says nothing.
    """

    folder: Path
    store: Store
    real: dict[str, RealRepository]
    breaks: list[Exception] = field(default_factory=list)
    puzzles: int = 0
    ahead: timedelta = timedelta()
    silent: bool = False

    def __post_init__(self) -> None:
        self.engine = Engine(self.store, self.consumer, Metrics(), lease_time=timedelta(seconds=3))
        self.engine.configure([self.settings(name) for name in self.real])

    def settings(self, name: str, **more: Any) -> Repository:
        told = {"name": name, "url": str(self.real[name].bare), "lint": {"enabled": False}, "poll_interval": 3600}
        return Repository.model_validate({**told, "review": {"reviewers": ["ada"]}, **more})

    def now(self) -> Any:
        return utc_now() + self.ahead

    def consumer(self, settings: Repository, lease: Lease) -> Consumer:
        git = FencedGit(may_push=lambda: lease.is_safe(elapsed()))
        mirror = Mirror(self.folder / "mirrors" / settings.name, settings.url, git, Identity("autogate", "a@b.c"))
        forge = PuzzlingGit(mirror, settings.targets, self.now)
        forge.place = self
        buildbot: Any = self

        async def no_status(_number: int) -> None:
            return None

        def hands(state: Any) -> Hands:
            return Hands(settings, mirror, forge, buildbot, state, no_status, self.now)

        bot = Bot.model_validate({"url": "http://127.0.0.1:9/", "secret": "bot_secret"})
        return Consumer(settings, self.store, lease, hands, configured(settings, bot, self.now), Metrics(), self.now)

    # Buildbot

    async def poke(self, name: str) -> None:
        if self.breaks:
            raise self.breaks.pop(0)
        if not self.silent:
            sha = self.real[name].tip("auto")
            verdict = Verdict(builder=f"{name}-test", result=Result.SUCCESS, at=self.now())
            event = VerdictReached(at=self.now(), revision=sha, verdict=verdict)
            await self.engine.hand_in(name, event, key=f"verdict:{sha}", trace="buildbot")

    async def cancel(self, sha: str, builders: Collection[str]) -> int:
        assert sha
        return len(builders)

    async def ask(self, sha: str, builders: Collection[str]) -> dict[str, BuilderStatus]:
        assert sha
        return {builder: BuilderStatus(status="running") for builder in builders}

    # People

    def push(self, name: str, topic: str) -> None:
        self.real[name].topic(topic, {topic: topic}, base="origin/main")

    async def approve(self, name: str, number: int = 1) -> None:
        body, at = "@autogate r+", self.now()
        comment = Comment(id=f"r+ {number}", number=number, author="ada", body=body, written_at=at)
        await self.engine.hand_in(name, CommentHinted(comment=comment, at=at), trace=f"r+ {number}")

    async def approved(self, name: str, topic: str = "topic") -> None:
        """Push a change, and approve it."""
        self.push(name, topic)
        await self.engine.look(name)
        [number] = [pull.number for pull in (await self.engine.state(name)).pulls.values() if topic in pull.source]
        await self.approve(name, number)

    async def is_landed(self, name: str, number: int = 1) -> bool:
        pull = await self.store.pull_request(name, number)
        return pull is not None and pull.standing is Standing.LANDED

    async def events(self) -> list[str]:
        """Return the kinds of all events, in order."""
        query = sa.select(EVENTS.c.kind).order_by(EVENTS.c.id)
        return await self.store.read(lambda connection: list(connection.execute(query).scalars()))

    def moves(self, name: str) -> int:
        """Return how often the target moved."""
        real = self.real[name]
        return len(real.git("-C", str(real.bare), "log", "--walk-reflogs", "--format=%H", "main").split()) - 1

    def hold_pushes(self, name: str) -> Path:
        """Let the bot's pushes hang in the server for as long as the returned file is there."""
        flag = self.folder / f"hold-{name}"
        flag.touch()
        self.real[name].hook(
            "pre-receive",
            f"""grep -q refs/heads/ || exit 0
            test -e {flag} && touch {flag}.held
            while test -e {flag}; do sleep 0.02; done""",
        )
        return flag

    async def held(self, flag: Path) -> None:
        """Wait until a push hangs."""
        told = flag.with_name(f"{flag.name}.held")

        async def there() -> bool:
            return await asyncio.to_thread(told.exists)

        await eventually(there)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Let the engine run while the block does."""
        task = asyncio.create_task(self.engine.run())

        async def reading() -> bool:
            return all(self.engine.looked_at(name) for name in self.real)

        try:
            await eventually(reading)
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])


class PuzzlingGit(GitForge):
    """May show something that nobody understands."""

    place: Place

    async def overview(self, known: Sequence[Known]) -> Overview:
        if self.place.puzzles:
            self.place.puzzles -= 1
            raise ValueError("what is this?")
        return await super().overview(known)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    real = {name: RealRepository.create(tmp_path, name) for name in ("shop", "till")}
    store = await Store.open("sqlite:///bot.sqlite", folder=tmp_path)
    yield Place(tmp_path, store, real)
    await store.close()


async def test_a_repository_whose_server_hangs_holds_up_no_other(place: Place) -> None:
    flag = place.hold_pushes("shop")
    async with place.working():
        await place.approved("shop")
        await place.held(flag)
        await place.approved("till")
        await eventually(lambda: place.is_landed("till"))
        assert not await place.is_landed("shop")
        flag.unlink()
        await eventually(lambda: place.is_landed("shop"))


async def test_an_effect_that_breaks_the_bot_is_put_off_and_told(place: Place) -> None:
    place.breaks = [KeyError("a fault of the bot's own")]
    async with place.working():
        await place.approved("shop")

        async def told() -> Any:
            return await place.engine.troubles("shop")

        await eventually(told)
        [trouble] = await place.engine.troubles("shop")
        assert trouble.what == "push_candidate"
        assert "fault of the bot's own" in trouble.error
        assert "report it" in trouble.error
        # what comes after it does not wait for it
        at = place.now()
        await place.engine.hand_in("shop", PauseAsked(at=at, by="ada", resume=True), trace="resume")
        await eventually(lambda: place.is_landed("shop"))


async def test_what_the_forge_shows_and_nobody_understands_stops_nothing_else(place: Place) -> None:
    place.puzzles = 2
    async with place.working():
        await place.approved("shop")
        await eventually(lambda: place.is_landed("shop"))
    assert place.puzzles == 0


async def test_a_former_leader_hands_in_nothing_that_it_finds(place: Place) -> None:
    lease = Lease(place.store, "bot", "former", LATER)
    assert await lease.acquire(utc_now())
    consumer = place.consumer(place.settings("shop"), lease)
    await consumer.load()
    assert await Lease(place.store, "bot", "newer", LATER).acquire(utc_now() + 2 * LATER)
    before = await place.events()
    place.push("shop", "topic")
    with pytest.raises(LeaseLostError):
        await consumer.look()
    with pytest.raises(LeaseLostError):
        await consumer.step()
    assert await place.events() == before
    consumer.close()


async def test_a_leader_that_loses_the_lease_in_mid_push_stops_and_leads_again_later(place: Place) -> None:
    flag = place.hold_pushes("shop")
    async with place.working():
        await place.approved("shop")
        await place.held(flag)
        usurper = Lease(place.store, "bot", "usurper", LATER)
        assert await usurper.acquire(utc_now() + LATER)

        async def stands_by() -> bool:
            return not place.engine.is_leader

        await eventually(stands_by)
        flag.unlink()
        kept = await place.events()
        assert place.moves("shop") == 0
        await usurper.release()
        await eventually(lambda: place.is_landed("shop"))
        assert (await place.events())[: len(kept)] == kept
    assert place.moves("shop") == 1


async def test_a_deadline_that_was_told_and_still_stands_keeps_nothing_else_waiting(place: Place) -> None:
    place.silent = True
    lease = Lease(place.store, "bot", "one", LATER)
    assert await lease.acquire(utc_now())
    consumer = place.consumer(place.settings("shop"), lease)
    await consumer.load()
    place.push("shop", "topic")
    await consumer.look()
    while await consumer.step():
        pass
    await place.approve("shop")
    while await consumer.step():
        pass
    assert consumer.state
    due = consumer.state.next_deadline()
    assert due
    # another event has its key, as if it had been told and changed nothing
    await place.store.append("shop", PauseAsked(at=due, by="ada"), key=f"time:{due.isoformat()}/0", trace="pause")
    place.ahead = due - utc_now() + timedelta(seconds=1)
    steps = 0
    while await consumer.step():
        steps += 1
        assert steps < 100, "it goes round and round"
    assert "time_passed" not in await place.events()
    place.ahead += timedelta(minutes=1)
    assert await consumer.step()
    assert "time_passed" in await place.events()
    consumer.close()


async def test_new_settings_in_mid_work_lose_nothing(place: Place) -> None:
    flag = place.hold_pushes("shop")
    async with place.working():
        await place.approved("shop")
        await place.held(flag)
        # the push is broken off, and what was decided is still there
        place.engine.configure([place.settings("shop", batch={"max": 3}), place.settings("till")])

        async def known() -> bool:
            return (await place.engine.state("shop")).repository.policy.batch_max == 3

        flag.unlink()
        await eventually(known)
        await eventually(lambda: place.is_landed("shop"))
    assert place.moves("shop") == 1
