"""The page about a lint run: all that is to be known is there, and nothing on it is anything but text."""

from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from autogate.contract import Finding
from custom_steps.lint_page import MAX_ENTRIES, STYLE, page
from custom_steps.parsing.lint_findings import findings
from tests.support import outcomes
from worker.lint.model import Finding as LintFinding
from worker.lint.model import Outcome, Severity

LINK = "https://git.example.com/shop/{revision}/{path}#L{line}"
TAGS = {"div", "style", "p", "strong", "h3", "h4", "ul", "li", "a", "span", "code", "pre", "mark"}
HOSTILE = "<img src=x onerror=alert(1)>\"'&lt;{line}\u202e\x1b[2J\n</pre></style><script>alert(2)</script>\udcff"


class Reader(HTMLParser):
    """Reads a page as a browser does: its tags, the links, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"class", "href", "rel"}
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read(outcome: Outcome, link: str = LINK, summary: str = "the summary") -> Reader:
    return Reader(page(outcome, summary, link, "0123456789abcdef"))


def test_one_of_everything_is_on_the_page() -> None:
    shown = read(outcomes.ALL)
    for words in (
        "the summary",
        "Compared with 0123abc: 2 changed files, 1 dependent file, 1.23 s, 9 of 14 results cached, server started in",
        "shop/cart.py\n",
        "12:12 error: Undefined variable 'totl' undefined-variable    return totl + 1",
        "unused-import let passimport os",
        "In files that the change does not touch",
        "shop/till.py",
        "Suppressions that the change adds",
        "took longer than 120 s",
        "the score is 6.25, below the limit of 8.00",
        "12 files that use what changed were not looked at, for time",
        "pylint's configuration was read from the base.",
        "Fixed\n\nshop/cart.py:8 Undefined variable 'totl'",
        "14 in changed files were there before",
    ):
        assert words in shown.text
    assert "https://git.example.com/shop/0123456789abcdef/shop/cart.py#L12" in shown.links
    assert "https://git.example.com/shop/0123abc/shop/cart.py#L8" in shown.links


def test_without_a_template_there_is_no_link() -> None:
    shown = read(outcomes.ALL, link="")
    assert shown.links == []
    assert "shop/cart.py" in shown.text


def test_hostile_names_lines_and_words_are_text() -> None:
    message = outcomes.message(HOSTILE, 3, symbol=HOSTILE, text=HOSTILE)
    finding = LintFinding(message, HOSTILE)
    outcome = replace(outcomes.ALL, base=HOSTILE, findings=(finding,), fixed=(message,), notes=(HOSTILE,))
    shown = read(outcome, summary=HOSTILE)
    assert shown.tags.count("style") == 1
    assert "<img src=x onerror=alert(1)>" in shown.text
    hidden = ("\u202e", "\x1b")
    assert not [character for character in hidden if character in shown.text]
    for link in shown.links:
        address = urlsplit(link)
        assert (address.scheme, address.netloc) == ("https", "git.example.com")
    [link] = {link for link in shown.links if "#L3" in link and "0123456789abcdef" in link}
    name = unquote(urlsplit(link).path, errors="surrogateescape").removeprefix("/shop/0123456789abcdef/")
    assert name == HOSTILE


@given(outcomes.OUTCOMES, st.text())
def test_any_outcome_gives_a_page_of_these_tags_alone(outcome: Outcome, summary: str) -> None:
    text = page(outcome, summary, LINK, "0123")
    assert text.isascii()
    assert all(link.startswith("https://git.example.com/shop/") for link in Reader(text).links)


def test_a_flood_of_findings_is_cut_and_said() -> None:
    many = outcomes.ALL.findings[:1] * (MAX_ENTRIES + 7)
    fixed = outcomes.ALL.fixed * (MAX_ENTRIES + 3)
    shown = read(Outcome("introduced", "0123", findings=many, fixed=fixed))
    assert shown.tags.count("li") == 2 * MAX_ENTRIES
    assert "and 7 more" in shown.text
    assert "and 3 more" in shown.text


def test_every_rule_of_the_style_is_about_the_page_alone() -> None:
    rules = STYLE.removeprefix("<style>\n").removesuffix("</style>\n").splitlines()
    assert len(rules) > 5
    for rule in rules:
        assert all(selector.strip().startswith(".autogate-lint") for selector in rule.partition("{")[0].split(","))


def test_what_could_not_be_judged_and_low_scores_are_findings_of_the_report() -> None:
    found = findings(outcomes.ALL)
    symbols = [(finding.path, finding.symbol, finding.severity.value) for finding in found]
    assert symbols[:3] == [
        ("shop/deep.py", "not-judged", "fatal"),
        ("shop/deep.py", "not-judged", "fatal"),
        ("shop/cart.py", "score-below-limit", "error"),
    ]
    assert symbols[-1] == ("shop/cart.py", "unused-import", "warning"), "what is let pass comes last"
    assert "took longer than 120 s" in found[0].text


@given(outcomes.OUTCOMES)
def test_any_outcome_gives_findings_that_a_database_and_a_report_take(outcome: Outcome) -> None:
    for finding in findings(outcome):
        row = finding.to_test_result()
        assert Finding.from_test_result(row) == finding
        assert row["line"] < 2**31
        for text in (finding.path, finding.symbol, finding.text):
            assert "\0" not in text
            text.encode()


def test_numbers_that_no_database_takes_become_none() -> None:
    message = outcomes.message(line=2**40, column=-1, severity=Severity.FATAL)
    [finding] = findings(Outcome("introduced", "0123", findings=(LintFinding(message),)))
    assert (finding.line, finding.column, finding.severity) == (0, 0, "fatal")
