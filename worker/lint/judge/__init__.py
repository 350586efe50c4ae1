"""What runs in the linted repository's own Python: pylint, kept warm. It imports pylint and the standard library only."""
