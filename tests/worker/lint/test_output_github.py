"""Workflow commands, read back as GitHub's runner reads them."""

import re

from hypothesis import given

from tests.support.outcomes import ALL, OUTCOMES, PATIENT, message
from worker.lint.model import Finding, Message, Outcome, Severity
from worker.lint.output import render
from worker.lint.output.words import summary

COMMAND = re.compile(r"::(error|warning|notice)(?: ([^:]*))?::(.*)")


def commands(outcome: Outcome) -> list[tuple[str, dict[str, str], str]]:
    """Return the commands with their properties and text; fail where a line but the last is none."""
    *lines, last = render("github", outcome).removesuffix("\n").split("\n")
    assert last.startswith(f"{summary(outcome)} (")
    found = []
    for line in lines:
        match = COMMAND.fullmatch(line)
        assert match, line
        kind, properties, text = match.groups(default="")
        pairs = [each.partition("=") for each in properties.split(",") if each]
        found.append((kind, {key: unescaped(value) for key, _, value in pairs}, unescaped(text)))
    return found


def unescaped(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_each_kind_of_trouble_has_its_command_and_the_gravest_that_fails_comes_first() -> None:
    told = [(kind, properties.get("file"), properties.get("title")) for kind, properties, _ in commands(ALL)]
    assert told == [
        ("error", "shop/deep.py", "autogate: not-judged"),
        ("error", "shop/deep.py", "autogate: not-judged"),
        ("error", "shop/cart.py", "autogate: score-below-limit"),
        ("error", "shop/cart.py", "pylint: undefined-variable"),
        ("error", "shop/till.py", "pylint: no-member"),
        ("warning", "shop/audit.py", "autogate: new-suppression"),
        ("warning", "shop/cart.py", "pylint: unused-import"),
        ("notice", None, None),
        ("notice", None, None),
    ]


def test_a_place_on_a_line_has_columns_from_one() -> None:
    finding = Finding(message(line=12, column=11, end=15), "    return totl + 1")
    assert commands(Outcome("introduced", "HEAD", (finding,))) == [
        (
            "error",
            {
                "file": "shop/cart.py",
                "line": "12",
                "col": "12",
                "endColumn": "15",
                "title": "pylint: undefined-variable",
            },
            "Undefined variable 'totl'",
        )
    ]


def test_a_place_over_several_lines_and_one_about_the_module_have_none() -> None:
    long = Message("a.py", 3, 4, 9, 2, "s", "R1", Severity.REFACTOR, "t")
    whole = message("b.py", whole=True, severity=Severity.CONVENTION, symbol="s")
    assert [each[:2] for each in commands(Outcome("introduced", "HEAD", (Finding(long), Finding(whole))))] == [
        ("notice", {"file": "a.py", "line": "3", "endLine": "9", "title": "pylint: s"}),
        ("notice", {"file": "b.py", "line": "1", "title": "pylint: s"}),
    ]


def test_nothing_in_a_name_or_a_message_can_begin_a_command_or_a_property() -> None:
    finding = Finding(message("a,line=9::b%2C\r\n::error::.py", text="50%\r\n::stop-commands::x\n%0A"))
    (told,) = commands(Outcome("introduced", "HEAD", (finding,)))
    assert told[1]["file"] == "a,line=9::b%2C\\r\\n::error::.py"
    assert told[1]["line"] == "1"
    assert told[2] == "50%\n::stop-commands::x\n%0A"


@PATIENT
@given(OUTCOMES)
def test_any_outcome_comes_out_as_commands_and_the_summary(outcome: Outcome) -> None:
    reasons = {each.reason for each in outcome.left_out}
    low = [each for each in outcome.scores if not each.passes]
    count = len(outcome.findings) + len(outcome.troubles) + len(low) + len(outcome.notes) + len(reasons)
    assert len(commands(outcome)) == count
