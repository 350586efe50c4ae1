"""What a requirements file refers to, as far as it takes to know an environment by a hash."""

import re
from dataclasses import dataclass, field

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_INCLUDE = re.compile(
    r"(?:-r|-c|--requirement|--requirements|--constraint|--constraints)(?:\s*=\s*|\s+)?(?P<path>.+)", re.DOTALL
)
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s*=\s*|\s+)?(?P<path>.+)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_HASHED = re.compile(r"--hash[=\s]")
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|[a-zA-Z0-9+]+:/|\w+@[\w.-]+:")


@dataclass
class References:
    """What one requirements file refers to.

    Attributes:
        includes: Other requirement and constraint files, as written.
        variables: Environment variables it is filled from.
        unknowable: The first line whose content no hash of the text can tell, such as a path; empty when there is none.
    """

    includes: list[str] = field(default_factory=list)
    variables: set[str] = field(default_factory=set)
    unknowable: str = ""


def references(text: str) -> References:
    """Return what a requirements file refers to."""
    found = References(variables=set(_VARIABLE.findall(text)))
    for line in _logical_lines(text):
        if include := _INCLUDE.fullmatch(line):
            path = include["path"].strip().strip("'\"")
            if _ADDRESS.match(path):
                found.unknowable = found.unknowable or line
            else:
                found.includes.append(path)
        elif _is_unknowable(line):
            found.unknowable = found.unknowable or line
    return found


def _logical_lines(text: str) -> list[str]:
    joined = re.sub(r"\\\r?\n", "", text.removeprefix("\ufeff"))
    return [stripped for line in joined.splitlines() if (stripped := _COMMENT.sub("", line).strip())]


def _is_unknowable(line: str) -> bool:
    """Tell whether a requirement is a path, or an address whose content may change under the same text."""
    if _EDITABLE.fullmatch(line):
        return True
    if line.startswith("-"):
        return False
    requirement = line.split(";", maxsplit=1)[0].strip()
    name, at, place = requirement.partition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9._-]+(?:\[[^\]]*\])?\s*", name):
        at, place = "", ""
    place = place.strip() if at else requirement
    if not at and not (_ADDRESS.match(place) or re.search(r"[/\\]", place) or place.startswith(".")):
        # What is left is a name, with extras and versions, or a file beside the repository's root.
        return re.search(r"\.(?:whl|tar\.gz|zip)$", place) is not None
    pinned = _HASHED.search(line) is not None or re.search(r"@[0-9a-f]{40}(?:#|$|\s)", place) is not None
    return not pinned or not _ADDRESS.match(place) or place.startswith("file:")
