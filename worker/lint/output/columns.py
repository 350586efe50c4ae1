"""Where on its line a finding stands."""

from worker.lint.model import Finding


def columns(finding: Finding) -> tuple[int, int | None]:
    """Return the first character's index on the line and the one behind the last, from 0.

    The second is None when the linter does not say, or the end is on another line. Where pylint gives an end, it took
    both from Python's syntax tree, which counts bytes of UTF-8
    (https://docs.python.org/3/library/ast.html#ast.AST.end_col_offset).
    """
    message = finding.message
    start, end = message.column, message.end_column
    if message.linter == "pylint" and end is not None:
        start = _characters(finding.source, start)
    if end is None or message.end_line != message.line:
        return start, None
    return start, _characters(finding.source, end) if message.linter == "pylint" else end


def _characters(source: str, count: int) -> int:
    """Return how many characters the first ``count`` bytes of a line are."""
    if source.isascii():
        return count
    encoded = source.encode("utf-8", "surrogatepass")
    return len(encoded[:count].decode("utf-8", "ignore")) + max(0, count - len(encoded))
