"""What a pull request's or a target's reading means."""

from .attempts import discard, discard_with, end, try_again
from .draft import Draft
from .events import Configured, LandingRefused, PullRequestGone, Snapshot, TargetSeen
from .model import AttemptKind, Outcome, PullRequest, Stage, Standing


def configured(draft: Draft, event: Configured) -> None:
    """Take the new configuration into account, also for what is under way."""
    before = draft.repository.policy
    draft.update_repository(policy=event.policy)
    draft.changed.update(dict.fromkeys(draft.state.pulls) if before.bot != event.policy.bot else {})
    for attempt in list(draft.state.attempts.values()):
        if attempt.target not in event.policy.targets:
            discard(draft, attempt, "retargeted", f"{attempt.target} is no target any more")
        elif set(attempt.required) != set(event.policy.required_builders):
            gone = sorted(set(attempt.required) - set(event.policy.required_builders))
            new = sorted(set(event.policy.required_builders) - set(attempt.required))
            said = [f"{builder} is no longer required" for builder in gone] + [f"{builder} is new" for builder in new]
            discard(draft, attempt, "builders_changed", "; ".join(said))
            if attempt.kind is AttemptKind.TRY and not draft.state.attempts[attempt.id].is_live:
                try_again(draft, attempt, attempt.tries)


def seen(draft: Draft, snapshot: Snapshot) -> PullRequest | None:
    """Take in what a forge shows of a pull request; return it, None when it is not open."""
    pull = find(draft, snapshot)
    if pull is None:
        return _open(draft, snapshot) if snapshot.is_open and not _ended_since(draft, snapshot) else None
    if snapshot.read_at < pull.read_at:
        return pull
    if not snapshot.is_open:
        close(draft, pull)
        return None
    fields = {
        "source": snapshot.source,
        "target": snapshot.target,
        "title": snapshot.title,
        "author": snapshot.author,
        "author_is_login": snapshot.author_is_login,
        "url": snapshot.url,
        "read_at": snapshot.read_at,
        "stale": False,
    }
    reason = ""
    if snapshot.head != pull.head:
        since = max(snapshot.head_since or snapshot.read_at, pull.head_since)
        fields |= {"head": snapshot.head, "head_since": since}
        reason = "head_moved"
    elif snapshot.target != pull.target:
        reason = "retargeted"
    if reason:
        fields |= {"approval": None, "setback": None, "waits_for": None}
        discard_with(draft, pull.number, reason)
        _drop_tries(draft, pull.number)
    return draft.update_pull(draft.state.pulls[pull.number], **fields)


def gone(draft: Draft, event: PullRequestGone) -> None:
    """Close a pull request that is no longer there."""
    pull = draft.state.pulls.get(event.number)
    if pull and event.read_at >= pull.read_at:
        close(draft, pull)


def close(draft: Draft, pull: PullRequest) -> None:
    """Let a pull request end without landing, unless it is just landing: that removes it from some forges too."""
    landing = draft.state.attempt_of(pull.number)
    if landing and landing.stage is Stage.LANDING:
        return
    discard_with(draft, pull.number, "closed")
    draft.end_pull(draft.state.pulls[pull.number], Standing.CLOSED)


def target_seen(draft: Draft, event: TargetSeen) -> None:
    """Discard what was built on another tip."""
    target = draft.state.target(event.target)
    if target.read_at is not None and event.read_at < target.read_at:
        return
    draft.update_target(event.target, tip=event.tip, read_at=event.read_at)
    attempt = draft.state.live(AttemptKind.AUTO, event.target)
    if attempt and attempt.base is not None and event.tip not in {attempt.base, attempt.sha}:
        discard(draft, attempt, "base_moved", event.tip or "")


def landing_refused(draft: Draft, event: LandingRefused) -> None:
    """End an attempt that did not land, for the reason that the repository gave."""
    attempt = draft.state.attempts.get(event.attempt)
    if attempt is None or attempt.stage is not Stage.LANDING:
        return
    if event.base_moved:
        draft.update_target(attempt.target, tip=event.tip, read_at=event.at)
        end(draft, attempt, Stage.DISCARDED, Outcome(reason="base_moved", detail=event.tip or ""))
        return
    moved = bool(event.snapshots or event.gone)
    end(draft, attempt, Stage.DISCARDED, Outcome(reason="head_moved" if moved else "withdrawn"))
    for snapshot in event.snapshots:
        seen(draft, snapshot)
    for number in event.gone:
        if pull := draft.state.pulls.get(number):
            close(draft, pull)


def find(draft: Draft, snapshot: Snapshot) -> PullRequest | None:
    """Return the open pull request that a snapshot shows."""
    if snapshot.number is not None:
        return draft.state.pulls.get(snapshot.number)
    return next((pull for pull in draft.state.pulls.values() if pull.source == snapshot.source), None)


def _open(draft: Draft, snapshot: Snapshot) -> PullRequest:
    number = snapshot.number
    if number is None:
        number = draft.repository.next_number
        draft.update_repository(next_number=number + 1)
    pull = PullRequest(
        number=number,
        source=snapshot.source,
        target=snapshot.target,
        head=snapshot.head,
        head_since=snapshot.head_since or snapshot.read_at,
        title=snapshot.title,
        author=snapshot.author,
        author_is_login=snapshot.author_is_login,
        url=snapshot.url,
        read_at=snapshot.read_at,
        opened_at=draft.at,
    )
    return draft.update_pull(pull)


def _ended_since(draft: Draft, snapshot: Snapshot) -> bool:
    return any(
        ended.at >= snapshot.read_at
        and (ended.number == snapshot.number if snapshot.number is not None else ended.source == snapshot.source)
        for ended in draft.repository.ended
    )


def _drop_tries(draft: Draft, number: int) -> None:
    kept = tuple(request for request in draft.repository.tries if request.member.number != number)
    if len(kept) != len(draft.repository.tries):
        draft.update_repository(tries=kept)
