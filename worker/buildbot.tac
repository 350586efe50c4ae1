"""A worker as a Twisted application; its basedir is the current folder (see worker/entrypoint)."""

import os
from pathlib import Path

from autogate.places import Places
from buildbot_worker.bot import Worker
from twisted.application import service
from twisted.internet import reactor

from worker.credentials import take_password
from worker.presence import FILE, Presence

host, _, port = os.environ.get("AUTOGATE_MASTER", "127.0.0.1:9989").rpartition(":")
application = service.Application("worker")
worker = Worker(
    host,
    int(port),
    os.environ["AUTOGATE_WORKER"],
    take_password(Places.from_environ(), os.environ),
    str(Path.cwd()),
    keepalive=30,
    maxdelay=10,
    allow_shutdown="signal",
)
Presence(worker, Path.cwd() / FILE, reactor)
worker.setServiceParent(application)
