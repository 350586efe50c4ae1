"""How an attempt begins, goes on and ends."""

from collections.abc import Sequence
from datetime import timedelta

from autogate.contract import Cause, Result

from . import hunt
from .draft import Draft
from .effects import AskBuildbot, CancelBuilds, Finalise, Land, MakeCandidate, PushCandidate, ReadPullRequest
from .events import (
    PASSING,
    BuildbotAnswered,
    BuildStarted,
    CandidateLost,
    CandidateMade,
    CandidatePushed,
    Landed,
    LandingContradicted,
    VerdictReached,
)
from .model import (
    Attempt,
    AttemptKind,
    Conflicted,
    FailedAlone,
    Freeze,
    InfrastructureFailed,
    Member,
    Outcome,
    PullRequest,
    Setback,
    Stage,
    Standing,
    TimedOut,
    TryRequest,
    Verdict,
)
from .queue import Batch, is_admitted, is_valid, next_batch

PATIENT_ASKS = 3
"""So many times in a row Buildbot may know of no request before the build counts as vanished."""

FIRST_ASK_SECONDS = 10
"""So long after a push Buildbot is asked for the first time, should the usual interval be longer."""

LATE_SECONDS = 120
"""So long after an attempt's end Buildbot may begin with it, having heard of the push late."""

_PUSHED = frozenset({Stage.PUSHING, Stage.TESTING, Stage.PASSED})


def advance(draft: Draft) -> None:
    """Land what may land, and begin what may begin."""
    for attempt in list(draft.state.attempts.values()):
        if attempt.stage is Stage.PASSED and may_land(draft, attempt):
            _land(draft, attempt)
    for name in draft.repository.policy.targets:
        target = draft.state.target(name)
        if target.hunt and not is_valid(draft.state, target.hunt) and not draft.state.live(AttemptKind.AUTO, name):
            draft.update_target(name, hunt=None)
        if batch := next_batch(draft.state, name):
            _begin(draft, name, batch)
    _begin_try(draft)


def may_land(draft: Draft, attempt: Attempt) -> bool:
    """Tell whether neither a pause nor a freeze keeps an attempt from landing."""
    pulls = [draft.state.pulls.get(number) for number in attempt.numbers]
    return draft.repository.pause is None and all(pull and is_admitted(draft.state, pull) for pull in pulls)


def made(draft: Draft, event: CandidateMade) -> None:
    """Go on to the push with what could be merged, and set aside what could not."""
    attempt = draft.state.attempts.get(event.attempt)
    if attempt is None or attempt.stage is not Stage.MERGING:
        return
    if attempt.base is None:
        draft.update_target(attempt.target, tip=event.base, read_at=event.at)
    members = {member.number: member for member in attempt.members}
    for number in event.moved:
        if pull := draft.state.pulls.get(number):
            draft.update_pull(pull, stale=True)
            draft.effects.append(ReadPullRequest(number=number))
    if attempt.kind is AttemptKind.AUTO:
        for conflict in event.conflicts:
            if pull := _as_approved(draft, members[conflict.number]):
                if conflict.with_base:
                    draft.update_pull(pull, setback=Conflicted(paths=conflict.paths, base=event.base))
                else:
                    draft.update_pull(pull, waits_for=conflict.with_member)
        for number in event.contained:
            if pull := _as_approved(draft, members[number]):
                draft.end_pull(pull, Standing.LANDED)
                draft.effects.append(_finalise(pull, event.base))
    merged = tuple(
        members[one.number].model_copy(update={"merge": one.merge, "paths": one.paths}) for one in event.merged
    )
    if event.sha is None or not merged:
        paths = ", ".join(path for conflict in event.conflicts for path in conflict.paths[:5])
        reason = "conflict" if event.conflicts else "head_moved" if event.moved else "nothing_to_do"
        end(draft, attempt, Stage.DISCARDED, Outcome(reason=reason, detail=paths))
        return
    draft.update_attempt(attempt, members=merged, base=event.base, sha=event.sha, stage=Stage.PUSHING)
    draft.effects.append(PushCandidate(attempt=attempt.id, to=attempt.kind, sha=event.sha))


