"""The bot's JSON API on the wire: what `review_bot.web` answers and what the command line reads.

Answers may gain keys, which an older client passes over; requests are closed to unknown ones.
"""

import uuid
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from .contract import Cause, FailedTest, Finding, Result, WireModel

PREFIX = "/api/v1"

MAX_BODY_BYTES = 64 * 1024
"""A request to the API is never larger."""

MAX_COMMENT_CHARACTERS = 10_000
MAX_REASON_CHARACTERS = 500
MAX_PAGE = 1000
DEFAULT_PAGE = 200
MAX_WAIT_SECONDS = 25
"""So long a look at a queue or a pull request may wait for a change."""

Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
Reason = Annotated[str, Field(max_length=MAX_REASON_CHARACTERS)]
BranchName = Annotated[str, Field(min_length=1, max_length=250)]


class Shown(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# Answers

PullState = Literal["open", "queued", "testing", "passed", "landing", "aside", "landed", "closed"]


class PullRequest(Shown):
    """A pull request as the queue shows it."""

    number: int
    title: str = Field(description="As written by anybody.")
    author: str
    target: str = Field(description="The branch that it is to land on.")
    head: str = Field(description="The SHA of its newest commit.")
    source: str = Field(description="Where it comes from, as its forge names that.")
    topic: str = Field(description="The short name under which it is found: `fix-typo` for `refs/for/main/fix-typo`.")
    url: str = Field(default="", description="Its page; empty where there is none.")
    priority: int = Field(default=0, description="Higher goes first.")
    rollup: Literal["never", "maybe", "always"] = Field(
        default="maybe", description="Whether it is tested together with others."
    )
    approved_by: str | None = Field(default=None, description="Who approved the present head.")
    approved_at: AwareDatetime | None = None
    state: PullState = Field(
        description="`open`: not approved. `queued`: approved, waits. `testing`. `passed`: a freeze or a pause keeps "
        "it from landing. `landing`. `aside`: approved, but failed or in conflict. `landed`. `closed`: withdrawn."
    )
    position: int | None = Field(default=None, description="Its place in its target's queue, from 1.")
    waiting: str = Field(default="", description="One sentence: why it is not landed.")
    attempt: int | None = Field(default=None, description="The live attempt with it.")
    landed_as: str | None = Field(default=None, description="The merge commit that brought it into its target.")


class Member(Shown):
    """A pull request in an attempt."""

    number: int
    title: str
    head: str = Field(description="The SHA that was approved, and is merged.")
    reviewer: str


class Builder(Shown):
    """A required builder's work on an attempt."""

    name: str
    result: Result | None = Field(default=None, description="Its verdict; null while there is none.")
    url: str = Field(default="", description="Its newest build's page.")
    summary: str = ""


class Attempt(Shown):
    """One candidate."""

    id: int
    kind: Literal["auto", "try"]
    target: str
    stage: str = Field(
        description="`merging`, `pushing`, `testing`, `passed` and `landing` are alive; `landed`, `green`, `failed` "
        "and `discarded` are final."
    )
    base: str | None = None
    sha: str | None = Field(default=None, description="The merge commit that is tested, and lands.")
    members: tuple[Member, ...]
    builders: tuple[Builder, ...] = ()
    complaint: str = Field(default="", description="What Buildbot lacks for it.")
    created_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    reason: str = Field(default="", description="Why it ended, in a word.")
    detail: str = ""


class Freeze(Shown):
    """A target on which only the most urgent lands."""

    priority: int | None = Field(default=None, description="From this priority on they land all the same; null: none.")
    reason: str
    by: str
    at: AwareDatetime


class Pause(Shown):
    """A repository in which nothing new starts and nothing lands."""

    reason: str
    by: str
    at: AwareDatetime


class Target(Shown):
    """A long-lived branch."""

    name: str
    tip: str | None = None
    freeze: Freeze | None = None
    suspects: tuple[int, ...] = Field(default=(), description="Pull requests of a failed batch, tested apart now.")
    attempt: Attempt | None = Field(default=None, description="What is being tested.")
    queued: int = Field(default=0, description="Approved pull requests that wait or are tested.")


class Repository(Shown):
    """A repository in short."""

    name: str
    pause: Pause | None = None
    targets: tuple[Target, ...] = ()
    open: int = Field(default=0, description="Open pull requests.")


class Repositories(Shown):
    """Every configured repository."""

    bot: str = Field(description="What comments call the bot.")
    repositories: tuple[Repository, ...]


class Queue(Shown):
    """A page of a repository's open pull requests: being tested, in the queue, set aside, not approved."""

    repository: Repository
    tries: tuple[Attempt, ...] = Field(default=(), description="The live try attempts.")
    entries: tuple[PullRequest, ...]
    total: int = Field(description="Open pull requests on all pages.")
    next: str | None = Field(default=None, description="`after` of the next page; null on the last.")


class Verdict(Shown):
    """A builder's final result, with the first of its findings and failing tests."""

    builder: str
    result: Result
    cause: Cause | None = None
    summary: str = ""
    url: str = ""
    findings: tuple[Finding, ...] = ()
    findings_total: int = 0
    failed_tests: tuple[FailedTest, ...] = ()
    failed_tests_total: int = 0
    at: AwareDatetime


class Happening(Shown):
    """An entry of a pull request's timeline."""

    id: int
    at: AwareDatetime
    kind: str
    text: str = Field(description="What happened, in a line.")
    trace: str = Field(default="", description="Joins all that comes of one comment, in timelines and logs.")


class PullRequestDetail(Shown):
    """All that is known of a pull request."""

    bot: str = Field(description="What comments call the bot.")
    repository: str
    pull: PullRequest
    opened_at: AwareDatetime
    delegates: tuple[str, ...] = Field(default=(), description="Who may approve it though no reviewer.")
    status: str = Field(description="What the bot says of it, as plain text.")
    attempts: tuple[Attempt, ...] = Field(default=(), description="Those with it, the newest first.")
    verdicts: tuple[Verdict, ...] = Field(default=(), description="The newest attempt's.")
    timeline: tuple[Happening, ...] = Field(default=(), description="The newest first.")
    earlier: int | None = Field(default=None, description="`before` of the timeline's next page; null on the last.")


class Found(Shown):
    """The pull requests that a name stands for: none, one, or one a target."""

    pulls: tuple[PullRequest, ...]
    near: tuple[str, ...] = Field(default=(), description="Names that look alike, when there is none.")


class CommandResult(Shown):
    """What became of a comment."""

    trace: str = Field(description="Joins all that comes of it, in timelines and logs.")
    answers: tuple[str, ...] = Field(description="What the bot answered, in order.")
    refused: bool = Field(description="Whether a command in it was not obeyed.")
    settled: bool = Field(description="False: the bot is still at it. The same request again waits on.")
    pull: PullRequest = Field(description="The pull request as it is now.")


class RepositoryResult(Shown):
    """What became of something that was asked of a repository."""

    settled: bool = Field(description="False: the bot is still at it.")
    repository: Repository = Field(description="The repository as it is now.")


class Problem(Shown):
    """Why a request failed (RFC 9457, `application/problem+json`)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What is wrong.")
    cure: str = Field(default="", description="What to do about it.")
    near: tuple[str, ...] = Field(default=(), description="Names that exist.")


class RepositoryHealth(Shown):
    """How a repository's part of the bot is doing."""

    name: str
    looked_at: AwareDatetime | None = Field(
        default=None, description="When this process last read its forge with success."
    )
    events_waiting: int = Field(default=0, description="Events that are not acted on yet.")
    effects_waiting: int = Field(default=0, description="Effects that are not carried out yet.")
    failing: tuple[str, ...] = Field(default=(), description="Effects that keep failing, with their last error.")


class Health(Shown):
    """How the bot is doing."""

    status: Literal["ok", "stuck", "no_database"]
    role: Literal["leader", "standby"]
    database: bool = Field(description="Whether it can be reached.")
    behind_seconds: float = Field(default=0, description="Age of the oldest event that is not acted on yet.")
    repositories: tuple[RepositoryHealth, ...] = Field(default=(), description="For a caller with a token only.")


# Requests


class NewComment(WireModel):
    """A comment, as if written under the pull request."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "607019dc-bbae-40b6-81bf-1195127d9e48",
                "body": "@autogate r+ 0123456789abcdef0123456789abcdef01234567",
            }
        }
    )

    id: uuid.UUID = Field(description="Made by the client: a request that is repeated is one comment.")
    body: str = Field(min_length=1, max_length=MAX_COMMENT_CHARACTERS)


class FreezeRequest(WireModel):
    """Let nothing land on a target, but for the most urgent."""

    model_config = ConfigDict(json_schema_extra={"example": {"target": "main", "priority": 10, "reason": "release"}})

    target: BranchName
    priority: Priority | None = Field(default=None, description="From this priority on they land; null: none.")
    reason: Reason = ""


class ThawRequest(WireModel):
    """End a target's freeze."""

    model_config = ConfigDict(json_schema_extra={"example": {"target": "main"}})

    target: BranchName


class PauseRequest(WireModel):
    """Start nothing new and land nothing."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "the workers move house"}})

    reason: Reason = ""
