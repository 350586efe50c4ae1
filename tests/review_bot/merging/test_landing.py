"""Landing: compare-and-swap on the exact old tip, or nothing."""

import shutil
from collections.abc import Awaitable, Callable

import pytest

from autogate.git import GitError
from review_bot.domain.effects import Land
from review_bot.domain.model import Member
from review_bot.forges.protocol import RefDeletion
from review_bot.merging.errors import MissingCommitError, RuleBrokenError
from review_bot.merging.landing import Contradicted, HeadMoved, Landed, Refused, Withheld
from review_bot.merging.merger import Candidate

from .case import Case

OUTSIDE = "env -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY -u GIT_ALTERNATE_OBJECT_DIRECTORIES git update-ref"
"""What a hook runs to move a ref at once, as another push at the same time would."""


def one(case: Case) -> tuple[Candidate, Member]:
    member = case.topic(1, {"a": "1"})
    candidate = case.make(member)
    case.push(candidate)
    return candidate, member


def test_a_merge_lands_and_its_topic_goes(case: Case) -> None:
    candidate, member = one(case)
    assert case.land(candidate, member) == Landed()
    assert case.tip() == candidate.sha
    assert "refs/for/main/t1" not in case.repository.refs()
    assert case.assert_rule(candidate.sha) == [candidate.sha]


def test_a_batch_lands_in_one_move(case: Case) -> None:
    members = [case.topic(number, {f"{number}": "x"}) for number in (1, 2, 3)]
    candidate = case.make(*members)
    assert case.land(candidate, *members) == Landed()
    assert case.assert_rule(candidate.sha) == [candidate.sha]
    assert not [ref for ref in case.repository.refs() if ref.startswith("refs/for/")]


def test_landing_again_changes_nothing(case: Case) -> None:
    candidate, member = one(case)
    case.land(candidate, member)
    assert case.land(candidate, member) == Landed()
    assert case.assert_rule(candidate.sha) == [candidate.sha]


def test_landing_again_finishes_a_deletion(case: Case) -> None:
    candidate, member = one(case)
    case.land(candidate, member)
    case.repository.push(f"{member.head}:refs/for/main/t1")
    assert case.land(candidate, member) == Landed()
    assert "refs/for/main/t1" not in case.repository.refs()


def test_landing_again_spares_a_topic_that_was_pushed_anew(case: Case) -> None:
    candidate, member = one(case)
    case.land(candidate, member)
    newer = case.topic(1, {"b": "1"}, base="t1")
    assert case.land(candidate, member) == Landed()
    assert case.repository.refs()["refs/for/main/t1"] == newer.head


def test_what_landed_counts_as_landed_under_later_commits(case: Case) -> None:
    candidate, member = one(case)
    case.land(candidate, member)
    case.repository.git("pull", "-q", "origin", "main:main")
    case.advance({"later": "1"})
    assert case.land(candidate, member) == Landed()


def test_what_somebody_merged_elsewhere_has_not_landed(case: Case) -> None:
    """It is in the history, but not along the first parents: the target did not stand at it."""
    candidate, member = one(case)
    case.repository.git("fetch", "-q", "origin", "auto")
    case.repository.git("checkout", "-q", "main")
    case.repository.commit({"by-hand": "1"})
    case.repository.git("merge", "-q", "--no-ff", "-m", "By hand", "FETCH_HEAD")
    case.repository.push("main")
    assert case.land(candidate, member) == Refused(case.tip())


def test_a_target_that_moved_refuses(case: Case) -> None:
    candidate, member = one(case)
    tip = case.advance({"by-hand": "1"})
    assert case.land(candidate, member) == Refused(tip)
    assert case.repository.refs()["refs/for/main/t1"] == member.head
    assert case.assert_rule(begin=tip) == []


def test_a_target_that_is_gone_refuses(case: Case) -> None:
    candidate, member = one(case)
    case.server_config("receive.denyDeleteCurrent", "ignore")
    case.repository.push(":main")
    assert case.land(candidate, member) == Refused(None)
    assert "refs/heads/main" not in case.repository.refs()


