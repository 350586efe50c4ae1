"""What commands do, and who may give them."""

from collections.abc import Callable
from dataclasses import dataclass

from autogate.gitwords import is_sha

from .answers import Done, Help, Pong, Refused, Unknown
from .attempts import ask_for_try, discard, discard_with
from .commands import (
    Approve,
    Cancel,
    CloseTree,
    Command,
    Delegate,
    DelegateAuthor,
    HelpAsked,
    OpenTree,
    Ping,
    Retry,
    SetPriority,
    SetRollup,
    StopTry,
    Try,
    Unapprove,
    Undelegate,
    Unintelligible,
    parse,
)
from .draft import Draft
from .effects import ReadComment
from .events import Comment, CommentHinted, CommentRead, FreezeAsked, PauseAsked
from .model import Approval, AttemptKind, Freeze, Member, Pause, PullRequest, Stage, Stopped, TryRequest
from .pulls import close, seen


@dataclass(frozen=True)
class Rights:
    """What an author may do under one pull request.

    Attributes:
        review: May approve as a reviewer of the repository.
        approve: May approve this pull request.
        order: May start tries, retry, cancel and set priorities.
        own: Wrote the pull request.
    """

    review: bool
    approve: bool
    order: bool
    own: bool


def hinted(draft: Draft, event: CommentHinted) -> None:
    """Have a comment read again, if it commands anything."""
    if _commands(draft, event.comment):
        draft.effects.append(ReadComment(comment=event.comment))


def read(draft: Draft, event: CommentRead) -> None:
    """Obey a comment."""
    comment = event.comment
    before = draft.state.pulls.get(comment.number)
    pull = seen(draft, event.snapshot) if event.snapshot else None
    if event.snapshot is None and before:
        close(draft, before)
    commands = _commands(draft, comment)
    if not commands:
        return
    if pull is None:
        draft.reply(comment, comment.number, Refused(command=comment.body.strip()[:80], reason="closed"))
        return
    orders = _Orders(draft, event, pull.number, rights(draft, event, pull))
    for command in commands:
        orders.obey(command)


def freeze_asked(draft: Draft, event: FreezeAsked) -> None:
    """Freeze or thaw a target, if a reviewer asks."""
    policy = draft.repository.policy
    if event.by in policy.reviewers and event.target in policy.targets:
        _freeze(draft, event.target, event.by, thaw=event.thaw, priority=event.priority, reason=event.reason)


def pause_asked(draft: Draft, event: PauseAsked) -> None:
    """Pause or resume the repository, if a reviewer asks."""
    if event.by in draft.repository.policy.reviewers:
        pause = None if event.resume else Pause(reason=event.reason, by=event.by, at=draft.at)
        draft.update_repository(pause=pause)


def rights(draft: Draft, event: CommentRead, pull: PullRequest) -> Rights:
    """Return what a comment's author may do under a pull request."""
    policy, author = draft.repository.policy, event.comment.author
    review = author in policy.reviewers or event.may_write
    approve = review or author in pull.delegates
    return Rights(
        review=review,
        approve=approve,
        order=approve or author in policy.try_users,
        own=pull.author_is_login and author == pull.author,
    )


def _commands(draft: Draft, comment: Comment) -> tuple[Command, ...]:
    bot = draft.repository.policy.bot
    if not comment.is_new or comment.author.casefold() == bot.casefold():
        return ()
    return parse(comment.body, bot)


def _freeze(draft: Draft, target: str, by: str, *, thaw: bool, priority: int | None = None, reason: str = "") -> None:
    freeze = None if thaw else Freeze(priority=priority, reason=reason, by=by, at=draft.at)
    draft.update_target(target, freeze=freeze)
    waiting = [pull.number for pull in draft.state.pulls.values() if pull.target == target and pull.approval]
    draft.changed.update(dict.fromkeys(waiting))


