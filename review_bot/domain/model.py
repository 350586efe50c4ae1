"""What the bot knows of one repository: pull requests, approvals, attempts, targets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from autogate.contract import Cause, FailedTest, Finding, Result

KEPT_FINDINGS = 50
KEPT_TESTS = 20
"""So many of a verdict's findings and failing tests are kept with an attempt; the report itself stays in its event."""


class Value(BaseModel):
    """An immutable value that goes into the database as JSON."""

    # infinity is no JSON
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Policy(Value):
    """What the repository's configuration says of gating.

    Attributes:
        targets: The long-lived branches.
        required_builders: The builders that must all pass.
        reviewers: Who may approve.
        try_users: Who may, besides, start try builds and set priorities.
        batch_max: At most so many pull requests are merged and tested together.
        timeout: Seconds that an attempt may take from its push to its last verdict.
        infrastructure_retries: So many times an attempt is made again when it failed for no fault of the change.
        ask_interval: Seconds of silence after which Buildbot is asked what became of an attempt.
        poll_interval: Seconds after which Buildbot looks at the repository at the latest, poked or not.
        bot: What comments call the bot, and its own login: it never obeys itself.
        comments: Whether the forge has comments, in which a status is shown.
    """

    targets: tuple[str, ...] = ()
    required_builders: tuple[str, ...] = ()
    reviewers: frozenset[str] = frozenset()
    try_users: frozenset[str] = frozenset()
    batch_max: int = 1
    timeout: float = 14400
    infrastructure_retries: int = 2
    ask_interval: float = 60
    poll_interval: float = 60
    bot: str = "autogate"
    comments: bool = False


class Rollup(StrEnum):
    """Whether a pull request may share an attempt with others."""

    NEVER = "never"
    MAYBE = "maybe"
    ALWAYS = "always"


class Approval(Value):
    """A reviewer's word on one head.

    Attributes:
        head: The SHA that was approved, and no other.
        reviewer: Who stands for it.
        by: Who said so; differs from ``reviewer`` after ``r=NAME``.
        at: When.
        trace: The comment's trace, which follows the change through attempt, builds and landing.
        as_delegate: Whether ``by`` had no right to it but a delegation, with which it falls.
    """

    head: str
    reviewer: str
    by: str
    at: AwareDatetime
    trace: str
    as_delegate: bool = False


# Why an approved pull request is set aside until somebody does something


class Conflicted(Value):
    """It does not merge into its target."""

    kind: Literal["conflicted"] = "conflicted"
    paths: tuple[str, ...]
    base: str


class FailedAlone(Value):
    """An attempt with it as the only member failed.

    Attributes:
        attempt: The attempt.
        builder: Whose verdict it was.
        summary: The verdict's line.
        landed_before: Members of the same failed batch that landed before it was tested alone.
        passes_without_them: Whether it passed on the base of before they landed; None when that is not known (yet).
    """

    kind: Literal["failed"] = "failed"
    attempt: int
    builder: str
    summary: str
    landed_before: tuple[int, ...] = ()
    passes_without_them: bool | None = None


class TimedOut(Value):
    """An attempt with it as the only member gave no verdict in time."""

    kind: Literal["timed_out"] = "timed_out"
    attempt: int
    missing: tuple[str, ...]


class InfrastructureFailed(Value):
    """Every allowed attempt failed for no fault of the change."""

    kind: Literal["infrastructure"] = "infrastructure"
    attempt: int
    summary: str


class Stopped(Value):
    """Somebody cancelled its attempt."""

    kind: Literal["stopped"] = "stopped"
    by: str


Setback = Annotated[Conflicted | FailedAlone | TimedOut | InfrastructureFailed | Stopped, Field(discriminator="kind")]


class Standing(StrEnum):
    """Whether a pull request can still land."""

    OPEN = "open"
    LANDED = "landed"
    CLOSED = "closed"


