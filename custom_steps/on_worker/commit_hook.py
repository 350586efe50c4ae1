"""Lint the staged files with git-pylint-commit-hook."""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from custom_steps.on_worker.shared import Report, Stop, existed_before, run, run_aloud, say, using_virtualenv

HOOK = "git-pylint-commit-hook"
USAGE_ERROR = 32
"""The bit of pylint's exit code that says that it could not do its work."""

UNPARSABLE = {"syntax-error", "parse-error"}
REGULAR_FILES = {"100644", "100755"}
MAX_MESSAGES = 1000

INSTALL = (
    f"Add {HOOK}==2.6.1 and pylint to what Virtualenv installs, such as "
    f'Virtualenv(packages=("pylint>=4.1,<4.2", "{HOOK}==2.6.1")), or to the worker.'
)


def main(parameters: Report) -> Report:
    """Lint, and return how many ``files`` pylint looked at, those that ``failed``, and the ``messages``.

    Args:
        parameters: What `hook_launcher.launch` takes, and ``launcher``, its text; ``revision``, the commit that is
            built; ``virtualenv``, the environment's folder.
    """
    changes = _staged()
    if not changes and parameters["revision"] and _head() == parameters["revision"]:
        raise Stop(
            "configuration",
            "nothing is staged: HEAD is still the commit that is built\nRun SoftReset before CommitHookPylint.",
        )
    rcfile = parameters["pylintrc"]
    if rcfile and not Path(rcfile).is_file():
        raise _no_pylintrc(rcfile)
    files = [path for mode, kind, path in changes if kind in "AMT" and mode in REGULAR_FILES]
    if not files:
        say("nothing to lint: the change adds and modifies no file")
        return {"files": 0, "failed": [], "messages": [], "total": 0}
    with using_virtualenv(parameters["virtualenv"]):
        runs = _launch(parameters, files)
    if not runs:
        say("nothing to lint: none of the files is Python's")
    return _judge(runs, show_all=parameters["show_all"])


def _staged() -> list[tuple[str, str, str]]:
    """Return mode, kind (A, M, D or T) and path of what is staged; a renamed file is one deleted and one added."""
    done = run(["git", "diff-index", "--cached", "-z", "--no-renames", "--ignore-submodules=none", "HEAD", "--"])
    if done.code != 0:
        raise Stop(
            "configuration",
            f"git cannot tell what is staged\nRun CheckoutExact and SoftReset before CommitHookPylint.\n\n{done.err}",
        )
    fields = done.out.split("\0")[:-1]
    return [(info.split()[1], info.split()[4], path) for info, path in zip(fields[::2], fields[1::2], strict=True)]


def _head() -> str:
    return run(["git", "rev-parse", "HEAD"]).out.strip()


def _no_pylintrc(path: str) -> Stop:
    if existed_before(path):
        return Stop("change", f"{path} is gone, and the lint needs it\nThe change removes it: put it back.")
    return Stop(
        "configuration",
        f"there is no {path} in the repository\nAdd it, or name the right file in the configuration: "
        "CommitHookPylint(pylintrc=…); leave it out to let pylint look for one.",
    )


def _launch(parameters: Report, files: list[str]) -> list[dict[str, Any]]:
    python, pylint = _tools()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "parameters.json", Path(folder) / "result.json"
        # A name that begins with a dash must not be taken for an option, neither by the hook nor by pylint.
        names = [f"./{path}" if path.startswith("-") else path for path in files]
        source.write_text(json.dumps(parameters | {"files": names, "pylint": pylint}), "ascii")
        say(f"{HOOK} of {python}, {pylint}")
        done = run_aloud(
            [python, "-I", "-X", "utf8", "-c", parameters["launcher"], str(source), str(target)],
            cwd=Path.cwd(),
            env=os.environ,
            title=HOOK,
        )
        try:
            result: dict[str, Any] = json.loads(target.read_text("ascii"))
        except (OSError, ValueError):
            words = done.out.strip().rpartition("\n")[2]
            raise Stop(
                "infrastructure", f"{HOOK} ended with exit code {done.code}: {words}\n{INSTALL}\n\n{done.out}"
            ) from None
    if unknown := result.get("unknown"):
        raise Stop("infrastructure", f"this is not {HOOK} 2.6.1: {unknown}\n{INSTALL}")
    if error := result.get("error"):
        raise Stop("change", f"the pylintrc cannot be read: {error}\nCorrect its section [pre-commit-hook].")
    runs: list[dict[str, Any]] = result["runs"]
    return runs


def _tools() -> tuple[str, str]:
    """Return the Python that has the hook, and pylint."""
    pylint = shutil.which("pylint")
    if pylint is None:
        raise Stop("infrastructure", f"pylint is not on the PATH\n{INSTALL}")
    script = shutil.which(HOOK)
    if script is not None:
        for name in ("python3", "python"):
            python = Path(script).parent / name
            if python.exists():
                return str(python), pylint
    if importlib.util.find_spec("git_pylint_commit_hook") is not None:
        return sys.executable, pylint
    raise Stop("infrastructure", f"{HOOK} is not on the PATH\n{INSTALL}")


def _judge(runs: list[dict[str, Any]], *, show_all: bool) -> Report:
    """Believe the hook where it says that a file fails; where it does not, look at what pylint did."""
    failed = []
    messages: list[dict[str, Any]] = []
    for ran in runs:
        own = ran["messages"]
        if trouble := _trouble(ran):
            raise Stop(
                "infrastructure",
                f"pylint failed on {ran['path']}: {trouble}\nThe file was not linted: see what pylint says, and run it "
                f"by hand.\n\n{ran['stderr']}",
            )
        broken = next((message for message in own if message.get("symbol") in UNPARSABLE), None)
        if broken:
            failed.append({"path": ran["path"], "reason": f"line {broken.get('line')}: {broken.get('message')}"})
        elif ran["status"] == "FAILED":
            failed.append({"path": ran["path"], "reason": "scores below the limit"})
        elif not show_all:
            continue
        messages += own
    return {"files": len(runs), "failed": failed, "messages": messages[:MAX_MESSAGES], "total": len(messages)}


def _trouble(ran: dict[str, Any]) -> str:
    """Return why what pylint said about a file cannot be believed; an empty string when it can."""
    code = ran["code"]
    if code < 0:
        return f"killed by signal {-code}"
    if code & USAGE_ERROR or code > USAGE_ERROR:
        words = ran["stderr"].strip().rpartition("\n")[2]
        return f"exit code {code}" + (f": {words}" if words else "")
    if ran["messages"] is None:
        return f"it left no report (exit code {code})"
    fatal = [message for message in ran["messages"] if message.get("type") == "fatal"]
    fatal = [message for message in fatal if message.get("symbol") not in UNPARSABLE]
    if fatal:
        return f"{fatal[0].get('symbol')}: {fatal[0].get('message')}"
    if ran["status"] not in {"PASSED", "SKIPPED", "FAILED"}:
        return "the hook gave no verdict"
    return ""
