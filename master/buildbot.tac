"""The master as a Twisted application; its basedir is the current folder (see master/entrypoint)."""

from pathlib import Path

from buildbot.master import BuildMaster
from twisted.application import service

import master

# Buildbot's own command takes a file for a master's by the words Application('buildmaster'), in these very quotes,
# and reads the name `configfile` from it.
configfile = str(Path(master.__file__).with_name("master.cfg"))
application = service.Application('buildmaster')
BuildMaster(str(Path.cwd()), configfile).setServiceParent(application)