def pushed(draft: Draft, event: CandidatePushed) -> None:
    """Begin to wait for verdicts."""
    attempt = draft.state.attempts.get(event.attempt)
    if attempt is None or attempt.stage is not Stage.PUSHING:
        return
    policy = draft.repository.policy
    attempt = draft.update_attempt(
        attempt,
        stage=Stage.TESTING,
        pushed_at=event.at,
        deadline=event.at + timedelta(seconds=policy.timeout),
        # what Buildbot lacks is said early: a builder that it does not have
        ask_at=event.at + timedelta(seconds=min(policy.ask_interval, FIRST_ASK_SECONDS)),
    )
    _judge(draft, attempt)


def lost(draft: Draft, event: CandidateLost) -> None:
    """Make an attempt again of which the merge is lost: that is nobody's fault."""
    attempt = draft.state.attempts.get(event.attempt)
    if attempt is not None and attempt.is_live:
        _infrastructure(draft, attempt, event.detail, "")


def build_started(draft: Draft, event: BuildStarted) -> None:
    """Note where a build can be watched."""
    attempt = _attempt_for(draft, event.revision)
    if attempt is None or event.builder not in attempt.required or event.builder in attempt.verdicts:
        return
    draft.update_attempt(attempt, builds={**attempt.builds, event.builder: event.url}, complaint="")


def verdict_reached(draft: Draft, event: VerdictReached) -> None:
    """Count a verdict, if it is from a required builder and for a live attempt's merge."""
    if attempt := _attempt_for(draft, event.revision):
        _count(draft, attempt, event.verdict)


def buildbot_answered(draft: Draft, event: BuildbotAnswered) -> None:
    """Count verdicts that never arrived; notice builders that are not there, and builds that vanished."""
    attempt = draft.state.attempts.get(event.attempt)
    if attempt is None or attempt.stage is not Stage.TESTING:
        return
    answers = {builder: event.builders[builder] for builder in attempt.missing if builder in event.builders}
    unknown = sorted(builder for builder, answer in answers.items() if answer.status == "unknown_builder")
    vanished = sorted(builder for builder, answer in answers.items() if answer.status == "no_request")
    builds = {builder: answer.url for builder, answer in answers.items() if answer.url}
    attempt = draft.update_attempt(
        attempt,
        ask_at=event.at + timedelta(seconds=draft.repository.policy.ask_interval),
        builds={**attempt.builds, **builds},
        complaint=f"Buildbot has no builder {', '.join(unknown)}" if unknown else "",
        silent_asks=attempt.silent_asks + 1 if vanished else 0,
    )
    for answer in answers.values():
        if answer.verdict is not None:
            _count(draft, draft.state.attempts[attempt.id], answer.verdict)
    attempt = draft.state.attempts[attempt.id]
    if attempt.stage is not Stage.TESTING or not vanished or attempt.sha is None:
        return
    if attempt.silent_asks >= PATIENT_ASKS and _must_be_known(draft, attempt, event):
        _infrastructure(draft, attempt, f"Buildbot knows of no build on {', '.join(vanished)}", vanished[0])
    else:
        # pushing again changes nothing but that Buildbot is poked again
        draft.effects.append(PushCandidate(attempt=attempt.id, to=attempt.kind, sha=attempt.sha))


def _must_be_known(draft: Draft, attempt: Attempt, event: BuildbotAnswered) -> bool:
    """Tell whether Buildbot has seen the commit, or would have by now even if no poke ever reached it."""
    asked = any(answer.status in {"waiting", "running", "finished"} for answer in event.builders.values())
    if asked or attempt.builds or attempt.verdicts or attempt.pushed_at is None:
        return True
    return event.at >= attempt.pushed_at + timedelta(seconds=draft.repository.policy.poll_interval)


