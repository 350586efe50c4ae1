"""An HTTP server that receives reports: the smallest bot there can be."""

import json
import re
import socket
import socketserver
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from autogate.contract import MAX_BODY_BYTES, SIGNATURE_HEADER, Report
from autogate.judging import Headers, Refusal, Secrets, judge, too_large

REMEMBERED_DELIVERIES = 100_000
"""So many are known again when they are repeated."""

_PATIENCE_SECONDS = 30
_DRAINED_BYTES = 16 * 1024 * 1024
"""So much of a body that is refused unread is still taken, so that its sender gets to read the answer."""
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LINE_BYTES = 4096


@dataclass(frozen=True)
class Received:
    """A report that is believed.

    Attributes:
        report: The report.
        repeated: Whether the same delivery came before.
        at: When it came.
    """

    report: Report
    repeated: bool
    at: datetime


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes, fewer at the stream's end."""
        ...

    def readline(self, size: int, /) -> bytes:
        """Return a line, at most ``size`` bytes of it."""
        ...


class Receiver(ThreadingHTTPServer):
    """Receives reports until `shutdown`.

    Args:
        host: Address to listen on, IPv4 or IPv6, or a name for one.
        port: TCP port; 0 for any that is free.
        path: The only path that reports are taken at.
        secret: The secret that master and bot share.
        show: Called with each report, never twice at once. When it fails the sender is told to try again.
        refused: Called with what was refused and why.
        answered: Called after an answer was sent, whatever it was.

    Raises:
        OSError: the address or port cannot be had.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        secret: str,
        show: Callable[[Received], None],
        refused: Callable[[HTTPStatus, str], None] = lambda _status, _reason: None,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.refused = refused
        self.answered = answered
        self._secrets = Secrets(secret)
        self._show = show
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.address_family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__((str(address[0]), int(address[1])), _Handler)

    @property
    def url(self) -> str:
        """The address to post reports to."""
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}{self.path}"

    def server_bind(self) -> None:
        """Bind, without the reverse look-up of the host's name that HTTPServer makes here."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Receive while the block runs, in a thread of its own."""
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        with self:
            thread.start()
            try:
                yield
            finally:
                self.shutdown()
                thread.join()

    def take(self, headers: Headers, body: bytes) -> bool:
        """Judge a request and show its report; return whether it is a repeated one.

        Raises:
            Refusal: it was not accepted.
        """
        now = datetime.now(UTC)
        report = judge(headers, body, now, self._secrets)
        delivery = str(report.delivery)
        with self._lock:
            repeated = delivery in self._seen
            try:
                self._show(Received(report, repeated, now))
            except OSError as error:
                reason = f"it could not be shown ({error.strerror}); send it again"
                raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, reason) from None
            # only now: what could not be shown was not received
            self._seen[delivery] = None
            self._seen.move_to_end(delivery)
            while len(self._seen) > REMEMBERED_DELIVERIES:
                self._seen.popitem(last=False)
        return repeated


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "autogate-listen"
    sys_version = ""
    timeout = _PATIENCE_SECONDS
    disable_nagle_algorithm = True  # an answer is two small packets, and the second would wait for 40 ms
    server: Receiver

    def do_POST(self) -> None:
        try:
            self._check_path()
            body = self._body()
            repeated = self.server.take(self.headers, body)
        except Refusal as refusal:
            self.server.refused(refusal.status, str(refusal))
            self._refuse(refusal.status, str(refusal))
        else:
            self._answer(HTTPStatus.OK, {"status": "repeated" if repeated else "accepted"})
            self.server.answered()

    def _other_method(self) -> None:
        try:
            self._check_path()
        except Refusal as refusal:
            self._refuse(refusal.status, str(refusal))
        else:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "reports are posted", {"Allow": "POST"})

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._other_method
        raise AttributeError(name)

    def _check_path(self) -> None:
        if self.path.partition("?")[0] != self.server.path:
            raise Refusal(HTTPStatus.NOT_FOUND, f"reports are taken at {self.server.path}")

    def _body(self) -> bytes:
        encodings, lengths = self.headers.get_all("Transfer-Encoding", []), self.headers.get_all("Content-Length", [])
        if encodings and lengths:
            raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length and Transfer-Encoding together are ambiguous")
        if encodings:
            if [encoding.strip().lower() for encoding in encodings] != ["chunked"]:
                raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "no Transfer-Encoding but chunked is known here")
            return read_chunked(self.rfile)
        if not lengths:
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].strip().isdigit()):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length is no number of bytes")
        length = int(lengths[0][:20])
        if length > MAX_BODY_BYTES:
            raise too_large()
        return read_exactly(self.rfile, length)

    def _refuse(self, status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> None:
        self.close_connection = True
        if status is HTTPStatus.UNAUTHORIZED:
            headers = {"WWW-Authenticate": SIGNATURE_HEADER}
        self._answer(status, {"error": reason}, {"Connection": "close", **(headers or {})})
        self.server.answered()
        # closing on unread bytes would reset the connection, and the sender might never see the answer
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_PATIENCE_SECONDS / 10)
            left = _DRAINED_BYTES
            while left > 0 and (chunk := self.rfile.read1(min(left, 65536))):
                left -= len(chunk)
        except OSError:
            pass

    def _answer(self, status: HTTPStatus, answer: dict[str, str], headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        """Stay silent: what was received is shown, and what was refused is told to `Receiver.refused`."""


def read_exactly(stream: Readable, length: int) -> bytes:
    """Return ``length`` bytes.

    Raises:
        Refusal: the stream ended before.
    """
    body = stream.read(length)
    if len(body) != length:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body ended after {len(body)} of {length} bytes")
    return body


def read_chunked(stream: Readable) -> bytes:
    """Return a body in chunked transfer coding (RFC 9112, 7.1); trailers are dropped.

    Raises:
        Refusal: it is malformed, or larger than `MAX_BODY_BYTES`.
    """
    body = bytearray()
    while size := _chunk_size(stream):
        if len(body) + size > MAX_BODY_BYTES:
            raise too_large()
        body += read_exactly(stream, size)
        if stream.readline(_LINE_BYTES) not in {b"\r\n", b"\n"}:
            raise Refusal(HTTPStatus.BAD_REQUEST, "a chunk is longer than it says")
    for _ in range(100):
        if (line := stream.readline(_LINE_BYTES)) in {b"\r\n", b"\n"}:
            return bytes(body)
        if not line.endswith(b"\n"):
            break
    raise Refusal(HTTPStatus.BAD_REQUEST, "the chunked body has no end")


def _chunk_size(stream: Readable) -> int:
    line = stream.readline(_LINE_BYTES)
    digits = line.split(b";", 1)[0].strip()
    if not line.endswith(b"\n") or not _CHUNK_SIZE.fullmatch(digits):
        raise Refusal(HTTPStatus.BAD_REQUEST, "a chunk's size is no hexadecimal number")
    return int(digits, 16)
