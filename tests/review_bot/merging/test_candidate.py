"""Making candidates, on real git."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from autogate.git import Git, GitError
from autogate.gitwords import environment, trailer
from autogate.names import BASE_TRAILER
from custom_steps.on_worker import soft_reset
from review_bot.domain.events import CandidateMade, Conflict
from review_bot.domain.model import Member
from review_bot.merging.errors import MirrorError, MissingCommitError
from review_bot.merging.landing import Landed
from review_bot.merging.mirror import Mirror
from review_bot.merging.parsing import MOST_PATHS

from .case import AT, IDENTITY, Case

NOWHERE = "1" * 40


def lines(text: dict[int, str] | None = None) -> str:
    """Return the file ``shared`` with some lines changed."""
    return "".join(f"{(text or {}).get(number, number)}\n" for number in range(1, 10))


def tree(case: Case, revision: str | None) -> set[str]:
    assert revision
    return set(case.git("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", revision).splitlines())


def test_one_merge_onto_the_tip(case: Case) -> None:
    member = case.topic(1, {"a": "1", "d/b": "2", "README": None})
    tip = case.advance({"by-hand": "1"})
    made = case.make(member, attempt=9)
    assert made.base == tip
    assert made.sha
    assert case.show(made.sha, "%P") == f"{tip} {member.head}"
    assert tree(case, made.sha) == {"a", "d/b", "shared", "by-hand"}
    assert [(merged.number, merged.merge) for merged in made.merged] == [(1, made.sha)]
    assert set(made.merged[0].paths) == {"a", "d/b", "README"}
    assert (made.conflicts, made.contained, made.moved) == ((), (), ())
    assert case.show(made.sha, "%an <%ae> %at|%cn <%ce> %ct") == "|".join(
        [f"{IDENTITY.name} <{IDENTITY.email}> {int(AT.timestamp())}"] * 2
    )


def test_a_merge_is_made_even_where_a_fast_forward_would_do(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    made = case.make(member)
    assert made.sha != member.head
    assert case.show(made.sha or "", "%P") == f"{case.begin} {member.head}"


def test_a_batch_is_a_chain_of_merges_each_naming_the_base(case: Case) -> None:
    members = [case.topic(number, {f"{number}": "x"}) for number in (1, 2, 3)]
    made = case.make(*members, attempt=12)
    parent = case.begin
    for member, merged in zip(members, made.merged, strict=True):
        assert case.show(merged.merge, "%P") == f"{parent} {member.head}"
        message = case.show(merged.merge)
        assert message.splitlines()[0] == f"Merge #{member.number}: Title {member.number}"
        assert trailer(message, BASE_TRAILER) == case.begin
        assert trailer(message, "Autogate-Attempt") == "12"
        assert trailer(message, "Approved-by") == "grace"
        parent = merged.merge
    assert made.sha == parent


def test_the_same_merges_give_the_same_commits_in_any_mirror(case: Case) -> None:
    members = [case.topic(number, {f"{number}": "x"}) for number in (1, 2)]
    made = case.make(*members)
    assert case.make(*members) == made
    other = Mirror(case.folder / "other", str(case.repository.bare), case.mirror.git, IDENTITY)
    assert case.run(other.make_candidate(case.effect(*members), case.refs)) == made
    assert case.make(*members, attempt=2).sha != made.sha


def test_the_machines_own_settings_change_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    member = case.topic(1, {"new": lines()})
    made = case.make(member)
    settings = case.folder / "gitconfig"
    settings.write_text(
        "[user]\nname = Mallory\nemail = m@example.org\n[i18n]\ncommitEncoding = latin1\n[commit]\ngpgSign = true\n"
        "[merge]\nrenames = false\nconflictStyle = diff3\n[log]\nshowSignature = true\n[push]\nfollowTags = true\n"
        f"[core]\nhooksPath = {case.folder}/hooks\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    assert case.make(member) == made


def test_it_is_the_event_but_for_the_time(case: Case) -> None:
    made = case.make(case.topic(1, {"a": "1"}))
    assert made.event(AT) == CandidateMade(
        at=AT, attempt=1, base=case.begin, sha=made.sha, merged=made.merged, conflicts=(), contained=(), moved=()
    )


@pytest.mark.parametrize("count", [1, 3])
def test_a_builds_reset_goes_back_to_the_base(case: Case, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker does with a candidate: the trailer is on single merges too."""
    made = case.make(*(case.topic(number, {f"{number}": "x"}) for number in range(count)))
    case.git("checkout", "-q", made.sha or "")
    monkeypatch.chdir(case.repository.tree)
    with monkeypatch.context() as environ:
        for name, value in environment().items():
            environ.setenv(name, value)  # which it sets for good
        assert soft_reset.main({"trailer": BASE_TRAILER}) == {"base": case.begin, "files": count}
    assert case.repository.head() == case.begin


