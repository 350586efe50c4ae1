"""Start the judge: ``python /…/judge/__main__.py SETTINGS``, a JSON object with the fields of `serve.Settings`.

Descriptor 0 is the socket: a listening one for a server, a connected one for a process that serves one client.
"""

import importlib.util
import os
import sys
import sysconfig

PACKAGE = "_autogate_judge"
"""The judge's own name among the imported modules: nothing that a repository could import or be confused with."""


def _like_pylint(folder: str) -> None:
    """Leave ``sys.path`` and ``sys.argv`` as the script ``pylint`` finds them."""
    script = os.path.join(sysconfig.get_path("scripts"), "pylint")
    if sys.path and sys.path[0] == folder:
        sys.path[0] = os.path.dirname(script)
    sys.argv[0] = script


def _load(folder: str) -> None:
    """Import the folder of this file as `PACKAGE`."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE,
        os.path.join(folder, "__init__.py"),
        submodule_search_locations=[folder],
    )
    assert spec is not None and spec.loader is not None  # noqa: PT018, S101  (a file with a known suffix has both)
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def main() -> int:
    """Serve until there is nobody to serve any more."""
    folder = os.path.dirname(os.path.abspath(__file__))
    _like_pylint(folder)
    _load(folder)
    settings = sys.argv.pop(1)
    serve = importlib.import_module(f"{PACKAGE}.serve")
    return int(serve.main(settings))


if __name__ == "__main__":
    code = main()
    os._exit(code)  # taking a heap of modules apart takes its time
