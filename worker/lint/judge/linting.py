"""pylint inside one process: its configuration read once, a file judged at a time, modules built ahead."""

from __future__ import annotations

import ast
import gc
import importlib
import io
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, NamedTuple

import astroid
import isort  # noqa: F401  (pylint imports it late: each child would)
import pylint
from astroid import nodes
from pylint import lint
from pylint.lint.pylinter import PyLinter
from pylint.reporters.collecting_reporter import CollectingReporter

from .warm import Store

if TYPE_CHECKING:
    from pylint.message import Message

CRASHES = frozenset({"astroid-error", "fatal"})
"""What pylint says when it failed itself."""

FOLDERS_OF_ISORT = ("", "src")
"""Where isort looks whether an import is the project's own."""


class ConfigurationError(Exception):
    """pylint cannot work with its configuration; the message is pylint's own."""


class Reporter(CollectingReporter):
    """Collects messages, and whether each is about the module as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[bool] = []
        self.about: object = None

    def handle_message(self, msg: Message) -> None:
        """Keep a message."""
        super().handle_message(msg)
        self.whole.append(isinstance(self.about, nodes.Module))


class Work(NamedTuple):
    """What is to be built ahead.

    Attributes:
        root: The tree.
        search: ``sys.path``; empty to find it out.
        name: The module's; empty to find it out.
        path: The module's file, absolute; empty to look for it by its name.
        itself: Whether the file is to be built, and not only what it imports.
        further: Whether, where it is not the repository's own, what it imports is to be built, too: packages often take
            what they offer from modules further inside.
    """

    root: str
    search: list[str]
    name: str
    path: str
    itself: bool = True
    further: bool = False


class Linting:
    """pylint with one configuration.

    Args:
        arguments: pylint's, such as ``--rcfile=…``; no files.
        folder: Where the configuration is read, as if pylint was started there: a tree of the repository.
        home: The user's work tree. What ``sys.path`` has below it, or below ``folder``, stands for the same place in
            the tree that is linted.

    Raises:
        ConfigurationError: pylint does not accept its configuration, or a plugin cannot be loaded.
    """

    def __init__(self, arguments: list[str], folder: str, home: str) -> None:
        self.folder, self.home = os.path.realpath(folder), os.path.realpath(home)
        self.store = Store()
        self._waiting: deque[Work] = deque()
        self._known: set[tuple[str, str]] = set()
        self._reporter = Reporter()
        os.chdir(folder)
        before = set(sys.modules)
        self._linter = self._configured(arguments)
        self._linter.open()
        self._path = list(sys.path)
        imported = {
            file
            for name, module in list(sys.modules.items())
            if name not in before and (file := getattr(module, "__file__", None))
        }
        self.plugins = sorted(
            os.path.relpath(file, self.folder)
            for file in imported | set(self._missing_plugins())
            if self._is_below(file, self.folder)
        )
        gc.disable()

    def _configured(self, arguments: list[str]) -> PyLinter:
        captured: list[PyLinter] = []

        def capture(linter: PyLinter, _files: object) -> None:
            captured.append(linter)
            raise _CapturedError

        original = PyLinter.check
        said = io.StringIO()
        setattr(PyLinter, "check", capture)  # noqa: B010  (mypy lets nobody assign to a method)
        try:
            with redirect_stderr(said), redirect_stdout(said):
                # "." stands for the files: pylint refuses to begin without any
                lint.Run([*arguments, "--jobs=1", "--persistent=n", "--", "."], reporter=self._reporter, exit=False)
        except _CapturedError:
            pass
        except SystemExit:
            raise ConfigurationError(said.getvalue().strip()[-4000:] or "pylint exited") from None
        except Exception as error:  # noqa: BLE001  (a plugin, an init-hook and pylint itself may raise anything)
            raise ConfigurationError(f"{type(error).__name__}: {error}\n{said.getvalue()[-4000:]}".strip()) from None
        finally:
            setattr(PyLinter, "check", original)  # noqa: B010
        if not captured:
            raise ConfigurationError(said.getvalue().strip()[-4000:] or "pylint did not begin")
        return captured[0]

    def _missing_plugins(self) -> list[str]:
        """Return where plugins would be that cannot be imported: they may be there another time."""
        return [
            os.path.join(entry, *name.split("."))
            for name, result in self._linter._dynamic_plugins.items()
            if result is False  # what pylint makes of a ModuleNotFoundError
            for entry in self._path
        ]

    def describe(self) -> dict[str, Any]:
        """Return the versions, ``sys_path``, and ``plugins``: the folder's files that the configuration imported."""
        return {
            "pylint": pylint.__version__,
            "astroid": astroid.__version__,
            "python": sys.version.split()[0],
            "sys_path": self._path,
            "plugins": self.plugins,
        }

    # In a child

    def lint(self, root: str, path: str) -> dict[str, Any]:
        """Judge a file of a tree as a fresh pylint that is started at the tree's root does; once a process.

        Args:
            root: The tree, absolute.
            path: The file, relative to it.

        Returns:
            ``messages`` (a list of objects with model.Message's fields but ``linter``), ``score`` or null, ``error``,
            ``loaded`` (files of the tree that were read, relative), ``foreign`` (path: [size, mtime in ns]), ``names``
            (a list of [folder, stem]), and ``built``: what `learn` wants.
        """
        root = os.path.realpath(root)
        os.chdir(root)
        sys.path[:] = self._moved(self._path, root)
        self._move_finders(root)
        importlib.invalidate_caches()
        linter = self._linter
        reporter = self._reporter
        reporter.path_strip_prefix = root + os.sep
        _note_what_messages_are_about(linter, reporter)
        search: list[str] = []
        self.store.on_first_build = lambda: search.extend(sys.path)
        with self.store.use(root, path):
            linter.check([path])
        messages = [
            _plain(message, whole=whole)
            for message, whole in zip(reporter.messages, reporter.whole, strict=True)
            if os.path.normpath(message.path) == os.path.normpath(path)
        ]
        crash = next((each["text"] for each in messages if each["symbol"] in CRASHES), "")
        return {
            "messages": messages,
            "score": None if crash else _score(linter),
            "error": f"pylint failed on this file: {crash}" if crash else "",
            **self._dependencies(root, path, search),
            "built": [[name, self._relative(file, root), search] for name, file in self.store.built.items()],
        }

    def _dependencies(self, root: str, path: str, search: list[str]) -> dict[str, Any]:
        loaded, foreign = [], {}
        for file in self.store.read:
            if self._is_below(file, root):
                loaded.append(os.path.relpath(file, root))
            elif os.path.exists(file):
                status = os.stat(file)
                foreign[file] = [status.st_size, status.st_mtime_ns]
        folders = [os.path.relpath(entry, root) for entry in search if self._is_below(entry, root, or_same=True)]
        roots = dict.fromkeys(["" if each == "." else each for each in folders])
        roots |= dict.fromkeys([*FOLDERS_OF_ISORT, os.path.dirname(path)])
        names: dict[tuple[str, str], None] = {}
        for name in self.store.looked:
            for folder in roots:
                _places(root, folder, name.split("."), names)
        folder = path
        while folder:
            folder = os.path.dirname(folder)
            names[(folder, "__init__")] = None
        return {"loaded": sorted(loaded), "foreign": foreign, "names": [list(each) for each in names]}

    def _moved(self, entries: list[str], root: str) -> list[str]:
        return [self._move(entry, root) for entry in entries]

    def _move(self, entry: str, root: str) -> str:
        for place in (self.folder, self.home):
            if entry == place:
                return root
            if entry.startswith(place + os.sep):
                return root + entry[len(place) :]
        return entry

    def _move_finders(self, root: str) -> None:
        """Let setuptools' editable installs of the linted repository lead to the tree that is linted."""
        for name, module in list(sys.modules.items()):
            if name.startswith("__editable__") and isinstance(mapping := getattr(module, "MAPPING", None), dict):
                mapping.update({package: self._move(place, root) for package, place in mapping.items()})

    def _is_below(self, path: str, folder: str, *, or_same: bool = False) -> bool:
        return path.startswith(folder + os.sep) or (or_same and path == folder)

    def _relative(self, file: str, root: str) -> str:
        absolute = os.path.normpath(os.path.join(root, file)) if file else ""
        return os.path.relpath(absolute, root) if self._is_below(absolute, root) else absolute

    # In the parent

    def learn(self, root: str, built: list[Any]) -> None:
        """Note what a child had to build itself, to build it ahead of the next."""
        root = os.path.realpath(root)
        for name, file, search in built:
            self._waiting.append(Work(root, search, name, os.path.join(root, file) if file else ""))

    def warm(self, root: str, paths: list[str]) -> None:
        """Note files of a tree, to build them ahead, and what they import."""
        root = os.path.realpath(root)
        for path in paths:
            self._waiting.append(Work(root, [], "", os.path.join(root, path)))

    def prepare(self, root: str, path: str) -> None:
        """Note a file that is about to be linted, to build ahead what it imports."""
        root = os.path.realpath(root)
        self._waiting.append(Work(root, [], "", os.path.join(root, path), itself=False))

    def work(self) -> bool:
        """Build one module ahead; return whether there is more to build."""
        while self._waiting:
            root, search, name, path, itself, further = self._waiting.popleft()
            if not os.path.isdir(root) or (path and not os.path.isfile(path)):
                continue
            os.chdir(root)
            if not name:
                self._find_work(root, path, itself=itself)
                continue
            sys.path[:] = search or self._moved(self._path, root)
            self.store.root = root
            if self.store.has(name, path) if path else (name, root) in self._known:
                continue
            self._known.add((name, root))
            importlib.invalidate_caches()
            file = self.store.build(name, path)
            if further and file.endswith(".py") and not self._is_below(file, root):
                self._add_imports(root, search, name, file, further=False)
            return bool(self._waiting)
        return False

    def _find_work(self, root: str, path: str, *, itself: bool) -> None:
        """Add a file and what it imports to what is to be built, under the names that pylint would use."""
        package_path = lint.discover_package_path(path, self._linter.config.source_roots)
        search = [package_path, *self._moved(self._path, root)]
        sys.path[:] = search
        try:
            name = ".".join(astroid.modutils.modpath_from_file(path, [package_path]))
        except ImportError:
            name = os.path.splitext(os.path.basename(path))[0]
        self._add_imports(root, search, name, path, further=itself)
        if itself:
            self._waiting.appendleft(Work(root, search, name, path))

    def _add_imports(self, root: str, search: list[str], name: str, path: str, *, further: bool) -> None:
        package = name if os.path.basename(path).startswith("__init__.") else name.rpartition(".")[0]
        found = [Work(root, search, each, "", further=further) for each in _imports(path, package)]
        self._waiting.extendleft(reversed(found))


