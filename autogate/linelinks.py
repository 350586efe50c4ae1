"""Addresses of lines of code at a forge."""

import string
from urllib.parse import quote, urlsplit

from .remote import Remote

FIELDS = {"revision", "path", "line"}

KNOWN = {
    "github.com": "/blob/{revision}/{path}#L{line}",
    "gitlab.com": "/-/blob/{revision}/{path}#L{line}",
    "codeberg.org": "/src/commit/{revision}/{path}#L{line}",
}
"""Host -> what stands behind a repository's page there."""


def template(remote: Remote) -> str:
    """Return the template for a repository, with the fields `FIELDS`; empty where its host is none of `KNOWN`."""
    if remote.host not in KNOWN:
        return ""
    path = remote.path.rstrip("/").removesuffix(".git").replace("{", "%7B").replace("}", "%7D")
    return f"https://{remote.host}{path}{KNOWN[remote.host]}"


def fault(link: object) -> str:
    """Return why a value is no template and what to write instead; an empty string when it is one."""
    cure = "is no address of a line; write one like https://git.example.com/{revision}/{path}#L{line}"
    try:
        is_address = isinstance(link, str) and urlsplit(link).scheme in {"http", "https"} and link.isprintable()
        fields = [field[1:] for field in string.Formatter().parse(str(link)) if field[1] is not None]
    except ValueError:
        return cure
    plain = all(name in FIELDS and not spec and not conversion for name, spec, conversion in fields)
    return "" if is_address and plain and ("path", "", None) in fields else cure


def fill(link: str, revision: str, path: str, line: int) -> str:
    """Return the address of a line.

    Args:
        link: The template.
        revision: The commit.
        path: The file, with slashes; bytes that are no UTF-8 are lone surrogates.
        line: From 1.
    """
    return link.format(revision=_quoted(revision), path=_quoted(path), line=line)


def _quoted(text: str) -> str:
    try:
        return quote(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # halves of characters, which no file's name has
        return quote(text.encode("utf-8", "replace"))
