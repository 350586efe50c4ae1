"""Suppressions in comments: which there are, which are new, and that pylint takes them as they are taken here."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lint.model import ChangedFile, Finding
from worker.lint.suppressions import Policy, Reach, Suppression, added, findings, found

NONE_NAMED = [
    "x = '# pylint: skip-file'\n",
    '"""\n# pylint: skip-file\n"""\n',
    "# pylint: enable=all\n",
    "# pylint: enable-msg=E0602\n",
    "# pylint is disable=all\n",
    "x = 1  # noqa is not asked for\n",
    "",
]


@pytest.mark.parametrize("content", NONE_NAMED)
def test_what_silences_nothing(content: str) -> None:
    assert found(content.encode()) == []


@pytest.mark.parametrize(
    ("comment", "spellings"),
    [
        ("# pylint: disable=unused-import", ["disable=unused-import"]),
        ("#pylint:disable = unused-import , W0611", ["disable=unused-import", "disable=W0611"]),
        ("# pylint: disable-msg=W0611", ["disable-msg=W0611"]),
        ("# pylint: disable-next=no-member", ["disable-next=no-member"]),
        ("# pylint: skip-file", ["skip-file"]),
        ("# pylint: disable-all", ["disable-all"]),
        ("# why not # pylint: disable=no-member; since it is", ["disable=no-member"]),
        ("# pylint: enable=no-member disable=unused-import", ["disable=unused-import"]),
        ("# pylint: disable=C", ["disable=C"]),
    ],
)
def test_every_spelling_of_pylints(comment: str, spellings: list[str]) -> None:
    assert [each.spelling for each in found(f"x = 1  {comment}\n".encode())] == spellings


@pytest.mark.parametrize(
    ("comment", "spellings", "wide"),
    [
        ("# noqa", ["noqa"], True),
        ("# NoQA: f401,E501", ["noqa: F401", "noqa: E501"], False),
        ("# type: ignore  # noqa:F401 as it is", ["noqa: F401"], False),
        ("# ruff: noqa", ["ruff: noqa"], True),
        ("# ruff: noqa: F401", ["ruff: noqa: F401"], True),
        ("# flake8: noqa", ["ruff: noqa"], True),
        ("# ruff: ignore[F401, unused-import]", ["ruff: ignore[F401]", "ruff: ignore[unused-import]"], False),
        ("# ruff: file-ignore[F401]", ["ruff: file-ignore[F401]"], True),
    ],
)
def test_every_spelling_of_ruffs_where_ruff_is_run(comment: str, spellings: list[str], *, wide: bool) -> None:
    content = f"x = 1  {comment}\n".encode()
    assert [(each.spelling, each.is_wide) for each in found(content, ruff=True)] == [(each, wide) for each in spellings]
    assert found(content) == []


@pytest.mark.parametrize("name", ["all", "C", "e", "refactor", "typecheck", "no_self_use"])
def test_a_group_is_wide_even_on_one_line(name: str) -> None:
    assert all(each.is_wide for each in found(f"x = 1  # pylint: disable={name}\n".encode()))


@pytest.mark.parametrize("name", ["unused-import", "W0611", "fixme", "unreachable", "RP0401"])
def test_a_message_on_one_line_is_narrow(name: str) -> None:
    assert not any(each.is_wide for each in found(f"x = 1  # pylint: disable={name}\n".encode()))


HIDE = "# pylint: disable=undefined-variable"
PLACES = f"""\
one()  {HIDE}
# pylint: disable-next=undefined-variable
two()
two_more()
X = [
    {HIDE}
    three,
]
three_more()
if X:
    {HIDE}
    four()
    four()
four_more()
def five():
    {HIDE}
    five_a()
    five_b()
five_more()
def six():  {HIDE}
    six_a()
def seven(a,  {HIDE}
          b):
    seven_a()
class Eight:  {HIDE}
    eight = eight_a
    def nine(self):
        nine_a()
class Ten(list):  {HIDE}
    ten = ten_a
try:  {HIDE}
    eleven()
except ValueError:
    twelve()
else:  {HIDE}
    thirteen()
    thirteen()
if X:  {HIDE}
    fourteen()
# pylint: disable-next=undefined-variable
class Fifteen:
    fifteen = fifteen_a
def sixteen():
    if X:
        sixteen_a()
    {HIDE}
    sixteen_b()
seventeen()
{HIDE}
eighteen()
def nineteen():
    nineteen_a()
"""


