"""The commands in comments: which count, which do not, and which are answered."""

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from review_bot.domain.commands import (
    HOMU_ONLY,
    MAX_CHARACTERS,
    MAX_COMMANDS,
    MAX_NUMBER,
    MAX_REASON,
    MAX_WORD,
    TABLE,
    Approve,
    Cancel,
    CloseTree,
    Command,
    Delegate,
    DelegateAuthor,
    HelpAsked,
    Known,
    OpenTree,
    Ping,
    Retry,
    SetPriority,
    SetRollup,
    StopTry,
    Try,
    Unapprove,
    Undelegate,
    Unintelligible,
    parse,
)
from review_bot.domain.model import Rollup

SHA = "0123456789abcdef0123456789abcdef01234567"
SHA256 = SHA + "0123456789abcdef01234567"


def read(body: str) -> tuple[Command, ...]:
    return parse(body, "autogate")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("r+", Approve()),
        (f"r+ {SHA}", Approve(sha=SHA)),
        (f"r+ {SHA256}", Approve(sha=SHA256)),
        (f"r+ {SHA.upper()}", Approve(sha=SHA)),
        ("r+ 0123", Approve(sha="0123")),
        ("r=ada", Approve(reviewer="ada")),
        ("r=@ada", Approve(reviewer="ada")),
        (f"r=ada {SHA}", Approve(sha=SHA, reviewer="ada")),
        ("r=me", Approve()),
        (f"r=me {SHA}", Approve(sha=SHA)),
        ("r=ada,bob", Approve(reviewer="ada,bob")),
        ("r=dependabot[bot]", Approve(reviewer="dependabot[bot]")),
        ("r-", Unapprove()),
        ("p=5", SetPriority(5)),
        ("p=-5", SetPriority(-5)),
        ("p=+5", SetPriority(5)),
        (f"p={MAX_NUMBER}", SetPriority(MAX_NUMBER)),
        ("try", Try()),
        ("try-", StopTry()),
        ("retry", Retry()),
        ("delegate=eve", Delegate("eve")),
        ("delegate=@eve", Delegate("eve")),
        ("delegate+", DelegateAuthor()),
        ("delegate-", Undelegate()),
        ("rollup", SetRollup(Rollup.ALWAYS)),
        ("rollup-", SetRollup(Rollup.MAYBE)),
        ("rollup=never", SetRollup(Rollup.NEVER)),
        ("rollup=maybe", SetRollup(Rollup.MAYBE)),
        ("rollup=always", SetRollup(Rollup.ALWAYS)),
        ("treeclosed=100", CloseTree(100)),
        ("treeclosed=-1", CloseTree(-1)),
        ("treeclosed=100 release  week, p=5 @autogate r+", CloseTree(100, "release week, p=5 @autogate r+")),
        ("treeclosed-", OpenTree()),
        ("cancel", Cancel()),
        ("ping", Ping()),
        ("help", HelpAsked()),
        ("R+", Approve()),
        ("Retry", Retry()),
        ("R=Ada", Approve(reviewer="Ada")),
    ],
)
def test_a_command_is_read(command: str, expected: Command) -> None:
    assert read(f"@autogate {command}") == (expected,)


def test_every_spelling_that_the_table_shows_is_that_command() -> None:
    assert set(TABLE) == set(get_args(Known))
    for kind, described in TABLE.items():
        for spelling in described.spellings:
            text = spelling.replace("SHA", SHA).replace("NAME", "eve").replace("=N", "=5").replace("[REASON]", "why")
            [command] = read(f"@autogate {text}")
            assert type(command) is kind, spelling


@pytest.mark.parametrize("word", HOMU_ONLY)
def test_every_word_of_homu_that_is_not_here_says_what_is(word: str) -> None:
    assert read(f"@autogate {word}") == (Unintelligible(word, HOMU_ONLY[word]),)
    assert read(f"@autogate r+ {word}") == (Approve(), Unintelligible(word, HOMU_ONLY[word]))


