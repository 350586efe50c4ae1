"""One run of the lint program: from a change to an outcome."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from . import change as changes
from . import trees
from .arguments import Options
from .cache import ResultCache
from .configuration import RC_NAMES, read_configuration
from .dependents import Candidates, dependents
from .environment import environment_id, find_interpreter
from .judging import Judging, Need
from .model import FAR, FOR_TIME, ChangedFile, Figures, Judgement, LeftOut, Loaded, Outcome, Side, Tree
from .store import Store
from .suppressions import Policy
from .verdict import Contents, Judgements, Rules, outcome

PYTHON = (".py", ".pyi")
DAY = 86400
DEPENDENTS_SECONDS = 0.5
DEPENDENTS_SECONDS_A_FILE = 0.25
MAX_DEPENDENTS_SECONDS = 10.0
MAX_AGE = 14 * DAY
MAX_BYTES = 2 * 1024**3


class Run:
    """A run over one change.

    Attributes:
        change: What is linted.
        judgements: Linter -> every judgement that the outcome rests on.

    Args:
        options: What is asked for.
        environ: The environment's variables.
        folder: Where the user is.
        say: Tells progress.

    Raises:
        GitError: There is no such change.
        InterpreterError: There is no Python with pylint.
        ConfigurationError: The configuration that was asked for is not there.
    """

    def __init__(self, options: Options, environ: Mapping[str, str], folder: str, say: Callable[[str], None]) -> None:
        self._begin = time.monotonic()
        self.options = options
        self._environ = environ
        self._say = say
        self.change = changes.find_change(folder, options.base, staged=options.staged, paths=options.paths)
        self.before = trees.GitTree(self.change.root, self.change.base_tree)
        self.after: Tree = (
            trees.WorkTree(self.change.root, self.before, self.change.differences, self.change.since)
            if self.change.after_tree is None
            else trees.GitTree(self.change.root, self.change.after_tree)
        )
        self._trees: dict[Side, Tree] = {Side.BEFORE: self.before, Side.AFTER: self.after}
        self._read: dict[Need, bytes | None] = {}
        self._cache = ResultCache(options.cache)
        self.judgements: dict[str, Judgements] = {}

    def judging(self) -> Judging:
        """Return the way to this run's judgements."""
        interpreter = find_interpreter(self.options.python, self._environ, self.options.cache)
        configured = Side.AFTER if self.options.config_from == "merge" else Side.BEFORE
        configuration = read_configuration(
            self._trees[configured],
            root=self.change.root,
            rcfile=self.options.pylintrc,
            environ=self._environ,
            folder=self.options.cache,
        )
        return Judging(
            change=self.change,
            trees=self._trees,
            options=self.options,
            interpreter=interpreter,
            environment_id=environment_id(interpreter, [self.change.root, self.options.cache]),
            configuration=configuration,
            configured=configured,
            cache=self._cache,
            say=self._say,
            notes=list(configuration.notes),
        )

    def lint(self) -> Outcome:
        """Lint the change.

        Raises:
            JudgeError: There is no judge, or it does not accept the configuration.
        """
        if not self.change.files:
            return Outcome(self.options.scope, self.change.base, figures=Figures(seconds=self._seconds()))
        files = tuple(replace(each, added_lines=changes.added_lines(self.change, each)) for each in self.change.files)
        with self.judging() as judging:
            needs = self._needs(files)
            pylint = judging.ask(needs)
            left_out: list[LeftOut] = []
            if self.options.scope == "introduced" and self.options.dependents != "none":
                more, left_out = self._dependents(judging, files)
                pylint |= more
            self.judgements = {"pylint": pylint}
            if "ruff" in self.options.also:
                from . import also_ruff  # noqa: PLC0415  (kept off the hot path)

                self.judgements["ruff"] = also_ruff.judge(judging, self._cache, needs, self._environ)
            server, server_seconds = judging.server
            figures = Figures(
                files=len(files),
                dependents=len({path for side, path in pylint if side is Side.AFTER} - {each.after for each in files}),
                linted=judging.linted,
                cached=judging.cached,
                server=server,
                server_seconds=server_seconds,
            )
        notes = (*dict.fromkeys(judging.notes), *self._altered_configuration(judging.configuration.rcfile))
        rules = Rules(self.options.scope, self.options.fail_on, self.options.limit, Policy(self.options.suppressions))
        said = outcome(self.change.base, files, self.judgements, self._contents(pylint, files), rules, left_out)
        trouble = (f"results are not kept: {self._cache.trouble}",) if self._cache.trouble else ()
        self._cache.tidy(MAX_BYTES, MAX_AGE)
        return replace(said, notes=(*said.notes, *notes, *trouble), figures=replace(figures, seconds=self._seconds()))

    def warm(self) -> Figures:
        """Bring server and results to the base.

        Raises:
            JudgeError: There is no judge, or it does not accept the configuration.
        """
        paths = [path for path in self.before.files if path.endswith(PYTHON)]
        with self.judging() as judging:
            judging.warm(paths)
            if self.options.cached:
                judging.ask((Side.BEFORE, path) for path in paths)
            server, server_seconds = judging.server
        return Figures(
            files=len(paths),
            linted=judging.linted,
            cached=judging.cached,
            seconds=self._seconds(),
            server=server,
            server_seconds=server_seconds,
        )

    def stop_server(self) -> None:
        """Have the server end."""
        with self.judging() as judging:
            judging.stop()

    def _needs(self, files: Iterable[ChangedFile]) -> list[Need]:
        """Return what is to be judged, the largest file first, so that no processor is left with it at the end."""
        needs: list[Need] = []
        for each in files:
            if each.after is not None:
                needs.append((Side.AFTER, each.after))
            if each.before is not None and self.options.scope == "introduced":
                needs.append((Side.BEFORE, each.before))
        return sorted(dict.fromkeys(needs), key=lambda need: -len(self._content(*need) or b""))

    def _content(self, side: Side, path: str) -> bytes | None:
        """Return a file's content, read once a run."""
        if (side, path) not in self._read:
            self._read[side, path] = self._trees[side].read(path)
        return self._read[side, path]

    def _dependents(
        self, judging: Judging, files: Iterable[ChangedFile]
    ) -> tuple[dict[Need, Judgement], list[LeftOut]]:
        found = self._candidates(files)
        wanted = found.near if self.options.dependents == "near" else (*found.near, *found.far)
        left_out = [LeftOut(path, FAR) for path in found.far] if self.options.dependents == "near" else []
        touched = {each.after for each in files if each.after} | {each.before for each in files if each.before}

        def follow(need: Need, judgement: Judgement, loaded: Loaded) -> Iterable[Need]:
            side, path = need
            if side is Side.BEFORE or not (judgement.messages or judgement.error):
                return ()
            uses = touched.intersection(loaded.own) or any(
                self.before.entries(*place) != entries for place, entries in loaded.names.items()
            )
            return ((Side.BEFORE, path),) if uses or judgement.error else ()

        if wanted:
            self._say(f"looking at {len(wanted)} files that use what changed")
        deadline = time.monotonic() + self._dependents_time(len(touched) if judging.linted else 0)
        judged = judging.ask(((Side.AFTER, path) for path in wanted), follow, deadline=deadline)
        complete: dict[Need, Judgement] = {}
        for path in wanted:
            after, before = judged.get((Side.AFTER, path)), judged.get((Side.BEFORE, path))
            if after is None:
                left_out.append(LeftOut(path, FOR_TIME))
            elif before is not None:
                complete |= {(Side.AFTER, path): after, (Side.BEFORE, path): before}
            elif judging.asked((Side.BEFORE, path)):
                left_out.append(LeftOut(path, FOR_TIME))
        return complete, left_out

    def _altered_configuration(self, rcfile: str | None) -> list[str]:
        """Return a note on each configuration file that the change alters: this run does not obey it as altered."""
        if self.options.config_from == "merge":
            return []
        touched = {path for each in self.change.differences for path in (each.before, each.after)}
        return [
            f"{path} was obeyed as it is at the base; what the change makes of it counts once it has landed"
            for path in dict.fromkeys([*RC_NAMES, *([rcfile] if rcfile else [])])
            if path in touched
        ]

    def _dependents_time(self, files: int) -> float:
        """Return how long dependents may be looked at: in a retry, where no changed file had to be linted, no more."""
        if self.options.dependents_time is not None:
            return self.options.dependents_time
        return files and min(DEPENDENTS_SECONDS + files * DEPENDENTS_SECONDS_A_FILE, MAX_DEPENDENTS_SECONDS)

    def _candidates(self, files: Iterable[ChangedFile]) -> Candidates:
        versions: dict[str, tuple[bytes | None, bytes | None]] = {}
        for each in files:
            for path in (each.before, each.after):
                if path is not None:
                    versions[path] = (self._content(Side.BEFORE, path), self._content(Side.AFTER, path))
        python = {path: blob for path, blob in self.before.files.items() if path.endswith(PYTHON)}
        root = hashlib.blake2b(os.fsencode(self.change.root), digest_size=16).hexdigest()
        return dependents(python, versions, self.before.read, Store(self.options.cache), root)

    def _contents(self, pylint: Judgements, files: Iterable[ChangedFile]) -> Contents:
        needs = set(pylint) | {(Side.AFTER, each.after) for each in files if each.after}
        needs |= {(Side.BEFORE, each.before) for each in files if each.before}
        return {need: self._content(*need) for need in needs}

    def _seconds(self) -> float:
        return time.monotonic() - self._begin
