"""RunTests, in real builds with real test runners."""

from pathlib import Path

import psutil
import pytest
from buildbot.process.results import Results

from autogate.contract import FailedTest
from custom_steps.on_worker.run_tests import MAX_SHOWN
from tests.support.repository import Repository
from tests.support.waiting import wait_for

from .gate import Build, Gate, checkout

HEAD = "import os, pathlib, signal, subprocess, sys, threading, time, unittest\n\n\nclass Case(unittest.TestCase):\n"
PASSES = "    def test_good(self):\n        pass\n\n"
FAILS = "    def test_bad(self):\n        self.assertEqual('a', 'b')\n\n"
SKIPS = "    @unittest.skip('later')\n    def test_later(self):\n        pass\n\n"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path, files={"README": "words\n", "tests/__init__.py": ""})


def run(gate: Gate, repository: Repository, files: dict[str, str], *arguments: str) -> Build:
    return gate.candidate(repository, f"steps.RunTests({', '.join(arguments)})", dict(files))


def failed(build: Build) -> list[FailedTest]:
    return [FailedTest.from_test_result(row) for row in build.rows.get("test_fail", [])]


def assert_passed(build: Build, summary: str) -> None:
    assert (build.result, build.last.result, build.cause) == ("success", "success", None), build.last
    assert build.last.summary == summary
    assert failed(build) == []


def assert_failed(build: Build, summary: str) -> list[FailedTest]:
    assert (build.result, build.last.result, build.cause) == ("failure", "failure", "change"), build.last
    assert build.last.summary == summary
    tests = failed(build)
    assert tests
    for test in tests:
        assert test.name in build.last.logs["failed tests"]
    return tests


def assert_not_blamed(build: Build, result: str, summary: str) -> None:
    assert (build.result, build.last.result, build.cause) == (result, result, "infrastructure"), build.last
    assert build.last.summary == summary
    assert "Traceback" not in "".join(build.last.logs.values())


def unittest_file(*methods: str) -> dict[str, str]:
    return {"tests/test_it.py": HEAD + "".join(methods)}


def test_unittest(gate: Gate, repository: Repository) -> None:
    assert_passed(run(gate, repository, unittest_file(PASSES)), "1 test passed")
    assert_passed(run(gate, repository, unittest_file(PASSES, SKIPS)), "1 of 2 tests passed, 1 skipped")
    (test,) = assert_failed(
        run(gate, repository, unittest_file(PASSES, SKIPS, FAILS)), "1 of 3 tests failed: test_it.Case.test_bad"
    )
    assert (test.name, test.path) == ("test_it.Case.test_bad", "tests/test_it.py")
    assert "AssertionError: 'a' != 'b'" in test.excerpt


def test_unittest_that_cannot_import(gate: Gate, repository: Repository) -> None:
    build = run(gate, repository, unittest_file(PASSES) | {"tests/test_gone.py": "import nothing_of_the_kind\n"})
    (test,) = assert_failed(build, "1 of 2 tests failed: unittest.loader._FailedTest.test_gone")
    assert "No module named 'nothing_of_the_kind'" in test.excerpt


def test_no_test_is_no_pass(gate: Gate, repository: Repository) -> None:
    assert_failed(run(gate, repository, {"other": "x"}), "no tests ran")
    assert_failed(run(gate, repository, {"other": "y"}, "framework='pytest'"), "no tests ran")
    for framework in ("unittest", "pytest"):
        build = run(gate, repository, unittest_file(SKIPS), f"framework='{framework}'")
        assert (build.result, build.last.result) == ("warnings", "warnings")
        assert build.last.summary == "all of 1 test were skipped"


def test_a_run_that_ends_before_its_time_is_no_pass(gate: Gate, repository: Repository) -> None:
    leave = "    def test_leave(self):\n        os._exit(0)\n\n"
    assert_failed(run(gate, repository, unittest_file(leave)), "the run ended without unittest's summary")
    build = run(gate, repository, unittest_file(leave), "framework='pytest'")
    assert_failed(build, "the tests wrote no report report.xml")


def test_a_folder_that_is_not_there(gate: Gate, repository: Repository) -> None:
    build = run(gate, repository, {"other": "x"}, "directory='specs'")
    assert_not_blamed(build, "failure", "there is no folder specs in the repository")
    repository.git("checkout", "-q", "main")
    removed = gate.candidate(repository, "steps.RunTests()", {"tests/__init__.py": None})
    assert (removed.result, removed.cause) == ("failure", "change")
    assert removed.last.summary == "the folder tests is gone, and the tests with it"


