"""The JSON API: a thin shell round `views` and the desk."""

import asyncio
import difflib
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import BaseModel

from autogate import botapi
from review_bot import wording
from review_bot.desk import Desk, Trouble, UnknownRepositoryError
from review_bot.domain.answers import Refused, Unknown
from review_bot.domain.events import Comment, CommentHinted, Event, FreezeAsked, PauseAsked
from review_bot.domain.model import PullRequest, State
from review_bot.forges.protocol import ForgeError
from review_bot.store.store import Store

from . import views
from .auth import Auth
from .problems import ProblemError, documented

ANSWER_SECONDS = 15
"""So long a command may take until its answer says that the bot is still at it."""

LOOK_AGAIN_SECONDS = {True: 0.5, False: 3}
"""After so long a look that waits for a change looks again: in the leader, and where the database is read for it."""

TIMELINE_PAGE = 50
SHOWN_ATTEMPTS = 20
SHOWN_NEAR = 5

_LARGEST = 2**31 - 1
"""The database's integers end there."""

T = TypeVar("T")

RepositoryName = Annotated[str, Path(description="A repository's name.", examples=["shop"], max_length=100)]
Number = Annotated[int, Path(description="The pull request's number.", examples=[7], ge=1, le=_LARGEST)]
Wait = Annotated[
    float,
    Query(
        ge=0,
        le=botapi.MAX_WAIT_SECONDS,
        description="Seconds to wait for a change, when `If-None-Match` names what is shown already.",
    ),
]
Seen = Annotated[str, Header(alias="If-None-Match", description="The `ETag` of what is shown already.")]