class PullRequest(Value):
    """A proposed change.

    Attributes:
        number: Its number.
        source: Where it comes from, as its forge names that: ``refs/for/main/fix-typo``, or a branch.
        target: The branch that it is to land on.
        head: The SHA of its newest commit.
        head_since: When that became its head; for a forge that does not tell, when the bot saw it first.
        title: Its title, as written by anybody.
        author: Who opened it: a login on a forge; the head commit's author where there are no logins.
        author_is_login: Whether ``author`` can be given rights.
        url: Its page; empty where there is none.
        read_at: When all this was read.
        opened_at: When the bot first saw it.
        standing: Whether it can still land.
        approval: The approval of its present head.
        withdrawn_at: When somebody last asked to take approvals back: none that was written before counts.
        priority: Higher goes first.
        rollup: Whether it may share an attempt.
        delegates: Who may approve it though no reviewer.
        setback: Why it is set aside although approved.
        waits_for: Another pull request that it conflicts with and that is being tested now.
        stale: Its head could not be fetched: it is to be read again before anything is done with it.
        last_attempt: The newest attempt with it that could land.
        last_try: The newest try attempt that somebody asked for.
        landed_as: The merge commit that brought it into its target.
    """

    number: int
    source: str
    target: str
    head: str
    head_since: AwareDatetime
    title: str = ""
    author: str = ""
    author_is_login: bool = False
    url: str = ""
    read_at: AwareDatetime
    opened_at: AwareDatetime
    standing: Standing = Standing.OPEN
    approval: Approval | None = None
    withdrawn_at: AwareDatetime | None = None
    priority: int = 0
    rollup: Rollup = Rollup.MAYBE
    delegates: frozenset[str] = frozenset()
    setback: Setback | None = None
    waits_for: int | None = None
    stale: bool = False
    last_attempt: int | None = None
    last_try: int | None = None
    landed_as: str | None = None

    @property
    def is_ready(self) -> bool:
        """Tell whether it is approved and nothing of its own keeps it back."""
        return (
            self.approval is not None
            and self.setback is None
            and self.standing is Standing.OPEN
            and self.waits_for is None
            and not self.stale
        )


class Verdict(Value):
    """One builder's final result for one attempt. `findings` and `failed_tests` are the first of so many."""

    builder: str
    kind: str = ""
    result: Result
    cause: Cause | None = None
    summary: str = ""
    url: str = ""
    findings: tuple[Finding, ...] = ()
    findings_total: int = 0
    failed_tests: tuple[FailedTest, ...] = ()
    failed_tests_total: int = 0
    at: AwareDatetime


class AttemptKind(StrEnum):
    """Whether an attempt may land."""

    AUTO = "auto"
    TRY = "try"


class Stage(StrEnum):
    """How far an attempt is. The first five are alive, the others final."""

    MERGING = "merging"
    PUSHING = "pushing"
    TESTING = "testing"
    PASSED = "passed"
    """All required builders passed; a pause or a freeze keeps it from landing."""
    LANDING = "landing"
    LANDED = "landed"
    GREEN = "green"
    """A try attempt that passed."""
    FAILED = "failed"
    DISCARDED = "discarded"


LIVE = frozenset({Stage.MERGING, Stage.PUSHING, Stage.TESTING, Stage.PASSED, Stage.LANDING})


class Member(Value):
    """A pull request in an attempt, with the head that was approved (or is tried) and what became of it there.

    Attributes:
        number: The pull request.
        head: The SHA that is merged.
        title: Its title at that time.
        reviewer: Who approved it; who asked for it in a try attempt.
        trace: The trace of that approval.
        merge: The merge commit that brings it in, once made.
        paths: What it changes, once merged.
    """

    number: int
    head: str
    title: str = ""
    reviewer: str = ""
    trace: str = ""
    merge: str | None = None
    paths: tuple[str, ...] = ()


class Outcome(Value):
    """Why an attempt ended.

    Attributes:
        reason: ``landed``, ``passed`` (a try attempt), ``failed``, ``timed_out``, ``infrastructure``, ``base_moved``,
            ``head_moved``, ``withdrawn``, ``cancelled``, ``conflict``, ``nothing_to_do``, ``builders_changed``,
            ``retargeted``, ``closed``, ``contradicted``.
        detail: More about it, for people.
        builder: The builder whose verdict decided.
    """

    reason: str
    detail: str = ""
    builder: str = ""


