"""What runs inside the master of `gate.Gate`: builds that end as told, a control socket, and death where it is due."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from buildbot.config.builder import BuilderConfig
from buildbot.db.buildrequests import BuildRequestsConnectorComponent
from buildbot.db.builds import BuildsConnectorComponent
from buildbot.plugins import reporters
from buildbot.process.buildstep import BuildStep
from buildbot.process.factory import BuildFactory
from buildbot.process.results import Results
from buildbot.schedulers.triggerable import Triggerable
from buildbot.util import asyncSleep
from buildbot.util.service import BuildbotService
from buildbot.util.twisted import async_to_deferred
from buildbot.worker.base import Worker
from buildbot.worker.local import LocalWorker
from twisted.internet import endpoints, protocol, reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from master.reporting.backoff import Pace
from master.reporting.outbox import Outbox
from master.reporting.sender import Sender
from master.retries import CappedBuild

FOLDER = Path()


def die_at(point: str) -> None:
    """``kill -9`` the master, once, when the test asked for it at this point."""
    order = FOLDER / "die"
    if order.exists() and order.read_text() == point:
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def wrap(kind: type, method: str, before: str, after: str, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Let the master die before or after a method of Buildbot's or the reporter's."""
    stock = getattr(kind, method)

    async def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        meant = when(*args, **kwargs)
        if meant:
            die_at(before)
        result = await stock(self, *args, **kwargs)
        if meant:
            die_at(after)
        return result

    setattr(kind, method, lambda *args, **kwargs: ensureDeferred(wrapped(*args, **kwargs)))


def prepare() -> None:
    """Put the points of death in place; once a process, since master.cfg is read again at each reconfiguration."""
    if hasattr(Sender, "stock_post"):
        return
    Sender.stock_post = Sender.post  # type: ignore[attr-defined]

    def finishes(rows: Any, _: int) -> bool:
        return any(row.event == "finished" for row in rows)

    wrap(BuildsConnectorComponent, "addBuild", "before the build begins", "after the build began")
    wrap(BuildsConnectorComponent, "finishBuild", "before the build ends", "after the build ended")
    wrap(BuildRequestsConnectorComponent, "completeBuildRequests", "before the request ends", "after the request ended")
    wrap(Outbox, "add", "before the insert", "after the insert", finishes)
    wrap(Outbox, "settle", "before the note of delivery", "after the note of delivery")

    post = Sender.post

    async def counted(self: Sender, *args: Any) -> Any:
        with (FOLDER / "tries").open("a") as tries:
            tries.write("x")
        return await post(self, *args)

    Sender.post = counted  # type: ignore[method-assign, assignment]
    wrap(Sender, "post", "before the post", "after the post")


class Give(BuildStep):
    """Ends with the result that the property ``give`` names; waits for the file ``go`` when ``hold`` is set."""

    name = "give"
    haltOnFailure = True  # noqa: N815  (Buildbot's names)
    warnOnWarnings = True  # noqa: N815

    async def run(self) -> int:  # type: ignore[override]
        said: Any = self.build.getProperties().asDict()  # type: ignore[union-attr]
        say: Any = self.setProperty
        wishes = {name: value for name, (value, _) in said.items()}
        if held := wishes.get("hold"):
            while not (FOLDER / held).exists() and not self.stopped:
                await asyncSleep(0.02)
        for name in ("got_revision", "autogate_cause"):
            if value := wishes.get(f"set_{name}"):
                say(name, value, "give")
        for category, unit, rows in wishes.get("store", ()):
            number = await self.addTestResultSet("what was found", category, unit)
            for row in rows:
                self.addTestResult(number, **row)
        result: int = Results.index(wishes.get("give", "success"))
        return result


class Control(BuildbotService):
    """A socket on which the test asks for requests and their ends."""

    name = "control"

    @async_to_deferred
    async def reconfigService(self) -> None:  # type: ignore[override]  # noqa: N802
        factory = protocol.Factory()
        factory.buildProtocol = lambda _: Conversation(self.master)  # type: ignore[assignment]
        endpoint = endpoints.serverFromString(reactor, f"unix:{FOLDER}/control")
        self._port = await endpoint.listen(factory)

    @async_to_deferred
    async def stopService(self) -> None:  # noqa: N802
        await self._port.stopListening()
        await super().stopService()


