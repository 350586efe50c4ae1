"""The bot at work: one process leads, with one serial consumer a repository; the others stand by."""

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from autogate.git import Git, GitError
from autogate.settings import Bot, Repository
from review_bot.ci.rest import BuildbotError
from review_bot.desk import Answered, Trouble, UnknownRepositoryError
from review_bot.domain.decide import decide, is_wanted
from review_bot.domain.effects import Land
from review_bot.domain.events import Configured, Event, TimePassed
from review_bot.domain.model import Standing, State
from review_bot.forges.protocol import ForgeError
from review_bot.hands import OUTSIDE, Hands, NotYetError
from review_bot.logs import joined
from review_bot.merging.errors import MirrorError
from review_bot.metrics import Metrics
from review_bot.policy import policy
from review_bot.store.errors import LeaseLostError, StoreError
from review_bot.store.lease import Lease, elapsed
from review_bot.store.rows import Fence, StoredEffect, StoredEvent
from review_bot.store.store import Store
from review_bot.watching import differences, known

LEASE = "bot"
PASSING_FAULTS = (GitError, MirrorError, ForgeError, BuildbotError, OSError)
"""What may work when it is tried again."""

FATAL = (LeaseLostError, StoreError)
"""What ends a consumer: it may not act any more, or cannot write down what it does."""

RENEW_SECONDS = 3.0
IDLE_SECONDS = 1.0
"""So long an event that another process handed in may lie unseen."""

