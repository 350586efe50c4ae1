"""The poller's decisions, without Buildbot and git."""

import dataclasses
import itertools
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master import commits, tips
from master.tips import Backoff, Logged, Memory, State, Tip, Verdict, Watch

WATCH = Watch(("main",), ("auto", "try"))
A, B, C = "a" * 40, "b" * 40, "c" * 40


@pytest.mark.parametrize(
    ("branch", "known", "seen", "verdict"),
    [
        ("main", None, {"main": A}, Verdict.RECORD),
        ("main", None, {}, Verdict.RECORD),
        ("main", Tip("", 0), {"main": A}, Verdict.CHANGE),
        ("main", Tip(A, 0), {"main": A}, Verdict.SAME),
        ("main", Tip(A, 0), {"main": B, "auto": B}, Verdict.CHANGE),
        ("main", Tip(A, 0), {"auto": B}, Verdict.RECORD),
        ("auto", None, {"main": A, "auto": B}, Verdict.CHANGE),
        ("auto", None, {"main": A, "auto": A}, Verdict.RECORD),
        ("auto", None, {"main": A}, Verdict.RECORD),
        ("auto", Tip(B, 1), {"main": A, "auto": A}, Verdict.RECORD),
        ("auto", Tip(B, 1), {"main": B, "auto": B}, Verdict.SAME),
        ("auto", Tip("", 1), {"main": A, "auto": B}, Verdict.CHANGE),
        ("auto", Tip(A, 1), {"main": A, "auto": B, "try": B}, Verdict.CHANGE),
    ],
)
def test_judge(branch: str, known: Tip | None, seen: dict[str, str], verdict: Verdict) -> None:
    assert tips.judge(WATCH, branch, known, seen) is verdict


def test_the_log_outranks_an_older_state_only() -> None:
    state = State({"auto": Tip(A, 5), "main": Tip(B, 3), "try": Tip(C, 4)})
    log = {"auto": Logged(6, B), "main": Logged(3, A), "try": Logged(4, A)}
    assert tips.recover(WATCH, state, log) == {"auto": Tip(B, 6), "main": Tip(B, 3), "try": Tip(C, 4)}


def test_without_a_state_the_log_counts_for_candidates_and_a_target_is_newly_watched() -> None:
    assert tips.recover(WATCH, State(), {"auto": Logged(6, B), "main": Logged(3, A)}) == {"auto": Tip(B, 6)}


def test_a_branch_that_is_no_longer_watched_is_forgotten() -> None:
    assert tips.recover(Watch(("main",), ()), State({"auto": Tip(A, 5), "main": Tip(B, 3)}), {}) == {"main": Tip(B, 3)}


def test_state_survives_json() -> None:
    state = State({"auto": Tip(A, 5), "try": Tip("", 4)}, 5, 1_700_000_000)
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state


@pytest.mark.parametrize(
    "value", [{}, [], {"version": 2}, {"version": 1, "branches": {"auto": ["x", 1]}, "settled": [0, 0]}, None, "x"]
)
def test_a_state_that_cannot_be_read_is_never_an_empty_one(value: object) -> None:
    with pytest.raises(ValueError, match="saved state"):
        State.from_json(value)


def test_all_branches_gone_is_no_deletion() -> None:
    assert tips.vanished([Tip(A, 1), Tip("", 0)], {})
    assert not tips.vanished([Tip("", 1)], {})
    assert not tips.vanished([Tip(A, 1)], {"main": A})


def test_backoff_doubles_up_to_the_cap_and_ends_with_success() -> None:
    backoff, now, polls = Backoff(60), 0.0, []
    while now < 3000:
        if not backoff.holds(now):
            polls.append(now)
            backoff.failed(now)
        now += 60
    assert [later - earlier for earlier, later in itertools.pairwise(polls)][:6] == [
        60,
        120,
        240,
        300,
        300,
        300,
    ]
    assert backoff.succeeded() == len(polls)
    assert not backoff.holds(0)


def test_backoff_never_polls_more_often_than_the_interval() -> None:
    backoff = Backoff(3600)
    for _ in range(5):
        backoff.failed(0)
    assert backoff.holds(1700)
    assert not backoff.holds(3600)