class _CapturedError(BaseException):
    """pylint is about to begin."""


def _note_what_messages_are_about(linter: PyLinter, reporter: Reporter) -> None:
    original: Callable[..., None] = linter._add_one_message

    def add_one_message(definition: object, line: object, node: object, *rest: object) -> None:
        reporter.about = node
        original(definition, line, node, *rest)

    setattr(linter, "_add_one_message", add_one_message)  # noqa: B010


def _plain(message: Message, *, whole: bool) -> dict[str, Any]:
    return {
        "path": message.path,
        "line": message.line,
        "column": message.column,
        "end_line": message.end_line,
        "end_column": message.end_column,
        "symbol": message.symbol,
        "code": message.msg_id,
        "severity": message.category,
        "text": message.msg,
        "scope": message.obj,
        "whole": whole,
    }


def _score(linter: PyLinter) -> float | None:
    linter.config.score = False
    score = linter.generate_reports()
    return None if score is None else float(score)


def _places(root: str, folder: str, parts: list[str], names: dict[tuple[str, str], None]) -> None:
    """Add where in the tree a dotted name is looked for, as far down as there are folders."""
    for part in parts:
        names[(folder, part)] = None
        folder = f"{folder}/{part}" if folder else part
        if not os.path.isdir(os.path.join(root, folder)):
            return
        names[(folder, "__init__")] = None


def _imports(path: str, package: str) -> list[str]:
    """Return the modules that a file imports, absolute, those that only may be modules too."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if node.level else []
            parts = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            if base:
                found[base] = None
                found |= dict.fromkeys(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    return list(found)
