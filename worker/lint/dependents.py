"""Which files that a change does not touch must be linted again because they load a module that it does touch."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .changed_names import EXPORTS, MODULE, changed_names
from .imports import STAR, Graph, Memo, loads, module_names

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
    files: Mapping[str, str],
    changed: Versions,
    read: Callable[[str], bytes | None],
    memo: str,
) -> Candidates:
    """Return the unchanged files that a change may break.

    Args:
        files: The Python files before the change: path -> blob id.
        changed: The Python files that the change touches. A renamed one stands there twice.
        read: Returns a file's content before the change, None when it cannot be had.
        memo: The file in which scans are remembered.
    """
    path_of = {blob: path for path, blob in files.items()}
    scans = Memo(memo).scans(path_of, lambda blob: read(path_of[blob]))
    graph = Graph({path: scans[blob] for path, blob in files.items() if blob in scans})
    return _Search(graph, changed).candidates()


class _Search:
    def __init__(self, graph: Graph, changed: Versions) -> None:
        self.graph = graph
        self.changed = changed
        self.moved = [path for path, versions in changed.items() if None in versions]
        self.loaders = graph.loaders(changed)
        loaded = 0
        for path, bits in self.loaders.items():
            loaded |= 0 if path in changed else bits
        self.names: dict[int, frozenset[str]] = {}
        self.direct: set[str] = set()
        for number, (path, versions) in enumerate(changed.items()):
            if loaded >> number & 1 and (names := changed_names(*versions)):
                self.names[1 << number] = _with_subclasses(names, self.loaders, graph)
                self.direct |= graph.importers(path)
        self.files: dict[str, list[str]] = {}
        for path in {**graph.paths, **changed}:
            for name in module_names(path, graph.packages):
                self.files.setdefault(name, []).append(path)

    def candidates(self) -> Candidates:
        must = self._must()
        found: dict[str, set[str]] = {}
        far: list[str] = []
        meant = sum(self.names)
        for path in {**self.loaders, **dict.fromkeys(must)}:
            if path in self.changed or not (self.loaders.get(path, 0) & meant or path in must):
                continue
            mentioned = self._mentioned(path)
            if mentioned or path in must:
                found[path] = mentioned
            else:
                far.append(path)
        common = Counter(name for each in found.values() for name in each)

        def rank(path: str) -> tuple[bool, int, int, str]:
            rarest = min((common[name] for name in found.get(path, ())), default=0)
            return path not in self.direct and path not in must, rarest, self.graph.paths[path].size, path

        return Candidates(tuple(sorted(found, key=rank)), tuple(sorted(far, key=rank)))

    def _must(self) -> set[str]:
        """Return the files for which a module as such is another one, or for which modules have other names."""
        must: set[str] = set()
        for number, path in enumerate(self.changed):
            if MODULE in self.names.get(1 << number, ()):
                must |= self.graph.importers(path)
        for path in self.moved:
            folder, file = os.path.split(path)
            if file in {"__init__.py", "__init__.pyi"} and folder:
                must.update(each for each in self.graph.paths if each.startswith(folder + "/"))
        return must

    def _mentioned(self, path: str) -> set[str]:
        """Return the names that a file mentions out of those that changed in what it loads."""
        bits = self.loaders.get(path, 0)
        names = {name for bit, each in self.names.items() if bit & bits for name in each}
        found = self.graph.paths[path]
        mentioned = names & found.mentions
        for imported in found.imports:
            module, _, name = imported.rpartition(":")
            wanted = EXPORTS if name == STAR else name
            if wanted in names and module and self._reaches_change(path, imported):
                mentioned.add(wanted)
        return mentioned

    def _reaches_change(self, path: str, imported: str) -> bool:
        for name in loads(path, imported):
            if any(each in self.changed or each in self.loaders for each in self._files(name)):
                return True
        return False

    def _files(self, name: str) -> list[str]:
        if not name.startswith("/"):
            return self.files.get(name, [])
        stem = name[1:].replace(".", "/")
        return [f"{stem}.py", f"{stem}/__init__.py", f"{stem}.pyi", f"{stem}/__init__.pyi"]


def _with_subclasses(names: frozenset[str], loaders: Iterable[str], graph: Graph) -> frozenset[str]:
    """Add the classes, in the files that load a changed one, that have a changed class above them."""
    heads = [each.partition(":")[::2] for path in loaders for each in graph.paths[path].classes]
    below: dict[str, list[str]] = {}
    for name, bases in heads:
        for base in bases.split(","):
            below.setdefault(base, []).append(name)
    known = set(names)
    waiting = list(names)
    while waiting:
        for name in below.get(waiting.pop(), ()):
            if name not in known:
                known.add(name)
                waiting.append(name)
    return frozenset(known)
