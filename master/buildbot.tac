"""The master as a Twisted application; its basedir is the current folder (see master/entrypoint)."""

from pathlib import Path

from buildbot.master import BuildMaster
from twisted.application import service

import master

application = service.Application("buildmaster")
BuildMaster(str(Path.cwd()), str(Path(master.__file__).with_name("master.cfg"))).setServiceParent(application)
