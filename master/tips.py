"""What a poll of a repository's branches means: pure decisions about tips, no Buildbot and no git.

The table of changes is the log, and storing a change is the only commit point. The saved `State` is a compaction of
that log: per branch the tip that was last dealt with and the number of the branch's newest change at that time. A newer
change in the log therefore outranks the saved tip, and a crash between storing a change and saving the state costs
nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

from autogate.gitwords import is_sha

STATE_VERSION = 1

SETTLING = 60
"""Seconds within which a scheduler has surely requested its builds for a change that it heard of."""

ABSENT = ""
"""The tip of a branch that does not exist in the repository."""


class Verdict(Enum):
    """What to do about a branch's tip."""

    SAME = "same"
    """It has been dealt with."""
    RECORD = "record"
    """Remember it; nothing is to be built."""
    CHANGE = "change"
    """It moved: exactly one change."""


@dataclass(frozen=True)
class Watch:
    """The branches that are polled.

    Attributes:
        targets: Long-lived branches; when first watched, their tips are a baseline and give no change.
        candidates: Branches that hold what is to be tested; a tip that is also a target's tip is no candidate.
    """

    targets: tuple[str, ...]
    candidates: tuple[str, ...]

    @property
    def branches(self) -> tuple[str, ...]:
        """Return all of them, candidates first: somebody waits for those."""
        return self.candidates + self.targets


@dataclass(frozen=True)
class Tip:
    """Where a branch stood when it was last dealt with.

    Attributes:
        sha: The commit, or `ABSENT`.
        change: The number of the branch's newest change at that time; 0 when it had none.
    """

    sha: str
    change: int


@dataclass(frozen=True)
class Logged:
    """The newest change of a branch in the table of changes."""

    change: int
    revision: str


@dataclass(frozen=True)
class State:
    """What a poller saves.

    Attributes:
        tips: Branch -> its tip. A branch that is not in it has never been watched.
        settled: Changes up to this number are known to have reached the schedulers.
        settled_at: When that was found, in seconds since the epoch.
    """

    tips: Mapping[str, Tip] = field(default_factory=dict)
    settled: int = 0
    settled_at: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads back."""
        return {
            "version": STATE_VERSION,
            "branches": {branch: [tip.sha, tip.change] for branch, tip in sorted(self.tips.items())},
            "settled": [self.settled, self.settled_at],
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a saved state.

        Raises:
            ValueError: it was not written by `to_json`. It is never taken for an empty one, which would lose pushes.
        """
        match value:
            case {"version": 1, "branches": dict(branches), "settled": [int(settled), int(settled_at)]}:
                return cls({str(name): _tip(name, tip) for name, tip in branches.items()}, settled, settled_at)
        raise ValueError(f"the poller's saved state is not of version {STATE_VERSION}: {str(value)[:200]}")


def _tip(branch: object, value: object) -> Tip:
    match value:
        case [str(sha), int(change)] if sha == ABSENT or is_sha(sha):
            return Tip(sha, change)
    raise ValueError(f"the poller's saved state holds no commit for {branch}: {str(value)[:200]}")


def recover(watch: Watch, state: State, log: Mapping[str, Logged]) -> dict[str, Tip]:
    """Return the tips that have been dealt with, from the saved state and the log.

    Args:
        watch: The branches as now configured; others are forgotten, so that they are newly watched when they come back.
        state: As saved; empty for a poller that never saved one.
        log: The newest change of each branch that has one.
    """
    tips: dict[str, Tip] = {}
    for branch in watch.branches:
        saved, logged = state.tips.get(branch), log.get(branch)
        if logged and (saved.change < logged.change if saved else branch in watch.candidates):
            tips[branch] = Tip(logged.revision, logged.change)
        elif saved:
            tips[branch] = saved
    return tips


def judge(watch: Watch, branch: str, known: Tip | None, seen: Mapping[str, str]) -> Verdict:
    """Decide about one branch.

    A branch that was deleted and pushed again is a new branch, also at its old SHA: whoever pushed it again wants it
    looked at again. A deletion and a push within one interval cannot be told from no push at all.

    Args:
        watch: The watched branches.
        branch: The one in question.
        known: Its last tip that was dealt with; None when it has never been watched.
        seen: Branch -> SHA of every watched branch that exists now.
    """
    sha = seen.get(branch, ABSENT)
    if known and known.sha == sha:
        return Verdict.SAME
    if sha == ABSENT:
        return Verdict.RECORD
    if branch in watch.targets:
        return Verdict.CHANGE if known else Verdict.RECORD
    if sha in target_tips(watch, seen):
        return Verdict.RECORD
    return Verdict.CHANGE


