"""Pushing candidates, and forgetting old ones."""

import shutil

import pytest

from autogate.git import GitError
from review_bot.domain.effects import PushCandidate
from review_bot.domain.model import AttemptKind
from review_bot.merging.errors import MirrorError, MissingCommitError
from review_bot.merging.landing import Landed

from .case import Case

ATTEMPT = "refs/autogate/attempts/1"
ATTEMPT_BRANCH = "refs/heads/autogate/attempts/1"

ONLY_BRANCHES = [
    # how servers say that they take nothing but branches
    ("update", 'case "$1" in refs/heads/*) exit 0;; *) echo "branches only" >&2; exit 1;; esac'),
    ("pre-receive", "while read -r _ _ ref; do case $ref in refs/heads/*) ;; *) exit 1;; esac; done"),
]


def test_branch_and_attempt_stand_at_the_merge(case: Case) -> None:
    made = case.make(case.topic(1, {"a": "1"}))
    case.push(made)
    assert case.repository.refs()[ATTEMPT] == case.repository.tip("auto") == made.sha


def test_pushing_again_changes_nothing_and_asks_nobody(case: Case) -> None:
    made = case.make(case.topic(1, {"a": "1"}))
    case.push(made)
    case.repository.hook("pre-receive", "exit 1")
    case.push(made)


