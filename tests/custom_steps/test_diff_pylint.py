"""DiffPylint, in real builds, with the real lint program and a real pylint."""

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from autogate.contract import Finding
from custom_steps.on_worker.diff_pylint import MAX_KEPT, main
from custom_steps.on_worker.shared import Stop
from tests.support.processes import BIN
from tests.support.repository import Repository
from tests.support.waiting import wait_for

from .gate import Build, Gate, checkout

PYLINTRC = (
    "[MAIN]\ndisable=all\nenable=undefined-variable,unused-import,no-name-in-module,syntax-error,too-many-lines\n"
)
OLD = "import os\nimport sys\nprint(undefined_long_ago)\n"
PRICE = "def total(prices):\n    return sum(prices)\n"
TILL = "from price import total\n\nprint(total([1, 2]))\n"

Files = dict[str, str | bytes | None]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    files: Files = {".pylintrc": PYLINTRC, "old.py": OLD, "price.py": PRICE, "till.py": TILL, "README": "words\n"}
    return Repository.create(tmp_path, files=files)


def lint(gate: Gate, repository: Repository, files: Files, *arguments: str) -> Build:
    return gate.candidate(repository, f"steps.SoftReset(), steps.DiffPylint({', '.join(arguments)})", files)


def findings(build: Build) -> list[Finding]:
    return [Finding.from_test_result(row) for row in build.rows.get("code_issue", [])]


def assert_passed(build: Build, summary: str) -> None:
    assert (build.result, build.last.result, build.cause) == ("success", "success", None), build.last
    assert build.last.summary == summary


def assert_failed(build: Build, summary: str) -> None:
    assert (build.result, build.last.result, build.cause) == ("failure", "failure", "change"), build.last
    assert build.last.summary == summary


def assert_not_blamed(build: Build, result: str, summary: str) -> None:
    assert (build.result, build.last.result, build.cause) == (result, result, "infrastructure"), build.last
    assert build.last.summary.startswith(summary)
    assert "Traceback" not in "".join(build.last.logs.values())


def test_only_what_the_change_introduces_fails_it(gate: Gate, repository: Repository) -> None:
    files: Files = {"old.py": "import os\nprint(undefined_long_ago)\nprint(not_defined)\n"}
    link = "link='https://git.example.com/{revision}/{path}#L{line}'"
    build = lint(gate, repository, files, link)
    assert_failed(build, "1 new finding (1 error), 1 fixed, 2 old untouched")
    [finding] = findings(build)
    assert (finding.path, finding.line, finding.symbol) == ("old.py", 3, "undefined-variable")
    text, page = build.last.logs["findings"], build.last.logs["page"]
    assert "old.py:3:7: error: Undefined variable 'not_defined' (undefined-variable)" in text
    assert "print(not_defined)" in text
    assert f'href="https://git.example.com/{build.properties["got_revision"]}/old.py#L3"' in page
    assert "Unused import sys" in page, "what was fixed"
    for log in (text, page):
        assert "results cached" in log
        assert "server" in log, "whether it was warm or had to be started"


def test_what_introduces_nothing_passes(gate: Gate, repository: Repository) -> None:
    assert_passed(lint(gate, repository, {"price.py": PRICE + "# touched\n"}), "no new findings")
    touched = lint(gate, repository, {"old.py": OLD + "# touched\n"})
    assert_passed(touched, "no new findings, 3 old untouched")
    assert findings(touched) == []
    assert_passed(lint(gate, repository, {"README": "other words\n"}), "nothing to lint")


def test_an_unchanged_file_that_the_change_breaks(gate: Gate, repository: Repository) -> None:
    build = lint(gate, repository, {"price.py": PRICE.replace("total", "sum_of")})
    assert_failed(build, "1 new finding (1 error)")
    [finding] = findings(build)
    assert (finding.path, finding.symbol) == ("till.py", "no-name-in-module")
    assert "In files that the change does not touch" in build.last.logs["page"]


def test_whole_files_by_their_score(gate: Gate, repository: Repository) -> None:
    build = lint(gate, repository, {"old.py": OLD + "# touched\n"}, "scope='files'", "limit=9.5")
    assert_failed(build, "1 score below the limit, 3 findings (1 error)")
    assert findings(build)[0].symbol == "score-below-limit"
    assert "below the limit of 9.50" in build.last.logs["page"]