# what is left out


def test_a_conflict_with_the_target_is_told_with_its_paths(case: Case) -> None:
    bad = case.topic(1, {"shared": lines({5: "theirs"}), "fine": "1"})
    good = case.topic(2, {"good": "1"})
    case.advance({"shared": lines({5: "ours"})})
    made = case.make(bad, good)
    assert made.conflicts == (Conflict(number=1, paths=("shared",), with_base=True),)
    assert [merged.number for merged in made.merged] == [2]
    assert tree(case, made.sha) == {"README", "shared", "good"}


def test_a_conflict_names_the_first_member_that_it_is_with(case: Case) -> None:
    first = case.topic(1, {"x": "1"})
    second = case.topic(2, {"shared": lines({5: "second"})})
    third = case.topic(3, {"y": "1"})
    fourth = case.topic(4, {"shared": lines({5: "fourth"})})
    made = case.make(first, second, third, fourth)
    assert made.conflicts == (Conflict(number=4, paths=("shared",), with_base=False, with_member=2),)
    assert [merged.number for merged in made.merged] == [1, 2, 3]
    assert case.land(made, first, second, third) == Landed()
    assert case.assert_rule(made.sha) == [made.sha]
    assert case.make(fourth, attempt=2).conflicts == (Conflict(number=4, paths=("shared",), with_base=True),)


def test_only_the_second_conflicts_with_the_first_and_the_third_goes_on(case: Case) -> None:
    members = [case.topic(number, {"same": f"{number % 3}"}) for number in (1, 2)]
    members.append(case.topic(3, {"other": "3"}))
    made = case.make(*members)
    assert made.conflicts == (Conflict(number=2, paths=("same",), with_base=False, with_member=1),)
    assert [merged.number for merged in made.merged] == [1, 3]


def test_nothing_is_left_when_all_conflict(case: Case) -> None:
    bad = case.topic(1, {"shared": lines({5: "theirs"})})
    case.advance({"shared": lines({5: "ours"})})
    made = case.make(bad)
    assert (made.sha, made.merged) == (None, ())
    assert made.conflicts


