"""Modules that astroid has built, kept so that another process need not build them again.

Building a module is not a matter of its file alone: while it is built, astroid looks other modules up, and adds the
attributes that this module sets on other modules' classes to those classes. So each build is recorded: what it looked
up, what it found, and what it did to others. What it did to others is undone afterwards, and done again where the
module is used: a class has an attribute from elsewhere only once the module that sets it was loaded, as in a fresh
process. A recording is used only where each of its look-ups gives what it gave then, and never for the file that is
linted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from astroid import bases, nodes
from astroid.builder import AstroidBuilder
from astroid.context import _invalidate_cache
from astroid.exceptions import AstroidBuildingError
from astroid.inference_tip import clear_inference_tip_cache
from astroid.interpreter._import import spec, util
from astroid.manager import AstroidManager
from astroid.modutils import _cache_normalize_path_, _has_init, cached_os_path_isfile
from astroid.nodes._base_nodes import LookupMixIn

if TYPE_CHECKING:
    from astroid.rebuilder import TreeRebuilder

MAX_VARIANTS = 3
"""Recordings of one file: it may have been built while different others were half built."""

MAX_VERSIONS = 3
"""Files of one name that are kept, the newest builds of them."""

Key = tuple[str, str, bool]


class Recording:
    """How one module was built.

    Attributes:
        module: What came of it; None until astroid has parsed the file.
        steps: In order: ``("look", name, use_cache, found, partial)``, ``("set", mapping, attribute, node)`` on another
            module's class, and ``("cache", module)`` for a module that astroid made up on the way.
    """

    __slots__ = ("_seen", "module", "steps")

    def __init__(self) -> None:
        self.module: nodes.Module | None = None
        self.steps: list[tuple[Any, ...]] = []
        self._seen: set[tuple[str, bool]] = set()

    @property
    def built(self) -> nodes.Module:
        """What came of it, once it has been kept."""
        if self.module is None:
            raise ValueError("nothing came of this recording")
        return self.module

    def look(self, name: str, found: nodes.Module | None, *, use_cache: bool, partial: bool) -> None:
        """Note the first look-up of a name."""
        if (name, use_cache) not in self._seen:
            self._seen.add((name, use_cache))
            self.steps.append(("look", name, use_cache, found, partial))


class Store:
    """All recordings, and astroid made to use them.

    There is one a process, since astroid has one manager a process. In the parent `build` records; in a forked child
    `use` makes astroid take recordings where they hold, and note what it read.
    """

    def __init__(self) -> None:
        self._recordings: dict[Key, list[Recording]] = {}
        self._versions: dict[tuple[str, bool], list[Key]] = {}
        self._manager = AstroidManager()
        self._stack: list[Recording | None] = []
        self._partial: set[int] = set()
        self._undo: list[tuple[dict[str, Any], str, nodes.NodeNG]] = []
        self._recording = False
        self._entry = ""
        self._digests: dict[str, tuple[int, int, str]] = {}
        self.root = ""
        self.read: dict[str, None] = {}
        self.looked: dict[str, None] = {}
        self.built: dict[str, str] = {}
        self.on_first_build: Callable[[], None] = lambda: None
        # astroid's own, which ours call
        self._file_build_of = _replaced(AstroidBuilder, "file_build", self._file_build)
        self._module_build_of = _replaced(AstroidBuilder, "module_build", self._module_build)
        self._post_build_of = _replaced(AstroidBuilder, "_post_build", self._post_build)
        self._delayed_assattr_of = _replaced(AstroidBuilder, "delayed_assattr", self._delayed_assattr)
        self._look_of = _replaced(AstroidManager, "ast_from_module_name", self._look)
        self._cache_module_of = _replaced(AstroidManager, "cache_module", self._cache_module)
        self._build_stub_module_of = _replaced(AstroidManager, "_build_stub_module", self._stub)
        self._stubs: dict[str, nodes.Module] = {}
        AstroidBuilder(self._manager)  # astroid builds the builtins with the first of them
        self._bootstrap: dict[str, nodes.Module] = dict(self._manager.astroid_cache)

    # What the parent does

    def build(self, name: str, path: str) -> str:
        """Build a module as the first that a fresh process loads, and record how; whatever goes wrong is forgotten.

        Args:
            name: The module's dotted name.
            path: Its file; empty to look for it by its name.

        Returns:
            Its file; empty where it has none or could not be built.
        """
        self._recording = True
        module: nodes.Module | None = None
        with contextlib.suppress(Exception):
            module = self._manager.ast_from_file(path, name) if path else self._manager.ast_from_module_name(name)
        self._recording = False
        self._reset()
        return (module.file or "") if module is not None else ""

    def has(self, name: str, path: str) -> bool:
        """Return whether a file, as it is now, was built under a name."""
        with contextlib.suppress(OSError):
            return self._key(name, path) in self._recordings
        return False

    def _reset(self) -> None:
        for mapping, attribute, node in reversed(self._undo):
            values = mapping.get(attribute, [])
            if node in values:
                values.remove(node)
            if not values:
                mapping.pop(attribute, None)
        self._undo.clear()
        self._stack.clear()
        self._partial.clear()
        self._manager.astroid_cache.clear()
        self._manager.astroid_cache.update(self._bootstrap)
        forget_what_depends_on_paths(self._manager)

    # What a child does

    @contextlib.contextmanager
    def use(self, root: str, entry: str) -> Iterator[None]:
        """Let astroid take recordings, and note what it reads.

        Args:
            root: The tree that is linted.
            entry: The file that is linted, which is always built anew.
        """
        self.root, self._entry = root, os.path.normpath(os.path.join(root, entry))
        for noted in (self.read, self.looked, self.built):
            noted.clear()  # of what was built ahead
        forget_what_depends_on_paths(self._manager)
        yield

    # Between astroid and its files

    def _file_build(self, caller: AstroidBuilder, path: str, modname: str | None = None) -> nodes.Module:
        self.read[os.path.abspath(path)] = None
        if self._entry and os.path.abspath(path) == self._entry:
            self._entry = ""
            self.on_first_build()
            return self._built(None, lambda: self._file_build_of(caller, path, modname))
        if modname is None:
            return self._built(None, lambda: self._file_build_of(caller, path, modname))
        try:
            key = self._key(modname, path)
        except OSError:
            failed: nodes.Module = self._file_build_of(caller, path, modname)  # with astroid's own complaint
            return failed
        return self._take(key, path, lambda: self._file_build_of(caller, path, modname))

    def _module_build(self, caller: AstroidBuilder, module: ModuleType, modname: str | None = None) -> nodes.Module:
        name = modname or module.__name__
        return self._take((name, "live", False), "", lambda: self._module_build_of(caller, module, modname))

    def _take(self, key: Key, path: str, build: Callable[[], nodes.Module]) -> nodes.Module:
        variants = self._recordings.get(key, [])
        for recording in variants:
            if self._replay(recording, path):
                return recording.built
        if not self._recording:
            self.built[key[0]] = path
            return self._built(None, build)
        recording = Recording()
        module = self._built(recording, build)
        unmoved = not path or self._key(key[0], path) == key  # a snapshot may be moved along meanwhile
        if recording.module is module and unmoved and len(variants) < MAX_VARIANTS:
            self._recordings.setdefault(key, []).append(recording)
            self._forget_older(key)
        return module

    def _forget_older(self, newest: Key) -> None:
        name, _, package = newest
        versions = self._versions.setdefault((name, package), [])
        if newest not in versions:
            versions.append(newest)
            if len(versions) > MAX_VERSIONS:
                del self._recordings[versions.pop(0)]

    def _built(self, recording: Recording | None, build: Callable[[], nodes.Module]) -> nodes.Module:
        if self._recording:
            # what was inferred before without this module must not stand in for a look-up that this build makes
            _invalidate_cache()
            clear_inference_tip_cache()
        self._stack.append(recording)
        try:
            return build()
        finally:
            self._stack.pop()
            if recording is not None:
                self._partial.discard(id(recording.module))

    def _post_build(
        self, caller: AstroidBuilder, module: nodes.Module, tree: TreeRebuilder, encoding: str
    ) -> nodes.Module:
        recording = self._stack[-1] if self._stack else None
        if recording is not None and recording.module is None:
            recording.module = module
        self._partial.add(id(module))
        try:
            built: nodes.Module = self._post_build_of(caller, module, tree, encoding)
        finally:
            self._partial.discard(id(module))
        return built

    def _cache_module(self, astroid: AstroidManager, module: nodes.Module) -> None:
        recording = self._stack[-1] if self._stack else None
        if recording is not None:
            if recording.module is None:  # a live module is cached first and filled then
                recording.module = module
                self._partial.add(id(module))
            elif recording.module is not module and module.name:
                recording.steps.append(("cache", module))
        self._cache_module_of(astroid, module)

    def _stub(self, astroid: AstroidManager, modname: str) -> nodes.Module:
        if modname not in self._stubs:
            self._stubs[modname] = self._build_stub_module_of(astroid, modname)
        stub = self._stubs[modname]
        astroid.astroid_cache.setdefault(modname, stub)
        return stub

    def _look(
        self,
        astroid: AstroidManager,
        modname: str | None,
        context_file: str | None = None,
        use_cache: bool = True,  # noqa: FBT001, FBT002  (astroid's own)
    ) -> nodes.Module:
        if modname is not None:
            self.looked[modname] = None
        recording = self._stack[-1] if self._recording and self._stack else None
        found: nodes.Module | None = None
        try:
            module: nodes.Module = self._look_of(astroid, modname, context_file, use_cache)
            found = module
        finally:
            if recording is not None and modname is not None:
                recording.look(modname, found, use_cache=use_cache, partial=id(found) in self._partial)
        return module

    def _delayed_assattr(self, caller: AstroidBuilder, node: nodes.AssignAttr) -> None:
        if not self._recording:
            self._delayed_assattr_of(caller, node)
            return
        sizes = [(mapping, len(mapping.get(node.attrname, ()))) for mapping in _holders(node)]
        self._delayed_assattr_of(caller, node)
        recording = self._stack[-1] if self._stack else None
        for mapping, size in sizes:
            if len(mapping.get(node.attrname, ())) > size:
                self._undo.append((mapping, node.attrname, node))
                if recording is not None:
                    recording.steps.append(("set", mapping, node.attrname, node))

    # Using a recording

    def _replay(self, recording: Recording, path: str) -> bool:
        module = recording.built
        cache = self._manager.astroid_cache
        mine = module.name not in cache
        if mine:
            cache[module.name] = module
        self._partial.add(id(module))
        self._stack.append(None)
        try:
            holds = all(self._holds(step) for step in recording.steps)
        finally:
            self._stack.pop()
            self._partial.discard(id(module))
        if not holds:
            if mine and cache.get(module.name) is module:
                del cache[module.name]
            return False
        if path and module.file != path:
            absolute = os.path.abspath(path)
            module.file, module.path = absolute, [absolute]
        for step in recording.steps:
            if step[0] == "set":
                _, mapping, attribute, node = step
                values = mapping.setdefault(attribute, [])
                if node not in values:
                    values.append(node)
                    if self._recording:
                        self._undo.append((mapping, attribute, node))
            elif step[0] == "cache":
                cache.setdefault(step[1].name, step[1])
        return True

    def _holds(self, step: tuple[Any, ...]) -> bool:
        if step[0] != "look":
            return True
        _, name, use_cache, expected, partial = step
        try:
            found: nodes.Module | None = self._manager.ast_from_module_name(name, use_cache=use_cache)
        except AstroidBuildingError:
            found = None
        if found is expected:
            return found is None or (id(found) in self._partial) == partial
        return _same_namespace(found, expected)

    def _key(self, name: str, path: str) -> Key:
        return name, self._digest(path), os.path.splitext(os.path.basename(path))[0] == "__init__"

    def _digest(self, path: str) -> str:
        status = os.stat(path)
        known = self._digests.get(path)
        foreign = not self.root or not path.startswith(self.root + os.sep)
        if foreign and known and known[:2] == (status.st_size, status.st_mtime_ns):
            return known[2]
        with open(path, "rb") as file:
            digest = hashlib.sha1(file.read(), usedforsecurity=False).hexdigest()
        self._digests[path] = (status.st_size, status.st_mtime_ns, digest)
        return digest


def forget_what_depends_on_paths(astroid: AstroidManager) -> None:
    """Drop what astroid remembers of files and of inference, but no module."""
    astroid._mod_file_cache.clear()
    _invalidate_cache()
    clear_inference_tip_cache()
    LookupMixIn.lookup.cache_clear()
    spec._find_spec.cache_clear()
    spec._is_setuptools_namespace.cache_clear()
    for finder in spec._SPEC_FINDERS:
        finder.find_module.cache_clear()
    cached_os_path_isfile.cache_clear()
    _cache_normalize_path_.cache_clear()
    _has_init.cache_clear()
    util.is_namespace.cache_clear()


def _replaced(owner: type, name: str, method: Callable[..., nodes.Module | None]) -> Callable[..., Any]:
    """Let a bound method of ours stand in for a method of astroid's, and return that."""
    original: Callable[..., Any] = getattr(owner, name)

    def stand_in(self: object, *args: object, **kwargs: object) -> nodes.Module | None:
        return method(self, *args, **kwargs)

    setattr(owner, name, stand_in)
    return original


def _holders(node: nodes.AssignAttr) -> list[dict[str, Any]]:
    """Return where astroid may note an attribute that a module sets on something of another module."""
    found: list[dict[str, Any]] = []
    try:
        inferred = list(node.expr.infer())
    except Exception:  # noqa: BLE001  (astroid's own attempt, which follows, says what is wrong)
        return []
    for each in inferred:
        owner = each._proxied if isinstance(each, bases.Instance) else each
        if isinstance(owner, nodes.NodeNG) and owner.root() is not node.root():
            found += [
                mapping
                for name in ("instance_attrs", "locals")
                if isinstance(mapping := getattr(owner, name, None), dict)
            ]
    return found


def _same_namespace(found: nodes.Module | None, expected: nodes.Module | None) -> bool:
    """Return whether both are the same package without a file, which astroid makes anew at each look-up."""
    return (
        found is not None
        and expected is not None
        and found.file is None
        and expected.file is None
        and bool(found.package and expected.package)
        and (found.name, list(found.path or ())) == (expected.name, list(expected.path or ()))
    )
