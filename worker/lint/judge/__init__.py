"""What runs in the linted repository's own Python: pylint, kept warm.

It imports pylint, astroid and the standard library only.
"""
