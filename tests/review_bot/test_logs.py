"""Logs: joined by keys, a line an event, and no secret in any."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from review_bot import logs

SECRET = "correct-horse-battery"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json_has_the_keys_that_join() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    with logs.joined(trace="t1", repository="shop", number=7), logs.joined(attempt=3, revision="abc"):
        structlog.get_logger("review_bot.x").info("landed\nor not", builder="shop-test")
    structlog.get_logger().info("after")
    joined, after = lines(stream)
    assert {key: joined[key] for key in ("trace", "repository", "number", "attempt", "revision")} == {
        "trace": "t1",
        "repository": "shop",
        "number": 7,
        "attempt": 3,
        "revision": "abc",
    }
    assert (joined["event"], joined["level"], joined["logger"]) == ("landed\nor not", "info", "review_bot.x")
    assert joined["timestamp"].endswith("Z")
    assert "trace" not in after


@pytest.mark.parametrize("make", [io.StringIO, Terminal], ids=["json", "terminal"])
def test_no_secret_stands_in_a_log(make: type[io.StringIO]) -> None:
    stream = make()
    logs.configure(lambda: [SECRET, ""], stream=stream)
    log = structlog.get_logger("x")
    log.info(f"said {SECRET}", where={"deep": [SECRET, {"Authorization": "Basic Zm9v"}]}, token="t0ken")
    log.info("a header", headers="Authorization: Bearer abc.def-123")
    logging.getLogger("some.library").info("from a library: %s and Bearer abc.def-123", SECRET)
    try:
        raise ValueError(f"with {SECRET} and password={SECRET}")  # noqa: TRY301  (it is what is logged)
    except ValueError:
        log.exception("failed")
        logging.getLogger("y").exception("failed too")
    text = stream.getvalue()
    for secret in (SECRET, "Zm9v", "t0ken", "abc.def-123"):
        assert secret not in text
    assert text.count(logs.HIDDEN) >= 8
    assert text.count("ValueError") >= 2


def test_libraries_log_the_same_way_and_name_no_url() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("uvicorn.error").warning("started")
    logging.getLogger("httpx").info("HTTP Request: GET https://x/?secret=1")
    logging.getLogger("httpx").warning("slow")
    assert [(line["logger"], line["event"], line["level"]) for line in lines(stream)] == [
        ("uvicorn.error", "started", "warning"),
        ("httpx", "slow", "warning"),
    ]


def test_a_terminal_gets_colours_and_no_commands() -> None:
    stream = Terminal()
    logs.configure(stream=stream)
    structlog.get_logger().info("hello", title="x\x1b]0;evil\x07y")
    assert "\x1b[" in stream.getvalue()
    assert "\x1b]0" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, level=logging.WARNING)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]