class _Orders:
    """The commands of one comment under one pull request."""

    def __init__(self, draft: Draft, event: CommentRead, number: int, rights: Rights) -> None:
        self._draft = draft
        self._comment = event.comment
        self._number = number
        self._rights = rights
        self._refused = False

    @property
    def _pull(self) -> PullRequest:
        return self._draft.state.pulls[self._number]

    def obey(self, command: Command) -> None:  # noqa: PLR0912  (one arm a command)
        match command:
            case Approve():
                self._if(self._rights.approve, "r+", lambda: self._approve(command))
            case Unapprove():
                approval = self._pull.approval
                mine = approval is not None and self._comment.author in {approval.by, approval.reviewer}
                self._if(self._rights.approve or self._rights.own or mine, "r-", self._unapprove)
            case SetPriority(value=value):
                self._if(self._rights.order, "p", lambda: self._set("p", str(value), priority=value))
            case SetRollup(value=value):
                self._if(self._rights.order, "rollup", lambda: self._set("rollup", value, rollup=value))
            case Try():
                self._if(self._rights.order, "try", self._try)
            case StopTry():
                self._if(self._rights.order, "try-", self._stop_try)
            case Retry():
                self._if(self._rights.order, "retry", self._retry)
            case Cancel():
                self._if(self._rights.order, "cancel", self._cancel)
            case Delegate(to=name):
                self._if(self._rights.review, "delegate", lambda: self._delegate(name))
            case DelegateAuthor():
                self._if(self._rights.review, "delegate+", self._delegate_author)
            case Undelegate():
                self._if(self._rights.review, "delegate-", self._undelegate)
            case CloseTree(priority=priority, reason=reason):
                self._if(self._rights.review, "treeclosed", lambda: self._close_tree(priority, reason))
            case OpenTree():
                self._if(self._rights.review, "treeclosed-", self._open_tree)
            case Ping():
                self._answer(Pong())
            case HelpAsked():
                self._answer(Help())
            case Unintelligible(word=word, instead=instead):
                self._answer(Unknown(word=word, instead=instead))

    def _if(self, permitted: bool, command: str, act: Callable[[], None]) -> None:  # noqa: FBT001  (reads as called)
        if permitted:
            act()
        elif not self._refused:
            # one answer is enough for a comment full of what its author may not do
            self._refused = True
            self._refuse(command, "not_permitted", self._comment.author)

    def _approve(self, command: Approve) -> None:
        draft, pull, author = self._draft, self._pull, self._comment.author
        name = "r+" if command.reviewer is None else "r="
        if pull.target not in draft.repository.policy.targets:
            self._refuse(name, "unknown_target", pull.target)
        elif command.sha is not None and not is_sha(command.sha):
            self._refuse(name, "short_sha", pull.head)
        elif command.sha is not None and command.sha != pull.head:
            self._refuse(name, "wrong_sha", pull.head)
        elif command.sha is None and pull.head_since > self._comment.written_at:
            self._refuse(name, "head_moved", pull.head)
        elif pull.withdrawn_at is not None and pull.withdrawn_at > self._comment.written_at:
            self._refuse(name, "withdrawn")
        else:
            reviewer = author if command.reviewer in {None, "me"} else command.reviewer
            approval = Approval(
                head=pull.head,
                reviewer=reviewer or author,
                by=author,
                at=draft.at,
                trace=draft.trace,
                as_delegate=not self._rights.review,
            )
            draft.update_pull(pull, approval=approval, setback=None)
            self._done(name, pull.head)

    def _unapprove(self) -> None:
        # comments may arrive in another order than they were written in
        last = max(self._pull.withdrawn_at or self._comment.written_at, self._comment.written_at)
        self._draft.update_pull(self._pull, withdrawn_at=last)
        if self._pull.approval is None:
            self._refuse("r-", "not_approved")
            return
        self._withdraw()
        self._done("r-")

    def _withdraw(self) -> None:
        self._draft.update_pull(self._pull, approval=None, setback=None, waits_for=None)
        discard_with(self._draft, self._number, "withdrawn", [AttemptKind.AUTO])

    def _set(self, command: str, detail: str, **fields: object) -> None:
        self._draft.update_pull(self._pull, **fields)
        self._done(command, detail)

    def _try(self) -> None:
        draft, pull = self._draft, self._pull
        if pull.target not in draft.repository.policy.targets:
            self._refuse("try", "unknown_target", pull.target)
            return
        live = draft.state.attempt_of(pull.number, AttemptKind.TRY)
        waiting = [request.member.number for request in draft.repository.tries if request.diagnosis_of is None]
        if not (live and live.diagnosis_of is None) and pull.number not in waiting:
            member = Member(
                number=pull.number,
                head=pull.head,
                title=pull.title,
                reviewer=self._comment.author,
                trace=draft.trace,
            )
            ask_for_try(draft, TryRequest(member=member, target=pull.target, at=draft.at))
        self._done("try", pull.head)

    def _stop_try(self) -> None:
        if self._drop_tries("cancelled"):
            self._done("try-")
        else:
            self._refuse("try-", "no_try")

    def _drop_tries(self, reason: str) -> bool:
        draft = self._draft
        kept = tuple(request for request in draft.repository.tries if request.member.number != self._number)
        live = draft.state.attempt_of(self._number, AttemptKind.TRY)
        if live is None and len(kept) == len(draft.repository.tries):
            return False
        draft.update_repository(tries=kept)
        if live:
            discard(draft, live, reason, self._comment.author)
        return True

    def _retry(self) -> None:
        draft, pull = self._draft, self._pull
        if pull.setback is not None:
            draft.update_pull(pull, setback=None)
            self._done("retry")
        elif pull.approval is None and pull.last_try is not None:
            self._try()
        else:
            self._refuse("retry", "nothing_to_retry")

    def _cancel(self) -> None:
        draft, pull = self._draft, self._pull
        attempt = draft.state.attempt_of(pull.number)
        if attempt and attempt.stage is Stage.LANDING:
            self._refuse("cancel", "landing")
            return
        tries = self._drop_tries("cancelled")
        if pull.approval is not None and pull.setback is None:
            draft.update_pull(self._pull, setback=Stopped(by=self._comment.author), waits_for=None)
            discard_with(draft, pull.number, "cancelled", [AttemptKind.AUTO])
        elif not tries:
            self._refuse("cancel", "nothing_to_cancel")
            return
        self._done("cancel")

    def _delegate(self, name: str) -> None:
        self._draft.update_pull(self._pull, delegates=self._pull.delegates | {name})
        self._done("delegate", name)

    def _delegate_author(self) -> None:
        if self._pull.author_is_login:
            self._delegate(self._pull.author)
        else:
            self._refuse("delegate+", "no_author", self._pull.author)

    def _undelegate(self) -> None:
        approval = self._pull.approval
        self._draft.update_pull(self._pull, delegates=frozenset())
        if approval and approval.as_delegate:
            self._withdraw()
        self._done("delegate-")

    def _close_tree(self, priority: int, reason: str) -> None:
        _freeze(self._draft, self._pull.target, self._comment.author, thaw=False, priority=priority, reason=reason)
        self._done("treeclosed", str(priority))

    def _open_tree(self) -> None:
        _freeze(self._draft, self._pull.target, self._comment.author, thaw=True)
        self._done("treeclosed-")

    def _done(self, command: str, detail: str = "") -> None:
        self._answer(Done(command=command, detail=detail))

    def _refuse(self, command: str, reason: str, detail: str = "") -> None:
        self._answer(Refused(command=command, reason=reason, detail=detail))

    def _answer(self, answer: Done | Refused | Unknown | Pong | Help) -> None:
        self._draft.reply(self._comment, self._number, answer)
