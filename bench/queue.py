"""How many pull requests land in an hour: a simulation of the real `decide`, with a clock that only builds move.

200 approved pull requests, some of them bad, each bad one fails alone; one candidate at a time, 30 minutes a build. The
peer is plain halving, bors-ng's way: both halves of a failed batch are tested, and nothing is made of what the verdict
says. A verdict that names a file which only one member changed points at that member; it is simulated with none, half
and all of the failures naming one, since that depends on a team's tests (a lint finding always names its file).

A test tells one bit. To tell good from bad among n pull requests of which a share p is bad takes n·H(p) bits, so that
without such evidence no serial strategy lands more than (1 - p) / H(p) pull requests a build: the ceiling.
"""

import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from math import log2

from autogate.contract import Cause, Finding, Result, Severity
from bench.table import Row, publish
from review_bot.domain.decide import decide
from review_bot.domain.effects import Land, MakeCandidate, PushCandidate
from review_bot.domain.events import (
    CandidateMade,
    CandidatePushed,
    Comment,
    CommentRead,
    Configured,
    Event,
    Landed,
    Merged,
    PauseAsked,
    PullRequestSeen,
    Snapshot,
    VerdictReached,
)
from review_bot.domain.model import AttemptKind, Policy, State, Verdict
from review_bot.domain.model import Repository as Record

PULLS = 200
BUILD = timedelta(minutes=30)
SEEDS = range(10)
TIMES = 5
BUILDER = "shop-test"
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Landings:
    """What a simulation came to."""

    landed: int
    builds: int

    @property
    def an_hour(self) -> float:
        """Landed pull requests an hour."""
        return self.landed / (self.builds * BUILD / timedelta(hours=1))


def main() -> None:
    """Simulate, print, write."""
    rows = []
    for share in (0.05, 0.10):
        alone = average(partial(ours, share=share, most=1, evidence=0.0))
        rows.append(reported(f"{share:.0%} bad, batch.max 1", alone, None))
        for most in (4, 8, 16):
            halving = average(partial(peer, share=share, most=most))
            rows.append(reported(f"{share:.0%} bad, plain halving, batches of {most}", halving, alone))
            for evidence in (0.0, 0.5, 1.0):
                figure = f"{share:.0%} bad, batch.max {most}, {evidence:.0%} of failures name a file"
                landed = average(partial(ours, share=share, most=most, evidence=evidence))
                rows.append(reported(figure, landed, alone, wanted=share == SHARE_OF_THE_TARGET))
        entropy = -share * log2(share) - (1 - share) * log2(1 - share)
        ceiling = (1 - share) / entropy * (timedelta(hours=1) / BUILD)
        rows.append(reported(f"{share:.0%} bad, ceiling of any serial strategy without evidence", ceiling, alone))
    publish("queue", rows)


SHARE_OF_THE_TARGET = 0.05


def reported(figure: str, an_hour: float, alone: float | None, *, wanted: bool = False) -> Row:
    """Return a row in which the peer is ``batch.max = 1``, and the ratio how many times more lands."""
    ratio = an_hour / alone if alone else None
    target = f"at least {TIMES} times batch.max 1" if wanted else ""
    return Row(figure, an_hour, alone, ratio, "landed/h", target, (ratio or 0) >= TIMES if wanted else None)


def average(simulate: Callable[[random.Random], Landings]) -> float:
    """Return the mean of some runs that differ in which pull requests are bad."""
    return statistics.mean(simulate(random.Random(seed)).an_hour for seed in SEEDS)


def peer(chance: random.Random, share: float, most: int) -> Landings:
    """Plain halving: a failed batch becomes two, which go before all others."""
    bad = draw(chance, share)
    numbers = list(range(1, PULLS + 1))
    batches = [numbers[start : start + most] for start in range(0, PULLS, most)]
    landed = builds = 0
    while batches:
        batch = batches.pop(0)
        builds += 1
        if not bad & set(batch):
            landed += len(batch)
        elif len(batch) > 1:
            half = (len(batch) + 1) // 2
            batches[:0] = [batch[:half], batch[half:]]
    return Landings(landed, builds)


