"""Text that any database and any receiver of a report takes."""


def clean(value: object, limit: int) -> str:
    """Return a text without NUL and without halves of characters, its beginning when it is longer than ``limit``."""
    text = _whole(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_end(value: object, limit: int) -> str:
    """Return a text as `clean` does, but its end when it is longer than ``limit``."""
    text = _whole(value)
    return text if len(text) <= limit else "…" + text[len(text) - limit + 1 :]


def _whole(value: object) -> str:
    if value is None:
        return ""
    # A name that is not UTF-8 arrives as lone surrogates, which no database stores.
    text = str(value).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.encode("utf-8", "surrogateescape" if _escaped(text) else "replace").decode("utf-8", "replace")


def _escaped(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