def test_a_file_that_cannot_be_judged_passes_nothing(gate: Gate, repository: Repository) -> None:
    build = lint(gate, repository, {"slow.py": "X = 1\n" * 20_000}, "file_time=0.01", "dependents='none'")
    assert_failed(build, "1 file could not be judged, no new findings")
    [finding] = findings(build)
    assert (finding.path, finding.symbol, finding.severity) == ("slow.py", "not-judged", "fatal")
    assert "Not judged" in build.last.logs["page"]


def test_names_and_lines_of_any_kind(gate: Gate, repository: Repository) -> None:
    hostile = "<img src=x onerror=alert(1)> 'ü'.py"
    line = "print(evil)  # </pre><script>alert(2)</script>\n"
    build = lint(gate, repository, {hostile: line, "-rf.py": line, "tab\tand\nline.py": line})
    assert_failed(build, "3 new findings (3 errors)")
    assert {finding.path for finding in findings(build)} == {hostile, "-rf.py", "tab\tand\nline.py"}
    page = build.last.logs["page"]
    assert "<img" not in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(2)" in page


def judges(gate: Gate) -> list[psutil.Process]:
    """Return the gate's lint servers, and their children, which are called as they are."""
    found = psutil.process_iter(["cmdline", "ppid"])
    return [process for process in found if str(gate.workdir()) in "".join(process.info["cmdline"] or [])]


def files_being_judged(gate: Gate) -> int:
    """Return how many processes of lint servers judge a file."""
    found = judges(gate)
    return sum(process.info["ppid"] in {each.pid for each in found} for process in found)


def test_an_interrupted_build_shows_what_it_does_and_leaves_nothing_but_the_server(
    gate: Gate, repository: Repository
) -> None:
    revision = repository.candidate({"endless.py": "X = 1\n" * 300_000})
    repository.push("auto")
    request = gate.begin(f"{checkout(repository)}, steps.SoftReset(), steps.DiffPylint()", revision)
    number = gate.running(request)
    wait_for(lambda: files_being_judged(gate), "a file to be judged")

    def shown() -> str:
        steps = gate.get(f"builds/{number}/steps")["steps"]
        return "".join(step["state_string"] for step in steps if step["name"] == "lint")

    wait_for(lambda: shown() not in {"", "pending", "running"}, lambda: f"what it does, not {shown()!r}")
    gate.stop_build(number)
    build = gate.finish(request)
    assert (build.result, build.cause) == ("cancelled", "superseded")
    wait_for(lambda: not files_being_judged(gate), "the file's process to end")


def test_a_change_that_passed_is_made_ready_to_be_the_next_base(gate: Gate, repository: Repository) -> None:
    build = lint(gate, repository, {"price.py": PRICE + "# ready\n"})
    assert_passed(build, "no new findings")
    ready = f"warm at {build.properties['got_revision'][:12]} "
    log = gate.cache / "lint/idle/log"
    wait_for(lambda: ready in log.read_text(), "the warm-up")


def test_a_worker_without_the_program_is_told_what_to_install(gate: Gate, repository: Repository) -> None:
    build = lint(gate, repository, {"price.py": "X = 1\n"}, "env={'PATH': ['/usr/bin', '/bin']}")
    assert_not_blamed(build, "exception", "autogate-lint is not on the worker's PATH")
    assert "Install autogate on the worker" in build.last.logs["problem"]


def test_without_a_base_nothing_is_judged(gate: Gate, repository: Repository) -> None:
    build = gate.candidate(repository, "steps.DiffPylint()", {"price.py": "X = 1\n"})
    assert_not_blamed(build, "failure", "the base is not known")
    assert "Run SoftReset" in build.last.logs["problem"]


def test_a_pylintrc_that_is_not_there(gate: Gate, repository: Repository) -> None:
    build = lint(gate, repository, {"price.py": "X = 1\n"}, "pylintrc='no/such/pylintrc'")
    assert_not_blamed(build, "failure", "")
    assert "no/such/pylintrc" in build.last.summary


REPORT: dict[str, Any] = {
    "version": 1,
    "exit_code": 3,
    "summary": "1 file could not be judged",
    "scope": "introduced",
    "base": "0123",
    "troubles": [{"path": "a.py", "side": "after", "error": "pylint was killed", "infrastructure": True}],
}


