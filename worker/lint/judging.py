"""Judgements of files of both trees: looked up where they hold, else made by the judge."""

import collections
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .arguments import Options
from .cache import ResultCache, key_of
from .change import Change
from .configuration import Configuration
from .environment import Interpreter
from .model import Judgement, Loaded, Message, Severity, Side, Tree

if TYPE_CHECKING:
    from .connection import JudgeConnection, Result

Need = tuple[Side, str]
"""A file of a tree."""

Follow = Callable[[Need, Judgement, Loaded], Iterable[Need]]
"""What else is needed, once a file was judged."""

Say = Callable[[str], None]

AHEAD = 2 * len(os.sched_getaffinity(0))
"""Files that are on their way to the judge where there is a deadline."""

SEVERITIES = {each.value: each for each in Severity}


@dataclass
class Judging:
    """One run's way to judgements.

    Attributes:
        change: What is linted.
        trees: Both sides' files.
        options: What the command line asks for.
        interpreter: The Python that judges.
        environment_id: What is installed for it.
        configuration: pylint's.
        configured: The tree that the configuration is read from.
        cache: Where results are kept.
        say: Tells progress.
        linted: How many judgements were made.
        cached: How many were looked up.
        notes: Sentences for the reader.
    """

    change: Change
    trees: Mapping[Side, Tree]
    options: Options
    interpreter: Interpreter
    environment_id: str
    configuration: Configuration
    configured: Side
    cache: ResultCache
    say: Say
    linted: int = 0
    cached: int = 0
    notes: list[str] = field(default_factory=list)
    _connection: "JudgeConnection | None" = None
    _asked: set[Need] = field(default_factory=set)
    _open: ExitStack = field(default_factory=ExitStack)
    _roots: dict[Side, str] = field(default_factory=dict)
    _final_id: str | None = None
    _server: str = "unused"
    _server_seconds: float = 0.0

    def __enter__(self) -> "Judging":
        self._final_id = self.configuration.with_plugins(self.trees[self.configured], self.environment_id)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def server(self) -> tuple[str, float]:
        """What became of the server, and the seconds that starting it took, as `model.Figures` has them."""
        return self._server, self._server_seconds

    def ask(
        self,
        needs: Iterable[Need],
        follow: Follow = lambda *_: (),
        *,
        deadline: float | None = None,
    ) -> dict[Need, Judgement]:
        """Return judgements; with a deadline, of those only that were made in time.

        Args:
            needs: Which files, in the order in which they are to be judged.
            follow: Says what else is needed after each judgement.
            deadline: A time of ``time.monotonic``.

        Raises:
            JudgeError: There is no judge.
        """
        results: dict[Need, Judgement] = {}
        waiting = collections.deque(needs)
        submitted: dict[str, Need] = {}

        def go_on(need: Need, judgement: Judgement, loaded: Loaded) -> None:
            for more in follow(need, judgement, loaded):
                self._asked.add(more)
                waiting.appendleft(more)

        def settle() -> None:
            """Look up or submit what waits; with a deadline not more than what soon begins, so that order counts."""
            while waiting and (deadline is None or len(submitted) - len(done) < AHEAD):
                need = waiting.popleft()
                found = self._look_up(need)
                if found is not None:
                    self.cached += 1
                    results[need] = found[0]
                    go_on(need, *found)
                    continue
                job = f"{need[0]}:{need[1]}"
                if deadline is None or time.monotonic() < deadline:
                    submitted[job] = need
                    self._judge().submit(job, self.root(need[0]), need[1])

        done: set[str] = set()
        settle()
        if not submitted:
            return results
        for job, result in self._judge().lint(deadline=deadline):
            need = submitted[str(job)]
            done.add(str(job))
            self.linted += 1
            self.say(
                f"linted {len(done)} of {len(submitted) + len(waiting)}: "
                f"{need[1]}{'' if need[0] is Side.AFTER else ' (before)'}"
            )
            judgement, loaded = self._keep(need, result)
            results[need] = judgement
            go_on(need, judgement, loaded)
            settle()
        self._judge().cancel(submitted.keys() - done)
        return results

    def asked(self, need: Need) -> bool:
        """Return whether a judgement was asked for after another, also when it was not made in time."""
        return need in self._asked

    def warm(self, paths: Iterable[str]) -> None:
        """Have the server build files of the base and what they import, when it has nothing else to do."""
        self._judge().warm(self.root(Side.BEFORE), list(paths))

    def stop(self) -> None:
        """Have the server end."""
        self._judge().stop()

    def _look_up(self, need: Need) -> tuple[Judgement, Loaded] | None:
        if not self.options.cached:
            return None
        if self._final_id is None:
            self._judge()  # it says which plugins the configuration consists of
        tree = self.trees[need[0]]
        key = self._key(need)
        return None if key is None else self.cache.look(key, need[1], tree)

    def _key(self, need: Need) -> str | None:
        blob = self.trees[need[0]].blob(need[1])
        if blob is None or self._final_id is None:
            return None
        return key_of(self._final_id, self.environment_id, need[1], blob)

    def _keep(self, need: Need, result: "Result") -> tuple[Judgement, Loaded]:
        judgement = _judgement(need[1], result)
        tree = self.trees[need[0]]
        loaded = Loaded(
            own={path: blob for path in result.get("loaded", ()) if (blob := tree.blob(path)) is not None},
            names={(folder, stem): tree.entries(folder, stem) for folder, stem in result.get("names", ())},
            foreign={path: (size, mtime) for path, (size, mtime) in result.get("foreign", {}).items()},
        )
        settled = all(map(tree.is_settled, {need[1], *loaded.own}))
        if self.options.cached and settled and (key := self._key(need)) is not None:
            self.cache.keep(key, need[1], judgement, loaded)
        return judgement, loaded

    def root(self, side: Side) -> str:
        """Return where a side's files stand, after having put them there if need be."""
        if side not in self._roots:
            tree = self.change.base_tree if side is Side.BEFORE else self.change.after_tree
            if tree is None:
                self._roots[side] = self.change.root
            else:
                from . import snapshots  # noqa: PLC0415  (kept off the hot path)

                self.say(f"checking out {tree[:12]}")
                at = snapshots.snapshot(self.options.cache, self.change.root, tree, side=side)
                snapshot = self._open.enter_context(at)
                self._roots[side] = snapshot.path
                self.notes += [
                    f"submodule {path} is not in this clone: nothing of it was found" for path in snapshot.missing
                ]
        return self._roots[side]

    def _judge(self) -> "JudgeConnection":
        if self._connection is None:
            self.say("starting pylint")
            guess = self._final_id or self.configuration.without_plugins
            connection = self._connect(guess)
            plugins = connection.hello.get("facts", {}).get("plugins", ())
            self._final_id = self.configuration.remember_plugins(
                self.trees[self.configured], self.environment_id, plugins
            )
            if self._final_id != guess:  # a server of older plugins, perhaps: it is of no use
                connection.stop()
                connection.close()
                connection = self._connect(self._final_id)
            self._connection = connection
            self._open.callback(self._let_go)
            if self.options.server:
                self._server = ("started" if connection.started else "warm") if connection.shared else "none"
                self._server_seconds = connection.seconds if connection.started else 0.0
        return self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            self.notes += self._connection.notes
            self._connection.close()
            self._connection = None

    def _connect(self, final_id: str) -> "JudgeConnection":
        from .connection import JudgeConnection, JudgeSettings  # noqa: PLC0415  (kept off the hot path)

        folder = self.root(self.configured)
        # a link is followed, since pylint tells the format by the suffix of what it leads to
        rcfile = self.configuration.rcfile and os.path.realpath(os.path.join(folder, self.configuration.rcfile))
        home = os.path.realpath(self.change.root)
        identity = "\0".join((home, self.interpreter.python, self.environment_id, self.configuration.id))
        settings = JudgeSettings(
            python=self.interpreter.python,
            arguments=(f"--rcfile={rcfile or os.devnull}",),
            folder=folder,
            home=home,
            key=hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest(),
            runtime_folder=os.path.join(self.options.cache, "servers"),
            fingerprint=f"{self.environment_id}-{final_id}",
            jobs=self.options.jobs or 0,
            file_seconds=self.options.file_time,
            file_mebibytes=self.options.file_memory,
            idle=self.options.warm,
        )
        return JudgeConnection.open(settings, server=self.options.server)


def _judgement(path: str, result: "Result") -> Judgement:
    if result.get("error"):
        return Judgement(error=str(result["error"]), infrastructure=bool(result.get("infrastructure")))
    messages = tuple(
        Message(**{**message, "path": path, "severity": SEVERITIES[message["severity"]]})
        for message in result["messages"]
    )
    return Judgement(messages, result["score"])