@dataclasses.dataclass
class Model:
    """A repository, a database, and a poller that may die between any two writes."""

    remote: dict[str, str] = dataclasses.field(default_factory=lambda: {"main": A})
    log: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    saved: State | None = None
    memory: Memory | None = None
    seen: dict[str, str | None] = dataclasses.field(default_factory=dict)
    wanted: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def poll(self, writes: int) -> None:
        """Poll, and die after so many writes to the database."""
        left = iter(range(writes))
        if self.memory is None:
            newest = {branch: Logged(number, sha) for number, (branch, sha) in enumerate(self.log, 1)}
            self.memory = Memory.load(WATCH, self.saved, newest, 0)
        memory, moved = self.memory, []
        for branch in WATCH.branches:
            verdict = tips.judge(WATCH, branch, memory.tips.get(branch), self.remote)
            if verdict is Verdict.RECORD:
                memory.record(branch, self.remote.get(branch, tips.ABSENT))
            elif verdict is Verdict.CHANGE:
                moved.append(branch)
        if not memory.saved:
            if next(left, None) is None:
                self.memory = None
                return
            self.saved, memory.saved = State.from_json(memory.state().to_json()), True
        for branch in moved:
            if next(left, None) is None:
                self.memory = None
                return
            self.log.append((branch, self.remote[branch]))
            memory.changed(branch, self.remote[branch], len(self.log), 0)
        if not memory.saved:
            if next(left, None) is None:
                self.memory = None
                return
            self.saved, memory.saved = State.from_json(memory.state().to_json()), True


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from(["main", "auto", "try"]), st.booleans()), min_size=1, max_size=3),
            st.lists(st.integers(0, 4), max_size=3),
        ),
        max_size=6,
    )
)
def test_each_moved_tip_gives_one_change_wherever_the_poller_dies(
    rounds: list[tuple[list[tuple[str, bool]], list[int]]],
) -> None:
    model, count = Model(), 0
    model.poll(99)
    wanted: Counter[tuple[str, str]] = Counter()
    for pushes, deaths in rounds:
        for branch, reset in pushes:
            count += 1
            model.remote[branch] = model.remote["main"] if reset and branch != "main" else f"{count:040x}"
        # What an undisturbed poller would do now.
        assert model.memory
        for branch in WATCH.branches:
            if tips.judge(WATCH, branch, model.memory.tips.get(branch), model.remote) is Verdict.CHANGE:
                wanted[branch, model.remote[branch]] += 1
        for writes in deaths:
            model.poll(writes)
            model.memory = None
        model.poll(99)
        assert Counter(model.log) == wanted


def batch(content: bytes) -> bytes:
    return b"%s commit %d\n%s\n" % (A.encode(), len(content), content)


def test_a_plain_commit() -> None:
    commit = commits.parse_batch(
        batch(
            b"tree " + C.encode() + b"\nparent " + B.encode() + b"\nparent " + C.encode() + b"\n"
            b"author Ada <ada@example.org> 1700000000 +0100\ncommitter Bob <bob@example.org> 1700000001 +0000\n"
            b"gpgsig -----BEGIN\n author Eve <eve@example.org> 1 +0000\n\nMerge\n\nAutogate-Base: " + B.encode() + b"\n"
        )
    )
    assert commit == commits.Commit(
        A,
        (B, C),
        "Ada <ada@example.org>",
        "Bob <bob@example.org>",
        1_700_000_001,
        f"Merge\n\nAutogate-Base: {B}",
        B,
    )


def test_what_a_database_cannot_hold_is_cut() -> None:
    commit = commits.parse_batch(
        batch(b"author " + b"x" * 999 + b" <> 1 +0000\ncommitter C <c> 99999999999999999999 +0000\n\n" + b"m" * 2**20)
    )
    assert len(commit.author) == commits.MAX_PERSON
    assert commit.when == commits.MAX_WHEN
    assert len(commit.comments) < commits.MAX_COMMENTS + 20
    assert commit.comments.endswith("[cut here]")


@pytest.mark.parametrize("encoding", [b"", b"encoding ISO-8859-1\n"])
@pytest.mark.parametrize(
    "other", [b"encoding no-such\n", b"encoding zip\n", b"encoding idna\n", b"encoding undefined\n"]
)
def test_any_encoding(encoding: bytes, other: bytes) -> None:
    head = b"author A <a> -5 +0000\ncommitter A <a> -5 +0000\n"
    assert commits.parse_batch(batch(head + encoding + b"\nCaf\xe9\0")).comments == (
        "Caf\N{LATIN SMALL LETTER E WITH ACUTE}" if encoding else "Caf\N{REPLACEMENT CHARACTER}"
    )
    assert commits.parse_batch(batch(head + other + b"\nCaf\xe9")).comments == "Caf\N{REPLACEMENT CHARACTER}"


@given(st.binary(max_size=400))
def test_any_bytes(content: bytes) -> None:
    commit = commits.parse_batch(batch(content))
    assert commit.sha == A
    assert "\0" not in commit.author + commit.comments
    (commit.author + commit.committer + commit.comments).encode()


@pytest.mark.parametrize("output", [b"", b"refs/autogate/auto missing\n", A.encode() + b" tree 0\n\n"])
def test_no_commit(output: bytes) -> None:
    with pytest.raises(ValueError, match="no such commit"):
        commits.parse_batch(output)


def test_base_is_believed_only_in_the_first_parent_chain() -> None:
    commit = commits.Commit(A, (B, C), "", "", 0, "", C)
    assert commits.base_of(commit, [B, C]) == C
    assert commits.base_of(commit, [B]) == B
    assert commits.base_of(dataclasses.replace(commit, parents=()), []) == ""


def test_names_are_capped_and_odd_ones_legible() -> None:
    assert commits.parse_names(b"a b\0caf\xe9\0") == ["a b", "caf\\xe9"]
    assert len(commits.parse_names(b"x\0" * 5000)) == commits.MAX_FILES
    assert commits.parse_names(b"") == []
    assert len(commits.parse_names(b"x" * 5000)[0]) == commits.MAX_FILE_NAME
