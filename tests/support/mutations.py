"""Changes to Python source such as people make, by numbers: statements swapped, doubled and deleted, names, syntax."""

import ast
import itertools
import keyword
import re
from collections.abc import Callable

WORD = re.compile(r"\b[A-Za-z_]\w*\b")

Lines = list[str]
Span = tuple[int, int]
"""A statement's first line and the one behind its last, from 0."""


def swap(text: str, number: int) -> str:
    """Let a statement and the one after it change places."""
    return _with_statements(text, number, 2, lambda first, second: [*second, *first])


def duplicate(text: str, number: int) -> str:
    """Write a statement twice."""
    return _with_statements(text, number, 1, lambda statement: [*statement, *statement])


def delete(text: str, number: int) -> str:
    """Remove a statement that has one in front of it."""
    return _with_statements(text, number, 2, lambda first, _second: first)


def rename(text: str, number: int) -> str:
    """Give a word another name, in one place; it may be a keyword, or stand in a string."""
    words = list(WORD.finditer(text))
    if not words:
        return text
    word = words[number % len(words)]
    return f"{text[: word.start()]}{word.group()}_x{text[word.end() :]}"


def rename_all(text: str, number: int) -> str:
    """Give a word another name everywhere in the file."""
    words = sorted({word.group() for word in WORD.finditer(text)} - set(keyword.kwlist))
    if not words:
        return text
    word = words[number % len(words)]
    return re.sub(rf"\b{word}\b", f"{word}_x", text)


def break_syntax(text: str, number: int) -> str:
    """Put an opening bracket in front of a line."""
    lines = text.splitlines(keepends=True)
    if not lines:
        return "("
    at = number % len(lines)
    return "".join([*lines[:at], "(", *lines[at:]])


MUTATIONS: tuple[Callable[[str, int], str], ...] = (swap, duplicate, delete, rename, rename_all, break_syntax)


def _with_statements(text: str, number: int, count: int, change: Callable[..., Lines]) -> str:
    """Apply ``change`` to the lines of ``count`` statements that follow each other; what is between them goes."""
    groups = _groups(text, count)
    if not groups:
        return text
    lines = text.splitlines(keepends=True)
    spans = groups[number % len(groups)]
    changed = change(*(lines[begin:end] for begin, end in spans))
    return "".join([*lines[: spans[0][0]], *changed, *lines[spans[-1][1] :]])


def _groups(text: str, count: int) -> list[list[Span]]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    groups = []
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                spans = [_span(each) for each in body]
                groups += [spans[at : at + count] for at in range(len(spans) - count + 1)]
    return [group for group in groups if _apart(group)]


def _span(statement: ast.stmt) -> Span:
    decorators = [each.lineno for each in getattr(statement, "decorator_list", [])]
    assert statement.end_lineno is not None
    return min([statement.lineno, *decorators]) - 1, statement.end_lineno


def _apart(spans: list[Span]) -> bool:
    """Return whether each has its lines to itself, as far as these know."""
    return all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