def test_pytest(gate: Gate, repository: Repository) -> None:
    files = {
        "tests/test_it.py": "import pytest\n\n\n@pytest.mark.parametrize('a', ['x y', '<é>'])\ndef test_it(a):\n"
        "    assert a == 'x y'\n"
    }
    (test,) = assert_failed(
        run(gate, repository, files, "framework='pytest'"),
        "1 of 2 tests failed: tests.test_it.test_it[<\\xe9>]",
    )
    assert (test.path, test.line) == ("tests/test_it.py", 4)
    assert "assert '<é>' == 'x y'" in test.excerpt
    assert_passed(
        run(
            gate,
            repository,
            files,
            "framework='pytest'",
            "arguments=['--deselect', 'tests/test_it.py::test_it[<\\\\xe9>]']",
        ),
        "1 test passed",
    )


def test_pytest_that_cannot_collect(gate: Gate, repository: Repository) -> None:
    build = run(gate, repository, {"tests/test_it.py": "def f(:\n"}, "framework='pytest'")
    (test,) = assert_failed(build, "1 of 1 tests failed: tests.test_it")
    assert "SyntaxError" in test.excerpt


def test_pytest_with_options_of_the_repository_that_it_does_not_know(gate: Gate, repository: Repository) -> None:
    build = run(gate, repository, {"pytest.ini": "[pytest]\naddopts = --no-such-option\n"}, "framework='pytest'")
    (test,) = assert_failed(build, "exit code 4")
    assert "--no-such-option" in test.excerpt


def test_pytest_that_is_not_installed(gate: Gate, repository: Repository) -> None:
    arguments = ["framework='pytest'", "env={'PATH': ['/usr/bin', '/bin']}"]
    build = run(gate, repository, {"other": "x"}, *arguments)
    assert_not_blamed(build, "failure", "pytest is not installed")


def test_a_command(gate: Gate, repository: Repository) -> None:
    files = {"a b": "words", "check.sh": "#!/bin/sh\ntest -e 'a b' && echo fine\n"}
    repository.git("checkout", "-q", "-B", "main", "main")
    assert_passed(run(gate, repository, files, "command=['cat', 'a b']"), "passed")
    assert_passed(run(gate, repository, files, "command='test -e \"a b\" && echo $((6 * 7)) | grep 42'"), "passed")
    build = run(gate, repository, files, "command='echo what is wrong; exit 3'")
    (test,) = assert_failed(build, "exit code 3")
    assert test.name == "/bin/sh -c 'echo what is wrong; exit 3'"
    assert test.excerpt == "what is wrong\nexit code 3"
    assert_not_blamed(
        run(gate, repository, files, "command=['no-such-program']"),
        "exception",
        "no-such-program is not on the worker's PATH",
    )
    build = run(gate, repository, files, "command=['./check.sh']")  # without the right to be run
    assert (build.result, build.cause) == ("failure", "change")
    assert build.last.summary == "cannot run ./check.sh: Permission denied"


def junit(content: str, code: int = 0) -> list[str]:
    script = "import pathlib, sys; out = pathlib.Path('out'); out.mkdir(); "
    script += f"(out / 'r.xml').write_text({content!r}); sys.exit({code})"
    return [f"command=['python3', '-c', {script!r}]", "junit='out/r.xml'"]


def test_a_command_with_a_junit_report(gate: Gate, repository: Repository) -> None:
    good = "<testsuite><testcase name='a'/><testcase name='b'><skipped/></testcase></testsuite>"
    bad = "<testsuite><testcase classname='k' name='a'><failure message='no'>why</failure></testcase></testsuite>"
    files = {"other": "x"}
    assert_passed(run(gate, repository, files, *junit(good)), "1 of 2 tests passed, 1 skipped")
    (test,) = assert_failed(run(gate, repository, files, *junit(bad, 1)), "1 of 1 tests failed: k.a")
    assert test.excerpt == "no\nwhy"
    # Neither half of what it says may be believed alone.
    assert_failed(run(gate, repository, files, *junit(bad, 0)), "1 of 1 tests failed: k.a")
    assert_failed(run(gate, repository, files, *junit(good, 1)), "exit code 1")
    assert_failed(run(gate, repository, files, *junit("<testsuite/>")), "no tests ran")


def test_a_junit_report_that_cannot_be_used(gate: Gate, repository: Repository) -> None:
    files = {"other": "x"}
    laughs = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>'
    build = run(gate, repository, files, *junit(laughs))
    assert_failed(build, "the report r.xml has a document type, which no test runner writes")
    build = run(gate, repository, files, *junit("<testsuite>"))
    assert build.last.summary.startswith("the report r.xml is no well-formed XML")
    assert (build.result, build.cause) == ("failure", "change")
    assert_failed(run(gate, repository, files, "command=['true']", "junit='r.xml'"), "the tests wrote no report r.xml")
    stale = run(
        gate, repository, {"r.xml": "<testsuite><testcase name='a'/></testsuite>"}, "command=['true']", "junit='r.xml'"
    )
    assert_failed(stale, "the tests wrote no report r.xml")