def time_passed(draft: Draft) -> None:
    """End what took too long, and ask Buildbot about what is silent."""
    for attempt in list(draft.state.attempts.values()):
        if attempt.stage is not Stage.TESTING or attempt.sha is None:
            continue
        if attempt.deadline is not None and attempt.deadline <= draft.at:
            _time_out(draft, attempt)
        elif attempt.ask_at is not None and attempt.ask_at <= draft.at:
            draft.update_attempt(attempt, ask_at=None, asks=attempt.asks + 1)
            draft.effects.append(
                AskBuildbot(attempt=attempt.id, sha=attempt.sha, builders=attempt.missing, turn=attempt.asks + 1)
            )


def landed(draft: Draft, event: Landed) -> None:
    """Let the members end as landed."""
    attempt = draft.state.attempts.get(event.attempt)
    if attempt is None or attempt.stage is not Stage.LANDING or attempt.sha is None:
        return
    target = draft.state.target(attempt.target)
    search = target.hunt
    if search and set(attempt.numbers) <= set(search.numbers):
        search = hunt.after_landing(search, attempt.numbers)
    draft.update_target(attempt.target, tip=attempt.sha, read_at=event.at, hunt=search)
    for member in attempt.members:
        pull = draft.state.pulls.get(member.number)
        # what was pushed after the landing is a change of its own
        if pull and pull.head == member.head:
            draft.end_pull(pull, Standing.LANDED, member.merge)
            draft.effects.append(_finalise(pull, member.merge or attempt.sha))
    end(draft, attempt, Stage.LANDED, Outcome(reason="landed"))


def contradicted(draft: Draft, event: LandingContradicted) -> None:
    """Freeze a target of which nobody knows what it holds."""
    attempt = draft.state.attempts.get(event.attempt)
    if attempt is None or attempt.stage is not Stage.LANDING:
        return
    reason = f"{attempt.sha} was pushed and accepted, yet {attempt.target} is at {event.tip or 'nothing'}"
    freeze = Freeze(reason=reason, by=draft.repository.policy.bot, at=event.at)
    draft.update_target(attempt.target, tip=event.tip, read_at=event.at, freeze=freeze)
    end(draft, attempt, Stage.DISCARDED, Outcome(reason="contradicted", detail=reason))


def discard(draft: Draft, attempt: Attempt, reason: str, detail: str = "") -> None:
    """End an attempt that is no longer wanted. One that is landing goes on: only the push itself knows how it ends."""
    if attempt.is_live and attempt.stage is not Stage.LANDING:
        end(draft, attempt, Stage.DISCARDED, Outcome(reason=reason, detail=detail))


def discard_with(draft: Draft, number: int, reason: str, kinds: Sequence[AttemptKind] = tuple(AttemptKind)) -> None:
    """End the attempts with a pull request."""
    for kind in kinds:
        if attempt := draft.state.attempt_of(number, kind):
            discard(draft, attempt, reason, f"#{number}")


def end(draft: Draft, attempt: Attempt, stage: Stage, outcome: Outcome) -> None:
    """Let an attempt end."""
    running = attempt.stage in _PUSHED and attempt.missing
    draft.has_ended = True
    draft.update_attempt(
        attempt, stage=stage, outcome=outcome, ended_at=draft.at, deadline=None, ask_at=None, complaint=""
    )
    if running and attempt.sha is not None:
        draft.effects.append(
            CancelBuilds(
                attempt=attempt.id,
                sha=attempt.sha,
                builders=attempt.missing,
                until=draft.at + timedelta(seconds=LATE_SECONDS),
            )
        )
    for pull in list(draft.state.pulls.values()):
        if pull.waits_for is not None and pull.waits_for in attempt.numbers:
            draft.update_pull(pull, waits_for=None)


def ask_for_try(draft: Draft, request: TryRequest, *, first: bool = False) -> None:
    """Add a try build to those that wait."""
    waiting = draft.repository.tries
    draft.update_repository(tries=(request, *waiting) if first else (*waiting, request))


