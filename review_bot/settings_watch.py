"""Notices that the configuration has changed, so that a new repository needs no restart."""

from pathlib import Path

from autogate.places import Places

Fingerprint = frozenset[tuple[str, int, int]]


def fingerprint(places: Places) -> Fingerprint:
    """Return what changes whenever a configuration file, a key or the pinned hosts do: (path, time in ns, bytes)."""
    folders = (places.repositories, places.secrets / "write-keys")
    paths = [places.site_file, places.known_hosts, *(path for folder in folders for path in _files(folder))]
    return frozenset(entry for path in paths if (entry := _entry(path)))


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _entry(path: Path) -> tuple[str, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_size