def test_comments_reach_as_far_as_pylint_lets_them(tmp_path: Path) -> None:
    """What is called one line hides nothing on the next; what is called wide hides something beyond its own line."""
    file = tmp_path / "places.py"
    file.write_text(PLACES)
    command = [sys.executable, "-m", "pylint", "--rcfile=/dev/null", "--disable=all", "--enable=undefined-variable"]
    done = subprocess.run([*command, "--output-format=json", file], capture_output=True, check=False)
    reported = {message["line"] for message in json.loads(done.stdout)}
    bare = PLACES.replace("# pylint:", "#")
    file.write_text(bare)
    done = subprocess.run([*command, "--output-format=json", file], capture_output=True, check=False)
    hidden = {message["line"] for message in json.loads(done.stdout)} - reported
    texts = PLACES.splitlines()
    assert {texts[line - 1].split("#")[0].strip() for line in hidden} == {
        *("one()", "two()", "three,", "four()", "five_a()", "five_b()", "eight = eight_a", "nine_a()", "eleven()"),
        *("thirteen()", "sixteen_b()", "eighteen()", "nineteen_a()"),
    }
    narrow = {1, 2, 6, 20, 22, 29, 38, 40}
    reaches = {each.line: each.reach for each in found(PLACES.encode())}
    assert {line for line, reach in reaches.items() if reach is Reach.LINE} == narrow
    assert {line for line, reach in reaches.items() if reach is Reach.MODULE} == {texts.index(HIDE) + 1}


def test_the_comment_behind_a_block_is_its_surroundings() -> None:
    content = b"def f():\n    pass\n    # pylint: disable=no-member\nx = 1\n"
    assert [each.reach for each in found(content)] == [Reach.MODULE]


@pytest.mark.parametrize(
    "content",
    [
        b"x = (\n# pylint: skip-file\n",
        b"'''\n# pylint: skip-file\n",
        b"if x:\n        y\n   z\n# pylint: skip-file\n",
        b"# coding: nonsense\n# pylint: skip-file\n",
        b"\xff\xfe\n# pylint: skip-file\n",
        b"x = $ 'a\n# pylint: skip-file",
        b"x = '\x00'\n# pylint: skip-file\n",
    ],
)
def test_what_python_cannot_read_is_searched_all_the_same(content: bytes) -> None:
    assert "skip-file" in {each.spelling for each in found(content)}


def test_other_encodings_and_ends_of_lines() -> None:
    latin = "# coding: latin-1\r\nx = 'é'  # pylint: disable=no-member\r\n".encode("latin-1")
    assert [(each.line, each.column) for each in found(latin)] == [(2, 9)]
    assert [each.line for each in found(b"\xef\xbb\xbf# pylint: skip-file\n")] == [1]


@pytest.mark.parametrize(
    "content",
    [
        b"# coding: unicode_escape\n# \\x70ylint: skip-file\n",
        b"# coding: unicode_escape\n# coding: utf-8\n# \\x70ylint: skip-file\n",
        b"#!/usr/bin/python\n# -*- coding: UTF-7 -*-\n# +AHA-ylint: skip-file\n",
    ],
)
def test_no_encoding_hides_one(content: bytes) -> None:
    assert [each.spelling for each in found(content)] == ["skip-file"]


@given(
    st.lists(
        st.sampled_from(["'", '"""', "#", " pylint: disable=a-b", "(", "\n", "    ", "def f():", "\\", "é", "\x00"])
    )
)
def test_no_text_makes_it_fail(pieces: list[str]) -> None:
    for each in found("".join(pieces).encode(), ruff=True):
        assert each.spelling.startswith("disable=")


