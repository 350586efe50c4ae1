"""What can happen to a repository: every input of `decide`, stored before it is acted on."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter

from autogate.contract import Result

from .model import Policy, Value, Verdict


class Occurrence(Value):
    """An event. ``at`` is when the bot learned of it."""

    at: AwareDatetime


class Configured(Occurrence):
    """The configuration was read, and is not what it was."""

    kind: Literal["configured"] = "configured"
    policy: Policy


class Snapshot(Value):
    """A pull request as its forge shows it.

    Attributes:
        number: Its number; None where the forge has none, and the bot counts.
        source: As `model.PullRequest` has it.
        head_since: When the head was pushed, where the forge tells.
        read_at: When it was read: an older one never replaces a newer.
        is_open: Whether it can still land.
    """

    number: int | None
    source: str
    target: str
    head: str
    head_since: AwareDatetime | None = None
    title: str = ""
    author: str = ""
    author_is_login: bool = False
    url: str = ""
    read_at: AwareDatetime
    is_open: bool = True


class PullRequestSeen(Occurrence):
    """A pull request was read from its forge."""

    kind: Literal["pull_request_seen"] = "pull_request_seen"
    snapshot: Snapshot


class PullRequestGone(Occurrence):
    """The forge has no such open pull request any more. ``number`` is the bot's; ``read_at`` when that was seen."""

    kind: Literal["pull_request_gone"] = "pull_request_gone"
    number: int
    read_at: AwareDatetime


class TargetSeen(Occurrence):
    """A target's tip was read from the repository; ``tip`` is None when there is no such branch."""

    kind: Literal["target_seen"] = "target_seen"
    target: str
    tip: str | None
    read_at: AwareDatetime


class Comment(Value):
    """A comment, as a webhook, a poll or the API tells of it.

    Attributes:
        id: Unique on its forge.
        number: The pull request that it stands under.
        author: Who wrote it; proven by the forge or, for the API, by a token.
        body: What it says.
        written_at: When it was created.
        is_new: False for an edited one, which commands nothing.
    """

    id: str
    number: int
    author: str
    body: str
    written_at: AwareDatetime
    is_new: bool = True


class CommentHinted(Occurrence):
    """Somebody says that there is a comment: a hint, to be read again from the forge."""

    kind: Literal["comment_hinted"] = "comment_hinted"
    comment: Comment


class CommentRead(Occurrence):
    """A comment was read from its forge, with the author's rights there and the pull request as it is now.

    Attributes:
        comment: As read.
        may_write: Whether the forge lets the author push to the repository; False where forges do not say.
        snapshot: The pull request; None when it is gone.
    """

    kind: Literal["comment_read"] = "comment_read"
    comment: Comment
    may_write: bool = False
    snapshot: Snapshot | None


class FreezeAsked(Occurrence):
    """Somebody with the right to do so freezes a target, or (``thaw``) ends that."""

    kind: Literal["freeze_asked"] = "freeze_asked"
    target: str
    by: str
    thaw: bool = False
    priority: int | None = None
    reason: str = ""


class PauseAsked(Occurrence):
    """Somebody with the right to do so pauses the repository, or (``resume``) ends that."""

    kind: Literal["pause_asked"] = "pause_asked"
    by: str
    resume: bool = False
    reason: str = ""


class BuildStarted(Occurrence):
    """A build of a commit began."""

    kind: Literal["build_started"] = "build_started"
    revision: str
    builder: str
    url: str


class VerdictReached(Occurrence):
    """A builder's final result on a commit, believed: its signature was good."""

    kind: Literal["verdict_reached"] = "verdict_reached"
    revision: str
    verdict: Verdict


class BuilderStatus(Value):
    """What Buildbot knows of one builder's work on a commit.

    Attributes:
        status: ``unknown_builder`` where it has none of that name, else how far the newest request is.
        url: The newest build's page.
        verdict: For ``finished``.
    """

    status: Literal["unknown_builder", "no_request", "waiting", "running", "finished"]
    url: str = ""
    verdict: Verdict | None = None


class BuildbotAnswered(Occurrence):
    """Buildbot was asked what became of an attempt. Builder -> status."""

    kind: Literal["buildbot_answered"] = "buildbot_answered"
    attempt: int
    builders: dict[str, BuilderStatus]


class Conflict(Value):
    """A member that does not merge.

    Attributes:
        number: The pull request.
        paths: The conflicting files; none where it and the target have no commit in common.
        with_base: Whether it conflicts with the target itself; else with a member that was merged before it.
        with_member: That member.
    """

    number: int
    paths: tuple[str, ...]
    with_base: bool
    with_member: int | None = None


class Merged(Value):
    """A member that was merged, its merge commit, and the files that it changes."""

    number: int
    merge: str
    paths: tuple[str, ...] = ()


class CandidateMade(Occurrence):
    """The merges of an attempt were made, in the bot's own mirror.

    Attributes:
        attempt: The attempt.
        base: The tip that they were made on.
        sha: The last merge; None when no member could be merged.
        merged: The members that are in it, in order.
        conflicts: Those that do not merge.
        contained: Those whose head is in the base already.
        moved: Those whose head could not be fetched: it moved, or the pull request is gone.
    """

    kind: Literal["candidate_made"] = "candidate_made"
    attempt: int
    base: str
    sha: str | None
    merged: tuple[Merged, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    contained: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()


class CandidatePushed(Occurrence):
    """The candidate branch stands at the attempt's merge, and Buildbot was poked."""

    kind: Literal["candidate_pushed"] = "candidate_pushed"
    attempt: int


class CandidateLost(Occurrence):
    """An attempt's merge cannot be had any more, or may not be used: it has to be made again."""

    kind: Literal["candidate_lost"] = "candidate_lost"
    attempt: int
    detail: str


class Landed(Occurrence):
    """The target was moved to the attempt's merge and read back."""

    kind: Literal["landed"] = "landed"
    attempt: int


class LandingRefused(Occurrence):
    """The target was not moved.

    Attributes:
        attempt: The attempt.
        tip: The target's tip, when it is not the attempt's base; None when the branch is gone.
        base_moved: Whether the tip is the reason.
        snapshots: Members that are not what was approved any more, as read just now.
        gone: Members that are no longer there.
    """

    kind: Literal["landing_refused"] = "landing_refused"
    attempt: int
    tip: str | None = None
    base_moved: bool = False
    snapshots: tuple[Snapshot, ...] = ()
    gone: tuple[int, ...] = ()


class LandingContradicted(Occurrence):
    """The push was accepted, yet the target reads otherwise: nobody knows what it holds, so it is frozen."""

    kind: Literal["landing_contradicted"] = "landing_contradicted"
    attempt: int
    tip: str | None


class TimePassed(Occurrence):
    """A deadline of `State.next_deadline` has come."""

    kind: Literal["time_passed"] = "time_passed"


Event = Annotated[
    Configured
    | PullRequestSeen
    | PullRequestGone
    | TargetSeen
    | CommentHinted
    | CommentRead
    | FreezeAsked
    | PauseAsked
    | BuildStarted
    | VerdictReached
    | BuildbotAnswered
    | CandidateMade
    | CandidatePushed
    | CandidateLost
    | Landed
    | LandingRefused
    | LandingContradicted
    | TimePassed,
    Field(discriminator="kind"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads and writes any event as JSON."""

PASSING = frozenset({Result.SUCCESS, Result.WARNINGS})
"""What counts as passed. SKIPPED does not: nothing was looked at."""
