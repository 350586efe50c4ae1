"""Which Python judges, and what is installed for it."""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import LintError
from .store import Store

FORMAT = "1"
"""To be changed whenever what is remembered or hashed here changes its meaning."""

CURE = "pip install 'pylint>=4.1,<4.2'"
VERSIONS = re.compile(r"4\.1\.\d")
SHEBANG = re.compile(r"#!\s*(?:\S*/env\s+(?:-S\s+)?)?(\S+)")
PACKAGES = ("site-packages", "dist-packages")
VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "HOME")
"""What else decides where a Python finds its modules; its user's own packages are below the home folder."""

SECONDS = 60
"""How long a Python may take to say who it is."""

JUDGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "judge")

# Packages are imported from nowhere but where `pylint` finds them: not from the current folder.
ASK = """
import sys
sys.path[:] = [each for each in sys.path if each]
import json
said = {"version": sys.version, "prefix": sys.prefix, "path": sys.path, "pylint": "", "homes": []}
try:
    import pylint, astroid
    said.update(pylint=pylint.__version__, astroid=astroid.__version__)
    said.update(homes=[pylint.__path__[0], astroid.__path__[0]])
except Exception as error:
    said["error"] = "%s: %s" % (type(error).__name__, error)
print("\\n\\n" + json.dumps(said))
"""


class InterpreterError(LintError):
    """There is no Python to judge with; the message names the cure."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that has pylint.

    Attributes:
        python: Absolute path to start it by.
        found: How it was found: ``--python``, ``VIRTUAL_ENV``, ``pylint`` or ``this Python``.
        version: Its ``sys.version``.
        pylint: pylint's version.
        astroid: astroid's version.
        prefix: Its ``sys.prefix``.
        sys_path: The absolute folders and archives in which it looks for modules, in order.
        listings: Each of these -> a hash of the names in it.
    """

    python: str
    found: str
    version: str
    pylint: str
    astroid: str
    prefix: str
    sys_path: tuple[str, ...]
    listings: Mapping[str, str]


def find_interpreter(option: str | None, environ: Mapping[str, str], folder: str) -> Interpreter:
    """Find the Python that pylint runs in.

    Args:
        option: The setting ``--python``: a path, or a name on ``PATH``.
        environ: The environment's variables.
        folder: The cache's, absolute; what a Python says of itself is remembered there, so that it need not be started
            again.

    Raises:
        InterpreterError: none has pylint, or the first that has one has not 4.1.
    """
    store = Store(folder)
    tried = []
    for python, found in _candidates(option, environ):
        said, listings = _ask(python, environ, store)
        if not said["pylint"]:
            tried.append(f"{found}: {python}: {said['error']}")
            continue
        if not VERSIONS.match(said["pylint"]):
            raise InterpreterError(
                f"pylint {said['pylint']} in {python} ({found}) is not one that this program knows: "
                f"{python} -m {CURE}, or name another Python with --python"
            )
        path = tuple(said["path"])
        return Interpreter(
            python, found, said["version"], said["pylint"], said["astroid"], said["prefix"], path, listings
        )
    raise InterpreterError(
        f"no pylint: {CURE} into the Python environment of the repository and name its Python with --python"
        f" ({'; '.join(tried) or 'nothing to try'})"
    )


def environment_id(interpreter: Interpreter, roots_to_leave_out: Sequence[str]) -> str:
    """Return a hash of all that results depend on besides the repository: versions, packages, this program's judge.

    Args:
        interpreter: The Python that judges.
        roots_to_leave_out: Absolute folders of linted trees: what is in them is known by its blobs. The interpreter's
            own packages count all the same where its environment is below such a root.
    """
    parts = [FORMAT, sys.platform, interpreter.version, interpreter.pylint, interpreter.astroid, _judge()]
    prefix = os.path.realpath(interpreter.prefix)
    roots = [os.path.realpath(root) for root in roots_to_leave_out]
    for each in interpreter.sys_path:
        path = os.path.realpath(each)
        around = [root for root in roots if _below(path, root)]
        if not around or (_below(path, prefix) and any(_below(prefix, root) for root in around)):
            parts += [each, interpreter.listings[each]]
    return _digest(parts)


