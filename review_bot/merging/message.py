"""What a merge commit says."""

import re
import unicodedata

from autogate.names import BASE_TRAILER
from review_bot.domain.effects import MakeCandidate
from review_bot.domain.model import AttemptKind, Member

ATTEMPT_TRAILER = "Autogate-Attempt"
APPROVAL_TRAILER = "Approved-by"
TRIAL_TRAILER = "Tried-by"

LONGEST_TITLE = 200
LONGEST_NAME = 100

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They change the order in which text is shown (UAX #9), so that it reads as something else than it says."""


def merge_message(effect: MakeCandidate, member: Member, base: str) -> str:
    """Return the message of the merge that brings ``member`` in.

    The trailers stand in the last paragraph, the only one where they count (git-interpret-trailers(1)), and nothing
    that others wrote stands there but on the one line of the approval.

    Args:
        effect: The attempt.
        member: Whose title and reviewer are named.
        base: The commit that the attempt's first merge is made onto. It is on every merge, so that a build of any of
            them finds where the attempt begins.
    """
    title = one_line(member.title, LONGEST_TITLE)
    subject = f"Merge #{member.number}" + (f": {title}" if title else "")
    trailers = [f"{BASE_TRAILER}: {base}", f"{ATTEMPT_TRAILER}: {effect.attempt}"]
    if reviewer := one_line(member.reviewer, LONGEST_NAME):
        name = APPROVAL_TRAILER if effect.to is AttemptKind.AUTO else TRIAL_TRAILER
        trailers.append(f"{name}: {reviewer}")
    return "\n\n".join([subject, f"{member.head} onto {effect.on}.", "\n".join(trailers)]) + "\n"


def one_line(text: str, longest: int) -> str:
    """Return ``text`` on one line, without control characters and what reorders text, of ``longest`` characters."""
    spaced = re.sub(r"\s+", " ", text)
    kept = "".join(
        character
        for character in spaced
        if unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"} and character not in _DIRECTIONS
    ).strip()
    return kept if len(kept) <= longest else kept[: longest - 1].rstrip() + "…"
