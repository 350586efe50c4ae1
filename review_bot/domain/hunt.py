"""The search for the culprits of a failed batch.

A batch that failed holds a culprit. Part of it is tested: the members that the verdict does not point at, or else one
half. What passes lands, and then the culprit is known to be in the rest, with no test of that; what fails holds a
culprit itself, and the rest goes back to the queue, cleared of suspicion. Nobody is ejected but after failing alone.
(Plain halving, bors-ng's way, tests both halves each time, and knows nothing of what the verdict says.)
"""

from collections.abc import Iterable

from .model import Attempt, Hunt, Member, Verdict


def begin(attempt: Attempt, verdict: Verdict | None, before: Hunt | None) -> Hunt:
    """Return the search among an attempt's members.

    Args:
        attempt: A failed batch.
        verdict: What it failed by; None when it gave none in time.
        before: The search that the attempt was part of, if any.
    """
    part = before is not None and set(attempt.numbers) <= set(before.numbers)
    return Hunt(
        suspects=tuple((member.number, member.head) for member in attempt.members),
        accused=accused(attempt.members, verdict) if verdict else frozenset(),
        landed=before.landed if before and part else (),
        base=before.base if before and part else attempt.base or "",
    )


def first(hunt: Hunt) -> tuple[int, ...]:
    """Return the suspects to be tested next: all but the accused, or the first half."""
    numbers = hunt.numbers
    others = tuple(number for number in numbers if number not in hunt.accused)
    if 0 < len(others) < len(numbers):
        return others
    return numbers[: max(1, len(numbers) // 2)]


def after_landing(hunt: Hunt, landed: Iterable[int]) -> Hunt | None:
    """Return the search after some suspects have landed: the culprit is among the others; None when none are left."""
    gone = set(landed)
    suspects = tuple(suspect for suspect in hunt.suspects if suspect[0] not in gone)
    if not suspects:
        return None
    cleared = tuple(number for number in hunt.numbers if number in gone)
    return hunt.model_copy(
        update={"suspects": suspects, "accused": hunt.accused - gone, "landed": (*hunt.landed, *cleared)}
    )


def accused(members: Iterable[Member], verdict: Verdict) -> frozenset[int]:
    """Return the members that changed a file which a finding or a failing test names."""
    named = {finding.path for finding in verdict.findings} | {test.path for test in verdict.failed_tests}
    excerpts = "\n".join(test.excerpt for test in verdict.failed_tests)
    return frozenset(
        member.number for member in members if any(path in named or path in excerpts for path in member.paths)
    )
