"""Logs that a machine can join: a line of JSON an event, or a coloured line on a terminal."""

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TextIO

import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"

_SECRET_KEY = re.compile(r"authorization|cookie|password|secret|token", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b(bearer|basic)\s+[^\s'\",]+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SHORTEST_SECRET = 6
"""Anything shorter is no secret, and hiding it would garble the log."""


def configure(
    secrets: Callable[[], Iterable[str]] = tuple, *, stream: TextIO | None = None, level: int = logging.INFO
) -> None:
    """Send all logs of this process, those of libraries too, to ``stream``.

    Args:
        secrets: Gives the values that never stand in a log; asked for every line.
        stream: The standard error when left out.
        level: The least that is logged.
    """
    stream = stream or sys.stderr
    on_terminal = stream.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hiding(secrets),
    ]
    rendering: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if on_terminal:
        plain = structlog.dev.plain_traceback  # the pretty ones print local variables, and secrets are among them
        rendering += [_tame, structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    else:
        rendering.append(structlog.processors.JSONRenderer(default=str))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=rendering))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    for name in ("alembic", "asyncio", "httpcore", "httpx", "uvicorn"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))  # httpx names every URL that it asks for
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def joined(
    *,
    trace: str | None = None,
    repository: str | None = None,
    number: int | None = None,
    attempt: int | None = None,
    revision: str | None = None,
) -> AbstractContextManager[None]:
    """Give all that is logged in the block these keys, by which comment, attempt, build and landing are joined."""
    keys = {"trace": trace, "repository": repository, "number": number, "attempt": attempt, "revision": revision}
    return bound_contextvars(**{name: value for name, value in keys.items() if value is not None})


def hiding(secrets: Callable[[], Iterable[str]]) -> Processor:
    """Return a processor that hides secret values wherever they stand, and what stands under a secret's name."""

    def hide(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        known = sorted((value for value in secrets() if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)
        for key, value in event.items():
            # what structlog itself needs later on
            if not key.startswith("_"):
                event[key] = HIDDEN if _SECRET_KEY.search(key) else _hidden(value, known)
        return event

    return hide


def _hidden(value: object, known: list[str]) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {
                _hidden(key, known): HIDDEN if _SECRET_KEY.search(str(key)) else _hidden(inner, known)
                for key, inner in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_hidden(inner, known) for inner in value]
    text = str(value)
    for secret in known:
        text = text.replace(secret, HIDDEN)
    return _CREDENTIALS.sub(rf"\1 {HIDDEN}", text)


def _tame(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Let no text command the terminal, whoever wrote it."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value)
    return event
