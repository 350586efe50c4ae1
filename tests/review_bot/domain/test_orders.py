"""Events told never, once or three times, in any order and an hour late have one effect, and all comes to an end."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autogate.contract import Cause, Result
from review_bot.domain.effects import Effect, Land, MakeCandidate, ReadComment
from review_bot.domain.events import (
    CandidateMade,
    CommentHinted,
    Configured,
    Event,
    PullRequestGone,
    PullRequestSeen,
    TargetSeen,
    TimePassed,
    VerdictReached,
)
from review_bot.domain.model import AttemptKind, Conflicted, FailedAlone, Standing

from .world import POLICY, World

TOLD = (CommentHinted, Configured, PullRequestGone, PullRequestSeen, TargetSeen, TimePassed, VerdictReached)
"""What others tell the bot. What its own hands report is stored in the transaction that ends their work: once."""

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Pushed:
    """The repository changed: a topic's head, None when it was deleted; or, without a number, the target's tip."""

    number: int | None
    head: str | None


@dataclass
class Named(World):
    """Gives the same candidate of the same attempt the same SHA, as git does.

    Attributes:
        history: What was told and what changed in the repository.
        meant: (number, head) that a reviewer looked at when they approved.
    """

    history: list[Event | Pushed] = field(default_factory=list)
    meant: set[tuple[int, str]] = field(default_factory=set)
    _content: list[object] = field(default_factory=list)

    def take(self, event: Event) -> None:
        if isinstance(event, TOLD):
            self.history.append(event)
        super().take(event)

    def push(self, number: int, *, seen: bool = True) -> str:
        head = super().push(number, seen=False)
        self.history.append(Pushed(number, head))
        if seen:
            self.see(number)
        return head

    def delete(self, number: int) -> None:
        del self.topics[number]
        self.history.append(Pushed(number, None))
        self.later(1)
        self.see(number)

    def human_pushes(self) -> str:
        tip = super().human_pushes()
        self.history.append(Pushed(None, tip))
        return tip

    def approve(self, *numbers: int) -> None:
        for number in numbers:
            self.push(number)
        for number in numbers:
            self.approve_again(number)

    def approve_again(self, number: int) -> None:
        self.meant.add((number, self.topics[number]))
        self.say(number, "@autogate r+")

    def sha(self) -> str:
        if not self._content:
            return super().sha()
        self._content.append(0)
        return hashlib.sha1(repr(self._content).encode(), usedforsecurity=False).hexdigest()

    def _merge(self, effect: MakeCandidate) -> CandidateMade:
        self._content = [effect.attempt, effect.to, effect.base or self.tip, [member.head for member in effect.members]]
        made = super()._merge(effect)
        self._content = []
        return made


# What happens


@dataclass(frozen=True)
class Story:
    """What happens, in its natural order.

    Attributes:
        tell: Lets it happen.
        is_bad: Tells whether a combination of pull requests fails.
        conflicts: Those that do not merge.
    """

    tell: Callable[[Named], None]
    is_bad: Callable[[frozenset[int]], bool] = lambda _numbers: False
    conflicts: frozenset[int] = frozenset()


def lands(world: Named) -> None:
    world.approve(1)
    world.passes()


def two_after_each_other(world: Named) -> None:
    world.approve(1)
    world.approve(2)
    world.builds(STORIES["two"].is_bad)


def is_searched(world: Named) -> None:
    world.approve(1)
    world.approve(2, 3, 4, 5)
    world.builds(STORIES["searched"].is_bad)


def fail_together(world: Named) -> None:
    world.approve(1)
    world.approve(2, 3)
    world.builds(STORIES["together"].is_bad)


def conflicts(world: Named) -> None:
    world.approve(1)
    world.approve(2, 3, 4)
    world.builds(STORIES["conflict"].is_bad)


def is_tried(world: Named) -> None:
    world.push(1)
    world.say(1, "@autogate try", by="tim")
    trial = world.trial
    world.approve_again(1)
    world.passes(trial)
    world.passes()


def is_withdrawn(world: Named) -> None:
    world.approve(1, 2)
    world.say(1, "@autogate r-")
    world.builds(STORIES["withdrawn"].is_bad)


def moves_and_is_not_approved_again(world: Named) -> None:
    world.approve(1, 2)
    world.push(1)
    world.run()
    world.builds(STORIES["moved"].is_bad)


def moves_unnoticed_and_is_approved_again(world: Named) -> None:
    world.approve(1)
    world.push(1, seen=False)
    world.passes()
    world.approve_again(1)
    world.passes()


def base_moves(world: Named) -> None:
    world.approve(1)
    first = world.auto
    world.human_pushes()
    world.target_seen()
    world.passes(first)
    world.passes()


def breaks_down(world: Named) -> None:
    world.approve(1)
    world.verdict(Result.EXCEPTION, cause=Cause.INFRASTRUCTURE)
    world.time_passes(100)
    world.passes()


def is_deleted(world: Named) -> None:
    world.approve(1, 2)
    world.delete(1)
    world.run()
    world.builds(STORIES["deleted"].is_bad)


STORIES = {
    "landing": Story(lands),
    "two": Story(two_after_each_other),
    "searched": Story(is_searched, lambda numbers: bool(numbers & {3, 5})),
    "together": Story(fail_together, lambda numbers: {2, 3} <= numbers),
    "conflict": Story(conflicts, conflicts=frozenset({3})),
    "tried": Story(is_tried),
    "withdrawn": Story(is_withdrawn),
    "moved": Story(moves_and_is_not_approved_again),
    "moved unnoticed": Story(moves_unnoticed_and_is_approved_again),
    "base moved": Story(base_moves),
    "infrastructure": Story(breaks_down),
    "deleted": Story(is_deleted),
}


def told(story: Story) -> Named:
    world = Named(conflicts=set(story.conflicts))
    story.tell(world)
    world.run()
    return world


@pytest.mark.parametrize("name", STORIES)
def test_every_story_comes_to_an_end_when_it_is_told_as_it_happened(name: str) -> None:
    world = told(STORIES[name])
    assert not world.state.attempts
    assert world.landings
    assert any(isinstance(each, VerdictReached) for each in world.history)


# The same, told badly


class Retold(Named):
    """A world in which a story is told badly, one hour later, and checked at every step.

    Args:
        story: The story.
        original: What came of it when it was told well.
        random: Decides how badly.
    """

    def __init__(self, story: Story, original: Named, random: Random) -> None:
        self.story = story
        self.random = random
        self.comments: set[str] = set()
        self.lands: Counter[int] = Counter()
        super().__init__(now=original.now + HOUR, conflicts=set(story.conflicts), meant=set(original.meant))

    def take(self, event: Event) -> None:
        before = len(self.effects)
        super().take(event)
        self.lands.update(effect.attempt for effect in self.effects[before:] if isinstance(effect, Land))
        self.look()

    def hear(self, event: Event) -> None:
        """Let something be told: the database knows a comment that it has had, by its id."""
        if isinstance(event, CommentHinted):
            if event.comment.id in self.comments:
                return
            self.comments.add(event.comment.id)
        if isinstance(event, VerdictReached):
            self.tested.setdefault(event.revision, {})[event.verdict.builder] = event.verdict.result
        # the bot's own clock is right; what it is told may be old
        self.take(event.model_copy(update={"at": self.now}))

    def change(self, pushed: Pushed) -> None:
        """Let the repository change."""
        if pushed.number is None:
            self.tip = pushed.head or ""
        elif pushed.head is None:
            self.topics.pop(pushed.number, None)
        elif (pushed.number, pushed.head) not in self.landed():
            self.topics[pushed.number] = pushed.head

    def work(self, most: int) -> None:
        """Carry out some effects; the bot may die after doing one and do it again."""
        for _ in range(self.random.randint(0, most)):
            if not self.effects:
                return
            self.later(1)
            if isinstance(self.effects[0], ReadComment | MakeCandidate | Land) and self.random.random() < 0.3:
                self.repeat(self.effects[0])
            self.step()

    def repeat(self, effect: Effect) -> None:
        """Carry an effect out, and forget what came of it."""
        tip = self.tip
        if isinstance(effect, Land) and self.state.attempts[effect.attempt].stage.value != "landing":
            return
        self.carry_out(effect)
        assert self.tip in {tip, getattr(effect, "sha", tip)}

    def landed(self) -> list[tuple[int, str]]:
        """Return (number, head) of everything in the target, as often as it is there."""
        heads = []
        for base, sha in self.landings:
            here = sha
            while here != base:
                heads.append(self.commits[here].second)
                here = self.commits[here].first
        return [(number, head) for head in heads for number, meant in self.meant if meant == head]

    def look(self) -> None:
        """Assert what holds at every moment."""
        self.check()
        live = [attempt for attempt in self.state.attempts.values() if attempt.is_live]
        autos = Counter(attempt.target for attempt in live if attempt.kind is AttemptKind.AUTO)
        assert max(autos.values(), default=0) <= 1
        assert sum(attempt.kind is AttemptKind.TRY for attempt in live) <= 1
        assert max(self.lands.values(), default=0) <= 1, "an attempt was landed twice"
        for pull in self.state.pulls.values():
            assert pull.approval is None or pull.approval.head == pull.head
            assert pull.approval is None or (pull.number, pull.head) in self.meant, "nobody looked at what is approved"
        for attempt in live:
            if attempt.kind is AttemptKind.AUTO:
                assert {(member.number, member.head) for member in attempt.members} <= self.meant
        assert max(Counter(self.landed()).values(), default=0) <= 1, "a change landed twice"

    def end(self, history: list[Event | Pushed]) -> None:
        """Read again what was missed, ask Buildbot, and have people approve what they still want."""
        for each in history:
            if isinstance(each, CommentHinted):
                self.hear(each)
        numbers = {each.number for each in history if isinstance(each, Pushed) and each.number is not None}
        for number in sorted(numbers):
            self.later(1)
            self.see(number)
            self.run()
        self.target_seen()
        self.builds(self.story.is_bad)
        for number, pull in sorted(self.state.pulls.items()):
            if pull.approval is None:
                self.approve_again(number)
        self.builds(self.story.is_bad)
        self.run()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False))
@pytest.mark.parametrize("name", STORIES)
def test_told_badly_a_story_has_one_effect_and_ends(name: str, random: Random) -> None:
    story = STORIES[name]
    original = told(story)
    world = Retold(story, original, random)
    for each in badly(original.history, random):
        if isinstance(each, Pushed):
            world.change(each)
        else:
            world.hear(each)
        world.work(4)
    world.end(original.history)
    for number, pull in world.ended.items():
        aside = isinstance(pull.setback, Conflicted | FailedAlone)
        assert pull.standing is not Standing.OPEN or aside, number
    landed = frozenset(number for number, pull in world.ended.items() if pull.standing is Standing.LANDED)
    assert not story.is_bad(landed)
    assert not landed & story.conflicts
    assert not world.state.attempts
    pushed = {each.number: each.head for each in original.history if isinstance(each, Pushed) and each.number}
    there = {number for number, head in pushed.items() if head is not None}
    assert world.ended.keys() >= there
    if not story.is_bad(frozenset(there)):
        assert landed >= there - story.conflicts


def badly(history: list[Event | Pushed], random: Random) -> list[Event | Pushed]:
    """Return what happened, each event 0, 1 or 3 times and in any order; the repository changes as it did."""
    changes = iter([each for each in history if isinstance(each, Pushed)])
    all_of_it = [each for each in history for _ in range(1 if isinstance(each, Pushed) else random.choice((0, 1, 3)))]
    if random.random() < 0.8:
        random.shuffle(all_of_it)
    return [next(changes) if isinstance(each, Pushed) else each for each in all_of_it]


def test_an_approval_that_arrives_after_its_withdrawal_stays_withdrawn() -> None:
    world = Named(POLICY)
    world.push(1)
    approved_at = world.now + timedelta(seconds=1)
    world.later(60)
    world.say(1, "@autogate r-")
    world.say(1, "@autogate r+", at=approved_at)
    assert world.state.pulls[1].approval is None
    world.say(1, "@autogate r+")
    assert world.state.pulls[1].approval is not None