class Conversation(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 2**24

    def __init__(self, master: Any) -> None:
        self._master = master

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        command, arguments = json.loads(line)
        done: Deferred[Any] = ensureDeferred(getattr(self, f"do_{command}")(**arguments))
        done.addBoth(self._answer)

    def _answer(self, result: Any) -> None:
        failed = isinstance(result, Failure)
        answer = {"fault": result.getTraceback()} if failed else {"answer": result}
        self.sendLine(json.dumps(answer, default=str).encode())  # type: ignore[no-untyped-call]

    async def do_ask(self, builder: str, revision: str | None, branch: str = "auto", **properties: Any) -> int:
        """Add a request and return its id."""
        number = await self._master.data.updates.findBuilderId(builder)
        stamp = {"codebase": "", "repository": "", "branch": branch, "revision": revision, "project": ""}
        _, requests = await self._master.data.updates.addBuildset(
            waited_for=False,
            scheduler="test",
            sourcestamps=[stamp],
            reason="test",
            properties={name: (value, "test") for name, value in properties.items()},
            builderids=[number],
        )
        return int(requests[number])

    async def do_end(self, builder: str, results: list[int], revision: str) -> list[int]:
        """Add requests that nobody builds and complete each with one of the results."""
        ended = []
        # else Buildbot may claim one first and build it
        async with self._master.botmaster.brd.activity_lock:
            for result in results:
                request = await self.do_ask(builder, revision)
                assert await self._master.data.updates.claimBuildRequests([request])
                assert await self._master.data.updates.completeBuildRequests([request], result)
                ended.append(request)
        return ended

    async def do_cancel(self, request: int) -> None:
        """Cancel a request, built or not."""
        self._master.data.control("cancel", {"reason": "test"}, ("buildrequests", request))

    async def do_pause(self) -> None:
        """Let no further build begin; one that is being begun now has begun when this is answered."""
        await self._master.botmaster.brd.activity_lock.acquire()

    async def do_unpause(self) -> None:
        """Let builds begin again."""
        self._master.botmaster.brd.activity_lock.release()

    async def do_cancel_as_it_begins(self) -> None:
        """Cancel the next request after it was claimed and before its build knows of it."""
        builds = self._master.db.builds
        stock = builds.addBuild

        async def late(**arguments: Any) -> Any:
            builds.addBuild = stock
            self._master.botmaster.maybe_cancel_in_progress_buildrequest(arguments["buildrequestid"], "just in time")
            return await stock(**arguments)

        builds.addBuild = lambda **arguments: ensureDeferred(late(**arguments))

    async def do_query(self, text: str) -> list[list[Any]]:
        """Run SQL on the master's database."""

        def thd(connection: sa.Connection) -> list[list[Any]]:
            result = connection.execute(sa.text(text))
            rows = [list(row) for row in result] if result.returns_rows else []
            connection.commit()
            return rows

        found: list[list[Any]] = await self._master.db.pool.do(thd)
        return found


def configuration(folder: str, www: int, pb: int) -> dict[str, Any]:
    """Return the BuildmasterConfig that ``gate.json`` describes."""
    global FOLDER  # noqa: PLW0603  (one master a process)
    FOLDER = Path(folder)
    prepare()
    told = json.loads((FOLDER / "gate.json").read_text())
    factory = BuildFactory([Give()])
    control: Any = Control()  # type: ignore[no-untyped-call]
    factory.buildClass = CappedBuild
    reporter = told["reporter"]
    if reporter:
        reporter["pace"] = Pace(*reporter["pace"])
    workers: list[Any] = [LocalWorker("here", max_builds=4)] if told["local"] else []
    workers += [Worker(name, "pass", keepalive_interval=5) for name in told["workers"]]
    for worker in workers:
        # Buildbot rests a worker for ten seconds after an exception
        worker.quarantine_timeout = worker.quarantine_initial_timeout = worker.quarantine_max_timeout = 0.05
    return {
        "buildbotURL": f"http://127.0.0.1:{www}/",
        "buildbotNetUsageData": None,
        "db": {"db_url": told["database"]},
        "protocols": {"pb": {"port": f"tcp:{pb}:interface=127.0.0.1"}},
        "workers": workers,
        "builders": [
            BuilderConfig(
                name=name,
                workernames=[worker.workername for worker in workers],
                factory=factory,
                collapseRequests=name == "shop-collapse",
                do_build_if=lambda build: build.builder.name != "shop-skip",
            )
            for name in told["builders"]
        ],
        # never triggered: Buildbot wants one
        "schedulers": [Triggerable(name="test", builderNames=told["builders"])],
        "services": [control, *([reporters.AutogateReporter(**reporter)] if reporter else [])],
        "www": {"port": f"tcp:{www}:interface=127.0.0.1"},
    }
