"""Which pull requests are tested next."""

from dataclasses import dataclass

from . import hunt
from .model import AttemptKind, Hunt, PullRequest, Rollup, State


@dataclass(frozen=True)
class Batch:
    """What the next attempt of a target is made of.

    Attributes:
        pulls: In the order of merging.
        tries: So many attempts with exactly these failed before, for no fault of theirs.
    """

    pulls: tuple[PullRequest, ...]
    tries: int = 0


def order(state: State, target: str) -> list[int]:
    """Return the approved pull requests of a target that wait for an attempt, the next one first.

    What is tested again or searched for culprits goes before the others; these go by priority, then by the time of
    their approval, then by number.
    """
    live = state.live(AttemptKind.AUTO, target)
    busy = set(live.numbers) if live else set()
    branch = state.target(target)
    first = (*(branch.again[0] if branch.again else ()), *(branch.hunt.numbers if branch.hunt else ()))
    urgent = {number: position for position, number in reversed(list(enumerate(first)))}
    waiting = [
        (urgent.get(pull.number, len(first)), -pull.priority, pull.approval.at, pull.number)
        for pull in state.pulls.values()
        if pull.approval is not None and pull.is_ready and pull.target == target and pull.number not in busy
    ]
    return [number for *_key, number in sorted(waiting)]


def is_admitted(state: State, pull: PullRequest) -> bool:
    """Tell whether its target's freeze lets a pull request through."""
    freeze = state.target(pull.target).freeze
    return freeze is None or (freeze.priority is not None and pull.priority >= freeze.priority)


def next_batch(state: State, target: str) -> Batch | None:
    """Return what is to be tested next on a target; None when nothing is, or not now."""
    policy, branch = state.repository.policy, state.target(target)
    is_missing = branch.read_at is not None and branch.tip is None
    if state.repository.pause or target not in policy.targets or is_missing or state.live(AttemptKind.AUTO, target):
        return None
    ready = (state.pulls[number] for number in order(state, target))
    admitted = {pull.number: pull for pull in ready if is_admitted(state, pull)}
    if branch.again and admitted.keys() >= set(branch.again[0]):
        numbers, tries = branch.again
        return Batch(tuple(admitted[number] for number in numbers), tries)
    if branch.hunt and is_valid(state, branch.hunt) and admitted.keys() >= set(branch.hunt.numbers):
        return Batch(tuple(admitted[number] for number in hunt.first(branch.hunt)))
    return _fresh_batch(list(admitted.values()), policy.batch_max)


def is_valid(state: State, search: Hunt) -> bool:
    """Tell whether every suspect is still what failed: else nobody knows whether the culprit is among them."""
    for number, head in search.suspects:
        pull = state.pulls.get(number)
        if pull is None or pull.head != head or not pull.is_ready:
            return False
    return True


def _fresh_batch(pulls: list[PullRequest], most: int) -> Batch | None:
    if not pulls:
        return None
    if pulls[0].rollup is Rollup.NEVER:
        return Batch((pulls[0],))
    shared = [pull for pull in pulls if pull.rollup is not Rollup.NEVER]
    return Batch(tuple(shared[:most]))
