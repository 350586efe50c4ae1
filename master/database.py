"""Patience with a database server that goes away: the master waits for it and goes on.

By itself Buildbot 4.3 takes a lost PostgreSQL connection for a fault of the query: the build that asked never ends.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import CreateEnginePlugin
from twisted.internet import reactor
from twisted.python import log

PATIENCE_SECONDS = 300
"""A master without a database for this long ends. Whoever starts it again has its builds made again."""

RETRY_SECONDS = 1.0

_PLUGIN = "autogate_patience"
_LOST = "Lost connection"
"""By these words in its message Buildbot knows an error after which it makes the whole query again."""


def engine_arguments(url: str) -> dict[str, Any]:
    """Return what Buildbot's engine for ``url`` is to be made with besides; nothing for a file."""
    if not url.startswith("postgresql"):
        return {}
    return {
        "plugins": [_PLUGIN],
        # looks whether a connection from the pool still lives before it is used
        "pool_pre_ping": True,
        # a server that fell silent is noticed within a minute
        "connect_args": {
            "connect_timeout": 10,
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    }


class Patience(CreateEnginePlugin):
    """Makes an engine wait for a database that it had before, and Buildbot make lost queries again.

    A first connection that fails is an error at once: then something is wrong with the configuration.

    Args:
        url: SQLAlchemy's.
        kwargs: SQLAlchemy's.
    """

    def __init__(self, url: sa.URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        self.give_up: Callable[[], None] = _end_process
        self._connected = False
        self._ending = threading.Event()

    def update_url(self, url: sa.URL) -> sa.URL:
        """Return the url, of which nothing was for this plugin."""
        return url

    def engine_created(self, engine: sa.Engine) -> None:
        """Take effect on a new engine."""
        sa.event.listen(engine, "do_connect", self.connect)
        sa.event.listen(engine, "handle_error", name_lost_connection)
        # a thread that waits must not keep the process
        reactor.addSystemEventTrigger("before", "shutdown", self._ending.set)  # type: ignore[arg-type]

    def connect(self, dialect: Any, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:  # noqa: ANN401
        """Return a connection; waits in one of the database's own threads, which are there for that.

        Raises:
            Exception: the driver's OperationalError, when this is the first connection or the process ends.
        """
        begun = time.monotonic()
        told = False
        while True:
            try:
                connection = dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError as error:
                if not self._connected or self._ending.is_set():
                    raise
                if not told:
                    log.msg(f"autogate: the database is away, waiting for it: {error}")
                    told = True
                if time.monotonic() - begun > PATIENCE_SECONDS:
                    self.give_up()
                    raise
                self._ending.wait(RETRY_SECONDS)
            else:
                if told:
                    log.msg("autogate: the database is back")
                self._connected = True
                return connection


def name_lost_connection(context: sa.engine.ExceptionContext) -> None:
    """Give an error that ended its connection the words that Buildbot looks for."""
    error = context.sqlalchemy_exception
    if context.is_disconnect and isinstance(error, sa.exc.DBAPIError) and not context.is_pre_ping:
        lost = sa.exc.OperationalError(
            error.statement, error.params, type(context.original_exception)(f"{_LOST}: {context.original_exception}")
        )
        raise lost from context.original_exception


def _end_process() -> None:
    log.msg(f"autogate: there was no database for {PATIENCE_SECONDS} s, so this master ends; start it again")
    # nothing that is left to do would work without a database
    os._exit(1)


plugins.register(_PLUGIN, __name__, Patience.__name__)
