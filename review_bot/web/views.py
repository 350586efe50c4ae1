"""What the API shows of a state: pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from autogate import botapi
from review_bot.desk import Trouble
from review_bot.domain.model import (
    Attempt,
    AttemptKind,
    Freeze,
    Pause,
    PullRequest,
    Stage,
    Standing,
    State,
    Verdict,
)
from review_bot.domain.queue import order
from review_bot.domain.waiting import why
from review_bot.store.rows import Happening
from review_bot.timeline import line
from review_bot.wording import sentence


@dataclass(frozen=True)
class Ordering:
    """The open pull requests of a repository in the order in which they are shown.

    Attributes:
        numbers: Target by target: those in the live attempt, the queue, those set aside, those not approved.
        positions: Pull request -> its place in its target's queue, from 1.
        queued: Target -> approved pull requests that wait or are tested.
    """

    numbers: tuple[int, ...]
    positions: dict[int, int]
    queued: dict[str, int]


def ordering(state: State) -> Ordering:
    """Order a repository's open pull requests."""
    rest: dict[str, list[tuple[bool, int]]] = {name: [] for name in state.repository.policy.targets}
    for pull in state.pulls.values():
        if pull.standing is Standing.OPEN:
            rest.setdefault(pull.target, []).append((pull.approval is None, pull.number))
    numbers: dict[int, None] = {}
    positions: dict[int, int] = {}
    queued: dict[str, int] = {}
    for target, others in rest.items():
        live = state.live(AttemptKind.AUTO, target)
        tested = [number for number in live.numbers if _is_open(state, number)] if live else []
        waiting = order(state, target)
        positions.update((number, position) for position, number in enumerate(waiting, 1))
        queued[target] = len(tested) + len(waiting)
        numbers.update(dict.fromkeys((*tested, *waiting)))
        numbers.update((number, None) for _approved, number in sorted(others))
    return Ordering(tuple(numbers), positions, queued)


def queue(
    state: State, ordered: Ordering, troubles: Sequence[Trouble], *, target: str | None, after: str, limit: int
) -> botapi.Queue:
    """Return a page of the queue.

    Args:
        state: The repository.
        ordered: Its `ordering`.
        troubles: What keeps failing.
        target: Only pull requests of this target; all when None.
        after: A page's `next`, or empty for the first page.
        limit: At most so many pull requests.

    Raises:
        ValueError: ``after`` is no page's `next`.
    """
    numbers: Sequence[int] = ordered.numbers
    if target is not None:
        numbers = [number for number in numbers if state.pulls[number].target == target]
    start = _start(numbers, after) if after else 0
    page = numbers[start : start + limit]
    end = start + len(page)
    return botapi.Queue(
        repository=repository(state, ordered),
        tries=tuple(attempt(live) for live in state.attempts.values() if live.kind is AttemptKind.TRY and live.is_live),
        entries=tuple(pull_request(state, state.pulls[number], ordered.positions, troubles) for number in page),
        total=len(numbers),
        next=f"{end - 1}-{page[-1]}" if page and end < len(numbers) else None,
    )


def _start(numbers: Sequence[int], after: str) -> int:
    """Return where the next page begins: behind the last one shown, or in its place when it is gone."""
    place, _, number = after.partition("-")
    last = int(number)
    return numbers.index(last) + 1 if last in numbers else int(place)


def repository(state: State, ordered: Ordering) -> botapi.Repository:
    """Return a repository in short."""
    names = dict.fromkeys((*state.repository.policy.targets, *ordered.queued))
    return botapi.Repository(
        name=state.repository.name,
        pause=_pause(state.repository.pause),
        targets=tuple(_target(state, name, ordered.queued.get(name, 0)) for name in names),
        open=len(ordered.numbers),
    )


def pull_request(
    state: State, pull: PullRequest, positions: dict[int, int], troubles: Sequence[Trouble]
) -> botapi.PullRequest:
    """Return a pull request as the queue shows it."""
    live = state.attempt_of(pull.number)
    position = positions.get(pull.number)
    return botapi.PullRequest(
        number=pull.number,
        title=pull.title,
        author=pull.author,
        target=pull.target,
        head=pull.head,
        source=pull.source,
        topic=topic(pull),
        url=pull.url,
        priority=pull.priority,
        rollup=pull.rollup.value,
        approved_by=pull.approval.reviewer if pull.approval else None,
        approved_at=pull.approval.at if pull.approval else None,
        state=word(pull, live),
        position=position,
        waiting=sentence(why(state, pull, troubles, position=position)),
        attempt=live.id if live else None,
        landed_as=pull.landed_as,
    )


