"""What the bot says: word for word, and that nothing from outside gets out of its words."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import BaseModel

from review_bot import wording
from review_bot.domain.answers import Done, Refused, Unknown
from review_bot.domain.commands import TABLE, parse
from review_bot.domain.waiting import why
from tests.review_bot import wording_cases
from tests.review_bot.situations import SITUATIONS, Situation
from tests.review_bot.wording_cases import ANSWERS, BOT

BITS = [
    *(
        "@autogate r+",
        "@autogate",
        "@",
        "r+",
        "autogate r+",
        " ",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        "    ",
        "a",
        "_",
        "*",
        "**",
    ),
    *("`", "``", "```", "\n```\n", "~~~", "-->", "<!--", "<b>", "</details>", "<script>", "&#64;", "&amp;", "\\", "|"),
    *(
        "](https://evil.example)",
        "![",
        "[",
        "](",
        ")",
        "<https://evil.example>",
        "https://evil.example",
        "www.evil.example",
    ),
    *(
        "> ",
        "- ",
        "# ",
        "1. ",
        "===",
        "#1",
        "!1",
        "\N{RIGHT-TO-LEFT OVERRIDE}",
        "\N{ZERO WIDTH SPACE}",
        "\N{NO-BREAK SPACE}",
    ),
    *("\N{LINE SEPARATOR}", "\x1b[31m", "\x00", "\x85", "\ud800", "{{ 1 }}", "$(id)", ">>>", "\n>>>\n"),
]
HOSTILE = st.lists(st.sampled_from(BITS) | st.characters(), max_size=12).map("".join)

REQUIRED = re.compile(r"</?details>|<summary>[0-9]+ (?:failing tests?|findings?|files in conflict)</summary>|\s+")


def poisoned(value: Any, text: str) -> Any:  # noqa: PLR0911  (one arm a type)
    """Return a value with all its strings, of whatever depth, replaced."""
    match value:
        case Enum():
            return value
        case str():
            return text
        case BaseModel():
            ours = {"kind", "command", "reason"} if isinstance(value, Done | Refused) else {"kind"}
            names = set(type(value).model_fields) - ours
            return value.model_copy(update={name: poisoned(getattr(value, name), text) for name in names})
        case _ if is_dataclass(value) and not isinstance(value, type):
            # what fails is one of ours
            names = {field.name for field in fields(value)} - {"what"}
            return replace(value, **{name: poisoned(getattr(value, name), text) for name in names})
        case Mapping():
            return {poisoned(key, text): poisoned(item, text) for key, item in value.items()}
        case tuple() | frozenset() | list():
            return type(value)(poisoned(item, text) for item in value)
        case _:
            return value


def under_attack(seen: Situation, text: str) -> Situation:
    worse: Situation = poisoned(seen, text)
    repository = worse.state.repository
    policy = repository.policy.model_copy(update={"bot": BOT})
    return replace(worse, state=worse.state.with_repository(repository.model_copy(update={"policy": policy})))


def check_markdown(text: str) -> None:
    """Assert that a forge finds nothing in a comment but what the bot put there."""
    depth = 0
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        depth += token.nesting
        assert token.type not in {"heading_open", "code_block", "hr", "blockquote_open"}, token
        if token.type == "html_block":
            assert not REQUIRED.sub("", token.content), token.content
        for child in token.children or ():
            assert child.type in {"text", "softbreak", "code_inline", "link_open", "link_close"}, child
            if child.type == "text":
                assert not re.search(r"@|://|www\.|evil|[<>`]", child.content), child.content
            if child.type == "link_open":
                assert str(child.attrs["href"]).startswith(("https://ci.example.com/", "https://evil.example"))
    assert depth == 0


def check(text: str) -> None:
    assert parse(text, BOT) == ()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
    assert len(text.encode()) < 2**18
    text.encode()


def test_everything_is_said_as_on_the_page() -> None:
    page = wording_cases.PAGE.read_text("utf-8")
    assert page == wording_cases.page(), "if the words are better now, run `python -m tests.review_bot.wording_cases`"


def test_nothing_is_shouted() -> None:
    assert "!" not in wording_cases.page()


@pytest.mark.parametrize("name", SITUATIONS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(text=HOSTILE)
def test_no_status_repeats_what_somebody_smuggled_in(name: str, text: str) -> None:
    seen = under_attack(SITUATIONS[name](), text)
    plain, comment = (
        wording.status(seen.state, seen.pull, seen.attempts, seen.troubles, markdown=markdown)
        for markdown in (False, True)
    )
    check(plain)
    check(comment)
    check_markdown(comment)
    sentence = wording.sentence(why(seen.state, seen.pull, seen.troubles))
    check(sentence)
    assert "\n" not in sentence


@settings(deadline=None)
@given(text=HOSTILE, other=HOSTILE)
def test_no_answer_repeats_what_somebody_smuggled_in(text: str, other: str) -> None:
    for answer in ANSWERS:
        worse = poisoned(answer, text)
        for said in (worse, Done(command=text, detail=other), Refused(command=text, reason=other, detail=text)):
            check(wording.answer(said))
            check(wording.answer(said, BOT))
            check_markdown(wording.answer(said, BOT))


def test_what_is_quoted_is_shown_in_full_whatever_marks_it_has() -> None:
    answer = wording.answer(Unknown(word="a `` b ` c"), BOT)
    [inline] = [token for token in MarkdownIt("commonmark").parse(answer) if token.type == "inline"]
    assert next(child.content for child in inline.children or () if child.type == "code_inline") == "a `` b ` c"


def test_long_text_is_cut() -> None:
    seen = under_attack(SITUATIONS["failed"](), "`" * 100_000 + "\n@autogate r+\n" * 10_000)
    comment = wording.status(seen.state, seen.pull, seen.attempts, seen.troubles, markdown=True)
    assert len(comment) < 65_536, "GitHub takes no more"
    check_markdown(comment)


def test_only_an_address_of_the_web_becomes_a_link() -> None:
    for address in (
        "javascript:alert(1)",
        "https://a.example/x y",
        "https://a.example/>",
        "https://@b.example",
        "/x",
        "",
    ):
        seen = SITUATIONS["being_tested"]()
        live = seen.state.attempts[1].model_copy(update={"builds": {"shop-test": address}, "verdicts": {}})
        status = wording.status(seen.state.with_attempt(live), seen.pull, markdown=True)
        assert "](" not in status


def test_every_reason_of_a_refusal_has_words_of_its_own() -> None:
    reasons = re.findall(r"``(\w+)``", (Refused.__doc__ or "").partition("reason:")[2])
    assert set(wording_cases.REFUSED) == set(reasons)
    for reason in reasons:
        assert "was refused" not in wording.answer(Refused(command="r+", reason=reason, detail="x"))


def test_every_command_that_takes_effect_has_words_of_its_own() -> None:
    source = Path("review_bot/domain/obey.py").read_text()
    commands = {"r+", "r=", *re.findall(r'_done\("([^"]+)"', source), *re.findall(r'self\._set\("([^"]+)"', source)}
    assert len(commands) > 10
    assert commands == set(wording_cases.DONE)
    assert not [command for command in commands if wording.answer(Done(command=command)).endswith(" is done.")]


def test_the_list_of_commands_names_every_one() -> None:
    for text in (wording.help_text(), wording.help_text(BOT)):
        for described in TABLE.values():
            assert all(spelling in text for spelling in described.spellings)


def test_the_page_of_commands_is_right() -> None:
    page = Path("docs/commands.md").read_text()
    table = page.partition("<!-- table -->\n")[2].partition("\n<!-- end -->")[0]
    assert table == wording.command_table(), "replace the table of docs/commands.md by wording.command_table()"
