"""Anything may happen at any time, on real git: the rule holds after every step, and every pull request ends.

Buildbot is not real here: it says of a commit what the commit's own files say, late, often or never.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import hypothesis.internal.conjecture.engine
import hypothesis.stateful
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from autogate.contract import Cause, Finding, Result, Severity
from autogate.git import Git, GitError
from autogate.settings import Bot, Repository
from review_bot.domain.events import (
    BuilderStatus,
    Comment,
    CommentHinted,
    Event,
    FreezeAsked,
    PauseAsked,
    VerdictReached,
)
from review_bot.domain.model import State, Verdict
from review_bot.engine import Consumer, configured
from review_bot.forges.git import GitForge
from review_bot.forges.protocol import ForgeError
from review_bot.hands import Hands
from review_bot.merging.merger import Identity
from review_bot.merging.mirror import Mirror
from review_bot.metrics import Metrics
from review_bot.store.lease import Lease
from review_bot.store.store import Store
from tests.support.repository import Repository as RealRepository
from tests.support.rule import assert_rule

# many rounds, not one that hangs
pytestmark = pytest.mark.timeout(1200)

STEPS = int(os.environ.get("AUTOGATE_MACHINE_STEPS", "1000"))
RUNS = int(os.environ.get("AUTOGATE_MACHINE_RUNS", "1"))
TOPICS = 6
BUILDERS = ("shop-lint", "shop-test")
T = TypeVar("T")

LANDINGS: list[str] = []
"""Every landing of a run: where nothing lands, nothing is shown."""


@dataclass
class Faults:
    """What goes wrong next.

    Attributes:
        before: So many git commands that talk to the server fail before they do anything.
        after: So many fail after they have done it.
    """

    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class FaultyGit(Git):
    """git over a bad line."""

    faults: Faults = field(default_factory=Faults)

    async def run(self, *args: str, **options: Any) -> bytes:
        talks = args[0] in {"push", "fetch", "ls-remote"}
        if talks and self.faults.before:
            self.faults.before -= 1
            raise GitError(args[0], 128, "fatal: the connection was lost")
        out = await super().run(*args, **options)
        if talks and self.faults.after:
            self.faults.after -= 1
            raise GitError(args[0], 128, "fatal: the connection was lost, after all was done")
        return out


class Buildbot:
    """Knows the truth about commits, and may be silent about it."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def poke(self, repository: str) -> None:
        """It polls anyhow."""

    async def cancel(self, sha: str, builders: Collection[str]) -> int:
        return 0

    async def ask(self, sha: str, builders: Collection[str]) -> dict[str, BuilderStatus]:
        return {
            builder: BuilderStatus(status="finished", verdict=self._world.true_verdict(sha, builder))
            for builder in builders
        }


