"""``POST /buildbot`` on a real server."""

import json
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPConnection
from typing import Any, cast
from urllib.parse import urlencode

import pytest
import uvicorn
from fastapi import FastAPI

from autogate.contract import MAX_BODY_BYTES, Result
from autogate.secretstore import SecretMissingError
from autogate.settings import Settings
from review_bot.ci.routes import PATH, router
from review_bot.desk import Desk
from review_bot.domain.events import VerdictReached
from tests.support.waiting import wait_for

from .reporting import NOW, SECRETS, SHA, SHARED, TILLS, RecordingDesk, a_report, settings, signed

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Site:
    """A server with the route, whose desk, settings and secrets a test may change while it runs."""

    desk: RecordingDesk = field(default_factory=RecordingDesk)
    settings: Settings = field(default_factory=settings)
    secrets: dict[str, str] = field(default_factory=lambda: dict(SECRETS))
    now: datetime = NOW
    port: int = 0

    def secret(self, name: str) -> str:
        if name not in self.secrets:
            raise SecretMissingError(f"the secret {name!r} is missing: write it to the file /secrets/{name}")
        return self.secrets[name]

    def app(self) -> FastAPI:
        app = FastAPI()
        app.include_router(router(cast("Desk", self.desk), lambda: self.settings, self.secret, lambda: self.now))
        return app

    def post(self, body: Any, headers: dict[str, str], **how: Any) -> tuple[int, Any]:
        return self.send("POST", body, headers, **how)

    def send(self, method: str, body: Any, headers: dict[str, str], **how: Any) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, PATH, body, headers, **how)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(site.app(), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_for(lambda: server.started, "the server")
        site.port = listener.getsockname()[1]
        yield site
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as site:
        yield site


def packet(builder: str = "shop-test", event: str = "buildFinished", number: int = 7) -> dict[str, Any]:
    properties = [["revision", SHA, "Build"], ["buildnumber", number, "Build"]]
    build = {"builderName": builder, "properties": properties, "text": ["build", "successful"]}
    return {"event": event, "project": "Acme", "payload": {"build": build}}


def form(*packets: Any, secret: str = SHARED) -> bytes:
    return urlencode({"packets": json.dumps(packets), "secret": secret}).encode()


def test_a_verdict_is_stored_once_and_repeats_are_told(site: Site) -> None:
    report = a_report(result=Result.FAILURE)
    body = report.to_body()
    assert site.post(body, signed(body)) == (200, {"status": "accepted"})
    site.now += timedelta(hours=1)
    assert site.post(body, signed(body, now=site.now)) == (200, {"status": "repeated"})
    [event] = site.desk.events
    assert isinstance(event, VerdictReached)
    assert (event.at, event.verdict.result) == (NOW, Result.FAILURE)
    assert set(site.desk.stored) == {("shop", f"report:{report.delivery}")}
    assert set(site.desk.traces) == {f"report:{report.delivery}"}


def test_what_no_attempt_waits_for_is_taken_and_not_stored(site: Site) -> None:
    for body in (a_report(branch="main").to_body(), a_report(builder="shop-deploy", kind="deploy").to_body()):
        assert site.post(body, signed(body)) == (200, {"status": "accepted"})
    assert site.post(form(), FORM) == (200, {"status": "accepted"})
    assert site.post(form(packet(event="slaveConnected")), FORM) == (200, {"status": "accepted"})
    assert site.desk.stored == {}


def test_packets_are_stored_once_and_bad_ones_skipped(site: Site) -> None:
    body = form(packet(event="buildStarted"), packet("shop-dance"), packet(), packet("till-test"))
    status, answer = site.post(body, FORM)
    assert (status, answer["status"], len(answer["skipped"])) == (200, "accepted", 2)
    assert site.post(body, FORM)[1]["status"] == "repeated"
    assert site.post(form(packet(), packet(number=8)), FORM) == (200, {"status": "accepted"})
    assert site.post(form(packet("till-test"), secret=TILLS), FORM) == (200, {"status": "accepted"})
    assert [repository for repository, _ in site.desk.stored] == ["shop", "shop", "shop", "till"]


BODY = a_report().to_body()
TILL = a_report(repository="till", builder="till-lint").to_body()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (BODY, signed(BODY, "nobody's"), 401),
        (BODY, signed(BODY, TILLS), 403),
        (TILL, signed(TILL, SHARED), 403),
        (BODY, signed(BODY, now=NOW - timedelta(minutes=6)), 401),
        (BODY, signed(BODY, now=NOW + timedelta(minutes=6)), 401),
        (BODY, {"Content-Type": "application/json"}, 401),
        (BODY + b" ", signed(BODY), 401),
        (b"{", signed(b"{", delivery="x"), 400),
        (b"", signed(b"", delivery="x"), 400),
        (BODY, signed(BODY, delivery="x"), 400),
        (BODY, signed(BODY) | {"Content-Type": "text/plain"}, 415),
        (BODY, signed(BODY) | {"Content-Type": ""}, 415),
        (a := a_report(repository="cafe", builder="cafe-lint").to_body(), signed(a), 422),
        (b := a_report(builder="shop-dance").to_body(), signed(b), 422),
        (c := a_report(result=None).to_body(), signed(c), 400),
        (form(packet(), secret="nobody's"), FORM, 401),
        (form(packet(event="buildStarted"), secret="nobody's"), FORM, 401),
        (urlencode({"packets": "[", "secret": SHARED}).encode(), FORM, 400),
        (b"\xff%%%", FORM, 401),
    ],
)
def test_what_is_refused_changes_nothing(site: Site, body: bytes, headers: dict[str, str], status: int) -> None:
    got, answer = site.post(body, headers)
    assert (got, site.desk.stored) == (status, {}), answer
    assert answer["error"]
    assert not any(secret in json.dumps(answer) for secret in (SHARED, TILLS))