def stand_in(folder: Path, script: str) -> str:
    """Make a program called autogate-lint, and return the PATH that has it found."""
    folder.mkdir()
    program = folder / "autogate-lint"
    find_report = "for word; do case $word in --output=*) report=${word#--output=};; esac; done"
    program.write_text(f"#!/bin/sh\n{find_report}\n{script}\n")
    program.chmod(0o755)
    return os.pathsep.join([str(folder), str(BIN), "/usr/bin", "/bin"])


@pytest.mark.parametrize(
    ("report", "summary"),
    [
        (REPORT, "a.py could not be judged: pylint was killed"),
        (REPORT | {"version": 2}, "the lint program's report cannot be read: this is no output of autogate-lint"),
    ],
)
def test_what_is_the_machines_fault_is_not_held_against_the_change(
    gate: Gate, repository: Repository, tmp_path: Path, report: dict[str, Any], summary: str
) -> None:
    path = stand_in(tmp_path / "bin", f"echo '{json.dumps(report)}' >$report; exit 3")
    build = lint(gate, repository, {"a.py": "X = 1\n"}, f"env={{'PATH': {path!r}}}")
    assert_not_blamed(build, "exception", summary)


@pytest.mark.parametrize(
    ("script", "reason", "summary"),
    [
        ("exit 0", "infrastructure", "autogate-lint ended with exit code 0 and left no report: it said nothing"),
        (
            "echo 'autogate-lint: linted 1 of 1: a.py'; echo Trace >&2; exit 1",
            "infrastructure",
            "autogate-lint ended with exit code 1 and left no report: Trace",
        ),
        (
            "printf 'autogate-lint: there is no judge\\nmore\\n'; exit 3",
            "infrastructure",
            "autogate-lint ended with exit code 3 and left no report: there is no judge",
        ),
        ("kill -9 $$", "infrastructure", "autogate-lint was killed by signal 9 and left no report: it said nothing"),
        ("echo '{}' >$report", "infrastructure", "autogate-lint ended with exit code 0 and left no report"),
        (f"echo '{json.dumps(REPORT)}' >$report", "infrastructure", "autogate-lint ended with exit code 0 and left"),
        (f"echo '{json.dumps(REPORT)}' >$report; exit 4", "infrastructure", "autogate-lint ended with exit code 4"),
        ("printf 'autogate-lint: a\\nautogate-lint: no such\\nmore\\n'; exit 2", "configuration", "no such\n"),
    ],
)
def test_a_lint_program_that_does_not_do_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str, summary: str
) -> None:
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", script))
    with pytest.raises(Stop) as stopped:
        main({"arguments": [], "virtualenv": "", "cache": str(tmp_path / "cache"), "ahead": []})
    assert stopped.value.reason == reason
    assert stopped.value.message.startswith(summary)


def test_a_flood_of_findings_is_cut_with_what_fails_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [{"fails": False}] * MAX_KEPT + [{"fails": True}]
    document = tmp_path / "report.json"
    document.write_text(json.dumps(REPORT | {"findings": findings, "notes": ["a note"]}))
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", f"cat {document} >$report; exit 3"))
    report = main({"arguments": [], "virtualenv": "", "cache": str(tmp_path / "cache"), "ahead": []})["report"]
    assert len(report["findings"]) == MAX_KEPT
    assert report["findings"][0] == {"fails": True}
    assert report["notes"] == ["a note", f"Of {MAX_KEPT + 1} findings, {MAX_KEPT} are shown."]


def test_the_virtual_environment_comes_first_but_does_not_bring_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    script = f'echo "$VIRTUAL_ENV $PATH" >{said}; echo "$@" >>{said}; echo \'{{"exit_code": 0}}\' >$report'
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", script))
    environment = tmp_path / "environment"
    environment.mkdir()
    stand_in(environment / "bin", "exit 1")
    main({"arguments": ["--base=0123"], "virtualenv": str(environment), "cache": str(tmp_path / "cache"), "ahead": []})
    variables, arguments = said.read_text().splitlines()
    assert variables.startswith(f"{environment} {environment}/bin:{tmp_path / 'bin'}:")
    assert arguments.startswith(f"--cache={tmp_path}/cache --python={environment}/bin/python --base=0123 ")


def test_the_lint_server_outlives_the_build_and_ends_with_the_worker(gate: Gate, repository: Repository) -> None:
    assert_passed(lint(gate, repository, {"price.py": PRICE + "# the last\n"}), "no new findings")
    assert judges(gate)
    gate.worker.kill()
    wait_for(lambda: not judges(gate), "the lint server to end")
    gate.worker.start()