_READING = documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_OF_ONE = _READING | documented(HTTPStatus.NOT_FOUND)
_WATCHED = _OF_ONE | {int(HTTPStatus.NOT_MODIFIED): {"description": "Nothing has changed."}}
_WRITING = _OF_ONE | documented(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_ORDERING = _WRITING | documented(HTTPStatus.FORBIDDEN)


class Api:
    """The API's routes.

    Args:
        desk: The bot.
        store: The database.
        auth: Who may come in.
        clock: Gives the time that events get.
    """

    def __init__(self, desk: Desk, store: Store, auth: Auth, clock: Callable[[], datetime]) -> None:
        self._desk = desk
        self._store = store
        self._clock = clock
        self._ordered: dict[str, tuple[State, views.Ordering]] = {}
        self.router = APIRouter(prefix=botapi.PREFIX, tags=["api"], dependencies=[Depends(auth.owner)])
        self._add_reading()
        self._add_writing(auth)

    def _add_reading(self) -> None:
        get = self.router.get

        @get("/repositories", responses=_READING, operation_id="repositories")
        async def repositories() -> botapi.Repositories:
            """List the repositories, with what is tested now and what is frozen or paused."""
            states = [await self._desk.state(name) for name in self._desk.repositories]
            bot = next((state.repository.policy.bot for state in states), "")
            return botapi.Repositories(
                bot=bot, repositories=tuple(views.repository(state, self._ordering(state)) for state in states)
            )

        @get(
            "/repositories/{repository}/queue",
            response_model=botapi.Queue,
            responses=_WATCHED,
            operation_id="queue",
        )
        async def queue(
            *,
            repository: RepositoryName,
            target: Annotated[
                str | None, Query(description="Only pull requests for this target.", max_length=250)
            ] = None,
            limit: Annotated[
                int, Query(ge=1, le=botapi.MAX_PAGE, description="At most so many.")
            ] = botapi.DEFAULT_PAGE,
            after: Annotated[
                str,
                Query(pattern=r"^[0-9]{1,9}-[0-9]{1,10}$|^$", description="A page's `next`, for the page behind it."),
            ] = "",
            wait: Wait = 0,
            seen: Seen = "",
        ) -> Response:
            """List the open pull requests: being tested, in the queue, set aside, not approved."""

            async def read() -> tuple[State, Sequence[Trouble]]:
                return await self._state(repository), tuple(await self._desk.troubles(repository))

            def show(basis: tuple[State, Sequence[Trouble]]) -> botapi.Queue:
                state, troubles = basis
                return views.queue(state, self._ordering(state), troubles, target=target, after=after, limit=limit)

            if target is not None:
                _known_target(await self._state(repository), target)
            return await _watched(read, show, seen, wait, self._pause())

        @get(
            "/repositories/{repository}/pulls/{number}",
            response_model=botapi.PullRequestDetail,
            responses=_WATCHED,
            operation_id="pull_request",
        )
        async def pull_request(
            *,
            repository: RepositoryName,
            number: Number,
            before: Annotated[
                int | None, Query(ge=1, le=2**53, description="`earlier` of the page before, for the timeline's next.")
            ] = None,
            wait: Wait = 0,
            seen: Seen = "",
        ) -> Response:
            """Show a pull request: where it is and why, the newest attempt's verdicts, and its timeline."""

            async def read() -> botapi.PullRequestDetail:
                return await self._detail(repository, number, before)

            return await _watched(read, lambda detail: detail, seen, wait, self._pause())

        @get("/repositories/{repository}/pulls", responses=_OF_ONE, operation_id="find")
        async def find(
            repository: RepositoryName,
            source: Annotated[
                str,
                Query(
                    min_length=1,
                    max_length=500,
                    pattern=r"^[^\x00-\x1f\x7f]+$",
                    description="`refs/for/main/fix-typo`, `main/fix-typo` or `fix-typo`; on a forge, the branch.",
                    examples=["fix-typo"],
                ),
            ],
        ) -> botapi.Found:
            """Find pull requests by where they come from; open ones first, else those that have ended."""
            state = await self._state(repository)
            pulls = [pull for pull in state.pulls.values() if views.is_called(pull, source)]
            for name in views.sources(state.repository.policy.targets, source) if not pulls else ():
                ended = await self._store.find_source(repository, name)
                pulls += [ended] if ended and ended.number not in {pull.number for pull in pulls} else []
            names = {views.topic(pull) for pull in state.pulls.values()} if not pulls else set()
            troubles = await self._desk.troubles(repository)
            positions = self._ordering(state).positions
            return botapi.Found(
                pulls=tuple(views.pull_request(state, pull, positions, troubles) for pull in pulls),
                near=await _near(source, names),
            )

    def _add_writing(self, auth: Auth) -> None:
        post = self.router.post
        owner = Annotated[str, Depends(auth.owner)]

        @post(
            "/repositories/{repository}/pulls/{number}/comments",
            responses=_WRITING,
            operation_id="comment",
        )
        async def comment(
            repository: RepositoryName, number: Number, new: botapi.NewComment, author: owner
        ) -> botapi.CommandResult:
            """Comment on a pull request in the name of the token, and wait for the answer.

            The same request again is the same comment, and waits on for what it led to.
            """
            await self._pull(repository, number)
            trace = _trace(repository, author, number, new)
            now = self._clock()
            said = Comment(id=f"api-{trace}", number=number, author=author, body=new.body, written_at=now)
            event = CommentHinted(at=now, comment=said)
            await self._desk.hand_in(repository, event, key=f"comment/{said.id}", trace=trace)
            answered = await self._desk.answered(repository, trace, ANSWER_SECONDS)
            state, pull = await self._pull(repository, number)
            troubles = await self._desk.troubles(repository)
            return botapi.CommandResult(
                trace=trace,
                answers=tuple(wording.answer(answer) for answer in answered.answers),
                refused=any(isinstance(answer, Refused | Unknown) for answer in answered.answers),
                settled=answered.settled,
                pull=views.pull_request(state, pull, self._ordering(state).positions, troubles),
            )

        @post("/repositories/{repository}/freeze", responses=_ORDERING, operation_id="freeze")
        async def freeze(repository: RepositoryName, asked: botapi.FreezeRequest, by: owner) -> botapi.RepositoryResult:
            """Let nothing land on a target, but for pull requests of a priority. For reviewers."""
            _known_target(await self._as_reviewer(repository, by), asked.target)
            event = FreezeAsked(
                at=self._clock(), target=asked.target, by=by, priority=asked.priority, reason=asked.reason
            )
            return await self._ask(repository, event)

        @post("/repositories/{repository}/thaw", responses=_ORDERING, operation_id="thaw")
        async def thaw(repository: RepositoryName, asked: botapi.ThawRequest, by: owner) -> botapi.RepositoryResult:
            """End a target's freeze. For reviewers."""
            _known_target(await self._as_reviewer(repository, by), asked.target)
            return await self._ask(repository, FreezeAsked(at=self._clock(), target=asked.target, by=by, thaw=True))

        @post("/repositories/{repository}/pause", responses=_ORDERING, operation_id="pause")
        async def pause(repository: RepositoryName, asked: botapi.PauseRequest, by: owner) -> botapi.RepositoryResult:
            """Start nothing new and land nothing. For reviewers."""
            await self._as_reviewer(repository, by)
            return await self._ask(repository, PauseAsked(at=self._clock(), by=by, reason=asked.reason))

        @post("/repositories/{repository}/resume", responses=_ORDERING, operation_id="resume")
        async def resume(repository: RepositoryName, by: owner) -> botapi.RepositoryResult:
            """End a pause. For reviewers."""
            await self._as_reviewer(repository, by)
            return await self._ask(repository, PauseAsked(at=self._clock(), by=by, resume=True))

        @post(
            "/repositories/{repository}/poke",
            responses=_WRITING | documented(HTTPStatus.BAD_GATEWAY),
            operation_id="poke",
        )
        async def poke(repository: RepositoryName) -> botapi.RepositoryResult:
            """Look at the forge now, and answer when what was found is acted on."""
            await self._state(repository)
            try:
                await self._desk.look(repository)
            except ForgeError as error:
                raise ProblemError(HTTPStatus.BAD_GATEWAY, f"the bot could not look: {error}") from None
            return botapi.RepositoryResult(settled=True, repository=await self._repository(repository))

    async def _state(self, repository: str) -> State:
        try:
            return await self._desk.state(repository)
        except UnknownRepositoryError:
            known = tuple(self._desk.repositories)
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                f"there is no repository {repository!r}",
                f"there are: {', '.join(known)}" if known else "add one: a file in repos.d",
                known,
            ) from None

    async def _as_reviewer(self, repository: str, name: str) -> State:
        state = await self._state(repository)
        if name not in state.repository.policy.reviewers:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                f"{name!r} is not a reviewer of {repository!r}",
                "ask one, or be added to `reviewers` under [review] in the repository's file",
            )
        return state

    async def _pull(self, repository: str, number: int) -> tuple[State, PullRequest]:
        state = await self._state(repository)
        pull = state.pulls.get(number) or await self._store.pull_request(repository, number)
        if pull is None:
            near = await _near(str(number), map(str, state.pulls))
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                f"{repository!r} has no pull request {number}",
                "the queue lists the open ones; was it just opened, `poke` makes the bot look at once",
                near,
            )
        return state, pull

    async def _detail(self, repository: str, number: int, before: int | None) -> botapi.PullRequestDetail:
        state, pull = await self._pull(repository, number)
        troubles = await self._desk.troubles(repository)
        live = [attempt for attempt in state.attempts.values() if number in attempt.numbers]
        stored = (await self._store.attempts_of(repository, number))[-SHOWN_ATTEMPTS:]
        # what is live is newer in the state than what was read before it
        attempts = {attempt.id: attempt for attempt in (*stored, *live)}
        newest_first = [attempts[key] for key in sorted(attempts, reverse=True)]
        entries = await self._store.timeline(repository, number, limit=TIMELINE_PAGE + 1, before=before)
        shown = entries[:TIMELINE_PAGE]
        return botapi.PullRequestDetail(
            bot=state.repository.policy.bot,
            repository=repository,
            pull=views.pull_request(state, pull, self._ordering(state).positions, troubles),
            opened_at=pull.opened_at,
            delegates=tuple(sorted(pull.delegates)),
            status=wording.status(state, pull, newest_first, troubles),
            attempts=tuple(views.attempt(attempt) for attempt in newest_first),
            verdicts=tuple(views.verdict(verdict) for verdict in newest_first[0].verdicts.values())
            if newest_first
            else (),
            timeline=tuple(views.timeline(shown)),
            earlier=shown[-1].id if len(entries) > len(shown) else None,
        )

    async def _repository(self, repository: str) -> botapi.Repository:
        state = await self._state(repository)
        return views.repository(state, self._ordering(state))

    async def _ask(self, repository: str, event: Event) -> botapi.RepositoryResult:
        trace = uuid.uuid4().hex
        await self._desk.hand_in(repository, event, trace=trace)
        answered = await self._desk.answered(repository, trace, ANSWER_SECONDS)
        return botapi.RepositoryResult(settled=answered.settled, repository=await self._repository(repository))

    def _pause(self) -> float:
        return LOOK_AGAIN_SECONDS[self._desk.is_leader]

    def _ordering(self, state: State) -> views.Ordering:
        """Return the state's ordering, which is made once a state and used by all who look at it."""
        known = self._ordered.get(state.repository.name)
        if known is None or known[0] is not state:
            known = (state, views.ordering(state))
            self._ordered[state.repository.name] = known
        return known[1]


