"""The Buildbot master: from settings to a running configuration."""
