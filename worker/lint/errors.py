"""What ends a run of the lint program early."""

WRONG_USE = 2
NO_JUDGE = 3


class LintError(Exception):
    """The run cannot go on; the message names the cure.

    Attributes:
        exit_code: What the program ends with.
    """

    exit_code = WRONG_USE
