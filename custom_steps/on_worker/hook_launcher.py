"""Start git-pylint-commit-hook 2.6.1, as it is on disk, under today's pylint and Python.

This file is run as a whole (``python -c``) by the Python that has the hook. It gives the hook the names that pylint and
Python have dropped, tells it the staged files (of any name), and notes what pylint really did with each of them.
"""

import configparser
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OURS = "pre-commit-hook"
"""The section of a pylintrc that is the hook's."""

SECTION = re.compile(rf"^\[{OURS}\][^\n]*\n(?:(?!\[)[^\n]*(?:\n|\Z))*", re.MULTILINE)
MAX_STDERR = 8000
RERUN = "--reports=n"
"""What the hook appends when it runs pylint a second time, to show a shorter report."""

NEEDED = ("check_repo", "_get_list_of_committed_files", "subprocess", "configparser", "pylint_config")


class Settings(configparser.ConfigParser):
    """What the hook calls SafeConfigParser, the name of Python 3.11 and before."""

    def read(self, filenames: Any, encoding: str | None = None) -> Any:  # noqa: ANN401 - typeshed overloads it
        """Read a pylintrc; a TOML file has no section of the hook's."""
        return [] if str(filenames).endswith(".toml") else super().read(filenames, encoding or "utf-8")

    def has_option(self, section: str, option: str) -> bool:
        """Hide ``command``: which pylint runs is the gate's decision."""
        if section == OURS and option == "command":
            if super().has_option(section, option):
                print(f"the pylintrc's [{OURS}] command is not obeyed: the gate runs its own pylint")
            return False
        return super().has_option(section, option)


class Pylint:
    """pylint on one file, in the shape of the ``Popen`` that the hook expects."""

    runs: list[dict[str, Any]] = []  # noqa: RUF012 - one process, one list

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.returncode = 0

    def communicate(self) -> tuple[bytes, bytes]:
        """Run pylint, note what it did, and return what it printed."""
        again = self.command[-1] == RERUN
        *options, path = self.command[:-1] if again else self.command
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            # Last of all, so that no pylintrc can turn them round: text for the hook, JSON for the findings.
            options = [_without_section(option, Path(folder)) for option in options]
            ours = [f"--output-format=text,json2:{report}", "--score=y", "--persistent=n", "--recursive=n"]
            done = subprocess.run(  # noqa: S603 - the gate's own pylint; file names stand after "--"
                [*options, *ours, *([RERUN] if again else []), "--", path],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                env=os.environ | {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"},
            )
            self.returncode = done.returncode
            if not again:
                Pylint.runs.append(
                    {
                        "path": path.removeprefix("./"),
                        "code": done.returncode,
                        "silent": not done.stdout.strip(),
                        "stderr": done.stderr.decode("utf-8", "replace")[-MAX_STDERR:],
                        "messages": _messages(report),
                        "status": "",
                    }
                )
        return done.stdout.decode("utf-8", "replace").encode(), done.stderr


class Subprocess:
    """The module `subprocess` for the hook: all of it, but pylint is run by `Pylint`."""

    PIPE = subprocess.PIPE
    check_output = staticmethod(subprocess.check_output)
    check_call = staticmethod(subprocess.check_call)

    def __init__(self, pylint: str) -> None:
        self.pylint = pylint

    def Popen(self, command: list[str], **pipes: int) -> "Pylint | subprocess.Popen[bytes]":  # noqa: N802 - its name
        """Start a program: pylint, or git."""
        return Pylint(command) if command[0] == self.pylint else subprocess.Popen(command, **pipes)  # type: ignore[call-overload]  # noqa: S603 - the hook's own words


def find_pylintrc() -> str | None:
    """Return what ``pylint.config.find_pylintrc`` returned in pylint 2."""
    from pylint.config import find_default_config_files  # noqa: PLC0415 - the hook's Python has it, not ours

    return next((str(path) for path in find_default_config_files()), None)


def note(text: str = "") -> None:
    """Print for the hook, and keep its verdict on the file at hand."""
    print(text, flush=True)
    score, slash, verdict = text.partition("/10.00\t")
    if slash and Pylint.runs and not any(character.isspace() for character in score):
        Pylint.runs[-1]["status"] = verdict.split("\t")[0]


def launch(parameters: dict[str, Any]) -> dict[str, Any]:
    """Run the hook and return the runs of pylint with the hook's verdicts, or the ``error`` that stopped it."""
    import pylint.config  # noqa: PLC0415 - the hook's Python has them, not ours
    from git_pylint_commit_hook import commit_hook  # noqa: PLC0415

    missing = [name for name in NEEDED if not hasattr(commit_hook, name)]
    if missing:
        return {"unknown": f"it has no {', '.join(missing)}"}
    hook: Any = commit_hook
    pylint_config: Any = pylint.config
    if not hasattr(pylint_config, "find_pylintrc"):
        pylint_config.find_pylintrc = find_pylintrc
    configparser.SafeConfigParser = Settings  # type: ignore[misc,assignment,attr-defined,unused-ignore]  # gone in 3.12
    hook._get_list_of_committed_files = lambda: parameters["files"]  # noqa: SLF001 - the hook has no other way in
    hook.subprocess = Subprocess(parameters["pylint"])
    hook.print = note
    try:
        passed = hook.check_repo(
            parameters["limit"],
            pylint=parameters["pylint"],
            pylintrc=parameters["pylintrc"] or None,
            pylint_params=parameters["pylint_params"],
            suppress_report=parameters["suppress_report"],
            always_show_violations=parameters["show_all"],
            ignored_files=parameters["ignore"],
        )
    except (configparser.Error, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"passed": bool(passed), "runs": Pylint.runs}


def main() -> None:
    """Read the parameters from the file named by the first argument; write what `launch` returns to the second's."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]  # both are text files
    source, target = map(Path, sys.argv[1:3])
    target.write_text(json.dumps(launch(json.loads(source.read_text("ascii")))), "ascii")


def _without_section(option: str, folder: Path) -> str:
    """Return ``--rcfile`` with a copy that lacks the hook's section: today's pylint takes it for options of its own."""
    word, _, name = option.partition("=")
    if word != "--rcfile" or name.endswith(".toml"):
        return option
    text = Path(name).read_text("utf-8", errors="surrogateescape")
    kept = SECTION.sub("", text)
    if kept == text:
        return option
    copy = folder / "pylintrc"
    copy.write_text(kept, "utf-8", errors="surrogateescape")
    return f"{word}={copy}"


def _messages(report: Path) -> list[dict[str, Any]] | None:
    """Return pylint's messages; None when it left no report."""
    try:
        messages = json.loads(report.read_text("utf-8"))["messages"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return messages if isinstance(messages, list) else None


if __name__ == "__main__":
    main()
