"""Whether the master has accepted the worker, for whoever looks from outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from buildbot_worker.pb import BotFactory

FILE = "connected"
"""In the worker's base directory. There while the master has accepted the worker, such as for a health check."""


def show(factory: BotFactory, file: Path) -> None:
    """Keep ``file`` there from each successful sign-in to the end of its connection.

    An open connection alone would tell nothing: it stays open after a refused password.

    Args:
        factory: The worker's own, before it connects for the first time.
        file: Deleted at once, since a worker that was killed may have left it.
    """
    file.unlink(missing_ok=True)
    signed_in: Callable[[Any], None] = factory.gotPerspective

    def got_perspective(perspective: Any) -> None:  # noqa: ANN401  (Twisted's, without types)
        signed_in(perspective)
        perspective.broker.notifyOnDisconnect(lambda: file.unlink(missing_ok=True))
        file.touch()

    factory.gotPerspective = got_perspective  # type: ignore[method-assign]  # looked up at each sign-in
