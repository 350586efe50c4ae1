"""Every name that two parts of Autogate must agree on, derived from a repository's name in one place."""

import re
from enum import StrEnum

REPOSITORY_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
"""Buildbot's identifiers, in lower case (an ssh alias has no case) and short enough for every derived name."""

BASE_TRAILER = "Autogate-Base"
"""The trailer of an attempt's merge commits that names the target's tip that the first of them was made onto."""


class Kind(StrEnum):
    """What a builder does."""

    LINT = "lint"
    TEST = "test"
    DEPLOY = "deploy"


def builder(repository: str, kind: Kind) -> str:
    """Return the builder's name, such as ``shop-lint``."""
    return f"{repository}-{kind}"


def kind_of(builder: str) -> Kind | None:
    """Return what a builder of that name does; None when `builder` made no such name."""
    kind = builder.rpartition("-")[2]
    return Kind(kind) if kind in list(Kind) else None


def poller(repository: str) -> str:
    """Return the name under which Buildbot keeps the poller's state and the ``poller`` change hook finds it."""
    return f"{repository}-poller"


def ssh_alias(repository: str) -> str:
    """Return the ``Host`` of the generated ssh_config that stands for the repository and its own deploy key."""
    return f"autogate-{repository}"
