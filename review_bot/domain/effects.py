"""What `decide` wants done: every output, kept in the outbox until it is done.

Each may be carried out more than once, since the bot can die after doing it and before writing that down; so each is
made such that a second time changes nothing.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter

from .answers import Answer
from .events import Comment
from .model import AttemptKind, Member, Value


class ReadComment(Value):
    """Read a comment again from its forge, with its author's rights; gives `CommentRead`."""

    kind: Literal["read_comment"] = "read_comment"
    comment: Comment


class ReadPullRequest(Value):
    """Read a pull request again from its forge; gives `PullRequestSeen` or `PullRequestGone`."""

    kind: Literal["read_pull_request"] = "read_pull_request"
    number: int


class MakeCandidate(Value):
    """Merge the members, one after the other with ``--no-ff``, onto the target's tip; gives `CandidateMade`.

    Attributes:
        attempt: The attempt, named in the commits.
        to: What the candidate is for, so that the commits do not call a trial approved.
        on: Which target.
        base: Start here instead of the target's tip.
        members: In this order.
        at: The commits' date, so that the same merges give the same SHAs.
    """

    kind: Literal["make_candidate"] = "make_candidate"
    attempt: int
    to: AttemptKind = AttemptKind.AUTO
    on: str
    base: str | None = None
    members: tuple[Member, ...]
    at: AwareDatetime


class PushCandidate(Value):
    """Push the merge to the candidate branch and to an attempt ref of its own, and poke; gives `CandidatePushed`."""

    kind: Literal["push_candidate"] = "push_candidate"
    attempt: int
    to: AttemptKind
    sha: str


class Land(Value):
    """Move the target from exactly ``base`` to ``sha``, if every member is still as approved.

    Gives `Landed`, `LandingRefused` or `LandingContradicted`.
    """

    kind: Literal["land"] = "land"
    attempt: int
    target: str
    base: str
    sha: str
    members: tuple[Member, ...]


class CancelBuilds(Value):
    """Stop what Buildbot still does for a commit that nobody waits for.

    Attributes:
        attempt: The attempt that it was.
        sha: The commit.
        builders: Those without a verdict.
        until: So long it may be that Buildbot hears of the commit only now.
    """

    kind: Literal["cancel_builds"] = "cancel_builds"
    attempt: int
    sha: str
    builders: tuple[str, ...]
    until: AwareDatetime


class AskBuildbot(Value):
    """Ask Buildbot what became of an attempt; gives `BuildbotAnswered`. ``turn`` tells the askings apart."""

    kind: Literal["ask_buildbot"] = "ask_buildbot"
    attempt: int
    sha: str
    builders: tuple[str, ...]
    turn: int


class Reply(Value):
    """Answer somebody under a pull request."""

    kind: Literal["reply"] = "reply"
    number: int
    to: str
    comment: str
    answer: Answer


class ShowStatus(Value):
    """Bring what the forge shows of a pull request (the one comment, the commit status) in line with what is known."""

    kind: Literal["show_status"] = "show_status"
    number: int


class Finalise(Value):
    """Tell a forge that does not notice by itself that a pull request has landed; remove a landed topic."""

    kind: Literal["finalise"] = "finalise"
    number: int
    source: str
    head: str
    landed_as: str


Effect = Annotated[
    ReadComment
    | ReadPullRequest
    | MakeCandidate
    | PushCandidate
    | Land
    | CancelBuilds
    | AskBuildbot
    | Reply
    | ShowStatus
    | Finalise,
    Field(discriminator="kind"),
]

EFFECT: TypeAdapter[Effect] = TypeAdapter(Effect)
"""Reads and writes any effect as JSON."""
