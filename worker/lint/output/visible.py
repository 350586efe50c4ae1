"""Text from a repository, made fit to be shown."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with what does not show, or changes how the rest shows, as Python's escapes.

    That is control characters, what reorders or hides text (Trojan Source, CVE-2021-42574), and the lone surrogates by
    which a name holds bytes that are no UTF-8 (PEP 383): these come out as ``\xff``.

    Args:
        text: Any text.
        lines: Whether it may have several lines, so that their ends stay.
    """
    if text.isprintable():
        return text
    if lines:
        return "\n".join(visible(line) for line in text.splitlines())
    return "".join(map(shown, text))


def shown(character: str) -> str:
    """Return one character as `visible` shows it."""
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
