"""The bot's web side on a real port and a real database; the world outside of it is made up."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from autogate import botapi
from autogate.contract import Cause, FailedTest, Finding, Result, Severity
from review_bot.desk import Answered, Trouble, UnknownRepositoryError
from review_bot.domain.decide import decide
from review_bot.domain.effects import MakeCandidate, PushCandidate, ReadComment, Reply
from review_bot.domain.events import (
    CandidateMade,
    CandidatePushed,
    CommentRead,
    Configured,
    Event,
    Landed,
    Merged,
    PullRequestSeen,
    Snapshot,
    TargetSeen,
    VerdictReached,
)
from review_bot.domain.model import AttemptKind, Policy, State, Verdict
from review_bot.forges.protocol import ForgeError
from review_bot.metrics import Metrics
from review_bot.store.lease import Lease
from review_bot.store.store import Store
from review_bot.web.app import make_app
from review_bot.web.server import config

from .waiting import wait_for

T = TypeVar("T")

POLICY = Policy(
    targets=("main", "release/1.0"),
    required_builders=("shop-lint", "shop-test"),
    reviewers=frozenset({"ada"}),
    try_users=frozenset({"tim"}),
)


_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the system's certificates takes longer than most of what is asked."""


def sha(number: int) -> str:
    """Return a commit's name."""
    return f"{number:040x}"


class SmallDesk:
    """Decides as the bot does and writes to its database; merges and pushes succeed at once, and nothing is built.

    Attributes:
        unseen: Repository -> what its forge shows when it is looked at next.
        forge_error: Why no forge can be read.
        slow: Nothing that is handed in is acted on while this is set.
        trouble: What keeps failing.
        stuck: What `stuck_seconds` says.
    """

    def __init__(self, store: Store, policies: Mapping[str, Policy]) -> None:
        self.store = store
        self.is_leader = True
        self.unseen: dict[str, list[Event]] = {}
        self.forge_error = ""
        self.slow = False
        self.trouble: list[Trouble] = []
        self.stuck = 0.0
        self._policies = policies
        self._states: dict[str, State] = {}
        self._lease = Lease(store, "bot", "small desk", timedelta(days=1000))

    @property
    def repositories(self) -> Sequence[str]:
        return sorted(self._policies)

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)

    async def open(self) -> None:
        assert await self._lease.acquire(self.now())
        for name, policy in self._policies.items():
            self._states[name] = await self.store.load(name)
            tips = [
                TargetSeen(target=target, tip=sha(1), read_at=self.now(), at=self.now()) for target in policy.targets
            ]
            await self.tell(name, Configured(policy=policy, at=self.now()), *tips)

    async def tell(self, repository: str, *events: Event, trace: str = "told") -> None:
        """Let events happen, and all that comes of them."""
        for event in events:
            await self.store.append(repository, event, trace=trace)
            await self._act(repository)

    async def _act(self, name: str) -> None:
        while not self.slow:
            if stored := await self.store.next_event(name):
                before = self._states[name]
                decision = decide(before, stored.event, stored.trace)
                now = self.now()
                await self.store.commit(self._lease.fence, stored, before, decision.state, decision.effects, now)
                self._states[name] = decision.settled
            elif effects := await self.store.due_effects(name, self.now()):
                result = self._carry_out(self._states[name], effects[0].effect)
                await self.store.effect_done(self._lease.fence, effects[0], result, self.now())
            else:
                return

    def _carry_out(self, state: State, effect: object) -> Event | None:
        at = self.now()
        match effect:
            case ReadComment(comment=comment):
                pull = state.pulls.get(comment.number)
                fields = Snapshot.model_fields.keys() - {"is_open", "read_at"}
                snapshot = Snapshot(**{name: getattr(pull, name) for name in fields}, read_at=at) if pull else None
                return CommentRead(comment=comment, snapshot=snapshot, at=at)
            case MakeCandidate(attempt=attempt, members=members):
                merged = tuple(
                    Merged(number=member.number, merge=sha(0xA0000 + attempt * 100 + place))
                    for place, member in enumerate(members)
                )
                return CandidateMade(attempt=attempt, base=sha(1), sha=merged[-1].merge, merged=merged, at=at)
            case PushCandidate(attempt=attempt):
                return CandidatePushed(attempt=attempt, at=at)
        assert not isinstance(effect, Reply) or effect.answer
        return None

    # What the web side asks

    def looked_at(self, repository: str) -> datetime | None:
        return self.now()

    def stuck_seconds(self) -> float:
        return self.stuck

    async def state(self, repository: str) -> State:
        return self._states[self._checked(repository)]

    async def hand_in(self, repository: str, event: Event, *, key: str | None = None, trace: str) -> bool:
        added = await self.store.append(self._checked(repository), event, key=key, trace=trace)
        await self._act(repository)
        return added is not None

    async def answered(self, repository: str, trace: str, timeout: float) -> Answered:  # noqa: ASYNC109
        settled = await self.store.settled(self._checked(repository), trace)
        return Answered(settled, await self.store.replies(repository, trace))

    async def look(self, repository: str) -> None:
        self._checked(repository)
        if self.forge_error:
            raise ForgeError(self.forge_error)
        await self.tell(repository, *self.unseen.pop(repository, []))

    async def troubles(self, repository: str) -> Sequence[Trouble]:
        self._checked(repository)
        return self.trouble

    def _checked(self, repository: str) -> str:
        if repository not in self._policies:
            raise UnknownRepositoryError(repository)
        return repository