def _known_target(state: State, target: str) -> None:
    known = state.repository.policy.targets
    if target not in known:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            f"{target!r} is no target of {state.repository.name!r}",
            f"there are: {', '.join(known)}",
            known,
        )


async def _near(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that look most alike; among ten thousand that takes a while, in which others are served."""
    return tuple(await asyncio.to_thread(difflib.get_close_matches, name, list(names), SHOWN_NEAR))


def _trace(repository: str, author: str, number: int, new: botapi.NewComment) -> str:
    """Return the trace of a comment, the same for the same request."""
    request = "\0".join((repository, author, str(number), new.body))
    return uuid.uuid5(new.id, request).hex


async def _watched(
    read: Callable[[], Awaitable[T]], show: Callable[[T], BaseModel], seen: str, wait: float, pause: float
) -> Response:
    """Answer with what ``show`` makes of what ``read`` gives, as soon as that is not what was ``seen``.

    Looking again and again needs nothing but the state, so it works in a process that stands by as well.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait
    basis = await read()
    body = show(basis).model_dump_json().encode()
    while True:
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag}
        if tag not in seen:
            return Response(body, headers=headers, media_type="application/json")
        left = deadline - clock()
        if left <= 0:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        await asyncio.sleep(min(left, pause))
        before, basis = basis, await read()
        if basis != before:
            body = show(basis).model_dump_json().encode()
