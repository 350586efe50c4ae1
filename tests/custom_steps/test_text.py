import os

from hypothesis import given
from hypothesis import strategies as st

from custom_steps.parsing.text import clean, clean_end

anything = st.text(alphabet=st.characters(), max_size=50)


@given(anything, st.integers(1, 60))
def test_what_comes_out_can_be_stored_anywhere(text: str, limit: int) -> None:
    for result in (clean(text, limit), clean_end(text, limit)):
        assert len(result) <= limit
        assert "\0" not in result
        result.encode("utf-8")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean(text, 50) == clean_end(text, 50) == text


def test_a_name_that_is_not_utf8_is_told_as_well_as_can_be() -> None:
    assert clean(os.fsdecode(b"caf\xe9.py"), 20) == "caf\N{REPLACEMENT CHARACTER}.py"
    assert clean(os.fsdecode("café.py".encode()), 20) == "café.py"


def test_a_half_of_a_character_does_not_spoil_the_rest() -> None:
    assert clean("a\ud800b", 20) == "a?b"


def test_the_right_end_is_kept() -> None:
    assert clean("abcdef", 4) == "abc…"
    assert clean_end("abcdef", 4) == "…def"
    assert clean(None, 4) == ""