class BotSite:
    """A running bot.

    Attributes:
        url: Where it answers.
        desk: What it does.
        store: Its database.
        metrics: Its numbers.
        tokens: Name -> token.
    """

    def __init__(self, folder: Path, policies: Mapping[str, Policy], port: int = 0) -> None:
        self.tokens: dict[str, str] = {}
        self.metrics = Metrics()
        self._folder = folder
        self._policies = policies
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = port

    def start(self) -> None:
        self._thread.start()
        self.store = self.run(Store.open("sqlite:///bot.sqlite", folder=self._folder))
        self.desk = SmallDesk(self.store, self._policies)
        self.run(self.desk.open())
        for name in ("ada", "tim", "eve"):
            self.tokens[name] = self.run(self.store.add_token(name))
        self.app = make_app(self.desk, self.store, self.metrics)
        self.listen()

    def listen(self) -> None:
        """Begin to answer, on the same port as before."""
        self._server = uvicorn.Server(config(self.app, "127.0.0.1", self._port))
        self._serving = asyncio.run_coroutine_threadsafe(self._server.serve(), self._loop)
        wait_for(lambda: self._server.started or self._serving.done(), "the bot to listen")
        self._port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def hang_up(self) -> None:
        """Stop answering."""
        self._server.should_exit = True
        self._serving.result(30)

    def stop(self) -> None:
        self.hang_up()
        self.run(self.store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where the bot runs, and return what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def tell(self, *events: Event, repository: str = "shop") -> None:
        self.run(self.desk.tell(repository, *events))

    def client(self, who: str | None = "ada") -> httpx.Client:
        """Return a client of the API, with somebody's token or none."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return httpx.Client(base_url=self.url + botapi.PREFIX, headers=headers, timeout=60, verify=_NO_TLS)

    # Things that happen

    def seen(self, topic: str, head: int, *, target: str = "main", **fields: Any) -> Event:
        """Return the event that a topic was pushed."""
        at = self.desk.now()
        given = {"title": topic.replace("-", " "), "author": "bob", **fields}
        snapshot = Snapshot(
            number=None, source=f"refs/for/{target}/{topic}", target=target, head=sha(head), read_at=at, **given
        )
        return PullRequestSeen(snapshot=snapshot, at=at)

    def state(self, repository: str = "shop") -> State:
        return self.run(self.desk.state(repository))

    def pass_all(self, *, repository: str = "shop") -> None:
        """Let every builder pass the live attempt, and let it land."""
        attempt = self.state(repository).live(AttemptKind.AUTO)
        assert attempt is not None
        assert attempt.sha is not None
        for builder in attempt.required:
            verdict = Verdict(builder=builder, result=Result.SUCCESS, at=self.desk.now())
            self.tell(VerdictReached(revision=attempt.sha, verdict=verdict, at=verdict.at), repository=repository)
        self.tell(Landed(attempt=attempt.id, at=self.desk.now()), repository=repository)

    def fail(self, *, repository: str = "shop") -> None:
        """Let the lint builder fail the live attempt."""
        attempt = self.state(repository).live(AttemptKind.AUTO)
        assert attempt is not None
        assert attempt.sha is not None
        finding = Finding(path="shop/x.py", line=3, symbol="unused-import", severity=Severity.WARNING, text="Unused os")
        test = FailedTest(name="tests.test_x.test_sum", path="tests/test_x.py", line=9, excerpt="E   assert 1 == 2")
        verdict = Verdict(
            builder=attempt.required[0],
            result=Result.FAILURE,
            cause=Cause.CHANGE,
            summary="1 finding",
            url="https://ci.example/#/builders/1/builds/2",
            findings=(finding,),
            findings_total=1,
            failed_tests=(test,),
            failed_tests_total=1,
            at=self.desk.now(),
        )
        self.tell(VerdictReached(revision=attempt.sha, verdict=verdict, at=verdict.at), repository=repository)


@contextmanager
def bot_site(folder: Path, policies: Mapping[str, Policy] | None = None) -> Iterator[BotSite]:
    """Run a bot while the block runs; it has the repositories `library` and `shop`."""
    site = BotSite(folder, policies or {"shop": POLICY, "library": Policy(targets=("main",))})
    site.start()
    try:
        yield site
    finally:
        site.stop()
