"""What the lint program prints: a module a format, loaded when it is asked for."""

from importlib import import_module

from worker.lint.model import Outcome

FORMATS = ("text", "json", "sarif", "github", "gitlab")


def render(name: str, outcome: Outcome, *, colour: bool = False) -> str:
    """Return an outcome in one of `FORMATS`; it ends with a line's end and can be encoded as UTF-8.

    Args:
        name: The format.
        outcome: What the lint program found.
        colour: Whether to use a terminal's colours, where the format is for people.
    """
    module = import_module(f".{name}", __name__)
    options = {"colour": colour} if name == "text" else {}
    rendered: str = module.render(outcome, **options)
    return rendered