@pytest.mark.parametrize(
    ("words", "word", "instead"),
    [
        ("r +", "r", "r+"),
        ("r+1", "r+1", "r+"),
        (f"r+{SHA}", f"r+{SHA}", "r+"),
        ("+1", "+1", "r+"),
        ("approve", "approve", "r+"),
        ("LGTM", "LGTM", "r+"),
        ("merge it", "merge", "r+"),
        ("r=", "r=", "r=NAME"),
        ("r=<ada>", "r=<ada>", "r=NAME"),
        ("p", "p", "p=N"),
        ("p=high", "p=high", "p=N"),
        (f"p={MAX_NUMBER + 1}", f"p={MAX_NUMBER + 1}", "p=N"),
        ("p=٣", "p=٣", "p=N"),
        ("rollup=sometimes", "rollup=sometimes", "rollup=maybe"),
        ("delegate", "delegate", "delegate=NAME"),
        ("treeclosed", "treeclosed", "treeclosed=N"),
        ("treeclosed=", "treeclosed=", "treeclosed=N"),
        ("freeze", "freeze", "treeclosed=N"),
        ("rebuild", "rebuild", "retry"),
        ("`r+`", "`r+`", "r+"),
        ("?", "?", "help"),
        ("please r+", "please", ""),
        ("bananas=5", "bananas=5", ""),
        ("retry-", "retry-", ""),
    ],
)
def test_a_word_that_is_no_command_is_answered(words: str, word: str, instead: str) -> None:
    assert read(f"@autogate {words}") == (Unintelligible(word, instead),)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("@autogate r+ p=5 rollup", (Approve(), SetPriority(5), SetRollup(Rollup.ALWAYS))),
        (f"@autogate r+ {SHA} p=5", (Approve(sha=SHA), SetPriority(5))),
        ("@autogate r+ thanks!", (Approve(),)),
        ("@autogate r+, p=5.", (Approve(), SetPriority(5))),
        ("@autogate r+ and then p=5", (Approve(),)),
        ("@autogate r+ C++ is fine", (Approve(),)),
        ("@autogate r+ p=high", (Approve(), Unintelligible("p=high", "p=N"))),
        ("Looks good. @autogate r+", (Approve(),)),
        ("**@autogate r+**", (Approve(),)),
        ("(@autogate r+)", (Approve(),)),
        ("# @autogate r+", (Approve(),)),
        ("- @autogate r+\n- @autogate p=1", (Approve(), SetPriority(1))),
        ("@autogate r+\r\n@autogate p=1\r\n", (Approve(), SetPriority(1))),
        ("@autogate r+ @autogate p=1", (Approve(), SetPriority(1))),
        ("@autogate: r+", (Approve(),)),
        ("@autogate, r+", (Approve(),)),
        ("@AutoGate r+", (Approve(),)),
        ("@autogate\nr+", ()),
        ("@autogate r+\n@autogate r+\n@autogate r+", (Approve(),)),
        ("@autogate r+\n@autogate r-\n@autogate r+", (Approve(), Unapprove(), Approve())),
        ("@autogate bananas\n@autogate pears\n@autogate retry", (Unintelligible("bananas"), Retry())),
        ("line one\n@autogate try\nline three", (Try(),)),
        ("> quoted\n\n@autogate retry", (Retry(),)),
        ("```\ncode\n```\n@autogate retry", (Retry(),)),
        ("<!-- hidden -->\n@autogate retry", (Retry(),)),
        ("see `x <!-- y` @autogate retry", (Retry(),)),
        ("\\`not code @autogate retry", (Retry(),)),
        ("`` ` @autogate r+ `` @autogate retry", (Retry(),)),
        (">>> prompt\n\n@autogate retry", (Retry(),)),
    ],
)
def test_a_comment_is_read(body: str, expected: tuple[Command, ...]) -> None:
    assert read(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        "",
        "r+",
        "thanks @autogate",
        "thanks, @autogate!",
        "@autogate",
        "@autogate 👍 :)",
        "I think that @autogate is slow today",
        "@autogate-dev r+",
        "@autogate_dev r+",
        "@autogate.example r+",
        "@autogate/team r+",
        "@autogate's r+",
        "@autogated r+",
        "x@autogate r+",
        "@@autogate r+",
        "/@autogate r+",
        "\\@autogate r+",
        "~~@autogate r+~~",
        "```\n@autogate r+\n```",
        "``` python title=x\n@autogate r+\n```",
        "~~~\n@autogate r+\n~~~",
        "```\n@autogate r+",
        "````\n```\n@autogate r+\n````",
        "- item\n\n  ```\n  @autogate r+\n  ```",
        "> ```\n> @autogate r+",
        "    @autogate r+",
        "\t@autogate r+",
        "text\n\n    @autogate r+",
        "`@autogate r+`",
        "``@autogate ` r+``",
        "`two\n@autogate r+\nlines`",
        "> @autogate r+",
        "> quoted\n@autogate r+",
        "   > @autogate r+",
        "- > @autogate r+",
        ">>>\n@autogate r+\n>>>",
        "<!-- @autogate r+ -->",
        "text <!-- @autogate r+ --> text",
        "<!--\n@autogate r+\n-->",
        "<!--\n\n@autogate r+",
        "text <!--\n@autogate r+\n-->",
        "<pre>\n@autogate r+\n</pre>",
        "[x]: <@autogate r+>",
        '[//]: # "@autogate r+"',
        "[x](y '@autogate r+')",
        "@\N{ZERO WIDTH SPACE}autogate r+",
        "@auto\N{ZERO WIDTH JOINER}gate r+",
        "\N{RIGHT-TO-LEFT OVERRIDE}@autogate r+",
        "@autogate \N{RIGHT-TO-LEFT OVERRIDE}-r r+",
        "@autogate \N{LEFT-TO-RIGHT ISOLATE}r+",
        "&#64;autogate r+",
        "\N{FULLWIDTH COMMERCIAL AT}autogate r+",
    ],
)
def test_what_is_no_command_commands_nothing(body: str) -> None:
    assert read(body) == ()


