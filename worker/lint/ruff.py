"""ruff beside pylint, on the same terms: what it says of files of a tree, in the shape of pylint's messages.

Its configuration is the one at the root of a tree that the caller chooses. Configuration in folders further down is not
obeyed, since a file's own configuration would then be the change's to switch off; ``per-file-ignores`` at the root can
say the same. Neither is a user's own: the answer would differ from machine to machine.

How severe a rule is, ruff does not tell. What cannot work is an error, as pylint has it; what ruff has from pylint
keeps pylint's category; anything else is a warning.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .errors import LintError
from .model import Judgement, Message, Severity, Tree

NAMES = (".ruff.toml", "ruff.toml", "pyproject.toml")
"""In ruff's order (https://docs.astral.sh/ruff/configuration/)."""

SEVERITIES = {
    "invalid-syntax": Severity.ERROR,
    "E9": Severity.ERROR,
    "F5": Severity.ERROR,
    "F6": Severity.ERROR,
    "F7": Severity.ERROR,
    "F82": Severity.ERROR,
    "PLE": Severity.ERROR,
    "PLR": Severity.REFACTOR,
    "PLC": Severity.CONVENTION,
}
"""By the beginning of a rule's code."""

OPTIONS = (
    "--output-format=json",
    "--no-cache",
    "--no-fix",
    "--no-show-fixes",
    "--force-exclude",
    "--quiet",
)
"""A configuration may ask for fixes, and must not get them."""

FILES_A_PROCESS = 1000
SECONDS = 300.0

CURE = "install it into the Python environment of the repository (pip install ruff), or leave out --also ruff"


class RuffError(LintError):
    """ruff could not do its work; the message names the cure."""


def find_ruff(python: str, environ: Mapping[str, str]) -> str:
    """Return the absolute path of ruff: beside the Python that judges, else on the PATH.

    Args:
        python: Absolute path of the Python that the repository is linted with.
        environ: The environment's variables.

    Raises:
        RuffError: there is none.
    """
    for folder in (os.path.dirname(python), *os.get_exec_path(environ)):
        path = os.path.abspath(os.path.join(folder, "ruff"))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise RuffError(f"ruff is neither beside {python} nor on the PATH: {CURE}")


def ruff_id(program: str) -> str:
    """Return what changes when another ruff is installed at a path."""
    path = os.path.realpath(program)
    status = os.stat(path)
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def find_configuration(tree: Tree) -> str | None:
    """Return the file at a tree's root that configures ruff, relative to it; None when there is none."""
    return next(
        (name for name in NAMES if (content := tree.read(name)) is not None and _configures(name, content)), None
    )


def lint(
    program: str,
    root: str,
    paths: Iterable[str],
    *,
    configuration: str | None,
    environ: Mapping[str, str],
    seconds: float = SECONDS,
) -> dict[str, Judgement]:
    """Run ruff on files of a tree, and return path -> what it says, without a score.

    A file that ruff cannot read has a message that says so. One that the configuration excludes has none.

    Args:
        program: Absolute path of ruff.
        root: Absolute path of the tree.
        paths: Python files, relative to the root; all are there.
        configuration: Absolute path of the file to obey, as if it were at the root; None for ruff's defaults.
        environ: The environment's variables; those that set options of ruff are left out.
        seconds: How long ruff may take.

    Raises:
        RuffError: ruff does not start, does not understand its configuration, or takes too long.
    """
    wanted = list(paths)
    said: dict[str, list[Message]] = {path: [] for path in wanted}
    root = os.path.realpath(root)
    # As ruff prints them: absolute, and with � for what is not UTF-8.
    names = {os.fsencode(os.path.join(root, path)).decode("utf-8", "replace"): path for path in wanted}
    for start in range(0, len(wanted), FILES_A_PROCESS):
        for each in _run(program, root, wanted[start : start + FILES_A_PROCESS], configuration, environ, seconds):
            path = names.get(each["filename"])
            if path is None:
                raise RuffError(f"ruff speaks of {each['filename']}, which it was not asked about: update ruff")
            said[path].append(_message(path, each))
    return {path: Judgement(_with_scopes(os.path.join(root, path), messages)) for path, messages in said.items()}


def _configures(name: str, content: bytes) -> bool:
    if name != "pyproject.toml":
        return True
    if b"ruff" not in content:
        return False
    import tomllib  # noqa: PLC0415  (rarely needed, and slow to import)

    try:
        tool = tomllib.loads(content.decode("utf-8")).get("tool")
    except ValueError:
        return True  # ruff says what is wrong with it
    return isinstance(tool, dict) and "ruff" in tool


def _run(
    program: str, root: str, paths: list[str], configuration: str | None, environ: Mapping[str, str], seconds: float
) -> list[dict[str, Any]]:
    obeyed = ["--isolated"] if configuration is None else ["--config", configuration]
    # ruff takes an argument that begins with @ for a file of further arguments.
    command = [program, "check", *OPTIONS, *obeyed, "--", *(f"./{path}" for path in paths)]
    try:
        done = subprocess.run(  # noqa: S603 - no shell; file names stand after "--"
            command,
            cwd=root,
            env={name: value for name, value in environ.items() if not name.startswith("RUFF_")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise RuffError(f"ruff does not start: {error}: {CURE}") from error
    except subprocess.TimeoutExpired:
        raise RuffError(f"ruff took more than {seconds:g} s: exclude what is slow in its configuration") from None
    words = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode not in {0, 1}:
        source = f"with {configuration}" if configuration else "without configuration"
        raise RuffError(f"ruff ended with {done.returncode} {source}: correct what it says\n{words}")
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)
    except ValueError:
        raise RuffError(f"ruff printed no JSON: {CURE}\n{words}") from None
    return found


def _message(path: str, said: dict[str, Any]) -> Message:
    code = said["code"] or "invalid-syntax"  # None for syntax errors up to ruff 0.12
    start, end = said["location"], said["end_location"]
    return Message(
        path=path,
        line=start["row"],
        column=start["column"] - 1,
        end_line=end["row"],
        end_column=end["column"] - 1,
        symbol=code,
        code=code,
        severity=next((each for prefix, each in SEVERITIES.items() if code.startswith(prefix)), Severity.WARNING),
        text=said["message"],
        linter="ruff",
    )


def _with_scopes(file: str, messages: list[Message]) -> tuple[Message, ...]:
    """Return messages about a file, each with the function or class that it is in, as pylint names it."""
    if not messages:
        return ()
    from dataclasses import replace  # noqa: PLC0415

    objects = list(_objects(file))
    return tuple(
        replace(
            message,
            scope=max((name for first, last, name in objects if first <= message.line <= last), key=len, default=""),
        )
        for message in messages
    )


def _objects(file: str) -> Iterator[tuple[int, int, str]]:
    """Give first line, last line and name of functions and classes; none where the file does not parse."""
    import ast  # noqa: PLC0415  (only where ruff finds something)
    import warnings  # noqa: PLC0415

    try:
        with open(file, "rb") as opened, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            waiting: list[tuple[ast.AST, str]] = [(ast.parse(opened.read()), "")]
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    while waiting:
        node, name = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{name}.{node.name}" if name else node.name
            yield node.lineno, node.end_lineno or node.lineno, name
        waiting.extend((child, name) for child in ast.iter_child_nodes(node))
