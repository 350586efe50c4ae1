import string
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_steps.parsing import junit
from custom_steps.parsing.summary import MAX_EXCERPT, MAX_KEPT

PYTEST = b"""<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">
<testsuite name="pytest" errors="0" failures="1" skipped="1" tests="3" time="0.015" hostname="x">
<testcase classname="tests.test_a" name="test_ok" file="tests/test_a.py" line="0" time="0.001" />
<testcase classname="tests.test_a" name="test_bad[a b]" file="tests/test_a.py" line="3" time="0.001"><failure
message="assert 1 == 2">def test_bad():
&gt;       assert 1 == 2
E       assert 1 == 2

tests/test_a.py:5: AssertionError</failure></testcase>
<testcase classname="tests.test_a" name="test_skip" file="tests/test_a.py" line="6"><skipped type="pytest.skip"
message="no">because</skipped></testcase></testsuite></testsuites>"""


def test_what_pytest_writes() -> None:
    summary = junit.parse(PYTEST)
    assert (summary.total, summary.skipped, summary.failed_total) == (3, 1, 1)
    (failed,) = summary.failed
    assert failed["name"] == "tests.test_a.test_bad[a b]"
    assert (failed["path"], failed["line"]) == ("tests/test_a.py", 4)
    assert failed["excerpt"].startswith("assert 1 == 2\n")
    assert failed["excerpt"].endswith("tests/test_a.py:5: AssertionError")


def test_other_runners_count_lines_from_one_and_use_a_bare_suite() -> None:
    content = (
        b'<testsuite name="jest"><testcase name="t" file="a.js" line="3"><error type="Boom"/></testcase></testsuite>'
    )
    (failed,) = junit.parse(content).failed
    assert failed == {"name": "t", "path": "a.js", "line": 3, "excerpt": "Boom"}


def test_a_test_that_fails_and_whose_teardown_errs_counts_once() -> None:
    content = b"<testsuite><testcase name='t'><failure>one</failure><error>two</error></testcase></testsuite>"
    summary = junit.parse(content)
    assert (summary.total, summary.failed_total) == (1, 1)
    assert summary.failed[0]["excerpt"] == "one\ntwo"


def test_output_of_a_test_is_no_failure() -> None:
    said = b"<testcase name='t'><system-err>&lt;failure/></system-err></testcase>"
    content = b"<testsuite><system-out>x</system-out>" + said + b"</testsuite>"
    assert junit.parse(content).failed_total == 0


def test_an_empty_report_has_no_tests() -> None:
    assert junit.parse(b"<testsuites/>").total == 0


LAUGHS = b"""<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<testsuite><testcase name="&b;"/></testsuite>"""
OUTSIDE = b"""<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite><testcase name="&x;"/></testsuite>"""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (LAUGHS, "document type"),
        (OUTSIDE, "document type"),
        (b"", "no well-formed XML"),
        (b"not xml", "no well-formed XML"),
        (b"<testsuite><testcase>", "no well-formed XML"),
        (b"<html></html>", "begins with <html>"),
        (b"<testsuite>" + b"<a>" * 200 + b"</a>" * 200 + b"</testsuite>", "deep"),
        (b"<?xml version='1.0' encoding='klingon'?><testsuite/>", "cannot be read|no well-formed XML"),
        (b"<testsuite>&undefined;</testsuite>", "no well-formed XML"),
        (b"<testsuite>\x00</testsuite>", "no well-formed XML"),
    ],
)
def test_what_is_no_report_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(junit.JUnitError, match=why):
        junit.parse(content)


def test_a_report_that_is_too_large_is_refused() -> None:
    with pytest.raises(junit.JUnitError, match="larger than"):
        junit.parse(b" " * (junit.MAX_BYTES + 1))


def test_many_failures_are_counted_and_some_kept() -> None:
    case = b"<testcase name='t'><failure>x</failure></testcase>"
    summary = junit.parse(b"<testsuite>" + case * (MAX_KEPT + 5) + b"</testsuite>")
    assert summary.failed_total == MAX_KEPT + 5
    assert len(summary.failed) == MAX_KEPT


def test_of_a_long_failure_the_end_is_kept() -> None:
    content = (
        b"<testsuite><testcase name='t'><failure>" + b"x\n" * 500_000 + b"the end</failure></testcase></testsuite>"
    )
    (failed,) = junit.parse(content).failed
    assert len(failed["excerpt"]) <= MAX_EXCERPT
    assert failed["excerpt"].endswith("the end")


names = st.text(alphabet=string.ascii_letters + " []<>&\"'é", min_size=1, max_size=20)


@given(st.lists(st.tuples(names, st.sampled_from(["passed", "failure", "error", "skipped"])), max_size=20))
def test_counts_are_those_of_the_report(cases: list[tuple[str, str]]) -> None:
    suite = ET.Element("testsuite")
    for name, outcome in cases:
        case = ET.SubElement(suite, "testcase", name=name)
        if outcome != "passed":
            ET.SubElement(case, outcome, message=name)
    summary = junit.parse(ET.tostring(suite))
    outcomes = [outcome for _, outcome in cases]
    assert summary.total == len(cases)
    assert summary.skipped == outcomes.count("skipped")
    assert [failed["name"] for failed in summary.failed] == [
        name for name, outcome in cases if outcome in {"failure", "error"}
    ]


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda junk: PYTEST[:400] + junk + PYTEST[400:]))
def test_junk_is_read_or_refused_but_never_crashes(content: bytes) -> None:
    try:
        summary = junit.parse(content)
    except junit.JUnitError:
        return
    assert summary.failed_total <= (summary.total or 0)