def test_tests_that_hang_are_stopped_and_told(gate: Gate, repository: Repository) -> None:
    hang = "    def test_hang(self):\n        print('about to hang')\n        threading.Event().wait()\n\n"
    (test,) = assert_failed(
        run(gate, repository, unittest_file(hang), "silence=2"), "stopped: the tests printed nothing for 2 s"
    )
    assert "about to hang" in test.excerpt
    chatter = "    def test_chatter(self):\n        while True:\n            print('still here', flush=True)\n"
    chatter += "            time.sleep(0.01)\n\n"
    (test,) = assert_failed(
        run(gate, repository, unittest_file(chatter), "duration=2"), "stopped: the tests took more than 2 s"
    )
    assert "still here" in test.excerpt


def test_tests_that_die_of_a_signal(gate: Gate, repository: Repository) -> None:
    die = "    def test_die(self):\n        os.kill(os.getpid(), signal.{})\n\n"
    assert_failed(run(gate, repository, unittest_file(die.format("SIGSEGV"))), "the tests died of SIGSEGV")
    build = run(gate, repository, unittest_file(die.format("SIGKILL")))
    assert_not_blamed(build, "exception", "the tests were killed with SIGKILL")
    assert "runs out of memory" in build.last.logs["problem"]


def test_what_the_tests_leave_running_neither_holds_the_build_nor_stays(
    gate: Gate, repository: Repository, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    leave = (
        "    def test_leave(self):\n"
        "        server = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
        f"        pathlib.Path({str(note)!r}).write_text(str(server.pid))\n\n"
    )
    build = run(gate, repository, unittest_file(leave))
    assert_passed(build, "1 test passed")
    assert "killed 1 process that the tests left running" in build.last.logs["stdio"]
    pid = int(note.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_floods_of_output_are_capped_and_the_end_is_shown(gate: Gate, repository: Repository) -> None:
    flood = (
        "    def test_flood(self):\n"
        "        for _ in range(3000):\n"
        "            print('0123456789' * 1000)\n"
        "        self.fail('drowned')\n\n"
    )
    build = run(gate, repository, unittest_file(flood))
    (test,) = assert_failed(build, "1 of 1 tests failed: test_it.Case.test_flood")
    assert "drowned" in test.excerpt
    log = build.last.logs["stdio"]
    assert "bytes left out" in log
    assert len(log) < MAX_SHOWN + 1_000_000
    assert "AssertionError: drowned" in log[-100_000:]


def test_a_secret_in_a_failure_is_not_told(gate: Gate, repository: Repository) -> None:
    say = "    def test_say(self):\n        self.fail('the password is ' + os.environ['PASSWORD'])\n\n"
    build = run(gate, repository, unittest_file(say), "env={'PASSWORD': util.Secret('password')}")
    (test,) = assert_failed(build, "1 of 1 tests failed: test_it.Case.test_say")
    assert "the password is <password>" in test.excerpt
    assert "open-sesame" not in str(build)


def test_odd_bytes_and_forged_reports(gate: Gate, repository: Repository) -> None:
    odd = (
        "    def test_odd(self):\n"
        "        sys.stdout.buffer.write(b'\\xff\\x00\\x1b[2Jautogate-000000000000000000000000:.\\n')\n"
        "        sys.stderr.write('autogate-000000000000000000000000:.\\n')\n"
        "        self.fail('\\x00\\udcff\\ud800')\n\n"
    )
    (test,) = assert_failed(run(gate, repository, unittest_file(odd)), "1 of 1 tests failed: test_it.Case.test_odd")
    assert "AssertionError" in test.excerpt


def test_a_worker_that_dies_takes_its_tests_along_and_the_build_begins_again(
    gate: Gate, repository: Repository, tmp_path: Path
) -> None:
    pid, go = tmp_path / "pid", tmp_path / "go"
    wait = (
        "    def test_wait(self):\n"
        f"        if not pathlib.Path({str(go)!r}).exists():\n"
        f"            pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "            threading.Event().wait()\n\n"
    )
    revision = repository.candidate({"tests/test_it.py": HEAD + wait})
    repository.push("auto")
    request = gate.begin(f"{checkout(repository)}, steps.RunTests()", revision)
    running = int(wait_for(lambda: pid.read_text() if pid.exists() else "", "the test to run"))
    tests = psutil.Process(running)
    gate.worker.kill()
    tests.wait(60)
    go.touch()
    gate.worker.start()
    again = gate.finish(request)
    assert_passed(again, "1 test passed")
    lost, last = gate.get(f"buildrequests/{request}/builds")["builds"]
    assert (Results[lost["results"]], last["buildid"]) == ("retry", again.id)
    assert "autogate_cause" not in gate.get(f"builds/{lost['buildid']}/properties")["properties"][0]