def try_again(draft: Draft, attempt: Attempt, tries: int) -> None:
    """Put a try attempt that ended before all others that wait, on the same base where it was to explain a failure."""
    [member] = attempt.members
    request = TryRequest(
        member=member,
        target=attempt.target,
        at=draft.at,
        base=attempt.base if attempt.diagnosis_of is not None else None,
        diagnosis_of=attempt.diagnosis_of,
        tries=tries,
    )
    ask_for_try(draft, request, first=True)


def _begin(draft: Draft, target: str, batch: Batch) -> None:
    members = tuple(
        Member(
            number=pull.number,
            head=pull.approval.head,
            title=pull.title,
            reviewer=pull.approval.reviewer,
            trace=pull.approval.trace,
        )
        for pull in batch.pulls
        if pull.approval is not None
    )
    draft.update_target(target, again=None)
    attempt = _new(draft, AttemptKind.AUTO, target, members, tries=batch.tries)
    for pull in batch.pulls:
        draft.update_pull(pull, last_attempt=attempt.id)


def _begin_try(draft: Draft) -> None:
    if draft.repository.pause or draft.state.live(AttemptKind.TRY) or not draft.repository.tries:
        return
    request, *others = draft.repository.tries
    draft.update_repository(tries=tuple(others))
    attempt = _new(
        draft,
        AttemptKind.TRY,
        request.target,
        (request.member,),
        tries=request.tries,
        base=request.base,
        diagnosis_of=request.diagnosis_of,
    )
    pull = draft.state.pulls.get(request.member.number)
    if pull and request.diagnosis_of is None:
        draft.update_pull(pull, last_try=attempt.id)


def _new(
    draft: Draft,
    kind: AttemptKind,
    target: str,
    members: tuple[Member, ...],
    *,
    tries: int,
    base: str | None = None,
    diagnosis_of: int | None = None,
) -> Attempt:
    attempt = Attempt(
        id=draft.repository.next_attempt,
        kind=kind,
        target=target,
        members=members,
        created_at=draft.at,
        base=base,
        required=draft.repository.policy.required_builders,
        tries=tries,
        diagnosis_of=diagnosis_of,
    )
    draft.update_repository(next_attempt=attempt.id + 1)
    draft.state = draft.state.with_attempt(attempt)
    draft.changed.update(dict.fromkeys(attempt.numbers))
    draft.effects.append(
        MakeCandidate(attempt=attempt.id, to=attempt.kind, on=target, base=base, members=members, at=draft.at)
    )
    return attempt


def _land(draft: Draft, attempt: Attempt) -> None:
    if attempt.base is None or attempt.sha is None:
        return
    draft.update_attempt(attempt, stage=Stage.LANDING)
    draft.effects.append(
        Land(
            attempt=attempt.id,
            target=attempt.target,
            base=attempt.base,
            sha=attempt.sha,
            members=attempt.members,
        )
    )


def _attempt_for(draft: Draft, revision: str) -> Attempt | None:
    for attempt in draft.state.attempts.values():
        if attempt.sha == revision and attempt.stage in _PUSHED:
            return attempt
    return None


def _count(draft: Draft, attempt: Attempt, verdict: Verdict) -> None:
    if attempt.stage not in _PUSHED or verdict.builder not in attempt.required or verdict.result is Result.RETRY:
        return
    before = attempt.verdicts.get(verdict.builder)
    # a builder that passed may be built again by hand: only a worse result counts then
    if before is not None and (verdict.result in PASSING or before.result not in PASSING):
        return
    attempt = draft.update_attempt(attempt, verdicts={**attempt.verdicts, verdict.builder: verdict})
    _judge(draft, attempt)


def _judge(draft: Draft, attempt: Attempt) -> None:
    against = [verdict for verdict in attempt.verdicts.values() if verdict.result not in PASSING]
    if blamed := next((verdict for verdict in against if is_blamed_on_the_change(verdict)), None):
        _fail(draft, attempt, blamed)
    elif against:
        _infrastructure(draft, attempt, against[0].summary or f"{against[0].result}", against[0].builder)
    elif not attempt.missing and attempt.stage is Stage.TESTING:
        if attempt.kind is AttemptKind.TRY:
            _explain(draft, attempt, passes=True)
            end(draft, attempt, Stage.GREEN, Outcome(reason="passed"))
        else:
            draft.update_attempt(attempt, stage=Stage.PASSED, deadline=None, ask_at=None)