@pytest.mark.parametrize("chunked", [False, True])
def test_100_megabytes_are_refused_and_not_kept(site: Site, chunked: bool) -> None:
    size, piece = 100 * 1024 * 1024, b"x" * 65536
    headers = dict(signed(BODY)) | ({} if chunked else {"Content-Length": str(size)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", site.port), timeout=60) as connection:
        head = [f"POST {PATH} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
        head += ["Transfer-Encoding: chunked"] if chunked else []
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        wrapped = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
        try:
            for _ in range(size // len(piece)):
                connection.sendall(wrapped)
        except OSError:
            pass  # the server has heard enough
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    # kilobytes; one copy of the body would be 102,400
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert site.desk.stored == {}
    assert site.post(BODY, signed(BODY))[0] == 200


def test_a_length_alone_is_enough_to_refuse(site: Site) -> None:
    assert site.post(b"", dict(signed(BODY)) | {"Content-Length": str(MAX_BODY_BYTES + 1)})[0] == 413


def test_the_largest_body_is_taken(site: Site) -> None:
    body = BODY + b" " * (MAX_BODY_BYTES - len(BODY))
    headers = signed(body)
    assert site.post(body, headers) == (200, {"status": "accepted"})
    pieces = (body[first : first + 99_999] for first in range(0, len(body), 99_999))
    assert site.post(pieces, headers, encode_chunked=True) == (200, {"status": "repeated"})


def test_a_sender_that_goes_away_midway_harms_nobody(site: Site) -> None:
    for part in (b"", b"POST /buildb", f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode()):
        with socket.create_connection(("127.0.0.1", site.port), timeout=60) as connection:
            connection.sendall(part)
    assert site.post(BODY, signed(BODY))[0] == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    assert site.send(method, BODY, signed(BODY))[0] == 405
    assert site.desk.stored == {}


def test_what_could_not_be_stored_is_to_be_sent_again(site: Site) -> None:
    site.desk.fault = RuntimeError(f"database is locked, {SHARED}")
    status, answer = site.post(BODY, signed(BODY))
    assert (status, answer) == (503, {"error": "it could not be stored; send it again"})
    assert site.post(form(packet(), packet("shop-dance")), FORM)[0] == 503
    site.desk.fault = None
    assert site.post(BODY, signed(BODY)) == (200, {"status": "accepted"})


def test_a_repository_that_the_desk_does_not_know_yet_is_sent_again(site: Site) -> None:
    site.settings = Settings(site.settings.site, (site.settings.repositories[0].model_copy(update={"name": "cafe"}),))
    body = a_report(repository="cafe", builder="cafe-lint").to_body()
    assert site.post(body, signed(body))[0] == 422


def test_a_secret_that_is_missing_lets_nobody_in_and_keeps_no_other_out(site: Site) -> None:
    del site.secrets["till"]
    for secret in (TILLS, "", SHARED):
        assert site.post(TILL, signed(TILL, secret))[0] in {401, 403}
    assert site.post(BODY, signed(BODY)) == (200, {"status": "accepted"})
    del site.secrets["bot"]
    status, answer = site.post(BODY, signed(BODY))
    assert (status, "/secrets/" in json.dumps(answer)) == (503, False)
    assert len(site.desk.stored) == 1


def test_without_a_bot_in_the_configuration_nothing_is_taken(site: Site) -> None:
    site.settings = Settings(site.settings.site.model_copy(update={"bot": None}), site.settings.repositories)
    status, answer = site.post(BODY, signed(BODY))
    assert (status, answer) == (503, {"error": "autogate.toml has no [bot]; add it"})
