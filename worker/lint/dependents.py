"""Which files that a change does not touch must be linted again because they load a module that it does touch."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .changed_names import EXPORTS, MODULE, changed_names, echoes
from .changed_names import __file__ as changed_names_file
from .imports import STAR, Graph, loads, module_names, scans_of
from .imports import __file__ as imports_file
from .store import Store

MAX_ECHOING = 20
"""Files parsed a round, to find what they make of what changed."""

ROUNDS = 2

Versions = Mapping[str, tuple[bytes | None, bytes | None]]
"""Path of a changed Python file -> its content before and after; None where it is not there."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Files to lint again, in the order in which to do it.

    Attributes:
        near: They load a changed module and mention a name that changed in it.
        far: They load one, and mention none.
    """

    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()


def dependents(
    files: Mapping[str, str], changed: Versions, read: Callable[[str], bytes | None], store: Store, repository: str
) -> Candidates:
    """Return the unchanged files that a change may break.

    Args:
        files: The Python files before the change: path -> blob id.
        changed: The Python files that the change touches. A renamed one stands there twice.
        read: Returns a file's content before the change, None when it cannot be had.
        store: Where scans and answers are kept.
        repository: What tells this repository from others, fit for a file's name.
    """
    name = f"dependents/{_digest(files, changed)}"
    known = next(store.read(name), None)
    if known:
        return Candidates(*known)
    path_of = {blob: path for path, blob in files.items()}
    scans = scans_of(path_of, lambda blob: read(path_of[blob]), store, repository)
    search = _Search(Graph({path: scans[blob] for path, blob in files.items() if blob in scans}), changed)
    search.spread()
    for _ in range(ROUNDS):
        echoed = [search.echo(path, read(path) or b"") for path in search.echoing()[:MAX_ECHOING]]
        if not any(echoed):
            break
        search.spread()
    found = search.candidates()
    store.write(name, [(found.near, found.far)])
    return found


def _digest(files: Mapping[str, str], changed: Versions) -> str:
    """Return what stands for a question, and for the program that answers it."""
    rules = [str(os.stat(each).st_mtime_ns) for each in (__file__, changed_names_file, imports_file)]
    texts = [*rules, *(f"{blob} {path}" for path, blob in files.items())]
    digest = hashlib.blake2b("\0".join(texts).encode(errors="surrogateescape"), digest_size=16)
    for path, versions in changed.items():
        digest.update(b"\0\0" + path.encode(errors="surrogateescape"))
        for each in versions:
            digest.update(b"\0-" if each is None else b"\0+" + hashlib.blake2b(each).digest())
    return digest.hexdigest()


class _Words(dict[str, frozenset[str]]):
    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __missing__(self, path: str) -> frozenset[str]:
        self[path] = self._graph.paths[path].mentions
        return self[path]


class _Search:
    """What changed, for whom.

    Attributes:
        graph: Of the tree before.
        changed: Paths, in the order of their bits.
    """

    def __init__(self, graph: Graph, changed: Versions) -> None:
        self.graph = graph
        self.changed = changed
        self._round = 0
        self._has: dict[str, dict[str, int]] = {}  # module -> names in it that changed -> in which round
        self._members: dict[int, dict[str, int]] = {}  # bit -> members that changed -> in which round
        self._in_folder: dict[str, list[dict[str, int]]] = {}
        self._mentioned: dict[str, dict[str, int]] = defaultdict(dict)
        self._words = _Words(graph)
        self._echoed: set[str] = set()
        self._files: dict[str, list[str]] = {}
        for path in {**graph.paths, **changed}:
            for name in module_names(path, graph.packages):
                self._files.setdefault(name, []).append(path)
        self._loaders = graph.loaders(changed)
        loaded = 0
        for path, bits in self._loaders.items():
            loaded |= 0 if path in changed else bits
        for number, (path, versions) in enumerate(changed.items()):
            if loaded >> number & 1 and (names := changed_names(*versions)):
                self._add(path, 1 << number, names)
        self._must = self._whose_modules_move()

    def _add(self, path: str, bit: int, names: Iterable[str]) -> None:
        self._note(path, {each: self._round for each in names if not each.startswith(".")})
        self._members[bit] = {each[1:]: self._round for each in names if each.startswith(".")}

    def _note(self, path: str, names: dict[str, int]) -> None:
        if names and path not in self._has:
            self._has[path] = {}
            self._in_folder.setdefault(os.path.dirname(path), []).append(self._has[path])
        if names:
            self._has[path] |= names

    def _whose_modules_move(self) -> set[str]:
        """Return the files for which a module as such is another one, or for which modules have other names."""
        must: set[str] = set()
        for path, versions in self.changed.items():
            if MODULE in self._has.get(path, ()):
                must |= self.graph.importers(path)
            folder, file = os.path.split(path)
            if None in versions and folder and os.path.splitext(file)[0] == "__init__":
                must.update(each for each in self.graph.paths if each.startswith(f"{folder}/"))
        return must - self.changed.keys()

    def spread(self) -> None:
        """Find who mentions what changed, and pass it on: by re-export, and from a class to those below it."""
        waiting = {each for path in self._has for each in self.graph.importers(path)}
        waiting |= {path for path, bits in self._loaders.items() if self._mentions_members(path, bits)}
        waiting -= self.changed.keys()
        while waiting:
            path = waiting.pop()
            if self._pass_on(path):
                waiting |= self.graph.importers(path) - self.changed.keys()

    def _mentions_members(self, path: str, bits: int) -> bool:
        mentioned = self._mentioned[path]
        for bit, members in self._members.items():
            if bit & bits:
                mentioned |= {each: members[each] for each in members.keys() & self._words[path] - mentioned.keys()}
        return bool(mentioned)

    def _pass_on(self, path: str) -> bool:
        """Note what a file mentions, and return whether it thereby has more that changed."""
        scanned, words, mentioned = self.graph.paths[path], self._words[path], self._mentioned[path]
        bound: dict[str, int] = {}
        for imported in scanned.imports:
            module, *inside = loads(path, imported)
            name, _, alias = imported.partition(":")[2].partition(">")
            for has in self._having(module):
                if name == STAR:
                    bound |= has
                    mentioned |= {each: has[each] for each in has if each in words or each == EXPORTS}
                elif name in has:
                    bound[alias or name] = mentioned[name] = has[name]
            for has in self._having(*(inside if name else [module, *inside]), as_object=True):
                mentioned |= {each: has[each] for each in has.keys() & words}
        own = self._has.get(path, {})
        known = -1
        while known < len(bound):
            known = len(bound)
            for child, _, bases in (each.partition(":") for each in scanned.classes):
                above = [has[each] for has in (own, mentioned, bound) for each in bases.split(",") if each in has]
                if above:
                    bound[child] = min(above)
        fresh = {each: bound[each] for each in bound.keys() - own.keys()}
        self._note(path, fresh)
        return bool(fresh)

    def _having(self, *modules: str, as_object: bool = False) -> Iterable[dict[str, int]]:
        for module in modules:
            for file in self._files_of(module):
                if file in self._has:
                    yield self._has[file]
                if as_object and file.endswith("/__init__.py"):  # its modules are its attributes
                    yield from self._in_folder.get(os.path.dirname(file), ())

    def _files_of(self, module: str) -> Iterable[str]:
        if not module.startswith("/"):
            return self._files.get(module, ())
        stem = module[1:].replace(".", "/")
        return [f"{stem}{each}" for each in (".py", "/__init__.py", ".pyi", "/__init__.pyi")]

    def echoing(self) -> list[str]:
        """Return the files that mention what changed, that others load, and that were not yet asked, small first."""
        found = [
            path
            for path, names in self._mentioned.items()
            if names and path not in self._echoed and self.graph.importers(path) - self.changed.keys() - {path}
        ]
        return sorted(found, key=lambda path: (self.graph.paths[path].size, path))

    def echo(self, path: str, source: bytes) -> bool:
        """Take for changed what a file makes of changed things; return whether there is any."""
        self._echoed.add(path)
        names = echoes(source, self._mentioned[path]) - self._has.get(path, {}).keys()
        if names:
            self._round += 1
            bit = 1 << len(self.changed) + self._round
            for loader in self.graph.loaders([path]):
                self._loaders[loader] = self._loaders.get(loader, 0) | bit
            self._add(path, bit, names)
        return bool(names)

    def candidates(self) -> Candidates:
        """Return all of them, in order."""
        meant = sum(self._members)
        loading = {path for path, bits in self._loaders.items() if bits & meant and path not in self.changed}
        near = {path for path in loading if self._mentioned[path]} | self._must
        common = Counter(name for path in near for name in self._mentioned[path])
        direct = {each for path in self.changed if path in self._has for each in self.graph.importers(path)}

        def rank(path: str) -> tuple[int, bool, int, int, str]:
            mentioned = self._mentioned[path] or {MODULE: 0}
            first = min(mentioned.values())
            rarest = min(common[name] for name in mentioned)
            return first, path not in direct, rarest, self.graph.paths[path].size, path

        return Candidates(tuple(sorted(near, key=rank)), tuple(sorted(loading - near, key=rank)))
