"""The rule, checked on a real repository by one who asks the bot nothing."""

import subprocess
from collections.abc import Collection
from pathlib import Path


def assert_rule(bare: Path, target: str, begin: str, approved: Collection[str], passed: Collection[str]) -> list[str]:
    """Check every move that a long-lived branch has made since it stood at ``begin`` the last time.

    Each must be a fast-forward to a commit that passed, along first parents, over merges of two parents whose second
    is a head that was approved. The moves are read from the repository's own log of the branch, which
    `Repository.create` turns on, so that a wrong one is seen even when a later one hides it.

    Args:
        bare: The repository that was landed in.
        target: The branch.
        begin: Where it stood before the bot moved it, or where a human moved it last.
        approved: The heads that were approved.
        passed: The merges that every required builder passed on.

    Returns:
        Where the branch stood after each move.
    """
    log = _git(bare, "log", "--walk-reflogs", "--format=%H", f"refs/heads/{target}", "--").split()
    tip = _git(bare, "rev-parse", f"refs/heads/{target}").strip()
    assert log, f"{bare} keeps no log of {target}: make it with Repository.create"
    assert log[0] == tip, f"{target} is at {tip}, but its log ends at {log[0]}"
    assert begin in log, f"{target} never stood at {begin}"
    moves = log[: log.index(begin)][::-1]
    before = begin
    for after in moves:
        _assert_landing(bare, before, after, approved)
        assert after in passed, f"{target} was moved to {after}, which did not pass"
        before = after
    return moves


def _assert_landing(bare: Path, before: str, after: str, approved: Collection[str]) -> None:
    commit = after
    while commit != before:
        _, *parents = _git(bare, "rev-list", "--parents", "--max-count=1", commit, "--").split()
        assert len(parents) == 2, f"{commit}, between {before} and {after}, is no merge of two"
        assert parents[1] in approved, f"{commit} merges {parents[1]}, which nobody approved"
        commit = parents[0]


def _git(bare: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=bare, capture_output=True, text=True, check=True).stdout