def _candidates(option: str | None, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give (absolute path of a Python, how it was found), the best first."""
    if option is not None:
        python = os.path.abspath(option) if os.sep in option else _on_path(option, environ)
        if not python:
            raise InterpreterError(f"--python {option}: there is no such program on PATH; name one that has pylint")
        yield python, "--python"
        return
    if home := environ.get("VIRTUAL_ENV"):
        yield os.path.abspath(os.path.join(home, "bin", "python")), "VIRTUAL_ENV"
    if (pylint := _on_path("pylint", environ)) and (python := _python_of(pylint, environ)):
        yield python, "pylint"
    yield sys.executable, "this Python"


def _on_path(name: str, environ: Mapping[str, str]) -> str:
    for folder in os.get_exec_path(environ):
        path = os.path.abspath(os.path.join(folder, name))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def _python_of(script: str, environ: Mapping[str, str]) -> str:
    """Return the Python that a script is started with; empty when it cannot be told."""
    try:
        with open(script, "rb") as file:
            first, second, *_ = [*os.fsdecode(file.read(4096)).splitlines(), "", ""]
    except OSError:
        return ""
    python = ""
    if first == "#!/bin/sh" and second.startswith("'''exec' "):  # what installers write where the path is long
        import shlex  # noqa: PLC0415  (rarely needed)

        with contextlib.suppress(ValueError):
            python = shlex.split(second)[1]
    elif shebang := SHEBANG.match(first):
        python = shebang[1]
    if not os.path.basename(python).startswith(("python", "pypy")):
        return ""
    return python if os.path.isabs(python) else _on_path(python, environ)


def _ask(python: str, environ: Mapping[str, str], store: Store) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a Python says of itself, remembered while nothing has changed, and the listings of its folders."""
    variables = [environ.get(each, "") for each in VARIABLES]
    files = [os.path.realpath(python), os.path.join(os.path.dirname(os.path.dirname(python)), "pyvenv.cfg")]
    name = f"interpreters/{_digest([FORMAT, python, *variables])}"
    state = [files[0], *map(_stat, files)]
    for known, said, watched in store.read(name):
        listings = {each: _listing(each) for each in said["path"]}
        if known == state and watched.items() <= listings.items():
            return said, listings
    said = _run(python, environ)
    listings = {each: _listing(each) for each in said["path"]}
    if listings:
        homes = [os.path.dirname(each) for each in said["homes"]]
        watched = {
            each: listing
            for each, listing in listings.items()
            if not homes or each in homes or os.path.basename(each) in PACKAGES
        }
        store.write(name, [(state, said, watched)])
    return said, listings


def _run(python: str, environ: Mapping[str, str]) -> dict[str, Any]:
    import json  # noqa: PLC0415  (rarely needed)
    import subprocess  # noqa: PLC0415

    path = [each for each in environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(each)]
    nothing: dict[str, Any] = {"path": [], "homes": [], "pylint": ""}
    try:
        done = subprocess.run(  # noqa: S603  (a program that the user named or uses)
            [python, "-c", ASK],
            cwd=os.sep,
            env={**environ, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        said: dict[str, Any] = json.loads(done.stdout.rpartition(b"\n\n")[2])
    except OSError as error:
        return {**nothing, "error": error.strerror or str(error)}
    except subprocess.TimeoutExpired:
        return {**nothing, "error": f"said nothing for {SECONDS} seconds"}
    except ValueError:
        words = os.fsdecode(done.stderr).strip().splitlines()
        return {
            **nothing,
            "error": f"is no Python that starts: {words[-1][:200] if words else f'exit {done.returncode}'}",
        }
    said["path"] = [each for each in said["path"] if os.path.isabs(each)]
    return said


def _listing(folder: str) -> str:
    """Return a hash of the names in a folder, or of an archive's state."""
    try:
        names = sorted(each for each in os.listdir(folder) if each != "__pycache__")
    except OSError:
        return repr(_stat(folder))
    # What such a file says decides where else modules are looked for.
    return _digest(names + [repr(_stat(os.path.join(folder, each))) for each in names if each.endswith(".pth")])


def _stat(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def _judge() -> str:
    """Return a hash of the programs that judge."""
    parts = []
    for name in sorted(os.listdir(JUDGE)):
        if name.endswith(".py"):
            with open(os.path.join(JUDGE, name), "rb") as file:
                parts += [name, hashlib.blake2b(file.read()).hexdigest()]
    return _digest(parts)


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
