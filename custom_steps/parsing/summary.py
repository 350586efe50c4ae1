"""What a run of tests came to."""

from dataclasses import dataclass, field
from typing import Any

MAX_KEPT = 200
MAX_EXCERPT = 4000


@dataclass
class Summary:
    """The counts, and the failing tests.

    Attributes:
        total: How many tests there were; None when the run did not get to say.
        skipped: How many of them were skipped.
        failed_total: How many failed.
        failed: The first `MAX_KEPT` that failed: ``name``, ``path``, ``line``, ``excerpt``.
    """

    total: int | None = None
    skipped: int = 0
    failed_total: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
