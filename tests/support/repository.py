"""Real git repositories for tests: a bare one that is served, and a work tree that pushes to it."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada Author",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada Author",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}

Files = Mapping[str, str | bytes | None]
"""Path -> content; None deletes the file."""


@dataclass(frozen=True)
class Repository:
    """A bare repository ``bare`` and a work tree ``tree`` whose ``origin`` it is, on the branch ``main``."""

    bare: Path
    tree: Path

    @classmethod
    def create(cls, folder: Path, name: str = "project", files: Files | None = None) -> "Repository":
        """Make both below ``folder``, with one commit on ``main``, pushed."""
        bare, tree = folder / f"{name}.git", folder / f"{name}-tree"
        _git("init", "-q", "--bare", "-b", "main", str(bare))
        _git("config", "core.logAllRefUpdates", "true", cwd=bare)  # by which tests.support.rule sees every move
        _git("init", "-q", "-b", "main", str(tree))
        repository = cls(bare, tree)
        repository.git("remote", "add", "origin", str(bare))
        repository.commit(files or {"README": "a project\n"}, "Begin")
        repository.push("main")
        return repository

    def git(self, *args: str) -> str:
        """Run git in the work tree and return what it printed."""
        return _git(*args, cwd=self.tree)

    def commit(self, files: Files, message: str = "Change") -> str:
        """Write ``files``, commit them on the current branch and return the SHA."""
        for path, content in files.items():
            file = self.tree / path
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def candidate(self, files: Files, topic: str = "topic", message: str = "Merge", base: str = "main") -> str:
        """Commit ``files`` on a topic off ``base``, merge it with --no-ff onto local ``auto``; return the merge."""
        self.git("checkout", "-q", "-B", topic, base)
        self.commit(files, f"Work on {topic}")
        return self.merge([topic], message=message, base=base)

    def merge(self, topics: list[str], message: str = "Merge", base: str = "main", onto: str = "auto") -> str:
        """Merge each topic with --no-ff onto a local ``onto`` that starts at ``base``; return the last merge's SHA."""
        self.git("checkout", "-q", "-B", onto, base)
        for topic in topics:
            self.git("merge", "-q", "--no-ff", "-m", message, topic)
        return self.head()

    def topic(self, name: str, files: Files, *, base: str = "main", target: str = "main", message: str = "") -> str:
        """Commit ``files`` on a branch ``name`` off ``base``, push it below refs/for/ and return its head."""
        self.git("checkout", "-q", "-B", name, base)
        head = self.commit(files, message or f"Work on {name}")
        self.push(f"{head}:refs/for/{target}/{name}")
        return head

    def refs(self) -> dict[str, str]:
        """Return full name -> object of the bare repository's refs."""
        lines = _git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.bare).splitlines()
        return dict(line.split(" ") for line in lines)

    def hook(self, name: str, script: str) -> None:
        """Give the bare repository a hook, a shell script."""
        path = self.bare / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)  # a shell that runs the old one goes on reading it
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def push(self, *refspecs: str) -> None:
        """Push by force to the bare repository."""
        self.git("push", "-q", "--force", "origin", *refspecs)

    def head(self) -> str:
        """Return the SHA of the work tree's HEAD."""
        return self.git("rev-parse", "HEAD")

    def tip(self, branch: str) -> str:
        """Return the SHA of a branch of the bare repository."""
        return _git("rev-parse", f"refs/heads/{branch}", cwd=self.bare)


def _git(*args: str, cwd: Path | None = None) -> str:
    environment = os.environ | IDENTITY
    done = subprocess.run(["git", *args], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {args}: {done.stdout}{done.stderr}"
    return done.stdout.strip()
