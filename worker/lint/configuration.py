"""What configures pylint: the file that it reads, and the plugins of the repository's own."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from .errors import LintError
from .model import Tree
from .store import Store

FORMAT = "1"
"""To be changed whenever what is remembered or hashed here changes its meaning."""

RC_NAMES = ("pylintrc", "pylintrc.toml", ".pylintrc", ".pylintrc.toml")
PYPROJECT = "pyproject.toml"
SHARED_INI = ("setup.cfg", "tox.ini")
"""Files that hold other programs' sections, too."""

SYSTEM = "/etc/pylintrc"
MAX_VARIANTS = 8


class ConfigurationError(LintError):
    """The configuration that was asked for is not to be had; the message names the cure."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What pylint reads before it looks at any file.

    Attributes:
        id: A hash of what matters in it, plugins left aside.
        rcfile: The file to give pylint: relative to the tree's root, or absolute when it is outside; None when there is
            none and pylint is to use its defaults.
        notes: Sentences for the reader, about files that pylint passes over because it cannot read them.
        folder: The cache's; plugins are remembered there.
    """

    id: str
    rcfile: str | None
    notes: tuple[str, ...]
    folder: str

    @property
    def without_plugins(self) -> str:
        """The id that results depend on when no plugin or hook is of the tree."""
        return self._final({})

    def with_plugins(self, tree: Tree, environment_id: str) -> str | None:
        """Return the id that results depend on: of this, and of the tree's files that plugins and hooks consist of.

        Args:
            tree: The one that plugins are imported from.
            environment_id: Of `worker.lint.environment`.

        Returns:
            None when the judge has not yet said, for such files as are there now, which they are.
        """
        for names, blobs in Store(self.folder).read(self._name(environment_id)):
            if all(tree.entries(*name) == entries for name, entries in names.items()) and all(
                tree.blob(path) == blob for path, blob in blobs.items()
            ):
                return self._final(blobs)
        return None

    def remember_plugins(self, tree: Tree, environment_id: str, paths: Iterable[str]) -> str:
        """Remember which of the tree's files plugins and hooks consist of, and return the id that results depend on.

        Args:
            tree: The one that they were imported from.
            environment_id: Of `worker.lint.environment`.
            paths: Relative to the tree's root. One that is not there, with or without its ending, stands for a module
                that was looked for in vain.
        """
        blobs = {path: tree.blob(path) for path in sorted(paths)}
        places = {(os.path.dirname(path), os.path.basename(path).partition(".")[0]) for path in blobs}
        variant = ({place: tree.entries(*place) for place in places}, blobs)
        store, name = Store(self.folder), self._name(environment_id)
        older = (each for each in store.read(name) if each != variant)
        store.write(name, [variant, *islice(older, MAX_VARIANTS - 1)])
        return self._final(blobs)

    def _name(self, environment_id: str) -> str:
        return f"plugins/{_digest(FORMAT, self.id, environment_id)}"

    def _final(self, blobs: Mapping[str, str | None]) -> str:
        return _digest(self.id, *(f"{path}\0{blob}" for path, blob in blobs.items()))


def read_configuration(
    tree: Tree, *, root: str, rcfile: str | None, environ: Mapping[str, str], folder: str
) -> Configuration:
    """Find the configuration as pylint does when it is started at a tree's root.

    A file that also configures other programs counts by what pylint reads of it, so that a new version number in it
    changes nothing. What is parsed once is remembered by its blob id.

    Args:
        tree: The tree whose configuration counts.
        root: Absolute path of the work tree: pylint may look in the folders above it.
        rcfile: A file relative to the tree's root to be taken instead of what pylint would find.
        environ: The environment's variables.
        folder: The cache's, absolute; what was parsed is remembered there.

    Raises:
        ConfigurationError: ``rcfile`` is not in the tree, or a file outside that pylint would read is not readable.
    """
    search = _Search(tree, Store(folder))
    found: str | None
    if rcfile is not None:
        found = os.path.normpath(rcfile)
        if os.path.isabs(found) or found.startswith("..") or not search.there(found):
            raise ConfigurationError(
                f"there is no file {rcfile} in the tree that pylint's configuration is read from: "
                "correct the setting pylintrc, or let --config-from name the tree that has it"
            )
    else:
        found = next(search.candidates(root, environ), None)
    content = "" if found is None else search.content(found)
    return Configuration(_digest(FORMAT, found or "", content), found, tuple(search.notes), folder)


