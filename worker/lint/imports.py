"""What Python files import and mention, scanned fast and remembered, and which files load which."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .store import Store

STAR = "*"

_IMPORT = re.compile(rb"import\b[ \t]*(\((?:[^)#]|#[^\n]*)*|(?:\\\n|[^\n;#])*)")
_BEFORE_IMPORT = re.compile(rb"(?:^|[;:])[ \t\f]*(?:from\b[ \t]*([.\w\x80-\xff \t]+?))?[ \t]*$")
_NAME = re.compile(rb"[\w.\x80-\xff]+|\*")
_COMMENT = re.compile(rb"#[^\n]*")
_ATTRIBUTE = re.compile(rb"\.\s*([A-Za-z_\x80-\xff][\w\x80-\xff]*)")
_FUNCTION = re.compile(rb"def[ \t]+([\w\x80-\xff]+)")
_CLASS = re.compile(rb"class[ \t]+([\w\x80-\xff]+)[ \t]*\(([^)]*)")
_WORD = re.compile(rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*")

_SUFFIXES = (".py", ".pyi")

KEPT = "imports-1"
"""Of what form the scans are that are kept."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a file's text says, read without parsing it, so rather too much than too little.

    Attributes:
        size: Of the file in bytes.
        imports: ``a.b`` for ``import a.b``; ``..a:b`` for ``from ..a import b``, with ``>c`` behind it where it is
            called so; ``a:*`` for a star import.
        classes: A class with the words in its bases: ``Child:Base,other``.
        words: Attributes that it looks up and functions that it defines; every word where it has a star import.
    """

    size: int
    imports: tuple[str, ...]
    classes: tuple[str, ...]
    words: str

    @property
    def mentions(self) -> frozenset[str]:
        """`words`, parted."""
        return frozenset(self.words.split(" "))


def scan(source: bytes) -> Scan:
    """Scan a Python file.

    Args:
        source: Its content, in any state.
    """
    text = source.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removeprefix(b"\xef\xbb\xbf")
    imports = _imports(text)
    words = set(_ATTRIBUTE.findall(text)) | set(_FUNCTION.findall(text))
    if any(each.endswith(b":*") for each in imports):
        words.update(_WORD.findall(text))
    classes = {b"%s:%s" % (name, b",".join(_WORD.findall(bases))) for name, bases in _CLASS.findall(text)}
    return Scan(len(source), _texts(imports), _texts(classes), " ".join(_texts(words)))


def _texts(each: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(item.decode(errors="surrogateescape") for item in sorted(each))


def _imports(text: bytes) -> set[bytes]:
    found: set[bytes] = set()
    for match in _IMPORT.finditer(text):
        begin = text.rfind(b"\n", 0, match.start()) + 1
        while begin > 1 and text[begin - 2] == ord("\\"):
            begin = text.rfind(b"\n", 0, begin - 1) + 1
        before = _BEFORE_IMPORT.search(text[begin : match.start()].replace(b"\\\n", b" "))
        if not before:
            continue
        module = before[1] and before[1].replace(b" ", b"").replace(b"\t", b"")
        for item in _COMMENT.sub(b"", match[1]).split(b","):
            if names := _NAME.findall(item):
                alias = b">" + names[2] if names[1:2] == [b"as"] and len(names) > 2 else b""  # noqa: PLR2004  (b as c)
                found.add(b"%s:%s%s" % (module, names[0], alias) if module else names[0])
    return found


def scans_of(
    blobs: Iterable[str], read: Callable[[str], bytes | None], store: Store, repository: str
) -> dict[str, Scan]:
    """Return the scan of each blob, most of them from the last time.

    Args:
        blobs: Blob ids.
        read: Returns a blob's content; None when it cannot be had, and the blob is left out.
        store: Where scans are kept.
        repository: Under what name.
    """
    name = f"{KEPT}/{repository}"
    known: dict[str, tuple[int, tuple[str, ...], tuple[str, ...], str]] = next(store.read(name), {})
    kept = {}
    is_new = False
    for blob in dict.fromkeys(blobs):
        if blob in known:
            kept[blob] = known[blob]
        elif (source := read(blob)) is not None:
            fresh = scan(source)
            kept[blob] = (fresh.size, fresh.imports, fresh.classes, fresh.words)
            is_new = True
    if is_new:
        store.write(name, [kept])
    return {blob: Scan(*each) for blob, each in kept.items()}


def module_names(path: str, packages: frozenset[str] | set[str]) -> tuple[str, ...]:
    """Return the dotted names that a file can be imported as: from the root, and from each folder that is no package.

    Args:
        path: The file, relative to the root, with slashes.
        packages: Folders that have an ``__init__`` file.

    Returns:
        The longest first; none for a file that cannot be imported.
    """
    stem, suffix = os.path.splitext(path)
    if suffix not in _SUFFIXES:
        return ()
    parts = stem.split("/")
    if parts[-1] == "__init__":
        parts.pop()
    starts = [each for each in range(len(parts)) if not each or "/".join(parts[:each]) not in packages]
    return tuple(".".join(parts[each:]) for each in starts)


def packages_of(paths: Iterable[str]) -> set[str]:
    """Return the folders that have an ``__init__`` file among the paths."""
    return {os.path.dirname(path) for path in paths if path.endswith(("/__init__.py", "/__init__.pyi"))}


@dataclass
class Graph:
    """Which files of a tree import which.

    Args:
        paths: Python files with the scan of each.
    """

    paths: Mapping[str, Scan]
    packages: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.packages = packages_of(self.paths)
        self._importers: dict[str, list[str]] = {}
        self._importers_of: dict[str, set[str]] = {}
        for path, found in self.paths.items():
            for name in {loaded for each in found.imports for loaded in loads(path, each)}:
                self._importers.setdefault(name, []).append(path)

    def importers(self, path: str) -> set[str]:
        """Return the files that import a file, by any name that it may have; the file need not be there."""
        if path not in self._importers_of:
            names = [*module_names(path, self.packages), anchored(path)]
            self._importers_of[path] = {each for name in names for each in self._importers.get(name, ())}
        return self._importers_of[path]

    def loaders(self, paths: Iterable[str]) -> dict[str, int]:
        """Return the files that load any of some files, directly or not.

        Args:
            paths: At most a few hundred.

        Returns:
            Path -> bits, bit n for the nth of ``paths``; those themselves only where one loads another.
        """
        reached: dict[str, int] = {}
        waiting = [(path, 1 << number) for number, path in enumerate(paths)]
        while waiting:
            path, bits = waiting.pop()
            for importer in self.importers(path):
                had = reached.get(importer, 0)
                if bits & ~had:
                    reached[importer] = had | bits
                    waiting.append((importer, bits & ~had))
        return reached


def anchored(path: str) -> str:
    """Return how `loads` spells a file that is imported relatively."""
    return "/" + os.path.splitext(path)[0].removesuffix("/__init__").replace("/", ".")


def loads(path: str, imported: str) -> list[str]:
    """Return the modules that an import may load, those that a relative one may load spelled as by `anchored`.

    Args:
        path: The file that it is in.
        imported: As in `Scan.imports`.
    """
    module, colon, bound = imported.partition(":")
    name = bound.partition(">")[0]
    dots = len(module) - len(module.lstrip("."))
    if dots:
        folders = path.split("/")[:-dots]
        module = "/" + ".".join([*folders, *filter(None, [module[dots:]])])
    if colon:
        return [module] if name == STAR else [module, f"{module}.{name}".replace("/.", "/")]
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]
