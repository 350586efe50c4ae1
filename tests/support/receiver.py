"""A real HTTP server that receives reports, and can be made to fail in every way a bot can."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from autogate.contract import DELIVERY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Report, SignatureError, verify

from .ports import reserve_port


@dataclass(frozen=True)
class Delivery:
    """One POST, as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    number: int

    @property
    def id(self) -> str:
        return self.headers[DELIVERY_HEADER]

    @property
    def report(self) -> Report:
        return Report.model_validate_json(self.body)

    def verify(self, secret: str) -> None:
        """Check its signature; raises SignatureError."""
        timestamp, signature = (self.headers.get(name, "") for name in (TIMESTAMP_HEADER, SIGNATURE_HEADER))
        verify(secret, timestamp, signature, self.body, datetime.now(UTC))


@dataclass(frozen=True)
class Reply:
    """What the server does with a POST: it answers, or ``hang``s, or closes the connection ``before`` or ``midway``."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    instead: str = ""


class Receiver:
    """The server. ``received`` is all that came, ``accepted`` all that was answered with 2xx to the end.

    With a ``secret`` it answers 401 to what is not signed with it, whatever ``reply`` says.
    """

    def __init__(self, secret: str | None = None) -> None:
        self.port = reserve_port()
        self.secret = secret
        self.reply: Callable[[Delivery], Reply] = lambda _: Reply()
        self.received: list[Delivery] = []
        self.accepted: list[Delivery] = []
        self.connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._let_go = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/results"

    def start(self) -> Self:
        """Listen."""
        self._let_go.clear()
        receiver: Receiver = self

        class Handler(_Handler):
            owner = receiver

        self._server = _Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Let go of what hangs, close the port and every connection."""
        self._let_go.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self._lock:
            for connection in set(self.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def reports(self) -> list[Report]:
        """Return what it accepted."""
        return [delivery.report for delivery in list(self.accepted)]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[Delivery, Reply]:
        with self._lock:
            delivery = Delivery(path, headers, body, len(self.received))
            self.received.append(delivery)
        if self.secret is not None:
            try:
                delivery.verify(self.secret)
            except SignatureError:
                return delivery, Reply(401)
        return delivery, self.reply(delivery)

    def hang(self) -> None:
        self._let_go.wait()

    def accept(self, delivery: Delivery) -> None:
        with self._lock:
            self.accepted.append(delivery)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    owner: Receiver
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.owner.connections.add(self.connection)

    def finish(self) -> None:
        self.owner.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        delivery, reply = self.owner.take(self.path, dict(self.headers), body)
        match reply.instead:
            case "hang":
                self.owner.hang()
                self.close_connection = True
            case "before":
                self.close_connection = True
            case "midway":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part")
                self.close_connection = True
            case _:
                if 200 <= reply.status < 300:
                    self.owner.accept(delivery)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
