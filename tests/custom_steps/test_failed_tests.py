from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autogate.contract import MAX_EXCERPT_CHARACTERS, FailedTest
from custom_steps.parsing.failed_tests import failed_tests, readable


def test_a_long_excerpt_keeps_its_end() -> None:
    (test,) = failed_tests([{"name": "t", "excerpt": "x" * 9000 + "end"}])
    assert len(test.excerpt) == MAX_EXCERPT_CHARACTERS
    assert test.excerpt.endswith("end")


def test_the_log() -> None:
    tests = failed_tests([{"name": "a.b", "path": "t.py", "line": 3, "excerpt": "E\n"}, {"name": "c"}])
    text = readable(tests, 4)
    assert "a.b (t.py:3)\n" in text
    assert text.endswith("… and 2 more\n")


junk = st.none() | st.booleans() | st.integers() | st.text(alphabet=st.characters(), max_size=10)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "path", "line", "excerpt"), junk)))
def test_no_test_is_lost_and_each_survives_the_database(item: dict[str, Any]) -> None:
    (test,) = failed_tests([item])
    stored = test.to_test_result()
    assert FailedTest.from_test_result(stored) == test
    str(stored).encode("utf-8")