class Attempt(Value):
    """One candidate.

    Attributes:
        id: Unique in the repository, rising.
        kind: ``auto`` or ``try``.
        target: The branch that it is for.
        members: What is merged, in this order.
        created_at: When it was decided; also the date of its commits, so that making it again gives the same ones.
        base: The commit that it starts from: the target's tip when it was merged. Given before for a diagnosis only.
        sha: The last merge commit, which is what is tested and lands.
        stage: How far it is.
        required: The builders that must all pass.
        verdicts: Builder -> its verdict.
        builds: Builder -> the address of its newest build.
        pushed_at: When the candidate branch had it.
        deadline: When it times out.
        ask_at: When Buildbot is to be asked next.
        asks: So many times Buildbot was asked.
        silent_asks: So many times in a row Buildbot knew of no request for some builder.
        complaint: What Buildbot lacks for this attempt, such as a builder that it does not know.
        tries: So many attempts with these members failed before, for no fault of the change.
        diagnosis_of: For a try attempt that the bot made for itself: the failed attempt that it explains.
        ended_at: When it ended.
        outcome: Why it ended.
    """

    id: int
    kind: AttemptKind
    target: str
    members: tuple[Member, ...]
    created_at: AwareDatetime
    base: str | None = None
    sha: str | None = None
    stage: Stage = Stage.MERGING
    required: tuple[str, ...] = ()
    verdicts: Mapping[str, Verdict] = {}
    builds: Mapping[str, str] = {}
    pushed_at: AwareDatetime | None = None
    deadline: AwareDatetime | None = None
    ask_at: AwareDatetime | None = None
    asks: int = 0
    silent_asks: int = 0
    complaint: str = ""
    tries: int = 0
    diagnosis_of: int | None = None
    ended_at: AwareDatetime | None = None
    outcome: Outcome | None = None

    @property
    def is_live(self) -> bool:
        """Tell whether it has not ended."""
        return self.stage in LIVE

    @property
    def numbers(self) -> tuple[int, ...]:
        """The pull requests in it."""
        return tuple(member.number for member in self.members)

    @property
    def missing(self) -> tuple[str, ...]:
        """The required builders without a verdict."""
        return tuple(builder for builder in self.required if builder not in self.verdicts)

    @property
    def traces(self) -> tuple[str, ...]:
        """The traces of the approvals (or try commands) that led to it."""
        return tuple(dict.fromkeys(member.trace for member in self.members if member.trace))


class Freeze(Value):
    """A target on which only the most urgent lands.

    Attributes:
        priority: Pull requests of at least this priority go on; None lets none through.
        reason: Why.
        by: Who froze it; ``autogate`` when the bot did.
        at: When.
    """

    priority: int | None = None
    reason: str = ""
    by: str
    at: AwareDatetime


class Pause(Value):
    """A repository in which nothing new is started and nothing lands."""

    reason: str = ""
    by: str
    at: AwareDatetime


class Hunt(Value):
    """The search for the culprits of a failed batch, of which one at least is among ``suspects``.

    Attributes:
        suspects: (pull request, head) of those that failed together, in the order of the batch.
        accused: Those of them whom the verdict points at; the others are tested first.
        landed: Members of the first failed batch that have landed since.
        base: The base of the first failed batch.
    """

    suspects: tuple[tuple[int, str], ...]
    accused: frozenset[int] = frozenset()
    landed: tuple[int, ...] = ()
    base: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The suspects' numbers."""
        return tuple(number for number, _head in self.suspects)


class Target(Value):
    """A long-lived branch.

    Attributes:
        name: The branch.
        tip: Its newest commit, as last seen; None when it does not exist.
        read_at: When that was seen; None when it never was.
        freeze: Set while it is frozen.
        hunt: Set while culprits are searched.
        again: Members of an attempt that is to be made again first, and how often it was made.
    """

    name: str
    tip: str | None = None
    read_at: AwareDatetime | None = None
    freeze: Freeze | None = None
    hunt: Hunt | None = None
    again: tuple[tuple[int, ...], int] | None = None