KINDS: dict[str, tuple[list[str], list[str], set[str]]] = {
    # shell commands on the topic, on the target; the paths that conflict
    "changed on one side and deleted on the other": (
        ["echo x >shared"],
        ["git rm -q shared"],
        {"shared"},
    ),
    "added on both sides": (["echo x >new"], ["echo y >new"], {"new"}),
    "renamed to two names": (["git mv shared one"], ["git mv shared two"], {"shared", "one", "two"}),
    "a file on one side and a folder on the other": (
        ["echo x >thing"],
        ["mkdir thing", "echo y >thing/inside"],
        {"thing"},
    ),
    "binary": (
        ["printf 'a\\0b' >blob"],
        ["printf 'a\\0c' >blob"],
        {"blob"},
    ),
    "two symbolic links": (["ln -s README link"], ["ln -s shared link"], {"link"}),
    "a link on one side and a file on the other": (["ln -s README link"], ["echo x >link"], {"link"}),
    "two submodules": (
        [f"git update-index --add --cacheinfo 160000,{'2' * 40},sub"],
        [f"git update-index --add --cacheinfo 160000,{'3' * 40},sub"],
        {"sub"},
    ),
    "line ends changed on both sides": (
        ["sed 's/$/\\r/' shared >s", "mv s shared"],
        ["sed 's/5/x/' shared >s", "mv s shared"],
        {"shared"},
    ),
    "names with line breaks, tabs, quotes and options": (
        ["printf 1 >'a\nb\t\"c'", "printf 1 >./--upload-pack=x", "printf 1 >'@autogate r+'"],
        ["printf 2 >'a\nb\t\"c'", "printf 2 >./--upload-pack=x", "printf 2 >'@autogate r+'"],
        {'a\nb\t"c', "--upload-pack=x", "@autogate r+"},
    ),
    "names that are no UTF-8": (
        ["printf 1 >\"$(printf 'a\\377')\""],
        ["printf 2 >\"$(printf 'a\\377')\""],
        {"a\N{REPLACEMENT CHARACTER}"},
    ),
    "a name with two line breaks in a row": (
        ["printf 1 >'a\n\nb'"],
        ["printf 2 >'a\n\nb'"],
        {"a\n\nb"},
    ),
}


def script(case: Case, branch: str, commands: list[str]) -> str:
    """Commit what shell commands change on a branch off the first commit."""
    case.repository.git("checkout", "-q", "-B", branch, case.begin)
    add = "true" if any("update-index" in command for command in commands) else "git add --all"
    subprocess.run(["sh", "-ec", "\n".join([*commands, add])], cwd=case.repository.tree, check=True)
    case.repository.git("commit", "-q", "-m", f"Work on {branch}")
    head = case.repository.head()
    case.repository.git("checkout", "-q", "--force", case.begin)
    case.repository.git("clean", "-q", "-ffd")
    return head


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_conflict_is_told_with_its_paths(case: Case, kind: str) -> None:
    theirs, ours, paths = KINDS[kind]
    head = script(case, "t1", theirs)
    tip = script(case, "main", ours)
    case.repository.push(f"{head}:refs/for/main/t1", f"{tip}:main")
    made = case.make(case.member(1, head))
    assert made.sha is None
    (conflict,) = made.conflicts
    assert conflict.with_base
    assert set(conflict.paths) == paths


CLEAN = {
    "a submodule": [f"git update-index --add --cacheinfo 160000,{'2' * 40},sub"],
    "a symbolic link": ["ln -s /etc/passwd link"],
    "a rename with changes": ["git mv shared renamed", "sed 's/1/one/' renamed >r", "mv r renamed"],
    "binary": ["head -c 5000 /dev/zero >zeros"],
    "line ends": ["sed 's/$/\\r/' README >r", "mv r README"],
    "a program": ["echo x >run", "chmod +x run"],
    "attributes that name a merge driver": ["echo '* merge=evil' >.gitattributes", "echo x >>README"],
    "odd names": ["printf 1 >'a\nb'", "printf 1 >./--force", "printf 1 >\"$(printf 'a\\377')\""],
}


@pytest.mark.parametrize("kind", CLEAN)
def test_what_git_merges_is_merged_as_git_merges_it(case: Case, kind: str) -> None:
    head = script(case, "t1", CLEAN[kind])
    tip = script(case, "main", ["sed 's/9/nine/' shared >s", "mv s shared"])
    case.repository.push(f"{head}:refs/for/main/t1", f"{tip}:main")
    case.begin = tip
    member = case.member(1, head)
    made = case.make(member)
    assert made.sha
    case.repository.git("checkout", "-q", "-B", "by-hand", tip)
    case.repository.git("merge", "-q", "--no-ff", "-m", "By hand", head)
    assert case.show(made.sha, "%T") == case.show("by-hand", "%T")
    case.push(made)
    assert case.land(made, member) == Landed()
    case.assert_rule(made.sha)


