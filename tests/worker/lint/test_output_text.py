"""What people read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

from tests.support.outcomes import ALL, OUTCOMES, PATIENT, message
from worker.lint.model import FAR, FOR_TIME, Figures, Finding, LeftOut, Message, Outcome, Score, Severity, Side, Trouble
from worker.lint.output import FORMATS, render
from worker.lint.output.excerpt import WIDTH, excerpt
from worker.lint.output.sections import sections
from worker.lint.output.words import summary

PAGE = """\
shop/cart.py:3:1: warning: Unused import os (unused-import, let pass)
    | import os
    | ^^^^^^^^^
shop/cart.py:12:12: error: Undefined variable 'totl' (undefined-variable)
    |     return totl + 1
    |            ^^^^

In files that the change does not touch:
shop/till.py:7:6: error: Class 'Cart' has no 'totl' member (no-member)
    | cart.totl()
    |      ^^^^

Suppressions that the change adds:
shop/audit.py:1:1: warning: Switches off: all (new-suppression)
    | # pylint: disable=all
    | ^

Not judged:
  shop/deep.py could not be judged: pylint took longer than 120 s; --file-time gives it more
  shop/deep.py could not be judged before the change: pylint was killed

Scores below the limit:
  shop/cart.py: the score is 6.25, below the limit of 8.00

Not looked at:
  12 files that use what changed were not looked at, for time: shop/use0.py, shop/use1.py, shop/use2.py, shop/use3.py, \
shop/use4.py, shop/use5.py, shop/use6.py, shop/use7.py, shop/use8.py, shop/use9.py and 2 more; \
a larger --dependents-time looks at more

Notes:
  pylint's configuration was read from the base.

