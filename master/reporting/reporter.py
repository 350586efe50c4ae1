"""The reporter: every start and every end of every request reaches the receiver at least once.

What Buildbot's records say about a request is compared with the outbox whenever something happens to it, at every start
and every few minutes; what is missing is rendered and stored; what is stored is posted until it arrives.
"""

from collections.abc import Callable, Mapping
from typing import Any

from buildbot.config.errors import error
from buildbot.process.results import RETRY
from buildbot.util.service import BuildbotService
from buildbot.util.twisted import async_to_deferred
from twisted.internet.defer import Deferred, DeferredList
from twisted.python import log

from autogate.contract import delivery_id

from .backoff import Outcome, Verdict
from .dispatcher import Dispatcher
from .options import Options
from .outbox import NewRow, Outbox, Stored
from .reading import read_request
from .records import Happening, RequestRecord, Subject
from .render import RevisionUnknownError, happenings
from .sender import Sender
from .wire import Protocol, content, envelope

Value = Any
"""What Buildbot hands on without a type."""

DAY_SECONDS = 86400
CONNECT_SECONDS = 10.0
READS_AT_A_TIME = 8

_EVENTS = (("builds", None, "new"), ("builds", None, "finished"), ("buildrequests", None, "complete"))


class AutogateReporter(BuildbotService):
    """Posts reports on builders to a review bot; goes into ``c["services"]``. All arguments are given by name.

    Args:
        name: The reporter's name; under it the outbox keeps what waits. Default ``autogate``.
        url: Where reports are posted.
        secret: What both sides know; text, or a renderable such as ``Secret("name")``, which is read for each try.
        secrets: Repository's name -> the secret that stands for it, where that is not ``secret``.
        builders: Builder's name -> (repository's name, kind); others are not reported on.
        protocol: ``autogate``, or ``homu`` for Homu's own packets.
        master: What tells this master's numbers from another's. Default: ``buildbotURL``.
        timeout: Seconds until an answer must be complete.
        concurrency: At most so many tries at a time.
        pace: How long to wait after failures.
        reconcile_interval: Seconds between two comparisons with Buildbot's records.
        keep_days: Delivered reports are kept for so many days.
        warnings_pass: Whether Homu is told that WARNINGS are a success.
    """

    name = "autogate"

    def checkConfig(self, **options: Value) -> None:  # noqa: N802  (Buildbot's name)
        """Report what is wrong with the arguments to Buildbot."""
        try:
            faults = Options(**options).faults()
        except TypeError as wrong:
            faults = [str(wrong).replace("Options.__init__()", type(self).__name__)]
        for fault in faults:
            error(f"{self.name}: {fault}")

    def __init__(self, **options: Value) -> None:
        self._consumers: list[Any] = []
        self._subjects: dict[int, Subject] = {}
        self._dispatcher: Dispatcher | None = None
        self._sender: Sender | None = None
        self._looking: dict[int, bool] = {}
        self._tasks: set[Deferred[Any]] = set()
        self._timer: Any = None
        self._stopping = False
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def getConfigDict(self) -> dict[str, Any]:  # noqa: N802  (Buildbot's name)
        """Return what Buildbot writes to the log when a reconfiguration fails: without the secret."""
        return {"name": self.name, "class": type(self).__qualname__, "url": self._config_kwargs.get("url")}

    @async_to_deferred
    async def reconfigServiceWithSibling(self, sibling: Value) -> None:  # noqa: N802  (Buildbot's name)
        """Take over a sibling's configuration; also when nothing changed, try at once all that waits."""
        await super().reconfigServiceWithSibling(sibling)
        # Buildbot goes on comparing with the first configuration, and would take a return to it for no change
        self._config_kwargs = sibling._config_kwargs  # noqa: SLF001
        if self._dispatcher:
            self._dispatcher.hurry()

    @async_to_deferred
    async def reconfigService(self, **options: Value) -> None:  # type: ignore[override]  # noqa: N802  (Buildbot's name)
        """Work with this configuration from now on."""
        self._options = chosen = Options(**options)
        identity = chosen.master or self.master.config.buildbotURL
        self._outbox = Outbox(self.master.db, self.name)
        await self._outbox.create()
        subjects = {}
        for builder, (repository, kind) in chosen.builders.items():
            number = await self.master.data.updates.findBuilderId(builder)
            subjects[number] = Subject(identity, repository, builder, kind)
        await self._outbox.baseline(list(subjects), self._now())
        self._subjects = subjects
        await self._leave_receiver()
        self._sender = Sender(self.master.reactor, chosen.concurrency, CONNECT_SECONDS, chosen.timeout)
        self._dispatcher = Dispatcher(
            self.name, self.master.reactor, self._outbox, self._post, chosen.pace, chosen.concurrency
        )
        await self._rewrite_foreign()
        self._dispatcher.add(await self._outbox.waiting())
        if not self._consumers:
            for event in _EVENTS:
                self._consumers.append(await self.master.mq.startConsuming(self._on_event, event))
        self._set_timer(0)

    @async_to_deferred
    async def stopService(self) -> None:  # noqa: N802  (Buildbot's name)
        """Stop; what did not arrive waits in the outbox."""
        self._stopping = True
        for consumer in self._consumers:
            consumer.stopConsuming()
        self._consumers.clear()
        self._disarm()
        while self._tasks:
            await DeferredList(list(self._tasks), consumeErrors=True)
        await self._leave_receiver()
        await super().stopService()

    async def _leave_receiver(self) -> None:
        if self._dispatcher:
            await self._dispatcher.stop()
        if self._sender:
            await self._sender.close()

    # from Buildbot's records to the outbox

    def _on_event(self, key: tuple[str, ...], message: Mapping[str, Any]) -> None:
        # all other ends are told when the request is complete
        if key[0] == "builds" and key[-1] == "finished" and message["results"] != RETRY:
            return
        self._look_at(message["buildrequestid"])

    def _look_at(self, request: int) -> None:
        """Bring the outbox up to date with one request; several events at once need one look after the last."""
        if request in self._looking:
            self._looking[request] = True
            return
        self._looking[request] = False

        async def look() -> None:
            try:
                await self._catch_up(request)
            except Exception as fault:  # noqa: BLE001  (the next reconciliation looks again)
                log.err(fault, f"{self.name}: while looking at request {request}")
            finally:
                again = self._looking.pop(request)
            if again:
                self._look_at(request)

        self._task(look)

    async def _catch_up(self, request: int) -> None:
        record = await read_request(self.master, request)
        subject = self._subjects.get(record.builder_id) if record else None
        if record is None or subject is None:
            return
        known = await self._outbox.known(request)
        rows = [
            self._row(record, happening, subject)
            for happening in happenings(record)
            if (happening.event.value, happening.number) not in known
        ]
        if rows:
            entries = await self._outbox.add(rows, self._now())
            if self._dispatcher:
                self._dispatcher.add(entries)

    def _row(self, record: RequestRecord, happening: Happening, subject: Subject) -> NewRow:
        body, fault = b"", ""
        try:
            body = content(
                self._options.protocol, record, happening, subject, warnings_pass=self._options.warnings_pass
            )
        except RevisionUnknownError:
            fault = "the commit is not known"
            log.msg(
                f"{self.name}: {happening.event} of request {record.id} on {subject.builder} is not reported: {fault}; "
                f"a build forced by hand needs a full SHA as its revision"
            )
        return NewRow(
            event=happening.event,
            number=happening.number,
            builder_id=record.builder_id,
            request=record.id,
            delivery=str(delivery_id(subject.master, happening.event, happening.number)),
            protocol=self._options.protocol,
            body=body,
            fault=fault,
        )

    async def _rewrite_foreign(self) -> None:
        """Write what waits anew after the protocol was changed."""
        for row in await self._outbox.foreign(self._options.protocol):
            record = await read_request(self.master, row.request)
            subject = self._subjects.get(record.builder_id) if record else None
            if record is None or subject is None:
                continue
            for happening in happenings(record):
                if (happening.event, happening.number) == (row.event, row.number):
                    await self._outbox.rewrite(
                        row.id, self._options.protocol, self._row(record, happening, subject).body
                    )

    def _set_timer(self, seconds: float) -> None:
        self._disarm()
        if not self._stopping:
            self._timer = self.master.reactor.callLater(seconds, self._task, self._reconcile)

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def _reconcile(self) -> None:
        """Find what never got to the outbox, since the master died before or was not listening."""
        try:
            builders = list(self._subjects)
            # before the search: what ends meanwhile stays above
            floors = await self._outbox.floors(builders)
            if await self._find_missing(builders):
                await self._outbox.advance(floors, self._now())
            await self._outbox.prune(int(self._now() - self._options.keep_days * DAY_SECONDS))
        except Exception as fault:  # noqa: BLE001  (it is tried again after the interval)
            log.err(fault, f"{self.name}: while comparing the outbox with Buildbot's records")
        finally:
            self._set_timer(self._options.reconcile_interval)

    async def _find_missing(self, builders: list[int]) -> bool:
        """Store what is missing; tell whether all of it could be."""
        complete, above = True, 0
        while not self._stopping and (requests := await self._outbox.missing(builders, above)):
            for first in range(0, len(requests), READS_AT_A_TIME):
                chunk = [Deferred.fromCoroutine(self._catch_up(r)) for r in requests[first : first + READS_AT_A_TIME]]
                for succeeded, result in await DeferredList(chunk, consumeErrors=True):
                    if not succeeded:
                        complete = False
                        log.err(result, f"{self.name}: while looking for events that were not reported")
            above = requests[-1]
        return complete and not self._stopping

    # from the outbox to the receiver

    async def _post(self, stored: Stored) -> Outcome:
        try:
            subject = self._subjects.get(stored.builder_id)
            named = self._options.secret_of(subject.repository if subject else None)
            secret = await self.renderSecrets(named)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001  (no provider has it, or a provider failed)
            secret = None
        if not secret or not isinstance(secret, str):
            return Outcome(Verdict.REFUSED, "the secret cannot be read", "is it in the secrets folder?")
        assert self._sender  # noqa: S101  (made before the dispatcher)
        protocol: Protocol = "homu" if stored.protocol == "homu" else "autogate"
        sent = envelope(protocol, stored.body, stored.delivery, secret, self._now())
        return await self._sender.post(self._options.url, sent.headers, sent.body)

    def _task(self, work: Callable[[], Any]) -> None:
        task = Deferred.fromCoroutine(work())
        self._tasks.add(task)
        task.addBoth(lambda _: self._tasks.discard(task))

    def _now(self) -> int:
        return int(self.master.reactor.seconds())
