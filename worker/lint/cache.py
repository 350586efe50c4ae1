"""Results of linting, kept by everything that they depend on."""

import hashlib
import os
from collections.abc import Mapping
from itertools import islice, starmap
from operator import eq
from typing import Any

from .model import Judgement, Loaded, Message, Severity, Tree
from .store import Store

FORMAT = "1"
"""To be changed whenever results that were kept before cannot be read or trusted any more."""

MAX_VARIANTS = 8
SEVERITIES = {each.value: each for each in Severity}


def key_of(configuration_id: str, environment_id: str, path: str, blob: str) -> str:
    """Return the key of a file's results: all that they depend on and that is known before linting.

    Args:
        configuration_id: Of `worker.lint.configuration`, with plugins.
        environment_id: Of `worker.lint.environment`.
        path: The file, relative to the tree's root; module names and messages depend on it.
        blob: Its blob id.
    """
    whole = "\0".join((FORMAT, configuration_id, environment_id, path, blob))
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


class ResultCache:
    """Results under keys; one object is used for one run of the program.

    A key has several variants: results of the same file that differ in what astroid loaded for it.

    Args:
        folder: The cache's, absolute; made when something is kept.
    """

    def __init__(self, folder: str) -> None:
        self._store = Store(folder)
        self._foreign: dict[str, tuple[int, int] | None] = {}

    @property
    def trouble(self) -> str:
        """Why results could not be kept, in a sentence; empty while all goes well."""
        return self._store.trouble

    def look(self, key: str, path: str, tree: Tree) -> tuple[Judgement, Loaded] | None:
        """Return the newest result that holds in a tree; None when there is none.

        Args:
            key: Of `key_of`.
            path: The file.
            tree: Where everything that the result depends on must be as it was.
        """
        for own, names, foreign, judgement in self._store.read(_name(key)):
            if (
                all(map(eq, map(tree.blob, own), own.values()))
                and all(map(eq, starmap(tree.entries, names), names.values()))
                and self._all_there(foreign)
            ):
                return _judgement(path, *judgement), Loaded(own, names, foreign)
        return None

    def keep(self, key: str, path: str, judgement: Judgement, loaded: Loaded) -> None:
        """Keep a result, unless it is an error; instead of one that depends on the same, and before older ones.

        Args:
            key: Of `key_of`.
            path: The file.
            judgement: What came of linting it.
            loaded: What it depends on.
        """
        if judgement.error:
            return
        depends = (dict(loaded.own), dict(loaded.names), dict(loaded.foreign))
        older = (each for each in self._store.read(_name(key)) if each[:3] != depends)
        newest = (*depends, _plain(path, judgement))
        self._store.write(_name(key), [newest, *islice(older, MAX_VARIANTS - 1)])

    def tidy(self, max_bytes: int, max_age: float) -> None:
        """Make room once a day, as `Store.tidy` does."""
        self._store.tidy(max_bytes, max_age)

    def _all_there(self, foreign: Mapping[str, tuple[int, int]]) -> bool:
        self._foreign.update((path, _stat(path)) for path in foreign.keys() - self._foreign.keys())
        return foreign.items() <= self._foreign.items()


def _name(key: str) -> str:
    return f"results/{key[:2]}/{key[2:]}"


def _stat(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_size, state.st_mtime_ns


def _plain(path: str, judgement: Judgement) -> tuple[Any, ...]:
    return judgement.score, [
        (
            "" if each.path == path else each.path,
            each.line,
            each.column,
            each.end_line,
            each.end_column,
            each.symbol,
            each.code,
            each.severity.value,
            each.text,
            each.scope,
            each.whole,
            each.linter,
        )
        for each in judgement.messages
    ]


def _judgement(path: str, score: float | None, messages: list[tuple[Any, ...]]) -> Judgement:
    return Judgement(
        tuple(Message(*(each[0] or path, *each[1:7], SEVERITIES[each[7]], *each[8:])) for each in messages),
        score,
    )
