"""Why ``uv pip install`` failed: the requirements, or the world."""

import re
from typing import Literal

_WORLD = re.compile(
    r"failed after \d+ retr|error sending request|client error \(Connect|dns error|connection (?:refused|reset|closed)"
    r"|operation timed out|timed out|network (?:was disabled|is unreachable)|tls handshake|certificate"
    r"|HTTP status server error|HTTP status client error \((?:401|403|407|408|429)|unauthorized|forbidden"
    r"|No space left on device|os error (?:13|28|30|122)\)|Permission denied|Read-only file system",
    re.IGNORECASE,
)
_DECORATION = re.compile(r"^[\s\u00d7╰─▶├│]*(?:(?:error|cause|Caused by):\s*)?", re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NEEDED = re.compile(r"you require (?P<name>\S+?)(?:[,.]?$|,? (?:and|we|that)|,)")
_REQUIREMENT = re.compile(
    r"(?:[Ff]ailed to (?:build|download|fetch|prepare)|[Ff]ailed to download and build):? `(?P<name>[^`]+)`"
)


def why(output: str) -> tuple[Literal["change", "infrastructure"], str]:
    """Return who is to blame for a failed installation, and one line that names the requirement where uv does.

    Args:
        output: What uv printed on both streams, or its end.
    """
    text = _ANSI.sub("", output)
    message = _message(text)
    if _WORLD.search(text):
        last = _lines(text)[-1] if _lines(text) else "uv said nothing"
        return "infrastructure", f"cannot install the requirements: {message}" + (
            "" if last in message else f": {last}"
        )
    named = _REQUIREMENT.search(text)
    because = re.search(r"Because (?P<reason>.+?),? we can conclude", message)
    if because:
        needed = _NEEDED.search(because["reason"])
        reason = because["reason"]
        return "change", f"cannot install {needed['name'] if needed else 'the requirements'}: {reason}"
    return "change", f"cannot install {named['name'] if named else 'the requirements'}: {message}"


def _message(text: str) -> str:
    """Return uv's error and its first cause as one line; uv breaks its sentences at 80 columns."""
    lines = text.splitlines()
    start = next((index for index, line in enumerate(lines) if re.match(r"\s*(?:error:|\u00d7)", line)), None)
    if start is None:
        found = _lines(text)
        return found[-1] if found else "uv said nothing"
    parts: list[str] = []
    for line in lines[start:]:
        if not line.strip() or line.lstrip().startswith(("hint:", "help:", "[std")):
            break
        begins = re.match(r"\s*(?:error:|\u00d7|cause:|Caused by:|├─▶|╰─▶)", line) is not None
        content = _DECORATION.sub("", line).strip()
        if begins and len(parts) == 2:  # noqa: PLR2004 - the error and its first cause
            break
        if begins or not parts:
            parts.append(content)
        else:
            parts[-1] += f" {content}"
    return ": ".join(part.rstrip(":") for part in parts)


def _lines(text: str) -> list[str]:
    return [stripped for line in text.splitlines() if (stripped := _DECORATION.sub("", line).strip())]