def target_tips(watch: Watch, seen: Mapping[str, str]) -> set[str]:
    """Return the SHAs that a candidate may be reset to without being one."""
    return {seen[target] for target in watch.targets if target in seen}


def vanished(known: Iterable[Tip], seen: Mapping[str, str]) -> bool:
    """Tell whether every watched branch is suddenly gone.

    That is a broken or replaced repository, not deletions: taken for deletions, everything would be built and deployed
    again when the branches come back.
    """
    return not seen and any(tip.sha != ABSENT for tip in known)


@dataclass
class Memory:
    """What has been dealt with, as it stands in the database or is about to.

    Attributes:
        tips: Branch -> its tip.
        newest: Branch -> the number of its newest change.
        settled: As in `State`.
        settled_at: As in `State`.
        fresh: Branch -> its newest change, where that is not settled.
        fresh_since: When the last of them was stored or found.
        saved: Whether the database's state is this one.
        doubtful: Whether it is unknown if a change was stored.
    """

    tips: dict[str, Tip]
    newest: dict[str, int]
    settled: int
    settled_at: int
    fresh: dict[str, int]
    fresh_since: float
    saved: bool = False
    doubtful: bool = False

    @classmethod
    def load(cls, watch: Watch, state: State | None, log: Mapping[str, Logged], now: float) -> Self:
        """Begin from what the database holds.

        Args:
            watch: The branches.
            state: As saved; None for a poller that never saved one. Changes older than its first poll count as settled.
            log: The newest change of each branch that has one.
            now: The time.
        """
        newest = {branch: logged.change for branch, logged in log.items()}
        if state is None:
            state = State(settled=max(newest.values(), default=0), settled_at=int(now))
        return cls(
            tips=recover(watch, state, log),
            newest=newest,
            settled=state.settled,
            settled_at=state.settled_at,
            fresh={branch: change for branch, change in newest.items() if change > state.settled},
            fresh_since=now,
        )

    def state(self) -> State:
        """Return what is to be saved."""
        return State(dict(self.tips), self.settled, self.settled_at)

    def record(self, branch: str, sha: str) -> None:
        """Note a tip that gives no change."""
        self.tips[branch] = Tip(sha, self.newest.get(branch, 0))
        self.saved = False

    def changed(self, branch: str, sha: str, change: int, now: float) -> None:
        """Note a tip whose change was stored at ``now``."""
        self.newest[branch] = self.fresh[branch] = change
        self.fresh_since = now
        self.record(branch, sha)

    def settles(self, now: float) -> bool:
        """Tell whether there are fresh changes, all old enough for any scheduler to have acted on them."""
        return bool(self.fresh) and now - self.fresh_since >= SETTLING

    def settle(self, now: float) -> None:
        """Note that the schedulers have heard of all changes."""
        self.settled, self.settled_at = max(self.fresh.values()), int(now)
        self.fresh.clear()
        self.saved = False


@dataclass
class Backoff:
    """When to try an unreachable repository again.

    Attributes:
        interval: Seconds between polls while all is well.
        cap: The longest wait, in seconds, unless the interval is longer.
        failures: Polls in a row that failed.
        until: Polls before this time are left out.
    """

    interval: float
    cap: float = 300
    failures: int = 0
    until: float = 0

    def failed(self, now: float) -> None:
        """Note a failed poll that began at ``now``: the wait doubles from one interval up to the cap."""
        self.failures += 1
        wait = min(self.interval * 2 ** min(self.failures - 1, 16), max(self.interval, self.cap))
        # Half an interval early, since the polls come on a grid and the clock may be a hair early.
        self.until = now + wait - self.interval / 2

    def succeeded(self) -> int:
        """Note a good poll; return how many had failed before it."""
        failures, self.failures, self.until = self.failures, 0, 0
        return failures

    def holds(self, now: float) -> bool:
        """Tell whether a poll at ``now`` is left out."""
        return now < self.until
