"""Workers as the master knows them."""

from buildbot.worker.base import Worker

KEEPALIVE_SECONDS = 30
"""A worker that dies silently is noticed after this long; Buildbot's own default is an hour."""

LONGEST_QUARANTINE_SECONDS = 30


class GateWorker(Worker):
    """A worker that no run of builds can keep away for long.

    Buildbot sets a worker aside after each build that ends with EXCEPTION, for twice as long each time, up to an hour.
    A repository that cannot be reached, or tests that kill themselves, would so stop the gate for everybody.
    """

    quarantine_max_timeout = LONGEST_QUARANTINE_SECONDS

    def __init__(self, name: str, password: str, max_builds: int) -> None:
        super().__init__(name, password, max_builds=max_builds, keepalive_interval=KEEPALIVE_SECONDS)  # type: ignore[no-untyped-call]