class TryRequest(Value):
    """A try build that waits for its turn.

    Attributes:
        member: What is to be tried.
        target: On top of which branch.
        at: When it was asked for.
        base: On this commit instead of the target's tip, for a diagnosis.
        diagnosis_of: The failed attempt that it is to explain.
        tries: So many attempts at it failed before, for no fault of the change.
    """

    member: Member
    target: str
    at: AwareDatetime
    base: str | None = None
    diagnosis_of: int | None = None
    tries: int = 0


class Ended(Value):
    """A pull request that has ended: what was read of it before then does not open it again."""

    source: str
    number: int
    at: AwareDatetime


class Repository(Value):
    """What holds for the repository as a whole; small, and written whole when it changes.

    Attributes:
        name: Its name.
        policy: Its configuration.
        targets: Target by name.
        pause: Set while it is paused.
        tries: Try builds that wait, oldest first.
        ended: The pull requests that ended last.
        next_attempt: The id that the next attempt gets.
        next_number: The number that the next pull request gets, where the forge gives none.
    """

    name: str
    policy: Policy = Policy()
    targets: Mapping[str, Target] = {}
    pause: Pause | None = None
    tries: tuple[TryRequest, ...] = ()
    ended: tuple[Ended, ...] = ()
    next_attempt: int = 1
    next_number: int = 1


@dataclass(frozen=True)
class State:
    """All that decisions about one repository depend on.

    Attributes:
        repository: What holds for the repository as a whole.
        pulls: The open pull requests by number; one that has just ended stays until `settled`.
        attempts: The live attempts by id; likewise.
    """

    repository: Repository
    pulls: Mapping[int, PullRequest] = field(default_factory=dict)
    attempts: Mapping[int, Attempt] = field(default_factory=dict)

    def with_pull(self, pull: PullRequest) -> Self:
        """Return the state with a pull request added or replaced."""
        return replace(self, pulls={**self.pulls, pull.number: pull})

    def with_attempt(self, attempt: Attempt) -> Self:
        """Return the state with an attempt added or replaced."""
        return replace(self, attempts={**self.attempts, attempt.id: attempt})

    def with_repository(self, repository: Repository) -> Self:
        """Return the state with another repository record."""
        return replace(self, repository=repository)

    def with_target(self, target: Target) -> Self:
        """Return the state with a target added or replaced."""
        targets = {**self.repository.targets, target.name: target}
        return self.with_repository(self.repository.model_copy(update={"targets": targets}))

    def target(self, name: str) -> Target:
        """Return a target, an empty one when nothing is known of it."""
        return self.repository.targets.get(name) or Target(name=name)

    def live(self, kind: AttemptKind, target: str | None = None) -> Attempt | None:
        """Return the live attempt of a kind (for ``auto``, of a target)."""
        for attempt in self.attempts.values():
            if attempt.kind is kind and attempt.is_live and target in {None, attempt.target}:
                return attempt
        return None

    def attempt_of(self, number: int, kind: AttemptKind = AttemptKind.AUTO) -> Attempt | None:
        """Return the live attempt with a pull request."""
        for attempt in self.attempts.values():
            if attempt.kind is kind and attempt.is_live and number in attempt.numbers:
                return attempt
        return None

    def settled(self) -> Self:
        """Return the state without the pull requests and attempts that have ended: the database has those."""
        ended = [number for number, pull in self.pulls.items() if pull.standing is not Standing.OPEN]
        over = [number for number, attempt in self.attempts.items() if not attempt.is_live]
        if not ended and not over:
            return self
        return replace(
            self,
            pulls={number: pull for number, pull in self.pulls.items() if pull.standing is Standing.OPEN},
            attempts={number: attempt for number, attempt in self.attempts.items() if attempt.is_live},
        )

    def next_deadline(self) -> datetime | None:
        """Return when a `TimePassed` event is due next."""
        times = [
            when
            for attempt in self.attempts.values()
            if attempt.is_live
            for when in (attempt.deadline, attempt.ask_at)
            if when is not None
        ]
        return min(times, default=None)
