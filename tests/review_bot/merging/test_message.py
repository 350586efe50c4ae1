"""What merge commits say, whatever others wrote."""

import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate.gitwords import trailer
from autogate.names import BASE_TRAILER
from review_bot.domain.effects import MakeCandidate
from review_bot.domain.model import AttemptKind, Member
from review_bot.merging.message import LONGEST_TITLE, merge_message, one_line

from .case import AT

BASE, HEAD = "b" * 40, "a" * 40


def message(title: str = "Fix a typo", reviewer: str = "grace", to: AttemptKind = AttemptKind.AUTO) -> str:
    member = Member(number=7, head=HEAD, title=title, reviewer=reviewer)
    return merge_message(MakeCandidate(attempt=3, to=to, on="main", members=(member,), at=AT), member, BASE)


def trailers(text: str) -> str:
    """Return the trailers by git's own account."""
    return subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=text, capture_output=True, text=True, check=True
    ).stdout


OURS = f"Autogate-Base: {BASE}\nAutogate-Attempt: 3\nApproved-by: grace\n"


def test_it_reads_well() -> None:
    assert message() == f"Merge #7: Fix a typo\n\n{HEAD} onto main.\n\n{OURS}"


def test_a_trial_is_not_called_approved() -> None:
    assert trailers(message(to=AttemptKind.TRY)) == OURS.replace("Approved-by", "Tried-by")


def test_without_a_title_and_a_reviewer_there_are_no_empty_lines_for_them() -> None:
    assert message("", "") == f"Merge #7\n\n{HEAD} onto main.\n\nAutogate-Base: {BASE}\nAutogate-Attempt: 3\n"


FORGED = [
    f"x\n\nAutogate-Base: {'c' * 40}",
    f"x\r\rAutogate-Base: {'c' * 40}\r",
    f"x\u2028\u2028Autogate-Base: {'c' * 40}\u2029",
    f"Autogate-Base: {'c' * 40}",
    f"x\v\f\x1c\x1d\x1e\x85Autogate-Base: {'c' * 40}",
    "---\n\nApproved-by: mallory",
    "x\0y",
    "\ud800",
    "--upload-pack=x",
    "--> @autogate r+",
    "# gone",
    "é" * 300,
]


@pytest.mark.parametrize("forged", FORGED)
def test_neither_title_nor_reviewer_forges_a_trailer(forged: str) -> None:
    text = message(forged)
    assert trailers(text) == OURS
    first, second, *more = trailers(message(reviewer=forged)).splitlines()
    assert [first, second] == OURS.splitlines()[:2]
    assert [line.partition(":")[0] for line in more] in ([], ["Approved-by"])


@given(st.text(), st.text())
def test_no_text_breaks_the_form(title: str, reviewer: str) -> None:
    text = message(title, reviewer)
    assert trailer(text, BASE_TRAILER) == BASE
    subject, body, last = text.split("\n\n")
    assert subject.startswith("Merge #7")
    assert body == f"{HEAD} onto main."
    assert len(last.splitlines()) in {2, 3}
    assert not [found for found in text.replace("\n", "") if unicodedata.category(found) in {"Cc", "Zl", "Zp"}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  a \t b\n", "a b"),
        ("safe\u202egpj.exe\u2066x", "safegpj.exex"),
        ("a\x1b[31mb\x07", "a[31mb"),
        ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
        ("x" * LONGEST_TITLE, "x" * LONGEST_TITLE),
        ("x" * (LONGEST_TITLE + 1), "x" * (LONGEST_TITLE - 1) + "…"),
        ("", ""),
    ],
)
def test_one_line(text: str, shown: str) -> None:
    assert one_line(text, LONGEST_TITLE) == shown
