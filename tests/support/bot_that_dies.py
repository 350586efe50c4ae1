"""The real bot, which kills itself (`kill -9`) where a test wants it to; run as a program, or `prepare`d in a process.

An *edge* is the moment just before or just after something that must not be half done or done twice. In the folder of
`prepare`, every edge that is passed adds its name to the file ``edges``, over all lives of the bot. The file ``die``
holds a regular expression and a number N on two lines: who passes an edge that matches for the N-th time dies there.
"""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autogate.git import Git
from review_bot import main
from review_bot.hands import Hands
from review_bot.store.store import Store

FOLDER_VARIABLE = "BOT_THAT_DIES"

_folder = Path()


def _pass(edge: str) -> None:
    with (_folder / "edges").open("a") as edges:
        edges.write(f"{edge}\n")
    if edge in due(_folder):
        os.kill(os.getpid(), signal.SIGKILL)


def due(folder: Path) -> set[str]:
    """Return the edges at which the one that passed last is to die: in its order, and passed just so many times."""
    order = folder / "die"
    if not order.exists():
        return set()
    pattern, nth = order.read_text().splitlines()
    passed = (folder / "edges").read_text().splitlines()
    return {edge for edge in passed[-1:] if re.fullmatch(pattern, edge) and passed.count(edge) == int(nth)}


def _wrap(kind: type, method: str, name: Callable[..., str]) -> None:
    stock = getattr(kind, method)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not (what := name(*args)):
            return await stock(*args, **kwargs)
        _pass(f"before {what}")
        result = await stock(*args, **kwargs)
        _pass(f"after {what}")
        return result

    setattr(kind, method, wrapped)


def _push(_: Git, *args: str) -> str:
    refs = [argument.rpartition(":")[2] for argument in args if not argument.startswith("-")]
    branches = [ref.removeprefix("refs/heads/") for ref in refs if ref.startswith("refs/heads/")]
    return f"git push of {branches[0] if branches else 'topics'}" if args[0] == "push" else ""


def prepare(folder: Path) -> None:
    """Put the points of death in place, in this process."""
    global _folder  # noqa: PLW0603  (one bot a process)
    _folder = folder
    _wrap(Store, "append", lambda _store, _repository, event: f"append {event.kind}")
    _wrap(Store, "commit", lambda _store, _fence, stored, *_: f"commit {stored.event.kind}")
    _wrap(Store, "effect_done", lambda _store, _fence, stored, *_: f"done {stored.effect.kind}")
    _wrap(Hands, "carry_out", lambda _hands, effect: f"carry out {effect.kind}")
    _wrap(Git, "run", _push)


if __name__ == "__main__":
    prepare(Path(os.environ[FOLDER_VARIABLE]))
    main.main()
