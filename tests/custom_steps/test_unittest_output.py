import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_steps.parsing.summary import MAX_EXCERPT
from custom_steps.parsing.unittest_output import parse

from .interpreters import VERSIONS, python

SUITE = '''
import sys, unittest

class Case(unittest.TestCase):
    def test_fine(self):
        print("=" * 70)
        print("Ran 99 tests in 0.000s")

    def test_wrong(self):
        """What it is for."""
        self.assertEqual("a", "b")

    def test_raises(self):
        sys.stderr.write("noise without end of line")
        self.helper()

    def helper(self):
        raise KeyError("k")

    def test_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)

    @unittest.skip("not now")
    def test_later(self):
        pass

    @unittest.expectedFailure
    def test_surprise(self):
        pass

class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise OSError("no disk")

    def test_never(self):
        pass
'''


@pytest.mark.parametrize("version", VERSIONS)
def test_what_unittest_prints(version: str, tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_it.py").write_text(SUITE)
    (tests / "test_gone.py").write_text("import no_such_module_at_all\n")
    done = subprocess.run(
        [python(version), "-m", "unittest", "discover", "-v", "-s", "tests"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    summary = parse(done.stdout, str(tmp_path))
    assert summary.total == 7
    assert summary.skipped == 1
    failed = {test["name"]: test for test in summary.failed}
    assert set(failed) == {
        "test_it.Case.test_surprise",
        "test_it.Case.test_wrong",
        "test_it.Case.test_raises",
        "test_it.Case.test_parts (number=1)",
        "test_it.Broken.setUpClass",
        "unittest.loader._FailedTest.test_gone",
    }
    assert summary.failed_total == len(summary.failed)
    wrong = failed["test_it.Case.test_wrong"]
    assert wrong["path"] == "tests/test_it.py"
    assert SUITE.splitlines()[wrong["line"] - 1].strip() == 'self.assertEqual("a", "b")'
    assert wrong["excerpt"].startswith("Traceback")
    assert "AssertionError: 'a' != 'b'" in wrong["excerpt"]
    assert "no_such_module_at_all" in failed["unittest.loader._FailedTest.test_gone"]["excerpt"]
    assert "KeyError: 'k'" in failed["test_it.Case.test_raises"]["excerpt"]
    assert SUITE.splitlines()[failed["test_it.Case.test_raises"]["line"] - 1].strip() == 'raise KeyError("k")'


@pytest.mark.parametrize("version", VERSIONS)
def test_no_tests(version: str, tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    done = subprocess.run(
        [python(version), "-m", "unittest", "discover", "-s", "tests"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert parse(done.stdout).total == 0


def test_a_run_that_was_cut_short_says_nothing_of_a_total() -> None:
    summary = parse("test_a (t.T.test_a) ... ok\ntest_b (t.T.test_b) ... ")
    assert summary.total is None
    assert summary.failed == []


def test_older_pythons_name_the_class_only() -> None:
    text = f"{'=' * 70}\nFAIL: test_a (t.T)\n{'-' * 70}\nTraceback\nX\n\n{'-' * 70}\nRan 1 test in 0.001s\n\nFAILED\n"
    summary = parse(text)
    assert [test["name"] for test in summary.failed] == ["t.T.test_a"]
    assert summary.failed[0]["excerpt"] == "Traceback\nX"


def test_of_a_long_failure_the_end_is_kept() -> None:
    body = "\n".join(["line"] * 5000 + ["the end"])
    text = f"{'=' * 70}\nFAIL: test_a (t.T.test_a)\n{'-' * 70}\n{body}\n\n{'-' * 70}\nRan 1 test in 0.001s\n\nFAILED\n"
    (failed,) = parse(text).failed
    assert len(failed["excerpt"]) <= MAX_EXCERPT
    assert failed["excerpt"].endswith("the end")


lines = st.sampled_from(
    [
        "=" * 70,
        "-" * 70,
        "FAIL: test_a (t.T.test_a)",
        "ERROR: x",
        "Ran 3 tests in 0.1s",
        "OK",
        "FAILED (failures=1)",
        "",
        "z",
        '  File "/r/a.py", line 3, in x',
    ]
)


@given(st.lists(lines, max_size=30) | st.lists(st.text(max_size=20), max_size=10))
def test_any_text_is_read(parts: list[str]) -> None:
    summary = parse("\n".join(parts), "/r")
    assert summary.failed_total >= len(summary.failed)
    assert all(len(test["excerpt"]) <= MAX_EXCERPT for test in summary.failed)