1 file could not be judged, 1 score below the limit, 4 new findings (2 errors, 1 let pass), 1 fixed, 14 old untouched, \
12 dependent files not looked at (1.23 s, 9 of 14 results cached, server started in 3.2 s)
"""


def shown(finding: Finding) -> list[str]:
    """Return the lines of a page on which a finding is alone, without the summary."""
    return render("text", Outcome("introduced", "HEAD", (finding,))).split("\n")[:-3]


def test_a_page_has_all_there_is_in_the_order_in_which_it_matters() -> None:
    assert render("text", ALL) == PAGE


def test_a_page_of_a_change_that_brings_nothing_is_one_line() -> None:
    outcome = Outcome("introduced", "HEAD", figures=Figures(1, 0, 0, 2, 0.049, "warm"))
    assert render("text", outcome) == "no new findings (0.05 s, 2 of 2 results cached, warm server)\n"


def test_files_are_parted_by_an_empty_line() -> None:
    findings = (Finding(message("b.py")), Finding(message("a.py", 2)), Finding(message("a.py", 1)))
    assert render("text", Outcome("introduced", "HEAD", findings)).split("\n")[:-2] == [
        "a.py:1:1: error: Undefined variable 'totl' (undefined-variable)",
        "a.py:2:1: error: Undefined variable 'totl' (undefined-variable)",
        "",
        "b.py:1:1: error: Undefined variable 'totl' (undefined-variable)",
        "",
    ]


def test_colours_are_there_only_when_they_are_asked_for() -> None:
    assert "\x1b" not in render("text", ALL)
    coloured = render("text", ALL, colour=True)
    assert "\x1b[31merror\x1b[0m" in coloured
    assert "\x1b[33mwarning\x1b[0m" in coloured
    assert "\x1b[31m^^^^\x1b[0m" in coloured


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome("introduced", "HEAD", old=3), "no new findings, 3 old untouched"),
        (Outcome("introduced", "HEAD", (Finding(message()),)), "1 new finding (1 error)"),
        (
            Outcome("introduced", "HEAD", (Finding(message(severity=Severity.INFO)),) * 2, (message(),)),
            "2 new findings, 1 fixed",
        ),
        (
            Outcome("lines", "HEAD", (Finding(message(), fails=False),)),
            "1 finding on changed lines (1 error, let pass)",
        ),
        (Outcome("lines", "HEAD"), "no findings on changed lines"),
        (Outcome("files", "HEAD", scores=(Score("a.py", 1, 2),)), "1 score below the limit, no findings"),
        (
            Outcome(
                "files", "HEAD", troubles=(Trouble("a.py", Side.AFTER, "died"), Trouble("b.py", Side.AFTER, "died"))
            ),
            "2 files could not be judged, no findings",
        ),
        (
            Outcome("introduced", "HEAD", left_out=(LeftOut("a.py", FOR_TIME), LeftOut("b.py", FAR))),
            "no new findings, 1 dependent file not looked at",
        ),
    ],
)
def test_the_summary_counts_what_there_is(outcome: Outcome, line: str) -> None:
    assert summary(outcome) == line


def test_what_was_left_out_is_told_by_its_reason() -> None:
    left_out = (
        LeftOut("a.py", FOR_TIME),
        LeftOut("b.py", FAR),
        LeftOut("c.py", FOR_TIME),
        LeftOut("d.py", "since it is generated"),
    )
    (section,) = sections(Outcome("introduced", "HEAD", left_out=left_out))
    assert section.sentences == (
        (
            "2 files that use what changed were not looked at, for time: a.py, c.py; "
            "a larger --dependents-time looks at more"
        ),
        (
            "1 file that loads what changed, but names nothing of it, was not looked at: b.py; "
            "--dependents all looks at them"
        ),
        "1 file that uses what changed was not looked at, since it is generated: d.py",
    )


def test_a_message_in_several_lines_is_indented() -> None:
    assert shown(Finding(message(text="Similar lines in 2 files\n==a\n\n==b"))) == [
        "shop/cart.py:1:1: error: Similar lines in 2 files",
        "    ==a",
        "",
        "    ==b (undefined-variable)",
    ]


def test_what_would_change_the_terminal_or_the_order_of_text_is_shown_escaped() -> None:
    finding = Finding(
        message("\udcff\x1b[2J.py", column=2, end=3, text="Name '\u202e'\r\nand \x07", symbol="a\u200bb"),
        "x \x1b\u2066\udce4 = 1",
    )
    assert shown(finding) == [
        r"\xff\x1b[2J.py:1:3: error: Name '\u202e'",
        r"    and \x07 (a\u200bb)",
        r"    | x \x1b\u2066\xe4 = 1",
        "    |   ^^^^",
    ]


@pytest.mark.parametrize(
    ("source", "column", "line", "caret"),
    [
        ("\t\tx = y", 6, "        x = y", "            ^"),
        ("a\tb", 2, "a   b", "    ^"),
        ("x = '日本' + y", 10, "x = '日本' + y", "            ^"),
        ("x = 'a\u0301' + y", 10, "x = 'a\u0301' + y", "         ^"),
        ("x = y", 5, "x = y", "     ^"),
        ("x = y", 99, "x = y", "     ^"),
    ],
)
def test_the_caret_stands_under_the_column(source: str, column: int, line: str, caret: str) -> None:
    assert shown(Finding(message(column=column), source))[1:] == [f"    | {line}", f"    | {caret}"]


def test_the_carets_of_a_place_that_goes_on_below_mark_its_beginning() -> None:
    place = Message("a.py", 1, 4, 3, 7, "s", "W1", Severity.WARNING, "t")
    assert shown(Finding(place, "x = [1,"))[1:] == ["    | x = [1,", "    |     ^"]


def test_wide_characters_are_marked_over_their_whole_width() -> None:
    assert shown(Finding(message(column=4, end=8, linter="ruff"), "x = '日本'"))[1:] == [
        "    | x = '日本'",
        "    |     ^^^^^^",
    ]


@pytest.mark.parametrize("source", ["", "   ", "\t"])
def test_a_finding_about_no_line_of_code_shows_none(source: str) -> None:
    assert len(shown(Finding(message(), source))) == 1
    assert len(shown(Finding(message(whole=True), "import os"))) == 1


@pytest.mark.parametrize(
    ("source", "column", "begins", "ends"),
    [
        ("a" * 500, 250, "…a", "a…"),
        ("a" * 500, 0, "aa", "a…"),
        ("a" * 500, 499, "…a", "aa"),
        ("a" * 500, 1000, "…a", "aa"),
        ("\t" * 250 + "x" * 250, 250, "… ", "x…"),
        ("日" * 500, 250, "…日", "日…"),
        ("a" * 3_000_000, 1_500_000, "…a", "a…"),
        ("a" * WIDTH, 50, "aa", "aa"),
    ],
)
def test_a_long_line_is_cut_round_the_column(source: str, column: int, begins: str, ends: str) -> None:
    cut = excerpt(Finding(message(column=column), source))
    assert cut is not None
    line = cut.before + cut.marked + cut.after
    assert (line[:2], line[-2:]) == (begins, ends)
    assert len(line) <= WIDTH + 2
    assert cut.indent <= WIDTH + 1


def test_a_place_longer_than_the_page_is_cut_too() -> None:
    cut = excerpt(Finding(message(column=4, end=5000), "x = '" + "a" * 5000 + "'"))
    assert cut is not None
    assert cut.indent == 4
    assert cut.width < WIDTH


def test_pylints_columns_count_bytes_where_a_message_has_an_end_and_the_caret_is_right_all_the_same(
    tmp_path: Path,
) -> None:
    (tmp_path / "cart.py").write_text('PRICE = "ä𝒳"; print(totl)  # TODO Ü\n', encoding="utf-8")
    options = ["--disable=all", "--enable=undefined-variable,fixme", "--output-format=json2"]
    done = subprocess.run(
        [sys.executable, "-m", "pylint", *options, "cart.py"], cwd=tmp_path, capture_output=True, check=False
    )
    (source,) = (tmp_path / "cart.py").read_text("utf-8").splitlines()
    said = [
        Message(
            each["path"],
            each["line"],
            each["column"],
            each["endLine"],
            each["endColumn"],
            each["symbol"],
            each["messageId"],
            Severity(each["type"]),
            each["message"],
        )
        for each in json.loads(done.stdout)["messages"]
    ]
    marked = {each.symbol: excerpt(Finding(each, source)) for each in said}
    undefined, fixme = marked["undefined-variable"], marked["fixme"]
    assert undefined is not None
    assert undefined.marked == "totl"
    assert fixme is not None
    assert (fixme.marked + fixme.after).strip() == "TODO Ü"


@PATIENT
@given(OUTCOMES)
def test_no_text_from_a_repository_reaches_a_terminal_as_a_control_character(outcome: Outcome) -> None:
    assert all(line.isprintable() for line in render("text", outcome).split("\n"))


@PATIENT
@given(OUTCOMES)
def test_every_format_can_be_encoded_and_ends_its_last_line(outcome: Outcome) -> None:
    for name in FORMATS:
        assert render(name, outcome).encode("utf-8").endswith(b"\n")
