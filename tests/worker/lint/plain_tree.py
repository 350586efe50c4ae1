"""A tree for tests that is a dictionary."""

import hashlib


class PlainTree(dict[str, bytes]):
    """Path -> content, with the blob ids that git gives."""

    def blob(self, path: str) -> str | None:
        content = self.get(path)
        return None if content is None else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def entries(self, folder: str, stem: str) -> tuple[str, ...]:
        start = f"{folder}/" if folder else ""
        below = (path.removeprefix(start) for path in self if path.startswith(start))
        names = {name + slash for name, slash, _ in (path.partition("/") for path in below)}
        return tuple(sorted(name for name in names if name.rstrip("/").partition(".")[0] == stem))

    def read(self, path: str) -> bytes | None:
        return self.get(path)

    def is_settled(self, path: str) -> bool:
        return True