_BACKOFF_SECONDS = (1, 2, 5, 10, 30, 60)

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class FencedGit(Git):
    """git that pushes only while this process is sure to lead.

    Attributes:
        may_push: Asked before every push.
    """

    may_push: Callable[[], bool] = lambda: True

    async def run(
        self,
        *args: str,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> bytes:
        """Run ``git ARGS`` as `Git.run` does.

        Raises:
            LeaseLostError: it is a push, and another process may lead by now.
        """
        if args[0] == "push" and not self.may_push():
            raise LeaseLostError("the lease may have expired, so nothing is pushed")
        return await super().run(*args, cwd=cwd, stdin=stdin, env=env, pass_fds=pass_fds)


class Consumer:
    """The one that acts for a repository: takes its events one by one, and carries out what is decided.

    Args:
        settings: The repository's settings.
        store: The database.
        lease: The right to act.
        hands: Makes what carries effects out, given what tells the state.
        metrics: The bot's numbers.
        now: The clock.
    """

    def __init__(
        self,
        settings: Repository,
        store: Store,
        lease: Lease,
        hands: Callable[[Callable[[], State]], Hands],
        wanted_policy: Configured,
        metrics: Metrics,
        now: Clock,
    ) -> None:
        self.settings = settings
        self.state: State | None = None
        self.looked_at: datetime | None = None
        self.beat = time.monotonic()
        self._store = store
        self._lease = lease
        self._hands = hands(self._known_state)
        self._policy = wanted_policy
        self._metrics = metrics
        self._now = now
        self._wake = {"events": asyncio.Event(), "outside": asyncio.Event()}
        self._progress = asyncio.Condition()
        self._looking = asyncio.Lock()

    @property
    def name(self) -> str:
        """The repository's name."""
        return self.settings.name

    def _known_state(self) -> State:
        assert self.state is not None  # noqa: S101  (effects are carried out after the state was loaded)
        return self.state

    def wake(self) -> None:
        """Say that there may be something to do."""
        for event in self._wake.values():
            event.set()

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            LeaseLostError: another process leads.
            StoreError: the database failed.
        """
        try:
            await self.load()
            await self._work()
        finally:
            self.close()

    async def load(self) -> None:
        """Begin with what the database holds, and the configuration as it is now."""
        self.state = await self._store.load(self.name)
        if self.state.repository.policy != self._policy.policy:
            await self._hand_in(self._policy, f"configured:{secrets.token_hex(8)}")

    def close(self) -> None:
        """Let another process work on the repository."""
        self._hands.mirror.close()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._consume())
            group.create_task(self._act_outside())
            group.create_task(self._watch())

    async def progress(self, seconds: float) -> None:
        """Wait until something has been done, at most so long."""
        async with self._progress:
            try:
                async with asyncio.timeout(seconds):
                    await self._progress.wait()
            except TimeoutError:
                return

    async def look(self) -> str:
        """Read the forge, hand in what is new, and return the trace of that.

        Raises:
            ForgeError, GitError: it cannot be read.
            LeaseLostError: another process leads.
        """
        trace = f"look:{secrets.token_hex(8)}"
        async with self._looking:
            state = self._known_state()
            begun = self._now()
            overview = await self._hands.forge.overview(known(state))
            for event in differences(state, overview, begun, self._now()):
                await self._store.append(self.name, event, trace=trace, fence=self._lease.fence)
            self.looked_at = self._now()
        self.wake()
        return trace

    async def _hand_in(self, event: Event, trace: str, key: str | None = None) -> bool:
        added = await self._store.append(self.name, event, key=key, trace=trace, fence=self._lease.fence)
        self._wake["events"].set()
        return added is not None

    async def step(self) -> bool:
        """Take an event, or carry out an effect; return whether there was one."""
        self.beat = time.monotonic()
        if stored := await self._store.next_event(self.name):
            await self._take(stored)
        elif await self._time_passed():
            pass
        elif effects := await self._due(outside=False):
            await self._carry_out(effects[0])
        else:
            return False
        return True

    async def _time_passed(self) -> bool:
        due, now = self._known_state().next_deadline(), self._now()
        if due is None or due > now:
            return False
        # one that was told and still stands is told once a minute, and keeps nothing else waiting
        key = f"time:{due.isoformat()}/{(now - due) // timedelta(minutes=1)}"
        return await self._hand_in(TimePassed(at=now), key, key)

    async def step_outside(self) -> bool:
        """Carry out effects that do not touch git; return whether there were some."""
        effects = await self._due(outside=True)
        for effect in effects:
            await self._carry_out(effect)
        return bool(effects)

    async def _consume(self) -> None:
        wake = self._wake["events"]
        while True:
            wake.clear()
            if not await self.step():
                await _wait(wake, self._idle(self._known_state().next_deadline()))

    async def _act_outside(self) -> None:
        wake = self._wake["outside"]
        while True:
            wake.clear()
            if not await self.step_outside():
                await _wait(wake, IDLE_SECONDS)

    async def _watch(self) -> None:
        failures = 0
        while True:
            try:
                with joined(repository=self.name):
                    await self.look()
                failures = 0
            except PASSING_FAULTS as error:
                failures += 1
                log.warning("the forge cannot be read", repository=self.name, error=str(error))
            except FATAL:
                raise
            except Exception:
                # what the forge shows must not stop what was approved before
                failures += 1
                log.exception("what the forge shows cannot be understood", repository=self.name)
            pause = float(self.settings.poll_interval)
            await asyncio.sleep(min(pause, _backoff(failures)) if failures else pause)

    def _idle(self, due: datetime | None) -> float:
        left = (due - self._now()).total_seconds() if due else 0
        return min(IDLE_SECONDS, left) if left > 0 else IDLE_SECONDS

    async def _due(self, *, outside: bool) -> Sequence[StoredEffect]:
        kinds = OUTSIDE if outside else INSIDE
        return await self._store.due_effects(self.name, self._now(), kinds, limit=20 if outside else 1)

    async def _take(self, stored: StoredEvent) -> None:
        before, at = self._known_state(), self._now()
        begun = time.perf_counter()
        with joined(repository=self.name, trace=stored.trace):
            try:
                decision = decide(before, stored.event, stored.trace)
            except Exception:
                # one event that cannot be understood must not stop all others; it stays in the database as it is
                log.exception("an event was passed over", event_id=stored.id, kind=stored.event.kind)
                await self._store.commit(self._lease.fence, stored, before, before, (), at)
                return
            await self._store.commit(self._lease.fence, stored, before, decision.state, decision.effects, at)
            self._metrics.observe_decision(stored.event.kind, time.perf_counter() - begun)
            self._tell(before, decision.state, stored)
            self.state = decision.settled
        if any(effect.kind in OUTSIDE for effect in decision.effects):
            self._wake["outside"].set()
        await self._announce()

    async def _announce(self) -> None:
        async with self._progress:
            self._progress.notify_all()

    def _tell(self, before: State, after: State, stored: StoredEvent) -> None:
        log.debug("event", kind=stored.event.kind, event_id=stored.id)
        for number, pull in after.pulls.items():
            old = before.pulls.get(number)
            if pull is old:
                continue
            if pull.approval and (old is None or old.approval != pull.approval):
                log.info("approved", number=number, revision=pull.head, trace=pull.approval.trace, by=pull.approval.by)
            if pull.standing is Standing.LANDED and pull.approval:
                self._metrics.landed((self._now() - pull.approval.at).total_seconds())
                log.info("landed", number=number, revision=pull.landed_as, trace=pull.approval.trace)
        for number, attempt in after.attempts.items():
            old_attempt = before.attempts.get(number)
            if old_attempt and old_attempt.stage is attempt.stage:
                continue
            facts = {"attempt": number, "revision": attempt.sha, "traces": attempt.traces, "pulls": attempt.numbers}
            if attempt.outcome:
                self._metrics.attempt_ended(attempt.outcome.reason)
                log.info(f"attempt {attempt.stage}", reason=attempt.outcome.reason, **facts)
            else:
                log.info(f"attempt {attempt.stage}", **facts)

    async def _carry_out(self, stored: StoredEffect) -> None:
        if not self._lease.is_safe(elapsed()):
            raise LeaseLostError("the lease may have expired, so nothing is done")
        effect, fence = stored.effect, self._lease.fence
        kind = effect.kind
        with joined(repository=self.name, trace=stored.trace):
            if not is_wanted(self._known_state(), effect):
                await self._store.effect_done(fence, stored, None, self._now())
                return
            try:
                result = await self._hands.carry_out(effect)
            except NotYetError as later:
                await self._store.effect_later(fence, stored, later.again_at)
                return
            except PASSING_FAULTS as error:
                said = f"{error} → {error.cure}" if isinstance(error, GitError) and error.cure else str(error)
                log.warning("an effect failed", kind=kind, tries=stored.tries + 1, error=said)
                await self._put_off(stored, fence, said)
                return
            except FATAL:
                raise
            except Exception as error:
                # one effect that breaks the bot must not stop all others
                log.exception("an effect broke", kind=kind, tries=stored.tries + 1)
                await self._put_off(stored, fence, f"{error!r}: this is a fault of the bot, please report it")
                return
            await self._store.effect_done(fence, stored, result, self._now())
            self._metrics.effect_done(kind)
            if isinstance(effect, Land):
                log.info("landing", attempt=effect.attempt, revision=effect.sha, result=result and result.kind)
        if result is not None:
            self._wake["events"].set()
        await self._announce()

    async def _put_off(self, stored: StoredEffect, fence: Fence, said: str) -> None:
        self._metrics.effect_failed(stored.effect.kind)
        now = self._now()
        await self._store.effect_failed(fence, stored, said, now + timedelta(seconds=_backoff(stored.tries + 1)), now)


INSIDE = frozenset({"read_comment", "read_pull_request", "make_candidate", "push_candidate", "land", "finalise"})


class Engine:
    """All repositories: leads when it can get the lease, and stands by otherwise.

    Args:
        store: The database.
        make_consumer: Makes a repository's consumer.
        metrics: The bot's numbers.
        now: The clock.
        lease_time: How long the lease lasts without renewal.
    """

    def __init__(
        self,
        store: Store,
        make_consumer: Callable[[Repository, Lease], Consumer],
        metrics: Metrics,
        now: Clock = utc_now,
        lease_time: timedelta = timedelta(seconds=15),
    ) -> None:
        self.lease = Lease(store, LEASE, f"{socket.gethostname()}:{secrets.token_hex(8)}", lease_time)
        self._store = store
        self._make_consumer = make_consumer
        self._metrics = metrics
        self._now = now
        self._lease_seconds = lease_time.total_seconds()
        self._settings: dict[str, Repository] = {}
        self._consumers: dict[str, Consumer] = {}
        self._changed = asyncio.Event()

    # As the web side sees it

    @property
    def repositories(self) -> Sequence[str]:
        """The names of the configured repositories."""
        return sorted(self._settings)

    @property
    def is_leader(self) -> bool:
        """Tell whether this process acts."""
        return self.lease.is_safe(elapsed())

    def looked_at(self, repository: str) -> datetime | None:
        """Return when the forge was last read with success by this process."""
        consumer = self._consumers.get(self._checked(repository))
        return consumer.looked_at if consumer else None

    def stuck_seconds(self) -> float:
        """Return for how long the slowest consumer has not come round; 0 when this process stands by."""
        return max((time.monotonic() - consumer.beat for consumer in self._consumers.values()), default=0.0)

    async def state(self, repository: str) -> State:
        """Return what is known now."""
        consumer = self._consumers.get(self._checked(repository))
        if consumer is not None and consumer.state is not None:
            return consumer.state
        return await self._store.load(repository)

    async def hand_in(self, repository: str, event: Event, *, key: str | None = None, trace: str) -> bool:
        """Store an event, to be acted on soon; return whether it was new."""
        added = await self._store.append(self._checked(repository), event, key=key, trace=trace)
        if consumer := self._consumers.get(repository):
            consumer.wake()
        return added is not None

    async def answered(self, repository: str, trace: str, timeout: float) -> Answered:  # noqa: ASYNC109  (not an error)
        """Wait until what a trace's event directly led to is done, at most ``timeout`` seconds."""
        self._checked(repository)
        deadline = time.monotonic() + timeout
        settled = await self._store.settled(repository, trace)
        while not settled and (left := deadline - time.monotonic()) > 0:
            if consumer := self._consumers.get(repository):
                await consumer.progress(min(left, 0.5))
            else:
                await asyncio.sleep(min(left, 0.2))
            settled = await self._store.settled(repository, trace)
        return Answered(settled, await self._store.replies(repository, trace))

    async def look(self, repository: str) -> None:
        """Read the forge at once, and return when what was found is acted on.

        Raises:
            ForgeError: it cannot be read, or not by this process.
        """
        consumer = self._consumers.get(self._checked(repository))
        if consumer is None or consumer.state is None:
            raise ForgeError("this process stands by or is just starting; ask the one that leads, or wait")
        try:
            trace = await consumer.look()
        except LeaseLostError as error:
            raise ForgeError("this process has just ceased to lead; ask the one that leads, or wait") from error
        except (GitError, MirrorError, OSError) as error:
            raise ForgeError(str(error)) from error
        await self.answered(repository, trace, 15)

    async def troubles(self, repository: str) -> Sequence[Trouble]:
        """Return what keeps failing."""
        return await self._store.troubles(self._checked(repository))

    def _checked(self, repository: str) -> str:
        if repository not in self._settings:
            there_are = ", ".join(self.repositories) or "none"
            raise UnknownRepositoryError(f"no repository is called {repository!r}; there are: {there_are}")
        return repository

    # At work

    def configure(self, repositories: Sequence[Repository]) -> None:
        """Take over the settings; what changed is started anew."""
        self._settings = {repository.name: repository for repository in repositories}
        self._changed.set()

    async def run(self) -> None:
        """Lead whenever the lease can be had, until cancelled; then give it up."""
        try:
            while True:
                try:
                    if await self.lease.acquire(self._now()):
                        log.info("this process leads", fence=self.lease.fence.number)
                        await self._lead()
                except* LeaseLostError as lost:
                    log.warning("this process leads no longer", error=str(_first(lost)))
                except* StoreError as failed:
                    log.warning("the database failed", error=str(_first(failed)))
                self._metrics.show_lease(held=False)
                await asyncio.sleep(self._lease_seconds / 5)
        finally:
            await self.lease.release()

    async def _lead(self) -> None:
        self._metrics.show_lease(held=True)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew())
                group.create_task(self._run_consumers())
                group.create_task(self._notice())
        finally:
            self._consumers = {}

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(min(RENEW_SECONDS, self._lease_seconds / 5))
            try:
                kept = await self.lease.renew(self._now())
            except StoreError as error:
                log.warning("the lease could not be renewed", error=str(error))
                kept = self.lease.is_safe(elapsed())
            if not kept:
                raise LeaseLostError("the lease is another process's")

    async def _run_consumers(self) -> None:
        running: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                for name, task in list(running.items()):
                    consumer = self._consumers[name]
                    if self._settings.get(name) != consumer.settings:
                        task.cancel()
                        await asyncio.wait([task])
                        del running[name], self._consumers[name]
                for name, settings in self._settings.items():
                    if name not in running:
                        self._consumers[name] = consumer = self._make_consumer(settings, self.lease)
                        running[name] = group.create_task(self._keep_running(consumer))
                await self._changed.wait()

    async def _keep_running(self, consumer: Consumer) -> None:
        failures = 0
        while True:
            begun = time.monotonic()
            try:
                await consumer.run()
            except* LeaseLostError:
                raise
            except* Exception:
                # one repository's trouble, whatever it is, must not stop the others
                failures = failures + 1 if time.monotonic() - begun < _BACKOFF_SECONDS[-1] else 1
                log.exception("a repository's work begins anew", repository=consumer.name)
            await asyncio.sleep(_backoff(failures))

    async def _notice(self) -> None:
        """Wake consumers for events that other processes handed in, and show how much there is to do."""
        while True:
            for name, backlog in (await self._store.backlog()).items():
                if backlog.unprocessed and (consumer := self._consumers.get(name)):
                    consumer.wake()
            await asyncio.sleep(IDLE_SECONDS)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _backoff(failures: int) -> float:
    return float(_BACKOFF_SECONDS[min(max(failures, 1), len(_BACKOFF_SECONDS)) - 1])


def configured(repository: Repository, bot: Bot, now: Clock) -> Configured:
    """Return the event that tells a repository's policy."""
    return Configured(policy=policy(repository, bot), at=now())