def word(pull: PullRequest, live: Attempt | None) -> botapi.PullState:
    """Return the word for where a pull request is.

    Args:
        pull: The pull request.
        live: The live ``auto`` attempt with it.
    """
    if pull.standing is not Standing.OPEN:
        return "landed" if pull.standing is Standing.LANDED else "closed"
    if pull.approval is None:
        return "open"
    if pull.setback is not None:
        return "aside"
    if live is None:
        return "queued"
    words: dict[Stage, botapi.PullState] = {Stage.PASSED: "passed", Stage.LANDING: "landing"}
    return words.get(live.stage, "testing")


def topic(pull: PullRequest) -> str:
    """Return a pull request's short name."""
    return pull.source.removeprefix(f"refs/for/{pull.target}/")


def is_called(pull: PullRequest, name: str) -> bool:
    """Tell whether ``name`` stands for a pull request: its source, or that without what all have in common."""
    return name in {pull.source, pull.source.removeprefix("refs/for/"), topic(pull)}


def sources(targets: Iterable[str], name: str) -> tuple[str, ...]:
    """Return the sources that ``name`` may stand for."""
    return (name, f"refs/for/{name}", *(f"refs/for/{target}/{name}" for target in targets))


def attempt(shown: Attempt) -> botapi.Attempt:
    """Return an attempt as the API shows it."""
    return botapi.Attempt(
        id=shown.id,
        kind=shown.kind.value,
        target=shown.target,
        stage=shown.stage.value,
        base=shown.base,
        sha=shown.sha,
        members=tuple(
            botapi.Member(number=member.number, title=member.title, head=member.head, reviewer=member.reviewer)
            for member in shown.members
        ),
        builders=tuple(_builder(shown, name) for name in dict.fromkeys((*shown.required, *shown.verdicts))),
        complaint=shown.complaint,
        created_at=shown.created_at,
        ended_at=shown.ended_at,
        reason=shown.outcome.reason if shown.outcome else "",
        detail=shown.outcome.detail if shown.outcome else "",
    )


def timeline(entries: Iterable[Happening]) -> Iterator[botapi.Happening]:
    """Return a timeline as the API shows it; what nobody needs to read is left out."""
    for entry in entries:
        if text := line(entry):
            yield botapi.Happening(id=entry.id, at=entry.event.at, kind=entry.event.kind, text=text, trace=entry.trace)


def verdict(shown: Verdict) -> botapi.Verdict:
    """Return a verdict as the API shows it."""
    return botapi.Verdict(
        builder=shown.builder,
        result=shown.result,
        cause=shown.cause,
        summary=shown.summary,
        url=shown.url,
        findings=shown.findings,
        findings_total=shown.findings_total,
        failed_tests=shown.failed_tests,
        failed_tests_total=shown.failed_tests_total,
        at=shown.at,
    )


def _is_open(state: State, number: int) -> bool:
    pull = state.pulls.get(number)
    return pull is not None and pull.standing is Standing.OPEN


def _builder(shown: Attempt, name: str) -> botapi.Builder:
    given = shown.verdicts.get(name)
    return botapi.Builder(
        name=name,
        result=given.result if given else None,
        url=(given.url if given else "") or shown.builds.get(name, ""),
        summary=given.summary if given else "",
    )


def _target(state: State, name: str, queued: int) -> botapi.Target:
    target = state.target(name)
    live = state.live(AttemptKind.AUTO, name)
    return botapi.Target(
        name=name,
        tip=target.tip,
        freeze=_freeze(target.freeze),
        suspects=target.hunt.numbers if target.hunt else (),
        attempt=attempt(live) if live else None,
        queued=queued,
    )


def _freeze(freeze: Freeze | None) -> botapi.Freeze | None:
    if freeze is None:
        return None
    return botapi.Freeze(priority=freeze.priority, reason=freeze.reason, by=freeze.by, at=freeze.at)


def _pause(pause: Pause | None) -> botapi.Pause | None:
    return botapi.Pause(reason=pause.reason, by=pause.by, at=pause.at) if pause else None
