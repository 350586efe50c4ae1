"""Buildbot's side: results that come in, and everything that Buildbot is asked or told."""