def ours(chance: random.Random, share: float, most: int, evidence: float) -> Landings:
    """Play all that happens through the real `decide`."""
    world = World(draw(chance, share), evidence, chance)
    world.take(Configured(at=world.now, policy=policy(most)))
    world.take(PauseAsked(at=world.now, by="ada"))
    for number in range(1, PULLS + 1):
        world.take(PullRequestSeen(at=world.now, snapshot=snapshot(number, world.now)))
        comment = Comment(id=f"{number}", number=number, author="ada", body="@autogate r+", written_at=world.now)
        world.take(CommentRead(at=world.now, comment=comment, snapshot=snapshot(number, world.now)))
    world.take(PauseAsked(at=world.now, by="ada", resume=True))
    return Landings(world.landed, world.builds)


def draw(chance: random.Random, share: float) -> set[int]:
    """Return which pull requests are bad: exactly the share."""
    return set(chance.sample(range(1, PULLS + 1), round(PULLS * share)))


def policy(most: int) -> Policy:
    """Return a repository's policy."""
    return Policy(targets=("main",), required_builders=(BUILDER,), reviewers=frozenset({"ada"}), batch_max=most)


def snapshot(number: int, at: datetime) -> Snapshot:
    """Return a pull request."""
    return Snapshot(number=number, source=f"topic-{number}", target="main", head=f"{number:040x}", read_at=at)


class World:
    """git and Buildbot, as far as numbers go: every candidate merges, and its build takes 30 minutes.

    Args:
        bad: Which pull requests fail.
        evidence: Which share of the failures names a file.
        chance: Decides which.
    """

    def __init__(self, bad: set[int], evidence: float, chance: random.Random) -> None:
        self.now = BEGIN
        self.landed = self.builds = 0
        self._bad, self._evidence, self._chance = bad, evidence, chance
        self._state = State(Record(name="shop"))

    def take(self, event: Event) -> None:
        """Let something happen, and all that comes of it."""
        events = [event]
        while events:
            decision = decide(self._state, events.pop(0))
            self._state = decision.settled
            for effect in decision.effects:
                events += self._carry_out(effect)

    def _carry_out(self, effect: object) -> Iterator[Event]:
        match effect:
            case MakeCandidate(attempt=attempt, members=members):
                merged = tuple(
                    Merged(number=member.number, merge=member.head, paths=(f"file-{member.number}.py",))
                    for member in members
                )
                sha = f"{attempt:040x}"
                yield CandidateMade(at=self.now, attempt=attempt, base="0" * 40, sha=sha, merged=merged)
            case PushCandidate(attempt=attempt, sha=sha, to=AttemptKind.AUTO):
                self.builds += 1
                yield CandidatePushed(at=self.now, attempt=attempt)
                self.now += BUILD
                yield VerdictReached(at=self.now, revision=sha, verdict=self._verdict(attempt))
            case PushCandidate(attempt=attempt, sha=sha):
                # what explains a failure is tested beside, on the other branch
                yield CandidatePushed(at=self.now, attempt=attempt)
                yield VerdictReached(at=self.now, revision=sha, verdict=self._verdict(attempt))
            case Land(attempt=attempt, members=members):
                self.landed += len(members)
                yield Landed(at=self.now, attempt=attempt)

    def _verdict(self, attempt: int) -> Verdict:
        culprits = sorted(self._bad & set(self._state.attempts[attempt].numbers))
        if not culprits:
            return Verdict(builder=BUILDER, result=Result.SUCCESS, at=self.now)
        findings: tuple[Finding, ...] = ()
        if self._chance.random() < self._evidence:
            findings = tuple(
                Finding(path=f"file-{number}.py", line=1, symbol="bad", severity=Severity.ERROR, text="bad")
                for number in culprits
            )
        return Verdict(builder=BUILDER, result=Result.FAILURE, cause=Cause.CHANGE, at=self.now, findings=findings)


if __name__ == "__main__":
    main()
