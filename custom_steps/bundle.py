"""One program out of several modules, as text for the standard input of ``python3 -``."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

SHARED = "custom_steps.on_worker.shared"

_LOADER = """\
import sys, types
if sys.version_info < (3, 11):
    sys.exit("Autogate's steps need Python 3.11 or later as python3 on the worker; this is " + sys.version.split()[0])
for name, source in {modules!r}:
    module = types.ModuleType(name)
    if source is None:
        module.__path__ = []
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    exec(compile(source or "", name, "exec", dont_inherit=True), module.__dict__)
sys.modules[{shared!r}].serve(sys.modules[{main!r}].main, {parameters!r}, {marker!r})
"""


def program(main: str, needs: tuple[str, ...], parameters: dict[str, Any], marker: str) -> str:
    """Return a program that calls ``main(parameters)`` and reports with `custom_steps.on_worker.shared.serve`.

    Args:
        main: The module whose function ``main`` it calls.
        needs: The modules that it imports and that are not of the standard library, each after those it needs itself.
        parameters: Plain values: None, booleans, numbers, strings, and lists and dictionaries of them.
        marker: What the report's lines begin with.
    """
    names = (SHARED, *needs, main)
    packages = sorted({".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 1)})
    modules: list[tuple[str, str | None]] = [(package, None) for package in packages]
    modules += [(name, source(name)) for name in names]
    return _LOADER.format(modules=modules, shared=SHARED, main=main, parameters=parameters, marker=marker)


@functools.cache
def source(module: str) -> str:
    """Return the text of a module."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {module}")
    return Path(spec.origin).read_text("utf-8")