class World:
    """The repository, the bot on it, and all that is under way."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="autogate-machine-"))
        self.runner = asyncio.Runner()
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)
        self.real = RealRepository.create(self.folder)
        self.begin = self.real.tip("main")
        self.faults = Faults()
        self.approved: set[str] = set()
        self.good: dict[str, set[str]] = {}
        self.bad: dict[str, list[list[str]]] = {}
        self.comments = 0
        self.repository = Repository.model_validate(
            {
                "name": "shop",
                "url": str(self.real.bare),
                "review": {"reviewers": ["ada"], "try_users": ["tim"]},
                "batch": {"max": 4},
            }
        )
        self.bot = Bot.model_validate({"url": "http://127.0.0.1:9/", "secret": "bot_secret"})
        self.store = self.do(Store.open("sqlite:///bot.sqlite", folder=self.folder))
        self.lease = Lease(self.store, "bot", "machine", timedelta(days=9999))
        assert self.do(self.lease.acquire(datetime.now(UTC)))
        self.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def start(self) -> None:
        mirror = Mirror(
            self.folder / "mirror", str(self.real.bare), FaultyGit(faults=self.faults), Identity("autogate", "a@b.c")
        )
        forge = GitForge(mirror, ("main",), self.clock)

        def hands(state: Any) -> Hands:
            async def no_status(_number: int) -> None:
                return None

            buildbot: Any = Buildbot(self)
            return Hands(self.repository, mirror, forge, buildbot, state, no_status, self.clock)

        policy = configured(self.repository, self.bot, self.clock)
        self.consumer = Consumer(self.repository, self.store, self.lease, hands, policy, Metrics(), self.clock)
        self.do(self.consumer.load())

    def clock(self) -> datetime:
        # it goes on a little with every look, as clocks do
        self.now += timedelta(milliseconds=1)
        return self.now

    @property
    def state(self) -> State:
        state = self.consumer.state
        assert state is not None
        return state

    def git(self, *args: str) -> str:
        return subprocess.run(
            ["git", *args], cwd=self.real.bare, capture_output=True, text=True, check=True
        ).stdout.strip()

    def topics(self) -> dict[int, str]:
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/for/main/").split("\n")
        return {int(line.split()[0].rpartition("-")[2]): line.split()[1] for line in lines if line}

    def true_verdict(self, sha: str, builder: str) -> Verdict:
        """Return what a builder says of a commit: lint fails by its own file, tests also by a combination."""
        if sha not in self.bad:
            # one git tells it all
            found = self.git("grep", "--extended-regexp", "^(bad|half|good)$", sha, "--")
            lines = [line.split(":")[1:] for line in found.split("\n")]
            self.bad[sha] = [sorted(path for path, word in lines if word == what) for what in ("bad", "half")]
        bad, halves = self.bad[sha]
        if builder == "shop-test":
            bad = bad or (halves if len(halves) > 1 else [])
        if not bad:
            self.good.setdefault(sha, set()).add(builder)
            return Verdict(builder=builder, result=Result.SUCCESS, at=self.now)
        findings = tuple(Finding(path=path, line=1, symbol="bad", severity=Severity.ERROR, text="bad") for path in bad)
        return Verdict(
            builder=builder, result=Result.FAILURE, cause=Cause.CHANGE, at=self.now, findings=findings, summary="bad"
        )

    def candidates(self) -> list[str]:
        """Return every commit that was ever pushed as a candidate."""
        return [*dict.fromkeys(self.git("for-each-ref", "--format=%(objectname)", "refs/autogate/").split())]

    def passed(self) -> set[str]:
        return {sha for sha, builders in self.good.items() if builders >= set(BUILDERS)}

    def check(self) -> None:
        moves = assert_rule(self.real.bare, "main", self.begin, self.approved, self.passed())
        LANDINGS.extend(moves)
        self.begin = self.real.tip("main")

    def close(self) -> None:
        self.consumer.close()
        self.do(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)


BODIES = (
    ["r+"] * 3
    + ["r+ {sha}"] * 6
    + ["r+ {old}", "r-", "try", "try-", "retry", "retry", "cancel", "p=5", "p=-1", "rollup=never", "rollup=always"]
    + ["treeclosed=3 holiday", "treeclosed-"]
)

ACTIONS = {
    "push": 5,
    "delete": 1,
    "human_pushes": 1,
    "comment": 12,
    "freeze": 1,
    "pause": 1,
    "relax": 4,
    "verdict": 14,
    "nobodys_fault": 1,
    "late": 2,
    "look": 8,
    "step": 10,
    "run_until_idle": 12,
    "time_passes": 3,
    "crash": 3,
    "bad_line": 1,
}
"""What may happen, and how often in proportion."""


class Machine(RuleBasedStateMachine):
    """One rule for all: of several, Hypothesis would switch most off in each run, and little would ever land."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.held: list[tuple[Any, str | None]] = []

    @rule(seed=st.integers(0, 2**32 - 1))
    def something_happens(self, seed: int) -> None:
        """One of `ACTIONS`; Hypothesis' own choices favour extremes, and little would land by them."""
        chance = Random(seed)
        [action] = chance.choices(list(ACTIONS), list(ACTIONS.values()))
        getattr(self, action)(chance)

    # people

    def push(self, chance: Random) -> None:
        world, number = self.world, chance.randint(1, TOPICS)
        world.real.git("fetch", "-q", "origin", "main")
        world.real.git("checkout", "-q", "-B", "work", "FETCH_HEAD")
        world.comments += 1
        content = chance.choice(["good"] * 6 + ["bad", "half"])
        files: dict[str, str | bytes | None] = {f"file-{number}": f"{content}\n{world.comments}\n"}
        if chance.randint(0, 9) == 0:
            files["shared"] = f"{number} {world.comments}\n"
        world.real.commit(files, f"Topic {number} @autogate r+")
        world.real.push(f"HEAD:refs/for/main/topic-{number}")

    def delete(self, chance: Random) -> None:
        number = chance.randint(1, TOPICS)
        if number in self.world.topics():
            self.world.real.push(f":refs/for/main/topic-{number}")

    def human_pushes(self, _chance: Random) -> None:
        world = self.world
        world.check()
        world.real.git("fetch", "-q", "origin", "main")
        world.real.git("checkout", "-q", "-B", "human", "FETCH_HEAD")
        world.comments += 1
        sha = world.real.commit({"human": f"{world.comments}\n"}, "By hand")
        world.real.git("push", "-q", "origin", "human:main")
        world.begin = sha

    def comment(self, chance: Random) -> None:
        world, body = self.world, chance.choice(BODIES)
        # now and then one that is not there
        number = chance.choice([*world.topics()] * 3 + [1])
        by = chance.choice(["ada"] * 7 + ["tim", "eve", "autogate"])
        pull = next((p for p in world.state.pulls.values() if p.source == f"refs/for/main/topic-{number}"), None)
        head = world.topics().get(number, "f" * 40)
        if by == "ada" and body.startswith("r+") and "{old}" not in body:
            world.approved.add(head)
        text = body.format(sha=head, old="e" * 40)
        world.comments += 1
        comment = Comment(
            id=str(world.comments),
            number=pull.number if pull else 99,
            author=by,
            body=f"@autogate {text}",
            written_at=world.clock(),
        )
        event = CommentHinted(comment=comment, at=world.now)
        self.tell(chance, event, f"comment:{comment.id}")

    def freeze(self, chance: Random) -> None:
        event = FreezeAsked(
            at=self.world.clock(),
            target="main",
            by="ada",
            thaw=chance.choice([True, False]),
            priority=chance.choice([None, 1, 5]),
            reason=chance.choice(["release", ""]),
        )
        self.deliver([(event, None)])

    def pause(self, chance: Random) -> None:
        self.deliver([(PauseAsked(at=self.world.clock(), by="ada", resume=chance.choice([True, False])), None)])

    def relax(self, _chance: Random | None = None) -> None:
        """Undo what keeps all from moving, or little would ever happen."""
        at = self.world.clock()
        resume, thaw = PauseAsked(at=at, by="ada", resume=True), FreezeAsked(at=at, target="main", by="ada", thaw=True)
        self.deliver([(resume, None), (thaw, None)])

    # Buildbot

    def verdict(self, chance: Random) -> None:
        world = self.world
        if candidates := world.candidates():
            # mostly those that somebody waits for; Buildbot knows only what was pushed
            live = [attempt.sha for attempt in world.state.attempts.values() if attempt.sha in candidates]
            sha = chance.choice([*live * 20, *candidates[-20:]])
            for builder in chance.sample(BUILDERS, chance.randint(1, 2)):
                event = VerdictReached(at=world.clock(), revision=sha, verdict=world.true_verdict(sha, builder))
                self.tell(chance, event, f"{sha}{builder}")

    def nobodys_fault(self, chance: Random) -> None:
        world = self.world
        if candidates := world.candidates():
            result = chance.choice([Result.EXCEPTION, Result.CANCELLED, Result.SKIPPED, Result.RETRY])
            verdict = Verdict(builder="shop-test", result=result, at=world.now)
            self.deliver([(VerdictReached(at=world.clock(), revision=candidates[-1], verdict=verdict), None)])

    def late(self, chance: Random) -> None:
        """What was held back arrives, in any order."""
        if self.held:
            order = chance.sample(range(len(self.held)), chance.randint(1, len(self.held)))
            self.deliver([self.held[place] for place in order])
            self.held = [event for place, event in enumerate(self.held) if place not in order]

    def tell(self, chance: Random, event: Event, key: str) -> None:
        """Deliver an event once to three times, now or late; some are known again by their key and some are not."""
        events = [(event, chance.choice([key, key, None]))] * chance.randint(1, 3)
        if chance.randint(0, 3) == 0:
            self.held += events
        else:
            self.deliver(events)

    def deliver(self, events: Sequence[tuple[Event, str | None]]) -> None:
        for event, key in events:
            self.world.do(self.world.store.append("shop", event, key=key, trace="machine"))

    # the bot

    def look(self, _chance: Random | None = None) -> None:
        try:
            self.world.do(self.world.consumer.look())
        except (ForgeError, GitError) as error:
            if "the connection was lost" not in str(error):
                raise

    def step(self, chance: Random) -> None:
        for _ in range(chance.randint(1, 4)):
            self.world.do(self.world.consumer.step())

    def run_until_idle(self, _chance: Random | None = None) -> None:
        world = self.world
        for _ in range(200):
            if not (world.do(world.consumer.step()) or world.do(world.consumer.step_outside())):
                return
        raise AssertionError("it never comes to rest")

    def time_passes(self, chance: Random) -> None:
        self.world.now += timedelta(seconds=chance.choice([1, 30, 61, 3600, 20000]))

    def crash(self, chance: Random) -> None:
        world = self.world
        world.consumer.close()
        if chance.randint(0, 3) == 0:
            shutil.rmtree(world.folder / "mirror", ignore_errors=True)
        world.start()

    def bad_line(self, chance: Random) -> None:
        self.world.faults.before, self.world.faults.after = chance.randint(0, 2), chance.randint(0, 2)

    # what always holds

    @invariant()
    def the_rule_holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.all_end()
            finally:
                self.world.close()

    def all_end(self) -> None:
        """Once nothing goes wrong any more, what is approved lands or is told why not, and the rest can be closed."""
        world = self.world
        world.faults.before = world.faults.after = 0
        self.deliver(self.held)
        for _ in range(60):
            # what came late may have closed the tree again
            self.relax()
            world.now += timedelta(seconds=120)
            self.look()
            self.run_until_idle()
            world.check()
            if not world.state.attempts and not any(pull.is_ready for pull in world.state.pulls.values()):
                break
        for pull in world.state.pulls.values():
            assert pull.approval is None or pull.setback is not None, pull
        for number in world.topics():
            world.real.push(f":refs/for/main/topic-{number}")
        self.look()
        self.run_until_idle()
        assert world.state.pulls == {}
        assert world.state.attempts == {}


def test_the_rule_holds_whatever_happens_and_every_pull_request_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    # by default a run ends after some 200 steps of ours
    for module in (hypothesis.stateful, hypothesis.internal.conjecture.engine):
        monkeypatch.setattr(module, "BUFFER_SIZE", 64 * STEPS + 8192)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            # in Hypothesis' first two examples nothing happens but the simplest
            max_examples=RUNS + 2,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=RUNS == 1,
            database=None,
            # a failure is told as it happened: to shrink it on real git would take hours
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert len(LANDINGS) > STEPS / 200, "too little has landed to show anything"
