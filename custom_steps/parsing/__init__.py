"""What tools print, read by pure functions: no Buildbot, no I/O, standard library only."""