@pytest.mark.parametrize(
    "blank", ["\N{NO-BREAK SPACE}", "\t", "\N{ZERO WIDTH SPACE} ", "\N{IDEOGRAPHIC SPACE}", "\ufeff"]
)
def test_any_blank_between_words_will_do(blank: str) -> None:
    assert read(f"@autogate{blank}r+{blank}p=5{blank}") == (Approve(), SetPriority(5))


def test_the_name_of_the_bot_is_no_pattern() -> None:
    assert parse("@gate.bot r+", "gate.bot") == (Approve(),)
    assert parse("@gateXbot r+", "gate.bot") == ()
    assert parse("@a+(b r+", "a+(b") == (Approve(),)


def test_words_and_reasons_are_cut() -> None:
    [unknown] = read("@autogate " + "x" * 5000)
    assert unknown == Unintelligible("x" * MAX_WORD)
    [freeze] = read("@autogate treeclosed=1 " + "x" * 5000)
    assert freeze == CloseTree(1, "x" * MAX_REASON)


def test_only_so_many_commands_count() -> None:
    commands = read("\n".join(f"@autogate p={number}" for number in range(100)))
    assert commands == tuple(SetPriority(number) for number in range(MAX_COMMANDS))


def test_only_the_beginning_of_a_long_comment_counts() -> None:
    assert read(" \n" * (MAX_CHARACTERS // 2) + "@autogate r+") == ()


@pytest.mark.parametrize(
    "unit", ["@autogate ", "@autogate r+ ", "`@autogate <!-- ", "> - @autogate\n", "[@autogate](", "\\`"]
)
def test_a_megabyte_of_mentions_is_read(unit: str) -> None:
    assert len(read(unit * (1_000_000 // len(unit)))) <= MAX_COMMANDS


BITS = [
    *(
        "@",
        "r+",
        "p=",
        "5",
        " ",
        "\n",
        "\n\n",
        "\r",
        "\t",
        "    ",
        "a",
        "`",
        "``",
        "```",
        "~~~",
    ),
    *(
        "-->",
        "<!--",
        "<b>",
        "<pre>",
        "\\",
        ">",
        "> ",
        ">>>",
        "- ",
        "1. ",
        "# ",
        "===",
        "[x]: ",
        "](",
        "(",
        ")",
        "*",
        "=",
        "+",
    ),
    *(
        "\N{RIGHT-TO-LEFT OVERRIDE}",
        "\N{ZERO WIDTH SPACE}",
        "\N{NO-BREAK SPACE}",
        "\N{LINE SEPARATOR}",
        "\x00",
        "\ud800",
    ),
]
ANYTHING = st.lists(st.sampled_from(BITS) | st.characters(), max_size=30).map("".join)


@given(st.text(), st.text(min_size=1))
def test_any_text_can_be_read(body: str, bot: str) -> None:
    assert isinstance(parse(f"{body} @{bot} {body}", bot), tuple)


@settings(max_examples=1000, deadline=None)
@given(ANYTHING, ANYTHING)
def test_what_commands_is_seen_by_whoever_reads_the_comment(before: str, after: str) -> None:
    body = f"{before}@autogate r+ {after}"
    if read(body):
        assert "@autogate r+" in shown(body)


def shown(body: str) -> str:
    """Return what a whole Markdown implementation shows as text outside of quotes."""
    depth, text = 0, ""
    for token in MarkdownIt("commonmark").parse(body):
        depth += token.nesting if token.type.startswith("blockquote") else 0
        if depth == 0:
            text += "".join(
                child.content or " " for child in token.children or () if child.type in {"text", "softbreak"}
            )
    return text
