"""git, a forge and Buildbot for `decide`, in memory: enough of each to see whether the rule holds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from autogate.contract import Cause, FailedTest, Finding, Result, Severity
from review_bot.domain.answers import Answer
from review_bot.domain.decide import decide, is_permitted, is_wanted
from review_bot.domain.effects import (
    AskBuildbot,
    CancelBuilds,
    Effect,
    Finalise,
    Land,
    MakeCandidate,
    PushCandidate,
    ReadComment,
    ReadPullRequest,
    Reply,
)
from review_bot.domain.events import (
    CandidateMade,
    CandidatePushed,
    Comment,
    CommentHinted,
    CommentRead,
    Configured,
    Conflict,
    Event,
    Landed,
    LandingRefused,
    Merged,
    PullRequestGone,
    PullRequestSeen,
    Snapshot,
    TargetSeen,
    TimePassed,
    VerdictReached,
)
from review_bot.domain.model import Attempt, AttemptKind, Policy, PullRequest, Repository, State, Verdict

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
BUILDERS = ("shop-lint", "shop-test")
POLICY = Policy(
    targets=("main",),
    required_builders=BUILDERS,
    reviewers=frozenset({"ada", "bob"}),
    try_users=frozenset({"tim"}),
    batch_max=8,
)


@dataclass(frozen=True)
class Commit:
    """A merge, as far as the rule is concerned."""

    first: str
    second: str


@dataclass
class World:
    """Everything outside of `decide`.

    Attributes:
        topics: Number -> head, as the forge has them now.
        tip: The tip of ``main``.
        commits: Merge commits by SHA.
        conflicts: Numbers that do not merge.
        clashes: Pairs of numbers that do not merge together.
        tested: SHA -> the verdicts that were given on it.
        candidates: What was pushed where, oldest first.
    """

    policy: Policy = POLICY
    now: datetime = BEGIN
    topics: dict[int, str] = field(default_factory=dict)
    targets: dict[int, str] = field(default_factory=dict)
    tip: str = "0" * 40
    commits: dict[str, Commit] = field(default_factory=dict)
    conflicts: set[int] = field(default_factory=set)
    clashes: set[frozenset[int]] = field(default_factory=set)
    tested: dict[str, dict[str, Result]] = field(default_factory=dict)
    candidates: list[PushCandidate] = field(default_factory=list)
    landings: list[tuple[str, str]] = field(default_factory=list)
    approved: set[tuple[int, str]] = field(default_factory=set)
    cancelled: list[CancelBuilds] = field(default_factory=list)
    asked: list[AskBuildbot] = field(default_factory=list)
    finalised: list[Finalise] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    ended: dict[int, PullRequest] = field(default_factory=dict)
    attempts: dict[int, Attempt] = field(default_factory=dict)
    state: State = field(default_factory=lambda: State(Repository(name="shop")))
    _shas: Iterable[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.take(Configured(at=self.now, policy=self.policy))

    # What happens

    def take(self, event: Event) -> None:
        """Let something happen; its effects wait."""
        decision = decide(self.state, event, "trace")
        for pull in decision.state.pulls.values():
            if pull.approval:
                self.approved.add((pull.number, pull.approval.head))
        self.ended |= decision.state.pulls
        self.attempts |= decision.state.attempts
        self.state = decision.settled
        self.effects += decision.effects

    def run(self) -> None:
        """Carry out all effects, and what comes of them."""
        while self.effects:
            self.step()

    def step(self) -> Effect:
        """Carry out the oldest effect."""
        effect = self.effects.pop(0)
        if is_wanted(self.state, effect) and (event := self.carry_out(effect)):
            self.take(event)
        return effect

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def time_passes(self, seconds: float) -> None:
        """Let time pass, and the bot notice."""
        self.later(seconds)
        self.take(TimePassed(at=self.now))
        self.run()

    # People

    def push(self, number: int, *, seen: bool = True) -> str:
        """Push a new head to a topic, and return it."""
        self.later(1)
        self.topics[number] = self.sha()
        if seen:
            self.see(number)
        return self.topics[number]

    def see(self, number: int) -> None:
        """Let the bot see a topic as it is."""
        if snapshot := self.snapshot(number):
            self.take(PullRequestSeen(at=self.now, snapshot=snapshot))
        else:
            self.take(PullRequestGone(at=self.now, number=number, read_at=self.now))

    def say(self, number: int, text: str, by: str = "ada", at: datetime | None = None) -> list[Answer]:
        """Let somebody comment, and return the answers."""
        self.later(1)
        before = len(self.answers)
        comment = Comment(
            id=f"{len(self.approved)}-{self.now}", number=number, author=by, body=text, written_at=at or self.now
        )
        self.take(CommentHinted(at=self.now, comment=comment))
        self.run()
        return self.answers[before:]

    def approve(self, *numbers: int) -> None:
        """Push each, and approve it."""
        for number in numbers:
            self.push(number)
        for number in numbers:
            self.say(number, "@autogate r+")

    def human_pushes(self) -> str:
        """Move the target past the bot."""
        self.tip = self.sha()
        return self.tip

    # Buildbot

    @property
    def auto(self) -> Attempt:
        """The live attempt on main."""
        attempt = self.state.live(AttemptKind.AUTO, "main")
        assert attempt is not None
        return attempt

    @property
    def trial(self) -> Attempt:
        """The live try attempt."""
        attempt = self.state.live(AttemptKind.TRY)
        assert attempt is not None
        return attempt

    def verdict(self, result: Result, builder: str = "shop-test", sha: str | None = None, **fields: object) -> Verdict:
        """Let a builder end on the live attempt, or on any commit; return the verdict."""
        verdict = Verdict.model_validate(
            {"builder": builder, "result": result, "at": self.now, "summary": f"{builder}: {result}", **fields}
        )
        sha = sha if sha is not None else self.auto.sha
        assert sha is not None
        self.tested.setdefault(sha, {})[builder] = result
        self.take(VerdictReached(at=self.now, revision=sha, verdict=verdict))
        self.run()
        return verdict

    def passes(self, attempt: Attempt | None = None) -> None:
        """Let all builders pass."""
        sha = (attempt or self.auto).sha
        for builder in self.policy.required_builders:
            self.verdict(Result.SUCCESS, builder, sha)

    def fails(self, attempt: Attempt | None = None, path: str = "", excerpt: str = "") -> None:
        """Let the test builder fail, perhaps naming a file."""
        findings = [Finding(path=path, line=1, symbol="bad", severity=Severity.ERROR, text="it is bad")] if path else []
        tests = [FailedTest(name="test_it", excerpt=excerpt)] if excerpt else []
        sha = (attempt or self.auto).sha
        self.verdict(Result.FAILURE, sha=sha, cause=Cause.CHANGE, findings=findings, failed_tests=tests)

    def builds(self, is_bad: Callable[[frozenset[int]], bool]) -> None:
        """Let Buildbot judge candidates, tries too, until nothing is left to do.

        Args:
            is_bad: Tells whether a combination of pull requests fails; those that landed belong to it.
        """
        landed = {number for number, pull in self.ended.items() if pull.landed_as}
        while live := next((each for each in self.state.attempts.values() if each.is_live and each.sha), None):
            with_base = frozenset(live.numbers) | (landed if live.diagnosis_of is None else frozenset())
            if is_bad(with_base):
                self.fails(live)
            else:
                self.passes(live)
            landed = {number for number, pull in self.ended.items() if pull.landed_as}

    # What is checked

    def check(self) -> None:
        """Assert the rule of every landing."""
        for base, sha in self.landings:
            results = self.tested.get(sha, {})
            assert all(results.get(builder) in {"success", "warnings"} for builder in BUILDERS), (sha, results)
            heads = {head for _number, head in self.approved}
            here = sha
            while here != base:
                assert self.commits[here].second in heads
                here = self.commits[here].first

    # Hands

    def carry_out(self, effect: Effect) -> Event | None:
        """Do what an effect says."""
        event: Event | None = None
        match effect:
            case ReadComment(comment=comment):
                event = CommentRead(at=self.now, comment=comment, snapshot=self.snapshot(comment.number))
            case ReadPullRequest(number=number):
                snapshot = self.snapshot(number)
                gone = PullRequestGone(at=self.now, number=number, read_at=self.now)
                event = PullRequestSeen(at=self.now, snapshot=snapshot) if snapshot else gone
            case MakeCandidate():
                event = self._merge(effect)
            case PushCandidate(attempt=attempt):
                self.candidates.append(effect)
                event = CandidatePushed(at=self.now, attempt=attempt)
            case Land():
                event = self._land(effect)
            case CancelBuilds():
                self.cancelled.append(effect)
            case AskBuildbot():
                self.asked.append(effect)
            case Finalise():
                self.finalised.append(effect)
            case Reply(answer=answer):
                self.answers.append(answer)
        return event

    def snapshot(self, number: int) -> Snapshot | None:
        """Return a topic as it is now."""
        if number not in self.topics:
            return None
        return Snapshot(
            number=number,
            source=f"topic-{number}",
            target=self.targets.get(number, "main"),
            head=self.topics[number],
            title=f"Topic {number}",
            author="eve",
            author_is_login=True,
            read_at=self.now,
        )

    def _merge(self, effect: MakeCandidate) -> CandidateMade:
        here = base = effect.base or self.tip
        merged: list[Merged] = []
        conflicts: list[Conflict] = []
        moved: list[int] = []
        for member in effect.members:
            mate = next((one.number for one in merged if frozenset({one.number, member.number}) in self.clashes), None)
            if self.topics.get(member.number) != member.head:
                moved.append(member.number)
            elif member.number in self.conflicts or mate:
                paths = (f"file-{member.number}.py",)
                with_base = member.number in self.conflicts
                conflicts.append(Conflict(number=member.number, paths=paths, with_base=with_base, with_member=mate))
            else:
                sha = self.sha()
                self.commits[sha] = Commit(here, member.head)
                merged.append(Merged(number=member.number, merge=sha, paths=(f"file-{member.number}.py",)))
                here = sha
        return CandidateMade(
            at=self.now,
            attempt=effect.attempt,
            base=base,
            sha=here if merged else None,
            merged=tuple(merged),
            conflicts=tuple(conflicts),
            moved=tuple(moved),
        )

    def _land(self, effect: Land) -> Event:
        if self.tip == effect.sha:
            return Landed(at=self.now, attempt=effect.attempt)
        if self.tip != effect.base:
            return LandingRefused(at=self.now, attempt=effect.attempt, tip=self.tip, base_moved=True)
        seen = [self.snapshot(member.number) for member in effect.members]
        gone = tuple(m.number for m, now in zip(effect.members, seen, strict=True) if now is None)
        moved = tuple(now for m, now in zip(effect.members, seen, strict=True) if now and now.head != m.head)
        if gone or moved or not is_permitted(self.state, effect):
            return LandingRefused(at=self.now, attempt=effect.attempt, snapshots=moved, gone=gone)
        self.landings.append((self.tip, effect.sha))
        self.tip = effect.sha
        for member in effect.members:
            self.topics.pop(member.number)
        self.check()
        return Landed(at=self.now, attempt=effect.attempt)

    def sha(self) -> str:
        """Return a SHA that was not there before."""
        return f"{next(iter(self._shas)):040x}"

    def target_seen(self) -> None:
        """Let the bot see the target as it is."""
        self.take(TargetSeen(at=self.now, target="main", tip=self.tip, read_at=self.now))
        self.run()
