"""What carries effects out: each in git, on the forge, or at Buildbot; what comes of it is an event again."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from autogate.settings import Repository
from review_bot import wording
from review_bot.ci.buildbot import Buildbot
from review_bot.ci.rest import BuildbotError
from review_bot.domain.answers import Done
from review_bot.domain.decide import is_permitted
from review_bot.domain.effects import (
    AskBuildbot,
    CancelBuilds,
    Effect,
    Finalise,
    Land,
    MakeCandidate,
    PushCandidate,
    ReadComment,
    ReadPullRequest,
    Reply,
    ShowStatus,
)
from review_bot.domain.events import (
    BuildbotAnswered,
    CandidateLost,
    CandidatePushed,
    CommentRead,
    Event,
    Landed,
    LandingContradicted,
    LandingRefused,
    PullRequestGone,
    PullRequestSeen,
    Snapshot,
)
from review_bot.domain.model import AttemptKind, Member, State
from review_bot.forges.protocol import Forge, GoneError, Known
from review_bot.merging import landing
from review_bot.merging.errors import MissingCommitError, RuleBrokenError
from review_bot.merging.mirror import Mirror
from review_bot.watching import as_known

States = Callable[[], State]
"""Gives what is known at this very moment."""

KEPT_ATTEMPTS = 100
"""The refs of so many attempts stay in the repository, for whoever wants to look at what was tested."""

OUTSIDE = frozenset({"reply", "show_status", "cancel_builds", "ask_buildbot"})
"""Effects that do not touch git: they wait for nobody, and nobody waits for them."""

AGAIN_SECONDS = 3
"""After so long it is looked again whether what was cancelled has ended."""

log = structlog.get_logger(__name__)


class NotYetError(Exception):
    """An effect is not done yet, though nothing failed.

    Args:
        again_at: When to go on with it.
    """

    def __init__(self, again_at: datetime) -> None:
        super().__init__(again_at)
        self.again_at = again_at


@dataclass
class Hands:
    """Carries out the effects of one repository.

    Attributes:
        repository: Its settings.
        mirror: The bot's own copy of it.
        forge: Where its pull requests live.
        buildbot: Where it is built.
        state: Gives what is known at this very moment.
        status: Gives the status text of a pull request.
        now: The clock.
    """

    repository: Repository
    mirror: Mirror
    forge: Forge
    buildbot: Buildbot
    state: States
    status: Callable[[int], Awaitable[str | None]]
    now: Callable[[], datetime]

    async def carry_out(self, effect: Effect) -> Event | None:
        """Do what an effect says, and return what came of it, if anybody wants to know.

        Raises:
            GitError, ForgeError, BuildbotError, OSError: it did not work, and is to be tried again.
            NotYetError: it is to be gone on with later.
        """
        result: Event | None = None
        match effect:
            case ReadComment():
                result = await self._read_comment(effect)
            case ReadPullRequest():
                result = await self._read_pull_request(effect.number)
            case MakeCandidate():
                result = await self._make_candidate(effect)
            case PushCandidate():
                result = await self._push_candidate(effect)
            case Land():
                result = await self._land(effect)
            case AskBuildbot(attempt=attempt, sha=sha, builders=builders):
                answers = await self.buildbot.ask(sha, builders)
                result = BuildbotAnswered(attempt=attempt, builders=answers, at=self.now())
            case CancelBuilds():
                await self._cancel_builds(effect)
            case Finalise(number=number, source=source, head=head, landed_as=landed_as):
                await self.forge.finalise(Known(number, source, head), landed_as)
            case Reply(number=number, answer=answer):
                # that a command took effect is seen in the status; it need not be said
                if not isinstance(answer, Done):
                    await self.forge.reply(number, wording.answer(answer, self.state().repository.policy.bot))
            case ShowStatus(number=number):
                if text := await self.status(number):
                    await self.forge.show_status(number, text)
        return result

    async def _read_comment(self, effect: ReadComment) -> Event | None:
        try:
            read = await self.forge.comment(effect.comment)
        except GoneError:
            return None
        pull = self.state().pulls.get(effect.comment.number)
        snapshot = await self.forge.pull_request(as_known(pull)) if pull else None
        return CommentRead(comment=read.comment, may_write=read.may_write, snapshot=snapshot, at=self.now())

    async def _read_pull_request(self, number: int) -> Event | None:
        pull = self.state().pulls.get(number)
        if pull is None:
            return None
        begun = self.now()
        snapshot = await self.forge.pull_request(as_known(pull))
        if snapshot is None:
            return PullRequestGone(number=number, read_at=begun, at=self.now())
        return PullRequestSeen(snapshot=snapshot, at=self.now())

    async def _make_candidate(self, effect: MakeCandidate) -> Event:
        refs = {known.number: self.forge.fetch_ref(known) for known in self._known(effect.members)}
        there = tuple(member for member in effect.members if member.number in refs)
        candidate = await self.mirror.make_candidate(effect.model_copy(update={"members": there}), refs)
        return candidate.event(self.now())

    async def _push_candidate(self, effect: PushCandidate) -> Event:
        branch = self.repository.auto if effect.to is AttemptKind.AUTO else self.repository.try_branch
        try:
            await self.mirror.push_candidate(effect, branch)
        except MissingCommitError as error:
            return CandidateLost(attempt=effect.attempt, detail=str(error), at=self.now())
        try:
            await self.buildbot.poke(self.repository.name)
        except BuildbotError as error:
            # it polls in any case
            log.warning("Buildbot was not poked", attempt=effect.attempt, revision=effect.sha, error=str(error))
        if (old := effect.attempt - KEPT_ATTEMPTS) > 0:
            await self.mirror.forget_attempts([old])
        return CandidatePushed(attempt=effect.attempt, at=self.now())

    async def _cancel_builds(self, effect: CancelBuilds) -> None:
        told = await self.buildbot.cancel(effect.sha, effect.builders)
        if self.now() >= effect.until:
            return
        # a build that just begins may miss that it is to end; one that Buildbot has not heard of yet is still to come
        if not told:
            answers = await self.buildbot.ask(effect.sha, effect.builders)
            told = sum(answer.status == "no_request" for answer in answers.values())
        if told:
            raise NotYetError(self.now() + timedelta(seconds=AGAIN_SECONDS))

    async def _land(self, effect: Land) -> Event:
        known = self._known(effect.members)
        deletions = [deletion for each in known for deletion in self.forge.landing_deletions(each)]
        # where a ref goes in the landing push itself, that push fails when the head moved
        unguarded = [each for each in known if not self.forge.landing_deletions(each)]
        moved: list[Snapshot] = []
        gone: list[int] = []

        async def may_push() -> bool:
            await self._look(unguarded, effect, moved, gone)
            return not moved and not gone and is_permitted(self.state(), effect)

        try:
            result = await self.mirror.land(effect, deletions, may_push)
        except (MissingCommitError, RuleBrokenError) as error:
            return CandidateLost(attempt=effect.attempt, detail=str(error), at=self.now())
        match result:
            case landing.Landed():
                return Landed(attempt=effect.attempt, at=self.now())
            case landing.Contradicted(tip=tip):
                return LandingContradicted(attempt=effect.attempt, tip=tip, at=self.now())
            case landing.Refused(tip=tip):
                return LandingRefused(attempt=effect.attempt, tip=tip, base_moved=True, at=self.now())
            case landing.HeadMoved():
                await self._look(known, effect, moved, gone)
        return LandingRefused(attempt=effect.attempt, snapshots=tuple(moved), gone=tuple(gone), at=self.now())

    async def _look(self, known: Sequence[Known], effect: Land, moved: list[Snapshot], gone: list[int]) -> None:
        heads = {member.number: member.head for member in effect.members}
        for each in known:
            snapshot = await self.forge.pull_request(each)
            if snapshot is None:
                gone.append(each.number)
            elif snapshot.head != heads[each.number] or snapshot.target != effect.target:
                moved.append(snapshot)

    def _known(self, members: Sequence[Member]) -> list[Known]:
        pulls = self.state().pulls
        return [
            Known(member.number, pulls[member.number].source, member.head)
            for member in members
            if member.number in pulls
        ]