def test_a_human_pushes_between_the_read_and_the_push(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate, member = one(case)
    case.repository.git("checkout", "-q", "main")
    tip = case.repository.commit({"by-hand": "1"})
    case.before("push", f"env -u GIT_DIR git -C {case.repository.tree} push -q origin main", monkeypatch)
    assert case.land(candidate, member) == Refused(tip)
    assert case.fired()
    assert case.assert_rule(begin=tip) == []
    assert case.repository.refs()["refs/for/main/t1"] == member.head


def test_a_human_pushes_while_the_server_takes_the_push(case: Case) -> None:
    candidate, member = one(case)
    case.repository.git("checkout", "-q", "main")
    tip = case.repository.commit({"by-hand": "1"})
    case.repository.push("main:refs/heads/later")
    case.repository.hook("pre-receive", f"{OUTSIDE} refs/heads/main {tip}")
    assert case.land(candidate, member) == Refused(tip)
    assert case.assert_rule(begin=tip) == []
    assert case.repository.refs()["refs/for/main/t1"] == member.head


def test_a_head_that_moved_since_it_was_tested_lands_nothing(case: Case) -> None:
    candidate, member = one(case)
    newer = case.topic(1, {"b": "1"}, base="t1")
    assert case.land(candidate, member) == HeadMoved("refs/for/main/t1")
    assert case.assert_rule() == []
    assert case.repository.refs()["refs/for/main/t1"] == newer.head


def test_a_topic_that_was_deleted_lands_nothing(case: Case) -> None:
    candidate, member = one(case)
    case.repository.push(":refs/for/main/t1")
    assert case.land(candidate, member) == HeadMoved("refs/for/main/t1")
    assert case.assert_rule() == []


def test_a_head_moves_between_the_last_check_and_the_push(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [case.topic(number, {f"{number}": "x"}) for number in (1, 2)]
    candidate = case.make(*members)
    newer = case.repository.commit({"b": "1"})
    script = f"env -u GIT_DIR git -C {case.repository.tree} push -q --force origin {newer}:refs/for/main/t2"
    case.before("push", script, monkeypatch)
    assert case.land(candidate, *members) == HeadMoved("refs/for/main/t2")
    assert case.fired()
    assert case.assert_rule() == []
    assert case.repository.refs()["refs/for/main/t1"] == members[0].head


def test_a_head_moves_while_the_server_takes_the_push(case: Case) -> None:
    candidate, member = one(case)
    newer = case.repository.commit({"b": "1"})
    case.repository.push(f"{newer}:refs/heads/later")
    case.repository.hook("pre-receive", f"{OUTSIDE} refs/for/main/t1 {newer}")
    assert case.land(candidate, member) == HeadMoved("refs/for/main/t1")
    assert case.assert_rule() == []
    assert case.repository.refs()["refs/for/main/t1"] == newer


def test_a_server_that_accepts_and_shows_something_else_contradicts(case: Case) -> None:
    candidate, member = one(case)
    case.repository.hook("post-receive", f"git update-ref refs/heads/main {case.begin}")
    assert case.land(candidate, member) == Contradicted(case.begin)


def test_a_server_that_accepts_and_loses_the_branch_contradicts(case: Case) -> None:
    candidate, member = one(case)
    case.repository.hook("post-receive", "git update-ref -d refs/heads/main")
    assert case.land(candidate, member) == Contradicted(None)


def test_somebody_pushes_on_top_before_it_is_read_back(case: Case) -> None:
    candidate, member = one(case)
    case.repository.git("fetch", "-q", "origin", "auto")
    case.repository.git("checkout", "-q", "--detach", "FETCH_HEAD")
    on_top = case.repository.commit({"by-hand": "1"})
    case.repository.push(f"{on_top}:refs/heads/later")
    case.repository.hook("post-receive", f"git update-ref refs/heads/main {on_top}")
    assert case.land(candidate, member) == Landed()
    assert case.tip() == on_top


def test_an_answer_that_is_lost_is_looked_up(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate, member = one(case)
    case.before("push", '"$(PATH=/usr/local/bin:/usr/bin:/bin command -v git)" "$@"; exit 128', monkeypatch)
    assert case.land(candidate, member) == Landed()
    assert case.fired()
    assert case.assert_rule(candidate.sha) == [candidate.sha]


@pytest.mark.parametrize(
    ("hook", "script", "cure"),
    [
        ("pre-receive", "exit 1", "let the bot's key push"),
        ("update", '[ "$1" != refs/heads/main ]', "let the bot's key push"),
        ("pre-receive", "echo 'GH006: Protected branch update failed' >&2; exit 1", "protects this branch"),
    ],
)
def test_a_hook_that_declines_moves_nothing_and_has_a_cure(case: Case, hook: str, script: str, cure: str) -> None:
    candidate, member = one(case)
    case.repository.hook(hook, script)
    with pytest.raises(GitError) as caught:
        case.land(candidate, member)
    assert caught.value.is_refusal
    assert cure in caught.value.cure
    assert case.assert_rule() == []
    assert case.repository.refs()["refs/for/main/t1"] == member.head


def test_a_server_that_lets_nobody_delete_moves_nothing(case: Case) -> None:
    candidate, member = one(case)
    case.repository.hook("update", 'case $3 in *[!0]*) exit 0;; *) echo "deletion prohibited" >&2; exit 1;; esac')
    with pytest.raises(GitError) as caught:
        case.land(candidate, member)
    assert "receive.denyDeletes" in caught.value.cure
    assert case.assert_rule() == []


def test_without_atomic_pushes_a_topic_cannot_land_and_the_error_says_why(case: Case) -> None:
    candidate, member = one(case)
    case.server_config("receive.advertiseAtomic", "false")
    with pytest.raises(GitError) as caught:
        case.land(candidate, member)
    assert "receive.advertiseAtomic" in caught.value.cure
    assert case.assert_rule() == []
    assert case.run(case.mirror.land(case.landing(candidate, member), [])) == Landed()  # one ref needs no such thing


def test_a_server_that_is_away_is_no_refusal(case: Case) -> None:
    candidate, member = one(case)
    away = case.repository.bare.rename(case.folder / "away.git")
    with pytest.raises(GitError) as caught:
        case.land(candidate, member)
    assert not caught.value.is_refusal
    away.rename(case.repository.bare)
    assert case.land(candidate, member) == Landed()


def test_a_mirror_that_was_lost_is_made_again(case: Case) -> None:
    candidate, member = one(case)
    case.mirror.close()
    shutil.rmtree(case.mirror.folder)
    assert case.land(candidate, member) == Landed()
    assert case.assert_rule(candidate.sha) == [candidate.sha]


def test_a_merge_that_is_nowhere_cannot_land(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    candidate = case.make(member)
    case.mirror.close()
    shutil.rmtree(case.mirror.folder)
    with pytest.raises(MissingCommitError, match="cancel the attempt"):
        case.land(candidate, member)


def test_the_caller_has_the_last_word_and_is_asked_only_when_something_would_move(case: Case) -> None:
    candidate, member = one(case)
    asked: list[bool] = []

    def word(given: bool) -> Callable[[], Awaitable[bool]]:
        async def may_push() -> bool:
            asked.append(given)
            return given

        return may_push

    effect, deletions = case.landing(candidate, member), case.deletions(member)
    assert case.run(case.mirror.land(effect, deletions, word(given=False))) == Withheld()
    assert case.assert_rule() == []
    assert case.repository.refs()["refs/for/main/t1"] == member.head
    assert case.run(case.mirror.land(effect, deletions, word(given=True))) == Landed()
    assert case.run(case.mirror.land(effect, deletions, word(given=False))) == Landed()
    assert asked == [False, True]


# the rule, whatever the bot's other parts ask for


def refused(case: Case, sha: str, *members: Member, base: str = "") -> None:
    case.repository.push(f"{sha}:refs/heads/auto")
    effect = Land(attempt=1, target="main", base=base or case.begin, sha=sha, members=members)
    with pytest.raises(RuleBrokenError, match="nothing was pushed"):
        case.run(case.mirror.land(effect, []))
    assert case.assert_rule() == []


@pytest.fixture
def members(case: Case) -> list[Member]:
    return [case.topic(number, {f"{number}": "x"}) for number in (1, 2)]


def chain(case: Case, *members: Member) -> str:
    return case.repository.merge([member.head for member in members])


def test_a_head_that_is_not_in_the_merge_is_refused(case: Case, members: list[Member]) -> None:
    with_newer = members[0].model_copy(update={"head": members[1].head})
    refused(case, chain(case, members[0]), with_newer)


def test_a_merge_of_more_than_the_members_is_refused(case: Case, members: list[Member]) -> None:
    refused(case, chain(case, *members), members[1])


def test_a_merge_of_less_than_the_members_is_refused(case: Case, members: list[Member]) -> None:
    refused(case, chain(case, members[0]), *members)


def test_members_in_another_order_are_refused(case: Case, members: list[Member]) -> None:
    refused(case, chain(case, *members), *reversed(members))


def test_a_fast_forward_to_the_head_itself_is_refused(case: Case, members: list[Member]) -> None:
    refused(case, members[0].head, members[0])


def test_a_commit_on_top_of_the_merge_is_refused(case: Case, members: list[Member]) -> None:
    chain(case, members[0])
    refused(case, case.repository.commit({"more": "1"}), members[0])


def test_parents_the_other_way_round_are_refused(case: Case, members: list[Member]) -> None:
    """The head would be the first parent, and the target's history a side branch of it."""
    case.repository.git("checkout", "-q", "main")
    tip = case.advance({"by-hand": "1"})
    case.begin = tip
    case.repository.git("checkout", "-q", "t1")
    case.repository.git("merge", "-q", "--no-ff", "-m", "The wrong way", "main")
    refused(case, case.repository.head(), members[0])


def test_an_octopus_is_refused(case: Case, members: list[Member]) -> None:
    case.repository.git("checkout", "-q", "-B", "auto", "main")
    case.repository.commit({"base": "1"})
    case.repository.push("auto:main")
    base = case.repository.head()
    case.repository.git("merge", "-q", "--no-ff", "-m", "Both", "t1", "t2")
    sha = case.repository.head()
    assert case.repository.git("rev-list", "--parents", "-1", sha).count(" ") == 3
    case.repository.push(f"{case.begin}:main")
    refused(case, sha, members[0], base=base)


def test_nothing_at_all_is_refused(case: Case) -> None:
    refused(case, case.begin)


def test_another_base_is_refused(case: Case, members: list[Member]) -> None:
    refused(case, chain(case, *members), *members, base=members[0].head)


def test_grafts_and_replacements_deceive_nobody(case: Case, members: list[Member]) -> None:
    """A replaced object makes git show other parents than those that would be pushed."""
    sha = case.repository.commit({"stray": "1"}, "No merge")
    good = chain(case, members[0])
    case.repository.push(f"{sha}:refs/heads/auto", f"{good}:refs/heads/good")
    case.make(members[0])
    folder = str(case.mirror.folder)
    case.repository.git("-C", folder, "fetch", "-q", str(case.repository.bare), sha, good)
    case.repository.git("-C", folder, "replace", sha, good)
    refused(case, sha, members[0])


def test_no_branch_is_ever_deleted(case: Case) -> None:
    candidate, member = one(case)
    for branch in ("main", "other"):
        deletion = RefDeletion(ref=f"refs/heads/{branch}", expected=case.begin)
        with pytest.raises(RuleBrokenError):
            case.run(case.mirror.land(case.landing(candidate, member), [deletion]))
        with pytest.raises(RuleBrokenError):
            case.run(case.mirror.delete_ref(deletion))
    assert case.assert_rule() == []


@pytest.mark.parametrize("target", ["--force", "refs/heads/main", "a b", "main:other", ""])
def test_a_target_can_be_no_option_and_no_refspec(case: Case, target: str) -> None:
    candidate, member = one(case)
    with pytest.raises(ValueError, match="the branch"):
        case.run(case.mirror.land(case.landing(candidate, member).model_copy(update={"target": target}), []))
