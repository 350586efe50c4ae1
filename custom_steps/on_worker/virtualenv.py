"""Make or find the virtual environment for a set of requirements, with uv."""

import hashlib
import json
import os
import platform
import shutil
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custom_steps.on_worker.shared import Report, Stop, existed_before, locked, remove, run, run_aloud, say
from custom_steps.parsing.requirements import references
from custom_steps.parsing.uv_output import why

COMPLETE = "autogate.json"
"""Written into an environment last of all: without it, an environment is no environment."""

VERSION = 1
"""Of what the hash is made of."""

# They say how uv works, not what it installs.
HARMLESS = {
    "UV_CACHE_DIR",
    "UV_NO_PROGRESS",
    "UV_CONCURRENT_DOWNLOADS",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_NO_CACHE",
}


def main(parameters: Report) -> Report:
    """Return the environment's ``path``, its ``python``'s version, and whether it was ``made`` just now.

    Args:
        parameters: ``requirements``, ``packages``, ``python``, ``max_age`` in seconds, and the worker's ``cache``.
    """
    tree = Path.cwd()
    uv = shutil.which("uv")
    if uv is None:
        raise Stop(
            "infrastructure", "uv is not on the worker's PATH\nInstall it: `pip install uv`, or see docs.astral.sh/uv."
        )
    root = Path(parameters["cache"]) / "virtualenvs"
    request = parameters["python"] or sys.executable
    python = _python(uv, parameters["python"])
    key, unknowable = _key(parameters, python, tree)
    path = root / key
    lock = path.with_name(path.name + ".lock")
    if not unknowable:
        with locked(lock, exclusive=False):
            if version := _complete(path):
                say(f"reused {path}")
                return {"path": str(path), "python": version, "made": False}
    with locked(lock, exclusive=True) as held:
        assert held is not None  # noqa: S101 - it waits
        version = "" if unknowable else _complete(path)
        if version:  # another build made it meanwhile
            say(f"reused {path}")
            return {"path": str(path), "python": version, "made": False}
        if unknowable:
            say(f"made anew for each build, since no hash tells what this line installs: {unknowable}")
        version = _make(uv, path, request, parameters, hold=held, refresh=bool(unknowable))
    _evict(root, parameters["max_age"], keep=path)
    return {"path": str(path), "python": version, "made": True}


def _python(uv: str, request: str) -> str:
    """Return what tells the Python apart: its version and where it is."""
    if not request:
        return f"{sys.version} {os.path.realpath(sys.executable)}"
    found = run([uv, "python", "find", "--no-project", "--resolve-links", "--", request])
    if found.code != 0:
        # uv may be able to download it; whatever it finds then goes by the name of the request.
        return request
    binary = found.out.strip()
    version = run([binary, "-I", "-c", "import sys; print(sys.version)"])
    return f"{version.out.strip()} {binary}"


def _key(parameters: Report, python: str, tree: Path) -> tuple[str, str]:
    """Return the environment's name, and the first requirement that no hash can know."""
    parts: dict[str, Any] = {
        "version": VERSION,
        "python": python,
        "machine": [platform.machine(), platform.system(), platform.libc_ver()],
        "packages": parameters["packages"],
        "uv": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith("UV_") and name not in HARMLESS
        },
        "settings": _settings(tree),
        "files": {},
        "variables": {},
    }
    unknowable = next((package for package in parameters["packages"] if references(package).unknowable), "")
    for requirement in parameters["requirements"]:
        unknowable = unknowable or _read(Path(requirement), "", parts)
    if unknowable:
        # Such an environment may point into this very folder: no other builder may share it.
        parts = {"tree": str(tree), "requirements": parameters["requirements"], "packages": parameters["packages"]}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32], unknowable