def is_blamed_on_the_change(verdict: Verdict) -> bool:
    """Tell whether a result that is no pass is the change's own fault.

    A request that was cancelled or skipped while its attempt lives was not looked at: nobody's fault.
    """
    return verdict.result is Result.FAILURE and verdict.cause in {None, Cause.CHANGE}


def _fail(draft: Draft, attempt: Attempt, verdict: Verdict) -> None:
    outcome = Outcome(reason="failed", detail=verdict.summary, builder=verdict.builder)
    alone = FailedAlone(attempt=attempt.id, builder=verdict.builder, summary=verdict.summary)
    _against_the_members(draft, attempt, verdict, outcome, alone)


def _time_out(draft: Draft, attempt: Attempt) -> None:
    outcome = Outcome(reason="timed_out", detail=", ".join(attempt.missing))
    _against_the_members(draft, attempt, None, outcome, TimedOut(attempt=attempt.id, missing=attempt.missing))


def _against_the_members(
    draft: Draft, attempt: Attempt, verdict: Verdict | None, outcome: Outcome, alone: FailedAlone | TimedOut
) -> None:
    end(draft, attempt, Stage.FAILED, outcome)
    if attempt.kind is AttemptKind.TRY:
        _explain(draft, attempt, passes=False)
        return
    before = draft.state.target(attempt.target).hunt
    if len(attempt.members) > 1:
        draft.update_target(attempt.target, hunt=hunt.begin(attempt, verdict, before))
        return
    [member] = attempt.members
    search = before if before and member.number in before.numbers else None
    if search:
        draft.update_target(attempt.target, hunt=None)
    if search and search.landed and isinstance(alone, FailedAlone):
        alone = alone.model_copy(update={"landed_before": search.landed})
        request = TryRequest(
            member=member, target=attempt.target, at=draft.at, base=search.base, diagnosis_of=attempt.id
        )
        ask_for_try(draft, request)
    _set_aside(draft, attempt, alone)


def _infrastructure(draft: Draft, attempt: Attempt, summary: str, builder: str) -> None:
    outcome = Outcome(reason="infrastructure", detail=summary, builder=builder)
    end(draft, attempt, Stage.FAILED, outcome)
    again = attempt.tries < draft.repository.policy.infrastructure_retries
    if attempt.kind is AttemptKind.TRY:
        if again:
            try_again(draft, attempt, attempt.tries + 1)
    elif again:
        draft.update_target(attempt.target, again=(attempt.numbers, attempt.tries + 1))
    else:
        _set_aside(draft, attempt, InfrastructureFailed(attempt=attempt.id, summary=summary))


def _set_aside(draft: Draft, attempt: Attempt, setback: Setback) -> None:
    for member in attempt.members:
        if pull := _as_approved(draft, member):
            draft.update_pull(pull, setback=setback)


def _explain(draft: Draft, attempt: Attempt, *, passes: bool) -> None:
    if attempt.diagnosis_of is None:
        return
    pull = draft.state.pulls.get(attempt.members[0].number)
    if pull and isinstance(pull.setback, FailedAlone) and pull.setback.attempt == attempt.diagnosis_of:
        draft.update_pull(pull, setback=pull.setback.model_copy(update={"passes_without_them": passes}))


def _as_approved(draft: Draft, member: Member) -> PullRequest | None:
    """Return a member's pull request, if it is still what was approved."""
    pull = draft.state.pulls.get(member.number)
    return pull if pull and pull.approval and pull.approval.head == member.head else None


def _finalise(pull: PullRequest, landed_as: str) -> Finalise:
    return Finalise(number=pull.number, source=pull.source, head=pull.head, landed_as=landed_as)
