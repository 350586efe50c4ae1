"""What comes of trying to land."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Landed:
    """The target's first-parent history holds the merge, as read back."""


@dataclass(frozen=True)
class Refused:
    """Nothing was moved, since the target is not at the attempt's base; ``tip`` is None when the branch is gone."""

    tip: str | None


@dataclass(frozen=True)
class HeadMoved:
    """Nothing was moved, since a ref that was to be deleted is not what was approved any more."""

    ref: str


@dataclass(frozen=True)
class Contradicted:
    """The push was accepted, yet the target reads otherwise."""

    tip: str | None


@dataclass(frozen=True)
class Withheld:
    """Nothing was moved, since the caller did not want it any more."""


LandingResult = Landed | Refused | HeadMoved | Contradicted | Withheld