def _read(path: Path, included_by: str, parts: dict[str, Any]) -> str:
    """Add a requirements file and all it includes; return the first line that no hash can know."""
    name = os.path.normpath(path)
    if name in parts["files"]:
        return ""
    try:
        text = path.read_text("utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise _missing(name, included_by) from None
    parts["files"][name] = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    found = references(text)
    parts["variables"] |= {variable: os.environ.get(variable, "") for variable in found.variables}
    unknowable = found.unknowable
    for include in found.includes:
        deeper = _read(path.parent / include, name, parts)
        unknowable = unknowable or deeper
    return unknowable


def _missing(name: str, included_by: str) -> Stop:
    if included_by:
        return Stop("change", f"{included_by} includes {name}, which is not there\nAdd the file, or take the line out.")
    if existed_before(name):
        return Stop(
            "change", f"{name} is gone, and the environment is made from it\nThe change removes it: put it back."
        )
    return Stop(
        "configuration",
        f"there is no {name} in the repository\nAdd it, or name the right requirement files in the configuration: "
        "Virtualenv(requirements=(…)); an empty tuple for none.",
    )


def _settings(tree: Path) -> dict[str, Any]:
    """Return the repository's own settings of uv, which uv reads from the folder it runs in."""
    settings: dict[str, Any] = {}
    own = tree / "uv.toml"
    if own.is_file():
        settings["uv.toml"] = own.read_text("utf-8", errors="replace")
    project = tree / "pyproject.toml"
    if project.is_file():
        try:
            settings["pyproject.toml"] = repr(tomllib.loads(project.read_text("utf-8")).get("tool", {}).get("uv"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError):
            settings["pyproject.toml"] = project.read_text("utf-8", errors="replace")
    return settings


def _complete(path: Path) -> str:
    """Return the version of a complete environment's Python, and note its use; an empty string for any other."""
    marker = path / COMPLETE
    try:
        version = str(json.loads(marker.read_text("utf-8"))["python"])
        if not (path / "bin" / "python").exists():  # the Python it was made from has gone
            return ""
        os.utime(marker)
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return version


def _make(uv: str, path: Path, request: str, parameters: Report, *, hold: int, refresh: bool) -> str:
    remove(path)
    env = _environment(os.environ)
    tree = Path.cwd()
    made = run_aloud(
        [uv, "venv", "--no-project", "--python", request, "--", str(path)], cwd=tree, env=env, hold=(hold,)
    )
    if made.code != 0:
        raise Stop(
            "infrastructure",
            f"uv cannot make an environment with Python {request}\nInstall that Python on the worker, or name one that "
            f"is there: Virtualenv(python=…).\n\n{made.out}",
        )
    files = [word for name in parameters["requirements"] for word in ("-r", f"./{name}")]
    if files or parameters["packages"]:
        # uv knows a folder by its pyproject.toml alone, and would install what it built of it before.
        options = [f"--python={path}/bin/python", *(["--refresh"] if refresh else [])]
        done = run_aloud(
            [uv, "pip", "install", *options, *files, "--", *parameters["packages"]],
            cwd=tree,
            env=env,
            hold=(hold,),
        )
        if done.code != 0:
            remove(path)
            if done.code < 0:
                raise Stop("infrastructure", f"uv was killed by signal {-done.code}\nIs the worker short of memory?")
            cause, summary = why(done.out)
            raise Stop(cause, f"{summary}\n\n{done.out}")
    version = run([str(path / "bin" / "python"), "-I", "-c", "import platform; print(platform.python_version())"])
    if version.code != 0:
        raise Stop("infrastructure", f"the Python of the new environment does not start\n{version.err}")
    marker = path / COMPLETE
    fresh = marker.with_name(marker.name + ".new")
    fresh.write_text(json.dumps({"python": version.out.strip()}), "utf-8")
    fresh.replace(marker)
    return version.out.strip()


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    ours = {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
    return {name: value for name, value in environ.items() if name not in {"VIRTUAL_ENV", "CONDA_PREFIX"}} | ours


def _evict(root: Path, max_age: float, keep: Path) -> None:
    """Delete the environments that nobody used for a while, and nobody uses now."""
    oldest = time.time() - max_age
    for lock in root.glob("*.lock"):
        path = lock.with_suffix("")
        marker = path / COMPLETE
        used = marker if marker.exists() else lock
        try:
            if path == keep or used.stat().st_mtime > oldest:
                continue
        except FileNotFoundError:  # another build deletes at the same time
            continue
        with locked(lock, exclusive=True, wait=False) as held:
            if held is not None and not (marker.exists() and marker.stat().st_mtime > oldest):
                say(f"deleted {path}, which no build used for long")
                remove(path)
                lock.unlink(missing_ok=True)