def test_a_conflict_that_leaves_no_file_in_conflict_names_the_folder(case: Case) -> None:
    """Git cannot tell where a file of a folder goes whose others went to two; it then lists no path in the index."""
    files = {f"d/{number}": "".join(f"{number}.{line}\n" for line in range(30)) for number in range(4)}
    case.begin = case.advance(files)
    head = script(case, "t1", ["mkdir x y", "git mv d/0 d/1 x", "git mv d/2 d/3 y"])
    tip = script(case, "main", ["echo new >d/new"])
    case.repository.push(f"{head}:refs/for/main/t1", f"{tip}:main")
    assert case.make(case.member(1, head)).conflicts == (Conflict(number=1, paths=("d",), with_base=True),)


def test_another_history_is_refused_like_a_conflict(case: Case) -> None:
    case.repository.git("checkout", "-q", "--orphan", "t1")
    head = case.repository.commit({"alien": "1"})
    case.repository.push(f"{head}:refs/for/main/t1")
    other = case.topic(2, {"b": "1"})
    made = case.make(case.member(1, head), other)
    assert made.conflicts == (Conflict(number=1, paths=(), with_base=True),)
    assert [merged.number for merged in made.merged] == [2]


def test_a_head_that_deletes_everything_is_merged(case: Case) -> None:
    head = script(case, "t1", ["git rm -q -r ."])
    case.repository.push(f"{head}:refs/for/main/t1")
    made = case.make(case.member(1, head))
    assert made.sha
    assert tree(case, made.sha) == set()


def test_a_head_without_changes_is_merged(case: Case) -> None:
    member = case.topic(1, {})
    made = case.make(member)
    assert [(merged.number, merged.paths) for merged in made.merged] == [(1, ())]


