"""One try of one delivery over HTTP."""

from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOutError
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from .backoff import Outcome, Verdict, of_status

MAX_ANSWER_BYTES = 64 * 1024
"""No more of an answer is read; what it says is not looked at."""

_IDLE_SECONDS = 2
"""An idle connection is closed before the receiver closes it, which would fail the next delivery."""


Reactor = Any
"""Twisted's, which has no type that says all it can do."""


class Sender:
    """Posts to one address over connections that are kept open.

    Args:
        reactor: Twisted's reactor.
        concurrency: So many connections are kept.
        connect_timeout: Seconds until a connection must stand.
        timeout: Seconds until the answer must be complete.
    """

    def __init__(self, reactor: Reactor, concurrency: int, connect_timeout: float, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = concurrency
        self._pool.cachedConnectionTimeout = _IDLE_SECONDS
        self._agent = Agent(reactor, connectTimeout=min(connect_timeout, timeout), pool=self._pool)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Post and return what became of it; raises only when it is cancelled."""
        fields = Headers({name: [value] for name, value in headers.items()})
        try:
            asked: Deferred[Any] = Deferred.fromCoroutine(self._exchange(url, fields, body))
            return await asked.addTimeout(self._timeout, self._reactor, _in_time)
        except CancelledError:
            raise
        except TimedOutError:
            return Outcome(Verdict.FAILED, f"no complete answer within {self._timeout:g} s")
        except (ConnectError, DNSLookupError) as error:
            return Outcome(Verdict.UNREACHABLE, f"no connection ({type(error).__name__})")
        except Exception as error:  # noqa: BLE001  (whatever it is, the delivery waits for its next try)
            return Outcome(Verdict.FAILED, f"no complete answer ({_name(error)})")

    def close(self) -> Deferred[None]:
        """Close the connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def _exchange(self, url: str, headers: Headers, body: bytes) -> Outcome:
        producer: Any = FileBodyProducer(BytesIO(body))
        response: Any = await self._agent.request(b"POST", url.encode("ascii"), headers, producer)
        drain = _Drain()
        response.deliverBody(drain)
        # an answer that breaks off may have been written by somebody who died before it was all done
        await drain.done
        waits = response.headers.getRawHeaders("Retry-After") or [None]
        return of_status(response.code, waits[0], datetime.now(UTC))


Answer = Any


class _Drain(Protocol):
    """Reads an answer to its end, or far enough."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._leave())
        self._read = 0

    def dataReceived(self, data: bytes) -> None:  # noqa: N802  (Twisted's name)
        self._read += len(data)
        if self._read > MAX_ANSWER_BYTES:
            self._finish(None)
            self._leave()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802  (Twisted's name)
        # without a length an answer ends where the connection does
        self._finish(None if reason.check(ResponseDone, PotentialDataLoss) else reason)

    def _finish(self, reason: Failure | None) -> None:
        if self.done.called:
            return
        if reason is None:
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _leave(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()


def _in_time(result: Answer, _: float) -> Answer:
    # however the cancellation shows, it was the clock's
    return Failure(TimedOutError()) if isinstance(result, Failure) else result


def _name(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)
    return _name(reasons[0].value) if reasons else type(error).__name__
