"""CommitHookPylint, in real builds, with a real pylint and the hook as it is on disk, on each Python."""

import base64
import csv
import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from autogate.contract import Finding
from tests.support.processes import BIN
from tests.support.repository import Repository

from .gate import Build, Gate, checkout
from .interpreters import VERSIONS, python

TOOLS = ("pylint==4.1.4", "git-pylint-commit-hook==2.6.1")
PYLINTRC = "[MAIN]\ndisable=all\nenable=undefined-variable,syntax-error,unused-import,fatal,astroid-error\n"
BAD_OLD = "import os\nimport sys\nprint(undefined_long_ago)\n"
GOOD = "X = 1\n"
BAD = "X = not_defined\n"
BROKEN = "def f(:\n"

Files = dict[str, str | bytes | None]


@dataclass(frozen=True)
class Tools:
    """An environment with pylint and the hook."""

    folder: Path

    @property
    def env(self) -> str:
        return f"env={{'PATH': [{str(self.folder / 'bin')!r}, '/usr/bin', '/bin']}}"

    def lint(self, *arguments: str) -> str:
        return f"steps.CommitHookPylint({', '.join([*arguments, self.env])})"


@pytest.fixture(scope="session", params=VERSIONS)
def tools(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    folder = tmp_path_factory.mktemp("tools") / request.param
    for args in (
        ["venv", "--quiet", "--python", python(request.param), str(folder)],
        ["pip", "install", "--quiet", "--python", str(folder / "bin/python"), *TOOLS],
    ):
        subprocess.run([BIN / "uv", *args], check=True)
    return Tools(folder)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    files: Files = {
        ".pylintrc": PYLINTRC,
        "bad_old.py": BAD_OLD,
        "old name.py": "NAME = 1\n" * 30,
        "gone.py": GOOD,
        "README": "words\n",
    }
    return Repository.create(tmp_path, files=files)


def lint(gate: Gate, repository: Repository, tools: Tools, files: Files, *arguments: str) -> Build:
    return gate.candidate(repository, f"steps.SoftReset(), {tools.lint(*arguments)}", files)


def findings(build: Build) -> list[Finding]:
    return [Finding.from_test_result(row) for row in build.rows.get("code_issue", [])]


def linted(build: Build) -> list[str]:
    return re.findall(r"^Running pylint on (.*) \(file \d+/\d+\)", build.last.logs["stdio"], re.MULTILINE)


def assert_passed(build: Build) -> None:
    assert build.result == "success", build.last.logs
    assert build.cause is None


def assert_failed(build: Build) -> None:
    assert (build.result, build.last.result, build.cause) == ("failure", "failure", "change"), build.last


def assert_pylint_failed(build: Build, *words: str) -> None:
    assert (build.result, build.last.result, build.cause) == ("exception", "exception", "infrastructure"), build.last
    assert "pylint failed on " in build.last.summary
    for word in words:
        assert word in build.last.logs["problem"]
    assert "Traceback" not in build.last.summary


def test_files_of_any_name_added_changed_renamed_deleted(gate: Gate, repository: Repository, tools: Tools) -> None:
    files: Files = {
        "a b.py": GOOD,
        "grüße 日本.py": GOOD,
        "--rcfile=x.py": GOOD,
        "pkg/tab\tand\nline.py": GOOD,
        "old name.py": None,
        "new 'name'.py": "NAME = 1\n" * 30,
        "gone.py": None,
        "script with no suffix": "#!/usr/bin/env python3\nX = 1\n",
        "README": "more words\n",
    }
    build = lint(gate, repository, tools, files, "limit=10")
    assert_passed(build)
    assert build.last.summary == "6 files linted, none below the limit"
    bad = {name: content.replace("1", "not_defined") if content else None for name, content in files.items()}  # type: ignore[arg-type]
    build = lint(gate, repository, tools, bad, "limit=10")
    assert_failed(build)
    assert build.last.summary.startswith("6 of 6 files failed: ")
    found = findings(build)
    assert {finding.path for finding in found} == {
        name for name, content in files.items() if content and name != "README"
    }
    assert {finding.symbol for finding in found} == {"undefined-variable"}
    assert "Undefined variable 'not_defined' (undefined-variable)" in build.last.logs["findings"]


def test_only_what_the_merge_touches(gate: Gate, repository: Repository, tools: Tools) -> None:
    """A merge of two commits that touch a and b lints a and b, and the bad old file does not matter."""
    repository.git("checkout", "-q", "-B", "topic", "main")
    repository.commit({"a.py": GOOD})
    repository.commit({"b.py": GOOD})
    merge = repository.merge(["topic"])
    repository.push("auto")
    recipe = f"{checkout(repository)}, steps.SoftReset(), {tools.lint('limit=10')}"
    build = gate.build(recipe, merge)
    assert_passed(build)
    assert sorted(linted(build)) == ["a.py", "b.py"]
    assert findings(build) == []
    touched = lint(gate, repository, tools, {"bad_old.py": BAD_OLD + "# touched\n"}, "limit=10")
    assert_failed(touched)
    assert linted(touched) == ["bad_old.py"]
    assert {finding.symbol for finding in findings(touched)} == {"undefined-variable", "unused-import"}


@pytest.mark.parametrize("files", [{}, {"gone.py": None}, {"README": "other words\n"}], ids=["empty", "gone", "words"])
def test_nothing_to_lint(gate: Gate, repository: Repository, tools: Tools, files: Files) -> None:
    build = lint(gate, repository, tools, files)
    assert_passed(build)
    assert build.last.summary == "nothing to lint"
    assert "nothing to lint: " in build.last.logs["stdio"]


def test_a_syntax_error_fails_whatever_the_limit(gate: Gate, repository: Repository, tools: Tools) -> None:
    files: Files = {".pylintrc": PYLINTRC + "reports=yes\n", "broken.py": BROKEN}
    build = lint(gate, repository, tools, files, "limit=-1000")
    assert_failed(build)
    assert build.last.summary.startswith("1 of 1 files failed: broken.py: line 1: ")
    assert [(finding.symbol, finding.path) for finding in findings(build)] == [("syntax-error", "broken.py")]


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_bytes_that_are_no_text_fail(gate: Gate, repository: Repository, tools: Tools) -> None:
    build = lint(gate, repository, tools, {"latin.py": b"X = '\xe9'\n"}, "limit=-1000")
    assert_failed(build)
    assert "latin.py: line 1: " in build.last.summary


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_the_limit_decides(gate: Gate, repository: Repository, tools: Tools) -> None:
    files: Files = {"half.py": GOOD * 9 + BAD}  # ten statements, one error: 5.00
    passed = lint(gate, repository, tools, files, "limit=5")
    assert_passed(passed)
    assert findings(passed) == []
    assert_failed(lint(gate, repository, tools, files, "limit=5.1"))
    shown = lint(gate, repository, tools, files, "limit=5", "always_show_violations=True")
    assert_passed(shown)
    assert [finding.line for finding in findings(shown)] == [10]


def test_the_section_of_the_hook_in_the_pylintrc(
    gate: Gate, repository: Repository, tools: Tools, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    section = f"[pre-commit-hook]\nlimit=-100\nparams=--disable=unused-import\ncommand=touch {marker}\n"
    files: Files = {".pylintrc": f"{PYLINTRC}\n{section}", "a.py": "import os\n" + BAD}
    build = lint(gate, repository, tools, files, "limit=10", "always_show_violations=True")
    assert_passed(build)
    assert [finding.symbol for finding in findings(build)] == ["undefined-variable"]
    assert "command is not obeyed" in build.last.logs["stdio"]
    assert not marker.exists()


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_settings_that_would_hide_what_pylint_says(gate: Gate, repository: Repository, tools: Tools) -> None:
    """Another output, no score, exit code 0: the lint reads its own report."""
    hide = "[MAIN]\nexit-zero=yes\nscore=no\noutput-format=json\nreports=yes\nmsg-template=nothing\nfail-under=-1000\n"
    files: Files = {".pylintrc": hide, "a.py": BAD, "b.py": BROKEN}
    build = lint(gate, repository, tools, files, "limit=8", "suppress_report=True")
    assert_failed(build)
    assert {(finding.path, finding.symbol) for finding in findings(build)} >= {
        ("a.py", "undefined-variable"),
        ("b.py", "syntax-error"),
    }


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_files_that_are_left_out(gate: Gate, repository: Repository, tools: Tools) -> None:
    build = lint(gate, repository, tools, {"a.py": GOOD, "made/b.py": BROKEN}, "ignore=['^made/']", "limit=10")
    assert_passed(build)
    assert linted(build) == ["a.py"]


def test_a_pylintrc_that_is_not_there(gate: Gate, repository: Repository, tools: Tools) -> None:
    build = lint(gate, repository, tools, {"a.py": GOOD}, "pylintrc='conf/pylintrc'")
    assert (build.result, build.cause) == ("failure", "infrastructure")
    assert build.last.summary == "there is no conf/pylintrc in the repository"
    assert "CommitHookPylint(pylintrc=…)" in build.last.logs["problem"]
    removed = lint(gate, repository, tools, {".pylintrc": None, "a.py": GOOD}, "pylintrc='.pylintrc'")
    assert_failed(removed)
    assert removed.last.summary == ".pylintrc is gone, and the lint needs it"
    given = lint(gate, repository, tools, {"a.py": BAD}, "pylintrc='.pylintrc'")
    assert_failed(given)


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_a_pylintrc_that_nobody_can_read(gate: Gate, repository: Repository, tools: Tools) -> None:
    build = lint(gate, repository, tools, {".pylintrc": "rubbish\n", "a.py": GOOD})
    assert_failed(build)
    assert build.last.summary.startswith("the pylintrc cannot be read: ")


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_a_project_that_is_configured_in_toml(gate: Gate, repository: Repository, tools: Tools) -> None:
    toml = '[tool.pylint.main]\ndisable = [\n  "all",\n]\nenable = ["undefined-variable"]\n'
    files: Files = {".pylintrc": None, "pyproject.toml": toml, "a.py": "import os\n" + BAD}
    build = lint(gate, repository, tools, files, "limit=8")
    assert_failed(build)
    assert [finding.symbol for finding in findings(build)] == ["undefined-variable"]


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_without_a_reset_nothing_is_passed(gate: Gate, repository: Repository, tools: Tools) -> None:
    build = gate.candidate(repository, tools.lint(), {"a.py": BAD})
    assert (build.result, build.cause) == ("failure", "infrastructure")
    assert "Run SoftReset before CommitHookPylint" in build.last.logs["problem"]


def test_pylint_that_refuses_to_work(gate: Gate, repository: Repository, tools: Tools) -> None:
    """The real pylint, with options that it does not take."""
    build = lint(gate, repository, tools, {".pylintrc": "[MAIN]\njobs=many\n", "a.py": GOOD}, "limit=-1000")
    assert_pylint_failed(build, "exit code 32", "invalid int value")
    build = lint(gate, repository, tools, {"a.py": GOOD}, "pylint_params='--jobs=many'", "limit=-1000")
    assert_pylint_failed(build, "it left no report (exit code 2)", "invalid int value")


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_pylint_that_crashes_on_a_file(gate: Gate, repository: Repository, tools: Tools) -> None:
    """The real pylint, with a plugin that raises: it reports a fatal message."""
    plugin = (
        "from pylint.checkers import BaseChecker\n"
        "class Crash(BaseChecker):\n"
        "    name = 'crash'\n"
        "    msgs = {'W9999': ('x', 'crash', 'x')}\n"
        "    def visit_module(self, node):\n"
        "        raise RuntimeError('boom')\n"
        "def register(linter):\n"
        "    linter.register_checker(Crash(linter))\n"
    )
    rc = f"{PYLINTRC.rstrip()},crash\ninit-hook=import sys; sys.path.append('.')\nload-plugins=crashing\n"
    build = lint(gate, repository, tools, {".pylintrc": rc, "crashing.py": plugin, "a.py": GOOD}, "limit=-1000")
    assert_pylint_failed(build, "astroid-error")


FAKES = {
    "exit-32": ("exit 32", "exit code 32"),
    "killed": ("kill -KILL $$", "killed by signal 9"),
    "silent": ("exit 0", "it left no report (exit code 0)"),
}
CRAFTY_FAKES = {
    "only-a-score": ("echo 'Your code has been rated at 10.00/10'", "it left no report (exit code 0)"),
    "score-and-32": ("echo 'Your code has been rated at 10.00/10'; exit 32", "exit code 32"),
    "not-found": ("echo 'Your code has been rated at 10.00/10'; exit 127", "exit code 127"),
    "half-a-report": (
        'for word; do case $word in *json2:*) echo "{" >"${word#*json2:}";; esac; done; echo rated at 10.00/10',
        "it left no report",
    ),
}


def assert_never_passes(
    gate: Gate, repository: Repository, tools: Tools, folder: Path, script: str, words: str
) -> None:
    fake = folder / "bin/pylint"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    path = [str(fake.parent), str(tools.folder / "bin"), "/usr/bin", "/bin"]
    recipe = f"steps.SoftReset(), steps.CommitHookPylint(limit=-1000, env={{'PATH': {path!r}}})"
    assert_pylint_failed(gate.candidate(repository, recipe, {"a.py": GOOD}), words)


@pytest.mark.parametrize(("script", "words"), FAKES.values(), ids=FAKES)
def test_pylint_that_fails_itself_never_passes(
    gate: Gate, repository: Repository, tools: Tools, tmp_path: Path, script: str, words: str
) -> None:
    assert_never_passes(gate, repository, tools, tmp_path, script, words)


@pytest.mark.parametrize(("script", "words"), CRAFTY_FAKES.values(), ids=CRAFTY_FAKES)
@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_what_only_looks_like_pylint_never_passes(
    gate: Gate, repository: Repository, tools: Tools, tmp_path: Path, script: str, words: str
) -> None:
    assert_never_passes(gate, repository, tools, tmp_path, script, words)


@pytest.mark.parametrize("tools", ["3.11"], indirect=True)
def test_tools_that_are_not_there(gate: Gate, repository: Repository, tools: Tools, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    recipe = "steps.SoftReset(), steps.CommitHookPylint(env={'PATH': [%r, '/usr/bin', '/bin']})"
    build = gate.candidate(repository, recipe % str(bare), {"a.py": GOOD})
    assert (build.result, build.cause) == ("exception", "infrastructure")
    assert build.last.summary == "pylint is not on the PATH"
    (bare / "pylint").symlink_to(tools.folder / "bin/pylint")
    build = gate.candidate(repository, recipe % str(bare), {"a.py": GOOD})
    assert (build.result, build.cause) == ("exception", "infrastructure")
    assert build.last.summary == "git-pylint-commit-hook is not on the PATH"
    assert "Virtualenv(packages=" in build.last.logs["problem"]


def test_the_hook_is_not_modified_on_disk(gate: Gate, repository: Repository, tools: Tools) -> None:
    assert_passed(lint(gate, repository, tools, {"a.py": GOOD}))
    (record,) = tools.folder.glob("lib/python*/site-packages/git_pylint_commit_hook-2.6.1.dist-info/RECORD")
    checked = []
    for name, digest, _ in csv.reader(record.read_text().splitlines()):
        if digest and name.startswith("git_pylint_commit_hook/"):
            content = (record.parent.parent / name).read_bytes()
            told = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={told}"
            checked.append(name)
    assert "git_pylint_commit_hook/commit_hook.py" in checked


def test_the_hook_alone_does_not_start_here(tools: Tools, repository: Repository) -> None:
    """The reason for the launcher: this suite would be empty talk if the hook worked without it."""
    done = subprocess.run(
        [tools.folder / "bin/git-pylint-commit-hook"],
        cwd=repository.tree,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": f"{tools.folder / 'bin'}:/usr/bin:/bin"},
    )
    assert done.returncode != 0
    assert "AttributeError" in done.stderr