def test_what_the_target_has_already_is_contained(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    case.repository.push("t1:main")
    there = case.member(2, case.begin)
    case.repository.push(f"{case.begin}:refs/for/main/t2")
    made = case.make(member, there)
    assert made.contained == (1, 2)
    assert (made.sha, made.merged, made.conflicts) == (None, (), ())


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_member_that_contains_another_is_merged_beside_it(case: Case, order: tuple[int, ...]) -> None:
    members = {1: case.topic(1, {"a": "1"}), 2: case.topic(2, {"b": "1"}, base="t1")}
    batch = [members[number] for number in order]
    made = case.make(*batch)
    assert tuple(merged.number for merged in made.merged) == order
    case.push(made)
    assert case.land(made, *batch) == Landed()
    assert case.assert_rule(made.sha) == [made.sha]


def test_two_members_with_one_head_are_both_merged(case: Case) -> None:
    one = case.topic(1, {"a": "1"})
    case.repository.push("t1:refs/for/main/t2")
    two = case.member(2, one.head)
    made = case.make(one, two)
    assert case.land(made, one, two) == Landed()
    assert case.assert_rule(made.sha) == [made.sha]


def test_a_head_that_is_the_very_merge_before_it_waits(case: Case) -> None:
    """Git would drop one of two equal parents, and leave a commit that is no merge."""
    one = case.topic(1, {"a": "1"})
    made = case.make(one)
    case.push(made)
    case.repository.git("fetch", "-q", "origin", "auto")
    case.repository.push("FETCH_HEAD:refs/for/main/t2")
    two = case.member(2, made.sha or "")
    both = case.make(one, two)
    assert both.sha == made.sha
    assert both.conflicts == (Conflict(number=2, paths=(), with_base=False, with_member=1),)


def test_a_head_that_moved_or_went_keeps_nobody_else_back(case: Case) -> None:
    moved, gone, good = (case.topic(number, {f"{number}": "x"}) for number in (1, 2, 3))
    case.topic(1, {"newer": "1"}, base="t1")
    case.repository.push(":refs/for/main/t2")
    made = case.make(moved, gone, good)
    assert made.moved == (1, 2)
    assert [merged.number for merged in made.merged] == [3]


def test_a_head_that_goes_between_the_read_and_the_fetch_has_moved(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, good = (case.topic(number, {f"{number}": "x"}) for number in (1, 2))
    forget = "push -q origin :refs/for/main/t1"
    prune = f"git -C {case.repository.bare} -c gc.reflogExpire=now reflog expire --all --expire=now; "
    prune += f"git -C {case.repository.bare} prune --expire=now"
    case.before("fetch", f"( unset GIT_DIR; git -C {case.repository.tree} {forget}; {prune} )", monkeypatch)
    made = case.make(gone, good)
    assert case.fired()
    assert made.moved == (1,)
    assert [merged.number for merged in made.merged] == [2]


def test_the_target_is_forced_between_the_read_and_the_fetch(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    member = case.topic(1, {"a": "1"})
    case.advance({"soon": "gone"})
    script = f"git -C {case.repository.tree} push -q --force origin {case.begin}:main; "
    script += f"git -C {case.repository.bare} reflog expire --all --expire=now; "
    script += f"git -C {case.repository.bare} prune --expire=now"
    case.before("fetch", f"( unset GIT_DIR; {script} )", monkeypatch)
    made = case.make(member)
    assert case.fired()
    assert made.base == case.begin
    assert made.sha


def test_a_given_base_is_taken_instead_of_the_tip(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    case.advance({"by-hand": "1"})
    made = case.make(member, base=case.begin)
    assert made.base == case.begin
    assert case.show(made.sha or "", "%P") == f"{case.begin} {member.head}"
    assert trailer(case.show(made.sha or ""), BASE_TRAILER) == case.begin


def test_a_given_base_that_is_nowhere_is_said(case: Case) -> None:
    with pytest.raises(MissingCommitError, match="cancel the attempt"):
        case.make(case.topic(1, {"a": "1"}), base=NOWHERE)


def test_a_target_that_does_not_exist_is_said(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    with pytest.raises(MirrorError, match="there is no branch nowhere to merge onto"):
        case.run(case.mirror.make_candidate(case.effect(member, on="nowhere"), case.refs))


def test_targets_of_which_one_becomes_the_folder_of_the_other(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    for old, new in (("a", "a/b"), ("a/b", "a")):
        case.repository.push(f"main:{old}")
        assert case.run(case.mirror.make_candidate(case.effect(member, on=old), case.refs)).sha
        case.repository.push(f":{old}", f"main:refs/keep/{new}".replace("/b", "-b"))
        case.repository.push(f"main:{new}")
        assert case.run(case.mirror.make_candidate(case.effect(member, on=new), case.refs)).sha
        case.repository.push(f":{new}")


def test_no_more_paths_than_anybody_reads(case: Case) -> None:
    member = case.topic(1, {f"many/{number:05}": "x" for number in range(MOST_PATHS + 100)})
    assert len(case.make(member).merged[0].paths) == MOST_PATHS


@pytest.mark.parametrize("head", ["--help", "main", "HEAD", "1" * 39, ""])
def test_a_head_is_a_full_commit_id_or_nothing(case: Case, head: str) -> None:
    case.refs[1] = "refs/for/main/t1"
    with pytest.raises(ValueError, match="no full object id"):
        case.make(Member(number=1, head=head))


@pytest.mark.parametrize("ref", ["--upload-pack=x", "main", "refs/for/main/a b", "refs/for/*", "refs/for/\udcff"])
def test_a_ref_is_the_full_name_of_one_or_nothing(case: Case, ref: str) -> None:
    member = case.topic(1, {"a": "1"})
    with pytest.raises(ValueError, match="the ref"):
        case.run(case.mirror.make_candidate(case.effect(member), {1: ref}))


def test_a_git_that_is_too_old_is_named(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    program = case.folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho git version 2.30.2\n")
    program.chmod(0o755)
    member = case.topic(1, {"a": "1"})
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(MirrorError, match=r"git 2\.38 or newer is needed.*this is 2\.30"):
        case.make(member)


def test_an_address_that_looks_like_an_option_is_none(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "mirror", f"--upload-pack=touch {tmp_path}/hacked", Git(), IDENTITY)
    with pytest.raises(GitError, match="strange pathname"):
        asyncio.run(mirror.refs(["refs/heads/main"]))
    assert not (tmp_path / "hacked").exists()