class _Search:
    """pylint's own search (pylint/config/find_default_config_files.py), over a tree instead of the current folder."""

    def __init__(self, tree: Tree, store: Store) -> None:
        self._tree = tree
        self._store = store
        self.notes: list[str] = []

    def candidates(self, root: str, environ: Mapping[str, str]) -> Iterator[str]:
        """Give the files that pylint would read, the first of which it does read."""
        yield from filter(self._configures, filter(self.there, (*RC_NAMES, PYPROJECT, *SHARED_INI)))
        root = os.path.realpath(root)
        if self.there("__init__.py"):
            yield from _above_package(root)
        if not self.there(PYPROJECT):
            yield from filter(self._configures, _pyproject_above(root))
        named = environ.get("PYLINTRC")
        if named is not None and (path := self._named(named, root)):
            if os.path.isfile(path) or not os.path.isabs(path):
                yield path
        else:
            home = environ.get("HOME") or os.path.expanduser("~")
            if home not in ("~", "/root"):  # pylint's own exceptions
                yield from _files((os.path.join(home, ".pylintrc"), os.path.join(home, ".config", "pylintrc")))
        yield from _files([SYSTEM])

    def there(self, path: str) -> bool:
        """Whether the tree has a file."""
        return self._tree.blob(path) is not None

    def content(self, path: str) -> str:
        """Return a hash of what matters in a file, given as `Configuration.rcfile` is."""
        return self._look(path)[1]

    def _named(self, name: str, root: str) -> str | None:
        """Return where ``$PYLINTRC`` leads to; a file of the work tree is taken from the tree."""
        path = os.path.realpath(os.path.join(root, name))
        if path.startswith(root + os.sep) and not os.path.isdir(path):
            path = os.path.relpath(path, root)
            return path if self.there(path) else None
        return path if os.path.exists(path) else None

    def _configures(self, path: str) -> bool:
        configures, _, fault = self._look(path)
        if fault:
            self.notes.append(f"{path}: pylint cannot read it and passes over it: {fault}")
        return configures

    def _look(self, path: str) -> tuple[bool, str, str]:
        """Return whether a file configures pylint, a hash of what matters in it, and why pylint passes over it."""
        kind = _kind(path)
        data = None
        if os.path.isabs(path):
            data = _content(path)
            blob = hashlib.blake2b(data, digest_size=20).hexdigest()
        else:
            blob = self._tree.blob(path) or ""
        if not kind:
            return True, blob, ""
        name = f"configurations/{_digest(FORMAT, kind, blob)}"
        for known in self._store.read(name):
            configures, matter, fault = known
            return configures, matter, fault
        looked = look_into(kind, (self._tree.read(path) if data is None else data) or b"", blob)
        self._store.write(name, [looked])
        return looked


def look_into(kind: str, content: bytes, blob: str) -> tuple[bool, str, str]:
    """Tell what pylint reads of a file.

    Args:
        kind: ``toml``, or ``ini`` for one that other programs share.
        content: The file's.
        blob: Its id: what matters where pylint can make nothing of it, since it may say so.

    Returns:
        Whether its search takes the file, a hash of what matters in it, and why the search passes over it when that is
        because it cannot be parsed.
    """
    try:
        return (_in_toml if kind == "toml" else _in_ini)(content, blob)
    except UnicodeDecodeError:
        return True, blob, ""  # pylint's search does not survive it, and it is the judge who is to say so


def _in_toml(content: bytes, blob: str) -> tuple[bool, str, str]:
    import tomllib  # noqa: PLC0415  (what is read once is remembered)

    try:
        tools = tomllib.loads(content.decode()).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        return False, blob, str(error)
    if not isinstance(tools, dict):
        return True, blob, ""  # the same
    return "pylint" in tools, _digest(repr(tools.get("pylint"))), ""


def _in_ini(content: bytes, blob: str) -> tuple[bool, str, str]:
    import configparser  # noqa: PLC0415  (what is read once is remembered)

    found = configparser.ConfigParser()
    read = configparser.ConfigParser(inline_comment_prefixes=("#", ";"))
    try:
        found.read_file(_lines(content, "utf-8"))
    except configparser.Error as error:
        return False, blob, str(error).partition("\n")[0]
    configures = any(each == "pylint" or each.startswith("pylint.") for each in found.sections())
    try:
        read.read_file(_lines(content, "utf_8_sig"))
    except configparser.Error:
        return configures, blob, ""
    sections = [(each, read.items(each, raw=True)) for each in read.sections() if each.startswith("pylint")]
    return configures, _digest(repr(sections)), ""


def _kind(path: str) -> str:
    if path.endswith(".toml"):
        return "toml"
    return "ini" if any(each in SHARED_INI for each in path.split(os.sep)) else ""


def _above_package(root: str) -> Iterator[str]:
    folder = root
    while folder == root or os.path.isfile(os.path.join(folder, "__init__.py")):
        if folder == os.path.dirname(folder):
            return
        folder = os.path.dirname(folder)
        yield from _files(os.path.join(folder, name) for name in RC_NAMES)


def _pyproject_above(root: str) -> Iterator[str]:
    folder = root
    while folder != os.path.dirname(folder) and not any(
        os.path.isdir(os.path.join(folder, each)) for each in (".git", ".hg")
    ):
        folder = os.path.dirname(folder)
        if os.path.isfile(path := os.path.join(folder, PYPROJECT)):
            yield os.path.realpath(path)
            return


def _files(paths: Iterable[str]) -> Iterator[str]:
    return (os.path.realpath(path) for path in paths if os.path.isfile(path))


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(
            f"pylint's configuration {path} cannot be read: {error.strerror}; make it readable, or remove it"
        ) from None


def _lines(content: bytes, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
