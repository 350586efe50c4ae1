from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autogate.contract import Finding, Severity
from custom_steps.parsing.pylint_messages import findings, readable

MESSAGE = {
    "type": "error",
    "symbol": "undefined-variable",
    "message": "Undefined variable 'x'",
    "messageId": "E0602",
    "line": 3,
    "column": 4,
    "path": "a b.py",
}


def test_a_message() -> None:
    assert findings([MESSAGE]) == [
        Finding(
            path="a b.py",
            line=3,
            column=4,
            symbol="undefined-variable",
            severity=Severity.ERROR,
            text="Undefined variable 'x'",
        )
    ]


def test_the_log() -> None:
    found = findings([MESSAGE, MESSAGE | {"message": "two\nlines"}])
    assert readable(found, 5) == (
        "a b.py:3:4: error: Undefined variable 'x' (undefined-variable)\n"
        "a b.py:3:4: error: two lines (undefined-variable)\n"
        "… and 3 more\n"
    )


junk = st.none() | st.booleans() | st.integers() | st.text(alphabet=st.characters(), max_size=10)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(MESSAGE, junk)))
def test_no_message_is_lost_and_each_survives_the_database(message: dict[str, Any]) -> None:
    (found,) = findings([message])
    stored = found.to_test_result()
    assert Finding.from_test_result(stored) == found
    str(stored).encode("utf-8")