def test_the_branch_is_forced_from_whatever_it_held(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    case.push(case.make(member))
    made = case.make(member, attempt=2)
    case.push(made)
    assert case.repository.tip("auto") == made.sha
    assert case.repository.refs()[ATTEMPT] != made.sha


def test_an_attempts_ref_is_never_overwritten(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    case.repository.push(f"{member.head}:{ATTEMPT}")
    with pytest.raises(MirrorError, match="another bot or an older database"):
        case.push(case.make(member))
    assert case.repository.refs()[ATTEMPT] == member.head
    assert "refs/heads/auto" not in case.repository.refs()


def test_an_attempts_ref_that_appears_just_then_is_not_overwritten(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    member = case.topic(1, {"a": "1"})
    made = case.make(member)
    script = f"env -u GIT_DIR git -C {case.repository.tree} push -q origin {member.head}:{ATTEMPT}"
    case.before("push", script, monkeypatch)
    with pytest.raises(MirrorError, match="another bot"):
        case.push(made)
    assert case.fired()
    assert "refs/heads/auto" not in case.repository.refs()


def test_a_race_for_the_branch_is_run_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    member = case.topic(1, {"a": "1"})
    made = case.make(member)
    script = f"env -u GIT_DIR git -C {case.repository.tree} push -q origin {member.head}:refs/heads/auto"
    case.before("push", script, monkeypatch)
    case.push(made)
    assert case.fired()
    assert case.repository.tip("auto") == made.sha


def test_who_keeps_moving_the_branch_is_given_in_to_with_an_error(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    made = case.make(member)
    outside = "env -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY -u GIT_ALTERNATE_OBJECT_DIRECTORIES"
    commit = f'"$(git commit-tree -p {member.head} -m "$(date +%N)" {member.head}^{{tree}})"'
    case.repository.git("-C", str(case.repository.bare), "config", "user.name", "Ada")
    case.repository.git("-C", str(case.repository.bare), "config", "user.email", "ada@example.org")
    case.repository.hook("pre-receive", f"{outside} sh -c 'git update-ref refs/heads/auto {commit}'")
    with pytest.raises(MirrorError, match="others keep moving refs/heads/auto"):
        case.push(made)
    assert ATTEMPT not in case.repository.refs()


@pytest.mark.parametrize(("hook", "script"), ONLY_BRANCHES)
def test_a_server_that_takes_only_branches_gets_a_branch(case: Case, hook: str, script: str) -> None:
    member = case.topic(1, {"a": "1"})
    case.repository.hook(hook, script)
    made = case.make(member)
    case.push(made)
    refs = case.repository.refs()
    assert refs[ATTEMPT_BRANCH] == refs["refs/heads/auto"] == made.sha
    assert ATTEMPT not in refs
    case.push(made)
    second = case.make(member, attempt=2)
    case.repository.hook(hook, f"echo asked >>{case.folder}/asked; {script}")
    case.push(second)
    asked = (case.folder / "asked").read_text().count("asked")
    assert asked == (2 if hook == "update" else 1)  # it remembers, and does not try the other way first
    case.repository.git("-C", str(case.repository.bare), "config", "receive.denyDeletes", "false")
    case.run(case.mirror.forget_attempts([1]))
    refs = case.repository.refs()
    assert ATTEMPT_BRANCH not in refs
    assert refs["refs/heads/autogate/attempts/2"] == second.sha


def test_hidden_refs_lead_to_a_branch_too(case: Case) -> None:
    made = case.make(case.topic(1, {"a": "1"}))
    case.server_config("receive.hideRefs", "refs/autogate")
    case.push(made)
    assert case.repository.refs()[ATTEMPT_BRANCH] == made.sha


def test_a_server_that_refuses_both_is_quoted_and_nothing_is_remembered(case: Case) -> None:
    made = case.make(case.topic(1, {"a": "1"}))
    case.repository.hook("pre-receive", "echo not today >&2; exit 1")
    with pytest.raises(GitError, match="hook declined") as caught:
        case.push(made)
    assert "let the bot's key push" in caught.value.cure
    case.repository.hook("pre-receive", "exit 0")
    case.push(made)
    assert case.repository.refs()[ATTEMPT] == made.sha


def test_a_server_without_atomic_pushes_gets_the_attempt_first(case: Case) -> None:
    made = case.make(case.topic(1, {"a": "1"}))
    case.server_config("receive.advertiseAtomic", "false")
    case.repository.hook("update", f'echo "$1" >>{case.folder}/order')
    case.push(made)
    assert (case.folder / "order").read_text().split() == [ATTEMPT, "refs/heads/auto"]
    assert case.repository.refs()[ATTEMPT] == case.repository.tip("auto") == made.sha


def test_a_merge_that_only_the_server_has_is_brought_back(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    made = case.make(member)
    case.push(made)
    case.mirror.close()
    shutil.rmtree(case.mirror.folder)
    case.push(made, "auto-again")
    assert case.repository.tip("auto-again") == made.sha
    assert case.land(made, member) == Landed()


def test_a_merge_that_is_nowhere_is_said(case: Case) -> None:
    effect = PushCandidate(attempt=1, to=AttemptKind.AUTO, sha="1" * 40)
    with pytest.raises(MissingCommitError, match="cancel the attempt"):
        case.run(case.mirror.push_candidate(effect, "auto"))


@pytest.mark.parametrize("branch", ["--force", "refs/heads/auto", "a:b", ""])
def test_the_branch_can_be_no_option(case: Case, branch: str) -> None:
    made = case.make(case.topic(1, {"a": "1"}))
    with pytest.raises(ValueError, match="the branch"):
        case.push(made, branch)


def test_old_attempts_are_forgotten_here_and_there(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    for attempt in (1, 2, 3):
        case.push(case.make(member, attempt=attempt))
    case.run(case.mirror.forget_attempts([1, 2, 99]))
    for _ in range(2):  # again changes nothing
        assert [ref for ref in case.repository.refs() if ref.startswith("refs/autogate/")] == [
            "refs/autogate/attempts/3"
        ]
        case.run(case.mirror.forget_attempts([1, 2]))
    kept = case.repository.git("-C", str(case.mirror.folder), "for-each-ref", "--format=%(refname)")
    assert [ref for ref in kept.split() if "attempts" in ref] == ["refs/autogate/attempts/3"]


def test_what_was_not_tested_yet_outlives_the_cleaning(case: Case) -> None:
    """A merge that nothing on the server holds yet must not be taken for garbage."""
    member = case.topic(1, {"a": "1"})
    made = case.make(member)
    case.repository.git("-C", str(case.mirror.folder), "gc", "-q", "--prune=now")
    case.push(made)
    assert case.land(made, member) == Landed()
