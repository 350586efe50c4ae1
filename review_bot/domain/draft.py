"""A decision in the making: the state so far, and the effects so far."""

from dataclasses import dataclass, field
from datetime import datetime

from .answers import Answer
from .effects import Effect, Reply, ShowStatus
from .events import Comment
from .model import Attempt, Ended, PullRequest, Repository, Standing, State, Target

REMEMBERED_ENDED = 200


@dataclass
class Draft:
    """What a handler works on; lives for one call of `decide`.

    Attributes:
        state: The state so far.
        at: The event's time.
        trace: The event's trace.
        effects: The effects so far.
        changed: The pull requests whose status looks different now.
        has_ended: Whether a pull request or an attempt has ended.
    """

    state: State
    at: datetime
    trace: str
    effects: list[Effect] = field(default_factory=list)
    changed: dict[int, None] = field(default_factory=dict)
    has_ended: bool = False

    @property
    def repository(self) -> Repository:
        """What holds for the repository as a whole."""
        return self.state.repository

    def update_repository(self, **fields: object) -> None:
        """Change fields of the repository record."""
        self.state = self.state.with_repository(self.repository.model_copy(update=fields))

    def update_target(self, name: str, **fields: object) -> Target:
        """Change fields of a target, and return it."""
        target = self.state.target(name).model_copy(update=fields)
        self.state = self.state.with_target(target)
        return target

    def update_pull(self, pull: PullRequest, **fields: object) -> PullRequest:
        """Change fields of a pull request, and return it."""
        pull = pull.model_copy(update=fields)
        self.state = self.state.with_pull(pull)
        self.changed[pull.number] = None
        return pull

    def update_attempt(self, attempt: Attempt, **fields: object) -> Attempt:
        """Change fields of an attempt, and return it."""
        attempt = attempt.model_copy(update=fields)
        self.state = self.state.with_attempt(attempt)
        self.changed.update(dict.fromkeys(attempt.numbers))
        return attempt

    def end_pull(self, pull: PullRequest, standing: Standing, landed_as: str | None = None) -> None:
        """Let a pull request end, and remember it so that what was read before does not open it again."""
        self.has_ended = True
        self.update_pull(pull, standing=standing, landed_as=landed_as, waits_for=None, stale=False)
        ended = Ended(source=pull.source, number=pull.number, at=self.at)
        self.update_repository(
            ended=(*self.repository.ended, ended)[-REMEMBERED_ENDED:],
            tries=tuple(request for request in self.repository.tries if request.member.number != pull.number),
        )

    def reply(self, comment: Comment, number: int, answer: Answer) -> None:
        """Answer the author of a comment."""
        self.effects.append(Reply(number=number, to=comment.author, comment=comment.id, answer=answer))

    def show(self) -> None:
        """Bring the forge's view of what has changed in line."""
        if self.repository.policy.comments:
            self.effects += [ShowStatus(number=number) for number in self.changed]
