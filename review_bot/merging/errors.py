"""What can go wrong with the mirror beyond what git says."""


class MirrorError(Exception):
    """The mirror cannot do what is asked now. The message names the cure."""


class MirrorBusyError(MirrorError):
    """Another process uses the mirror, or a git that a killed bot left behind still does."""


class MissingCommitError(MirrorError):
    """A commit is neither in the mirror nor on the server."""


class RuleBrokenError(MirrorError):
    """What is to land is not what the rule allows. Nothing was pushed, and trying again does not help."""
