"""Buildbot steps for a merge gate, usable in anyone's master through entry points."""
