"""`autogate listen`, over real sockets."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autogate.cli import receiver as receiving
from autogate.cli import reportview
from autogate.cli.receiver import Received, Receiver
from autogate.contract import (
    DELIVERY_HEADER,
    MAX_AGE_SECONDS,
    MAX_BODY_BYTES,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Build,
    Cause,
    Event,
    FailedTest,
    Finding,
    Report,
    Result,
    Severity,
    sign,
)
from autogate.judging import Refusal, Secrets, judge
from tests.support.installation import AUTOGATE, SITE, Installation
from tests.support.waiting import wait_for

SECRET = "shared by both"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_report(**changes: Any) -> Report:
    report: dict[str, Any] = {
        "delivery": uuid.uuid4(),
        "event": Event.FINISHED,
        "repository": "shop",
        "builder": "shop-lint",
        "kind": "lint",
        "branch": "auto",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "request": 7,
        "result": Result.SUCCESS,
        "summary": "no findings",
        "occurred_at": NOW,
    }
    return Report.model_validate(report | changes)


def headers_of(body: bytes, secret: str = SECRET, now: float | None = None, delivery: str = "") -> dict[str, str]:
    timestamp = int(time.time() if now is None else now)
    return {
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: sign(secret, timestamp, body),
        DELIVERY_HEADER: delivery or json.loads(body)["delivery"],
        "Content-Type": "application/json",
    }


class Listener:
    """A receiver in this process, and what it was given."""

    def __init__(self, path: str = "/results", fails: Callable[[Received], None] = lambda _: None) -> None:
        self.received: list[Received] = []
        self.refused: list[tuple[HTTPStatus, str]] = []

        def show(received: Received) -> None:
            fails(received)
            self.received.append(received)

        self.receiver = Receiver("127.0.0.1", 0, path, SECRET, show, lambda *refusal: self.refused.append(refusal))
        self.port = int(self.receiver.server_address[1])
        self.thread = threading.Thread(target=self.receiver.serve_forever, kwargs={"poll_interval": 0.02})

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=60)

    def post(self, body: bytes, headers: dict[str, str] | None = None, path: str = "/results") -> tuple[int, Any]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", path, body, headers_of(body) if headers is None else headers)
            return read(connection.getresponse())

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are, and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


def read(response: HTTPResponse) -> tuple[int, Any]:
    return response.status, json.loads(response.read())


@contextlib.contextmanager
def listening(**arguments: Any) -> Iterator[Listener]:
    listener = Listener(**arguments)
    listener.thread.start()
    try:
        yield listener
    finally:
        listener.receiver.shutdown()
        listener.receiver.server_close()
        listener.thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as running:
        yield running


def test_a_good_report_is_taken_once_and_repeats_are_told(listener: Listener) -> None:
    report = a_report()
    assert listener.post(report.to_body()) == (200, {"status": "accepted"})
    # signed anew: the timestamp is that of the sending
    assert listener.post(report.to_body(), headers_of(report.to_body(), now=time.time() - 60)) == (
        200,
        {"status": "repeated"},
    )
    assert listener.post(a_report().to_body()) == (200, {"status": "accepted"})
    assert [received.repeated for received in listener.received] == [False, True, False]
    assert listener.received[0].report == report


def test_many_at_once_over_connections_that_stay(listener: Listener) -> None:
    reports = [a_report() for _ in range(40)]

    def send_all(_sender: int) -> list[str]:
        with contextlib.closing(listener.connect()) as connection:
            said = []
            for report in reports:
                connection.request("POST", "/results", report.to_body(), headers_of(report.to_body()))
                said.append(read(connection.getresponse())[1]["status"])
            return said

    with ThreadPoolExecutor(5) as senders:
        answers = [answer for said in senders.map(send_all, range(5)) for answer in said]
    assert (answers.count("accepted"), answers.count("repeated")) == (40, 160)
    first = [received.report.delivery for received in listener.received if not received.repeated]
    assert sorted(first) == sorted(report.delivery for report in reports)


BODY = a_report().to_body()


def changed(body: bytes, **changes: Any) -> bytes:
    return json.dumps(json.loads(body) | changes).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (BODY, headers_of(BODY, "another secret"), 401, "do both sides have the same secret?"),
        (BODY, headers_of(BODY, ""), 401, "same secret"),
        (BODY, {}, 401, "Autogate-Timestamp is missing"),
        (BODY, headers_of(BODY) | {SIGNATURE_HEADER: ""}, 401, "does not match"),
        (BODY, headers_of(BODY) | {SIGNATURE_HEADER: "sha1=0"}, 401, "does not match"),
        (BODY, headers_of(BODY) | {TIMESTAMP_HEADER: "1"}, 401, "does not match"),
        (BODY, headers_of(BODY) | {TIMESTAMP_HEADER: "-1"}, 401, "not a number of seconds"),
        (BODY, headers_of(BODY) | {TIMESTAMP_HEADER: "9" * 400}, 401, "not a number of seconds"),
        (BODY, headers_of(BODY, now=1_000_000_000), 401, "is one of the two clocks wrong?"),
        (BODY + b" ", headers_of(BODY), 401, "does not match"),
        (b"{", headers_of(b"{", delivery="x"), 400, "Invalid JSON"),
        (b"", headers_of(b"", delivery="x"), 400, "Invalid JSON"),
        (b"\xff", headers_of(b"\xff", delivery="x"), 400, "Invalid JSON"),
        (b"[" * 9999, headers_of(b"[" * 9999, delivery="x"), 400, "Invalid JSON"),
        (b"[]", headers_of(b"[]", delivery="x"), 400, "no report"),
        (b"{}", headers_of(b"{}", delivery="x"), 400, "version: Field required"),
        (changed(BODY, version=2), headers_of(changed(BODY, version=2)), 400, "version 2 is not known here"),
        (changed(BODY, colour=1), headers_of(changed(BODY, colour=1)), 400, "colour: Extra inputs"),
        (changed(BODY, revision="x"), headers_of(changed(BODY, revision="x")), 400, "revision: "),
        (BODY, headers_of(BODY, delivery="x"), 400, "Autogate-Delivery is missing, or not the report's own"),
    ],
)
def test_what_is_not_believed_or_not_understood(
    listener: Listener, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    got, answer = listener.post(body, headers)
    assert (got, says in answer["error"]) == (status, True), answer
    assert listener.received == []
    assert [refusal[0] for refusal in listener.refused] == [status]
    assert SECRET not in str(answer)


def test_a_signature_holds_for_five_minutes_either_way() -> None:
    for shift, good in ((MAX_AGE_SECONDS, True), (MAX_AGE_SECONDS + 1, False)):
        for sign_of in (1, -1):
            there = NOW + timedelta(seconds=sign_of * shift)
            headers = headers_of(BODY, now=there.timestamp())
            if good:
                assert judge(headers, BODY, NOW, Secrets(SECRET)).to_body() == BODY
            else:
                with pytest.raises(Refusal, match="clocks"):
                    judge(headers, BODY, NOW, Secrets(SECRET))


def test_nothing_is_parsed_before_the_signature_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(Report, "model_validate_json", parse)
    with pytest.raises(Refusal, match="same secret"):
        judge(headers_of(BODY, "another"), BODY, NOW, Secrets(SECRET))
    with pytest.raises(AssertionError, match="parsed"):
        judge(headers_of(BODY, now=NOW.timestamp()), BODY, NOW, Secrets(SECRET))


@given(st.binary(max_size=200))
def test_any_signed_body_is_a_report_or_a_refusal(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        judge(headers_of(body, now=NOW.timestamp(), delivery="x"), body, NOW, Secrets(SECRET))
    assert caught.value.status == 400


def chunked(*chunks: bytes, size: Callable[[bytes], str] = lambda chunk: f"{len(chunk):x}") -> bytes:
    return b"".join(f"{size(chunk)}\r\n".encode() + chunk + b"\r\n" for chunk in (*chunks, b""))


def request(body: bytes, *headers: str, line: str = "POST /results HTTP/1.1") -> bytes:
    signed = [f"{name}: {value}" for name, value in headers_of(BODY).items()]
    return "\r\n".join([line, "Host: x", "Connection: close", *signed, *headers, "", ""]).encode() + body


HALF = len(BODY) // 2
LENGTH = f"Content-Length: {len(BODY)}"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(BODY, LENGTH), 200),
        (request(BODY, LENGTH, line="POST /results?x=1 HTTP/1.1"), 200),
        (request(BODY, LENGTH, "Expect: 100-continue"), 100),
        (request(chunked(BODY[:HALF], BODY[HALF:]), "Transfer-Encoding: chunked"), 200),
        (request(chunked(BODY)[:-2] + b"Trailer: x\r\n\r\n", "Transfer-Encoding: Chunked"), 200),
        (request(chunked(BODY, size=lambda c: f"{len(c):X};name=value"), "Transfer-Encoding: chunked"), 200),
        (request(chunked(BODY)[:-7], "Transfer-Encoding: chunked"), 400),
        (request(chunked(BODY, size=lambda c: f"{len(c) + 1:x}"), "Transfer-Encoding: chunked"), 400),
        (request(chunked(BODY, size=lambda c: f"-{len(c):x}"), "Transfer-Encoding: chunked"), 400),
        (request(b"0\r\n" + b"x: y\r\n" * 200, "Transfer-Encoding: chunked"), 400),
        (request(b"ffffffff\r\n", "Transfer-Encoding: chunked"), 413),
        (request(chunked(BODY), "Transfer-Encoding: gzip, chunked"), 501),
        (request(chunked(BODY), "Transfer-Encoding: chunked", LENGTH), 400),
        (request(BODY), 411),
        (request(BODY, LENGTH, LENGTH), 400),
        (request(BODY, "Content-Length: -1"), 400),
        (request(BODY, "Content-Length: ten"), 400),
        (request(BODY, "Content-Length: \N{SUPERSCRIPT TWO}"), 400),
        (request(BODY[:-1], LENGTH), 400),
        (request(BODY, f"Content-Length: {MAX_BODY_BYTES + 1}"), 413),
        (request(BODY, "Content-Length: " + "9" * 5000), 413),
        (request(BODY, LENGTH, line="POST / HTTP/1.1"), 404),
        (request(BODY, LENGTH, line="POST /results/ HTTP/1.1"), 404),
        (request(b"", line="GET / HTTP/1.1"), 404),
        (request(b"", line="GET /results HTTP/1.1"), 405),
        (request(b"", line="DELETE /results HTTP/1.1"), 405),
        (request(b"", line="BREW /results HTTP/1.1"), 405),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_the_framing_of_requests(listener: Listener, sent: bytes, status: int) -> None:
    answer = listener.raw(sent)
    assert int(answer.split()[1]) == status if answer.startswith(b"HTTP/1.1 ") else status == 400, answer
    if status == 100:
        assert b"HTTP/1.1 200" in answer
    assert len(listener.received) == (1 if status in {100, 200} else 0)


def test_wrong_methods_name_the_right_one(listener: Listener) -> None:
    assert b"\r\nAllow: POST\r\n" in listener.raw(request(b"", line="PUT /results HTTP/1.1"))
    head, _, body = listener.raw(request(b"", line="HEAD /results HTTP/1.1")).partition(b"\r\n\r\n")
    assert b" 405 " in head
    assert body == b""


@pytest.mark.parametrize("chunks", [False, True])
def test_a_sender_of_too_much_reads_the_answer(listener: Listener, chunks: bool) -> None:
    """It is still sending when it is refused; closing at once would reset its connection."""
    size = MAX_BODY_BYTES + 5 * 1024 * 1024
    with contextlib.closing(listener.connect()) as connection:
        piece = b"x" * 65536
        body = (piece for _ in range(size // len(piece)))
        headers = {} if chunks else {"Content-Length": str(size)}
        connection.request("POST", "/results", body, headers, encode_chunked=chunks)
        status, answer = read(connection.getresponse())
    assert (status, str(MAX_BODY_BYTES) in answer["error"]) == (413, True)


def test_the_largest_body_is_read(listener: Listener) -> None:
    body = BODY + b" " * (MAX_BODY_BYTES - len(BODY))
    assert listener.post(body) == (200, {"status": "accepted"})


def test_a_sender_that_goes_away_midway_harms_nobody(listener: Listener) -> None:
    for part in (b"", b"POST /res", request(BODY[:9], LENGTH)):
        with socket.create_connection(("127.0.0.1", listener.port)) as connection:
            connection.sendall(part)
    assert listener.post(BODY)[0] == 200


def test_a_report_that_could_not_be_shown_was_not_received() -> None:
    broken = [OSError(28, "No space left on device")]

    def fail_once(_received: Received) -> None:
        if broken:
            raise broken.pop()

    with listening(fails=fail_once) as listener:
        status, answer = listener.post(BODY)
        assert (status, "No space left" in answer["error"]) == (500, True)
        assert listener.post(BODY) == (200, {"status": "accepted"})


def test_old_deliveries_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "REMEMBERED_DELIVERIES", 2)
    first, second, third = (a_report().to_body() for _ in range(3))
    with listening() as listener:
        said = [listener.post(body)[1]["status"] for body in (first, second, first, third, first, second)]
    assert said == ["accepted", "accepted", "repeated", "accepted", "repeated", "accepted"]


def test_over_ipv6() -> None:
    try:
        receiver = Receiver("::1", 0, "/", SECRET, lambda _: None)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with receiver:
        assert receiver.url == f"http://[::1]:{receiver.server_address[1]}/"


FULL = a_report(
    builder="shop-test",
    result=Result.FAILURE,
    cause=Cause.CHANGE,
    summary="1 of\n7 failed \x1b[2J",
    builds=(Build(id=1, number=2, url="http://ci/#/builders/1/builds/2", worker="w", started_at=NOW),),
    findings=(
        Finding(path="a b.py", line=3, column=4, symbol="unused-import", severity=Severity.WARNING, text="[red]"),
    ),
    findings_total=1500,
    failed_tests=(FailedTest(name="tests.T.test", path="tests/t.py", line=9, excerpt="E\n" * 50 + "last"),),
    failed_tests_total=1,
)


def test_a_report_as_people_read_it() -> None:
    text = reportview.render(Received(FULL, repeated=True, at=NOW)).plain
    head, *rest = text.splitlines()
    assert head.endswith("shop-test  failure  auto 0123456789ab  [change]  1 of 7 failed \ufffd[2J  (repeated)")
    assert "    a b.py:3:4: warning unused-import: [red]" in rest
    assert "    and 1499 more findings" in rest
    assert "    tests.T.test  tests/t.py:9" in rest
    assert "        last" in rest
    assert sum(line.strip() == "E" for line in rest) == reportview.SHOWN_EXCERPT_LINES - 1
    assert rest[-1].strip() == "http://ci/#/builders/1/builds/2"


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("result", [None, *Result])
def test_every_event_and_result_can_be_read(event: Event, result: Result | None) -> None:
    text = reportview.render(Received(a_report(event=event, result=result), repeated=False, at=NOW)).plain
    assert (result if event is Event.FINISHED and result else event).value in text


# The command itself, as a process.


class Command:
    """A running `autogate listen`."""

    def __init__(self, installation: Installation, *args: str) -> None:
        self.process = subprocess.Popen(
            [AUTOGATE, "listen", "--port", "0", *args],
            env=os.environ | installation.places.to_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        self.first_line = self.process.stderr.readline()
        address = urlsplit(self.first_line.split()[2].rstrip(";")) if "Listening" in self.first_line else urlsplit("")
        self.port, self.path = address.port, address.path

    def post(self, body: bytes, secret: str = SECRET) -> tuple[int, Any]:
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", self.path, body, headers_of(body, secret))
            return read(connection.getresponse())

    def end(self) -> tuple[str, str]:
        return self.process.communicate(timeout=60)


@pytest.fixture
def start(installation: Installation) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start_one(*args: str) -> Command:
        started.append(Command(installation, *args))
        return started[-1]

    installation.write_site(SITE + '[bot]\nurl = "http://127.0.0.1:8020/results"\nsecret = "shared"\n')
    installation.secret("shared", SECRET)
    yield start_one
    for command in started:
        command.process.kill()
        command.process.communicate()


def test_json_lines_until_enough_have_come(start: Callable[..., Command]) -> None:
    command = start("--json", "--count", "2")
    assert command.path == "/results"
    one, two = a_report(), a_report(summary="\N{SNOWMAN}\n")
    assert command.post(one.to_body()) == (200, {"status": "accepted"})
    assert command.post(one.to_body()) == (200, {"status": "repeated"})
    assert command.post(two.to_body(), "wrong")[0] == 401
    assert command.post(two.to_body()) == (200, {"status": "accepted"})
    out, err = command.end()
    assert command.process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [Report.model_validate(line["report"]) for line in lines] == [one, one, two]
    assert [line["repeated"] for line in lines] == [False, True, False]
    assert "refused with 401: Autogate-Signature does not match" in err
    assert SECRET not in out + err + command.first_line


def test_readable_lines_until_it_is_told_to_end(start: Callable[..., Command], installation: Installation) -> None:
    file = installation.places.config / "shared.secret"
    file.write_text(SECRET + "\n")
    command = start("--secret-file", str(file))
    assert command.path == "/"
    assert command.post(FULL.to_body())[0] == 200
    command.process.send_signal(signal.SIGTERM)
    out, err = command.end()
    assert command.process.returncode == 0
    assert "unused-import: [red]" in out
    assert "\x1b" not in out + err


def test_ctrl_c_is_how_it_ends(start: Callable[..., Command]) -> None:
    command = start("--secret", "shared", "--path", "/other")
    assert command.path == "/other"
    command.process.send_signal(signal.SIGINT)
    assert "Traceback" not in command.end()[1]
    assert command.process.returncode == 0


def test_a_reader_that_went_away_ends_it(start: Callable[..., Command]) -> None:
    command = start("--json")
    assert command.process.stdout
    command.process.stdout.close()
    status, answer = command.post(BODY)
    assert (status, answer["error"]) == (500, "it could not be shown (Broken pipe); send it again")
    wait_for(lambda: command.process.poll() is not None, "the listener to end")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--secret", "hunter2 hunter2"], 2, "never the secret itself"),
        (["--secret", "nowhere"], 1, "'nowhere' is missing: write it to the file"),
        (["--secret-file", "/nowhere"], 1, "/nowhere: No such file"),
        (["--secret-file", "/dev/null"], 1, "/dev/null is empty"),
        (["--secret", "shared", "--secret-file", "x"], 2, "give one of"),
        (["--path", "x"], 2, "begin with a slash"),
        (["--host", "192.0.2.1"], 1, "choose another --host"),
        (["--host", "no.such.host.invalid"], 1, "error: "),
        (["--count", "0"], 2, "--count"),
    ],
)
def test_what_it_cannot_start_with(
    start: Callable[..., Command], installation: Installation, args: list[str], code: int, says: str
) -> None:
    done = installation.run("listen", "--port", "0", *args)
    assert done.returncode == code
    assert says in " ".join(done.stderr.replace("│", " ").split())
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_bot_it_asks_for_the_secret(installation: Installation) -> None:
    done = installation.run("listen")
    assert done.returncode == 1
    assert "has no [bot]" in done.stderr
    assert "--secret-file FILE" in done.stderr


def test_a_port_that_is_taken(start: Callable[..., Command], installation: Installation) -> None:
    taken = start().port
    done = installation.run("listen", "--port", str(taken))
    assert done.returncode == 1
    assert "choose another --port" in done.stderr


def test_the_contract_refuses_what_the_tests_call_wrong() -> None:
    with pytest.raises(ValidationError):
        a_report(revision="x")
