"""The master as a Twisted application; its basedir is the folder where this file is linked (see master/entrypoint)."""

import sys
from pathlib import Path

from buildbot.master import BuildMaster
from twisted.application import service
from twisted.logger import ILogObserver, LogPublisher, textFileLogObserver
from twisted.python.logfile import LogFile

import master

basedir = Path(__file__).absolute().parent  # not resolved: this file is a link

# Buildbot's own command takes a file for a master's by the words Application('buildmaster'), in these very quotes,
# reads the name `configfile` from it, and learns from twistd.log what became of `buildbot reconfig`.
configfile = str(Path(master.__file__).with_name("master.cfg"))
application = service.Application('buildmaster')
log_file = LogFile("twistd.log", str(basedir), rotateLength=10_000_000, maxRotatedFiles=2)
application.setComponent(ILogObserver, LogPublisher(textFileLogObserver(sys.stdout), textFileLogObserver(log_file)))
BuildMaster(str(basedir), configfile).setServiceParent(application)