def new(
    before: Mapping[str, str], after: Mapping[str, str], renames: Mapping[str, str] | None = None
) -> list[tuple[str, Suppression]]:
    origins = {path: path for path in before.keys() & after.keys()} | dict(renames or {})
    changes = [ChangedFile(path, None) for path in before.keys() - set(origins.values())]
    changes += [ChangedFile(origins.get(path), path) for path in after]
    old, now = ({path: found(text.encode()) for path, text in side.items()} for side in (before, after))
    return added(old, now, changes)


LINE = "x = y.z  # pylint: disable=no-member\n"
REST = "# pylint: disable=no-member\nx = y.z\n"
BLOCK = "def f():\n    # pylint: disable=no-member\n    return y.z\n"


@pytest.mark.parametrize("text", [LINE, REST, BLOCK])
def test_what_stays_moves_or_is_renamed_is_not_new(text: str) -> None:
    assert new({"a.py": text}, {"a.py": "\n" + text}) == []
    assert new({"a.py": text}, {"b.py": text}, {"b.py": "a.py"}) == []


@pytest.mark.parametrize("text", [LINE, BLOCK])
def test_what_moves_to_another_file_is_not_new(text: str) -> None:
    assert new({"a.py": text, "b.py": ""}, {"a.py": "", "b.py": text}) == []
    assert new({"a.py": text}, {"b.py": text}) == []


@pytest.mark.parametrize("text", [REST, "# pylint: skip-file\n", "x = 1  # pylint: disable=all\n"])
def test_what_is_about_a_whole_file_is_new_in_another(text: str) -> None:
    assert len(new({"a.py": text, "b.py": ""}, {"a.py": "", "b.py": text})) == 1


def test_one_more_is_new() -> None:
    assert len(new({"a.py": LINE}, {"a.py": LINE * 2})) == 1
    (place,) = new({"a.py": LINE}, {"a.py": LINE.replace("no-member", "no-member,unused-import")})
    assert place[1].name == "unused-import"
    assert [each.reach for _, each in new({"a.py": LINE}, {"a.py": REST})] == [Reach.MODULE]


def test_of_equal_ones_the_new_is_on_an_added_line() -> None:
    before, after = found(LINE.encode()), found((LINE * 3).encode())
    change = ChangedFile("a.py", "a.py", frozenset({1, 2}))
    assert [each.line for _, each in added({"a.py": before}, {"a.py": after}, [change])] == [1, 2]


def judged(text: str, policy: Policy = Policy.FAIL, *, ruff: bool = False) -> tuple[Finding, ...]:
    content = text.encode()
    every = added({}, {"a.py": found(content, ruff=ruff)}, [ChangedFile(None, "a.py")])
    return findings(every, {"a.py": content}, policy)


def test_the_policy_decides_what_fails() -> None:
    both = LINE + REST
    assert [(each.message.symbol, each.fails) for each in judged(both)] == [
        ("new-suppression", False),
        ("wide-suppression", True),
    ]
    assert [each.fails for each in judged(both, Policy.WARN)] == [False, False]
    assert judged(both, Policy.ALLOW) == ()


def test_a_finding_says_what_is_silenced_and_what_to_write() -> None:
    (narrow,) = judged("x  # pylint: disable=no-member, fixme\n")
    assert narrow.source == "x  # pylint: disable=no-member, fixme"
    assert narrow.message.text == "disable=no-member, disable=fixme silences fixme, no-member on one line"
    assert (narrow.message.linter, narrow.message.line, narrow.message.column) == ("autogate", 1, 3)
    (skipped,) = judged("# pylint: skip-file\n")
    assert skipped.message.text.startswith("skip-file silences everything in the whole file: ")
    assert "`# pylint: disable=MESSAGE`" in skipped.message.text
    (group,) = judged("x  # pylint: disable=R\n")
    assert group.message.text.startswith("disable=R silences all of R on one line: ")
    (bare,) = judged("x  # noqa\n", ruff=True)
    assert "`# noqa: CODE`" in bare.message.text
