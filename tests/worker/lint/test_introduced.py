"""What a change introduces, by examples and by properties of any change."""

import difflib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lint.introduced import Comparison, Said, compare, with_lines, wording
from worker.lint.model import ChangedFile, Message, Severity


def said(
    text: str = "Undefined variable 'x'",
    source: str = "print(x)",
    *,
    path: str = "a.py",
    line: int = 1,
    symbol: str = "undefined-variable",
    scope: str = "",
    whole: bool = False,
    severity: Severity = Severity.ERROR,
    linter: str = "pylint",
) -> Said:
    message = Message(path, line, 0, None, None, symbol, "E0000", severity, text, scope, whole, linter)
    return message, source


def changed(path: str = "a.py", added: Iterable[int] = (), *, before: str | None = "") -> ChangedFile:
    return ChangedFile(path if before == "" else before, path, frozenset(added))


def judge(
    before: Iterable[Said], after: Iterable[Said], *changes: ChangedFile, **hidden: set[tuple[str, str]]
) -> Comparison:
    return compare(by_path(before), by_path(after), changes or (changed(),), **hidden)


def by_path(all_said: Iterable[Said]) -> dict[str, list[Said]]:
    files: dict[str, list[Said]] = {}
    for each in all_said:
        files.setdefault(each[0].path, []).append(each)
    return files


def assert_nothing_new(comparison: Comparison) -> None:
    assert (comparison.new, comparison.fixed) == ((), ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Redefining name 'x1' from outer scope (line 12)", "Redefining name 'x1' from outer scope (line 7)"),
        ("Too many lines in module (1005/1000)", "Too many lines in module (1006/1000)"),
        ("function already defined line 12", "function already defined line 3"),
        ("Bad indentation. Found 3 spaces, expected 4", "Bad indentation. Found 7 spaces, expected 8"),
        ("Parsing failed: 'invalid syntax (a, line 3)'", "Parsing failed: 'invalid syntax (b.c, line 30)'"),
        ("Line too long (121 > 120)", "Line too long (140 > 120)"),
        (
            "Similar lines in 2 files\n==a:[5:10]\n==b:[7:12]\n    x",
            "Similar lines in 2 files\n==a:[6:11]\n==b:[7:12]\nx",
        ),
        ("<Const l.3 at 0x7f01ab>", "<Const l.9 at 0x55de>"),
    ],
)
def test_numbers_that_stand_free_do_not_count(before: str, after: str) -> None:
    assert wording(before) == wording(after)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Undefined variable 'x1'", "Undefined variable 'x2'"),
        ("Unused import v1", "Unused import v2"),
        ("No name 'a' in module 'p.v1'", "No name 'a' in module 'p.v2'"),
        ("Consider using a named constant instead of '5'", "Consider using a named constant instead of '6'"),
        ("`utf8` imported but unused", "`utf16` imported but unused"),
        ('Duplicate key "1" in dictionary', 'Duplicate key "2" in dictionary'),
    ],
)
def test_numbers_in_names_and_quotes_count(one: str, other: str) -> None:
    assert wording(one) != wording(other)


def test_an_apostrophe_opens_no_quotation() -> None:
    assert wording("Can't use 3 of 'x 3', don't (4/5)") == "Can't use of 'x 3', don't (/)"


def test_a_message_that_only_its_line_number_tells_apart_is_old() -> None:
    assert_nothing_new(judge([said(line=3)], [said(line=30)]))


def test_the_same_error_a_second_time_is_new_and_shown_on_the_line_that_was_added() -> None:
    comparison = judge([said(line=9)], [said(line=2), said(line=10)], changed(added=[2]))
    assert [message.line for message, _ in comparison.new] == [2]
    comparison = judge([said(line=2)], [said(line=2), said(line=10)], changed(added=[10]))
    assert [message.line for message, _ in comparison.new] == [10]


def test_two_equal_messages_on_one_line_are_two() -> None:
    first, source = said()
    twice = [(first, source), (replace(first, column=9), source)]
    assert_nothing_new(judge(twice, twice))
    assert len(judge([said()], twice).new) == 1
    assert len(judge(twice, [said()]).fixed) == 1


def test_one_of_two_old_errors_is_fixed() -> None:
    comparison = judge([said(), said("Unused import os", "import os")], [said()])
    assert [message.text for message in comparison.fixed] == ["Unused import os"]
    assert comparison.new == ()
    assert comparison.old == (said(),)


def test_an_old_line_that_is_indented_or_spaced_anew_is_old() -> None:
    assert_nothing_new(judge([said(source="x=f( y )")], [said(source="    x = f(y)\r", scope="g")], changed(added=[1])))


def test_an_error_on_a_line_with_another_text_is_new() -> None:
    comparison = judge(
        [said("Line too long (120/100)", "x = 1  # long", symbol="line-too-long")],
        [said("Line too long (130/100)", "x = 12  # long", symbol="line-too-long")],
        changed(added=[1]),
    )
    assert (len(comparison.new), len(comparison.fixed)) == (1, 1)


def test_an_error_that_an_edited_line_had_before_is_old() -> None:
    before = [said("Undefined variable 'a'", "print(a, b)"), said("Undefined variable 'b'", "print(a, b)")]
    after = said("Undefined variable 'b'", "print(1, b)")
    comparison = judge(before, [after], changed(added=[1]))
    assert (comparison.new, [message.text for message in comparison.fixed]) == ((), ["Undefined variable 'a'"])
    assert len(judge(before, [after, after], changed(added=[1])).new) == 1


def test_an_error_on_a_line_of_its_own_is_not_the_old_one() -> None:
    before = [said("Undefined variable 'a'", "print(a)")]
    for after in (
        said("Undefined variable 'a'", "return [word for word in a]"),
        said("Undefined variable 'a'", "print(a,)", scope="f"),
        said("Undefined variable 'c'", "print(c)"),
    ):
        assert len(judge(before, [after], changed(added=[1])).new) == 1


def test_of_similar_lines_the_most_similar_is_the_old_one() -> None:
    before = [said(source="first(x, y, z)"), said(source="second(x, y, z)", line=2)]
    after = [said(source="second(x, y)", line=1), said(source="first(x, z)", line=2)]
    assert_nothing_new(judge(before, after, changed(added=[1, 2])))
    assert judge(before[1:], [after[0]], changed(added=[1])).fixed == ()


def test_what_is_about_a_file_needs_no_line() -> None:
    for symbol in ("too-many-lines", "missing-final-newline"):
        before = said("Too many (1005/1000)", "# first", symbol=symbol)
        assert_nothing_new(judge([before], [said("Too many (1006/1000)", "# 1st", symbol=symbol)], changed(added=[1])))
    assert_nothing_new(judge([said(whole=True, source="a")], [said(whole=True, source="b")]))


def test_what_is_about_a_file_does_not_move_to_another() -> None:
    undocumented = said("Missing module docstring", "", path="b.py", symbol="missing-module-docstring")
    comparison = judge(
        [said("Missing module docstring", "", symbol="missing-module-docstring")],
        [undocumented],
        changed(),
        changed("b.py", [1], before=None),
    )
    assert comparison.new == (undocumented,)
    assert len(comparison.fixed) == 1


def test_a_function_that_gets_a_parameter_is_as_bad_as_before() -> None:
    before = [said("Missing function or method docstring", "def f(a):", scope="f", symbol="missing-function-docstring")]
    after = [
        said("Missing function or method docstring", "def f(a, b):", scope="f", symbol="missing-function-docstring")
    ]
    assert_nothing_new(judge(before, after, changed(added=[1])))


def test_a_head_that_becomes_too_long_by_editing_it_is_new() -> None:
    before = [said("Too many arguments (6/5)", "def f(a):", scope="f", symbol="too-many-arguments")]
    after = [said("Too many arguments (7/5)", "def f(a, b):", scope="f", symbol="too-many-arguments")]
    assert len(judge(before, after, changed(added=[1])).new) == 1


def test_another_function_is_not_the_old_one() -> None:
    before = [said("Missing docstring", "def f():", scope="f", symbol="missing-function-docstring")]
    after = [said("Missing docstring", "def g():", scope="g", symbol="missing-function-docstring")]
    assert len(judge(before, after, changed(added=[1])).new) == 1


def test_a_renamed_file_is_the_same_file() -> None:
    before = [said(whole=True), said(line=4, scope="f")]
    after = [said(path="b/c.py", whole=True), said(path="b/c.py", line=4, scope="f")]
    assert_nothing_new(judge(before, after, changed("b/c.py", before="a.py")))


def test_a_copied_file_is_as_new_as_what_is_in_it() -> None:
    after = [said(), said(path="b.py", line=2)]
    comparison = judge([said()], after, changed("b.py", [2], before="a.py"), changed())
    assert comparison.new == (after[1],)


def test_a_new_file_in_the_place_of_a_renamed_one_is_not_the_old_one() -> None:
    before = [said(whole=True)]
    after = [said(path="b.py", whole=True), said(whole=True)]
    changes = (changed("b.py", before="a.py"), changed("a.py", [1], before=None))
    assert judge(before, after, *changes).new == (said(whole=True),)


def test_a_function_that_moved_into_a_class_of_another_module_is_old() -> None:
    before = [
        said('Function name "Total" is bad', "def Total(x):", symbol="invalid-name", scope="Total"),
        said("Instance of 'Old' has no 'y' member", "self.y", line=2, symbol="no-member", scope="Old.get"),
        said("Module 'a' has no 'z' member", "a.z", line=3, symbol="no-member"),
    ]
    after = [
        said(
            'Method name "Total" is bad',
            "    def Total(self, x):",
            symbol="invalid-name",
            scope="New.Total",
            path="b.py",
        ),
        said(
            "Instance of 'New' has no 'y' member", "  self.y", line=2, symbol="no-member", scope="New.get", path="b.py"
        ),
        said("Module 'b' has no 'z' member", "a.z", line=3, symbol="no-member", path="b.py"),
    ]
    assert_nothing_new(judge(before, after, changed(), changed("b.py", [1, 2, 3])))


def test_a_renamed_class_leaves_what_is_in_it_old() -> None:
    before = [said("Instance of 'A' has no 'b' member", "self.b", line=2, symbol="no-member", scope="A.f")]
    after = [said("Instance of 'B' has no 'b' member", "self.b", line=2, symbol="no-member", scope="B.f")]
    assert_nothing_new(judge(before, after, changed(added=[1])))


def test_an_old_line_elsewhere_that_becomes_wrong_is_not_code_that_moved() -> None:
    """The error is gone in one file, and an untouched line with the same text breaks in another."""
    comparison = judge([said()], [said(path="b.py", line=5)], changed(), changed("b.py", [1]))
    assert comparison.new == (said(path="b.py", line=5),)
    assert len(comparison.fixed) == 1


def test_a_dependent_is_compared_with_itself_only() -> None:
    comparison = judge([said()], [said(path="other.py")], changed())
    assert comparison.new == (said(path="other.py"),)
    comparison = judge([said(path="other.py")], [said(line=2)], changed(added=[2]))
    assert comparison.new == (said(line=2),)
    assert_nothing_new(judge([said(path="other.py")], [said(path="other.py")], changed()))


def test_of_lines_with_one_text_git_may_call_any_added() -> None:
    """f moves from a to b, where h has the same line; git calls h's line added and takes f's for h's."""
    before = [said(line=1, scope="f"), said(path="b.py", line=1, scope="h")]
    after = [said(path="b.py", line=1, scope="f"), said(path="b.py", line=5, scope="h")]
    assert_nothing_new(judge(before, after, changed(), changed("b.py", [5])))


BROKEN = said("Parsing failed: 'invalid syntax (a, line 3)'", "def f(:", symbol="syntax-error")


def test_a_syntax_error_is_new_and_what_it_hides_is_not_fixed() -> None:
    comparison = judge([said(), said(whole=True)], [BROKEN], changed(added=[1]))
    assert (comparison.new, comparison.fixed) == ((BROKEN,), ())


def test_what_a_repaired_file_shows_is_old_but_for_lines_that_were_added() -> None:
    shown = [said(line=3), said("Unused import os", "import os", line=7), said(whole=True)]
    comparison = judge([BROKEN], shown, changed(added=[1, 7]))
    assert comparison.new == (shown[1],)
    assert [message.symbol for message in comparison.fixed] == ["syntax-error"]


def test_another_syntax_error_in_a_broken_file_is_new() -> None:
    other = said("Parsing failed: 'unmatched ')' (a, line 1)'", "f())", symbol="syntax-error")
    assert judge([BROKEN], [other], changed(added=[1])).new == (other,)
    assert_nothing_new(judge([BROKEN], [(replace(BROKEN[0], line=9), BROKEN[1])]))


def test_what_was_skipped_before_is_old_for_that_linter_only() -> None:
    shown = [said(line=3), said(line=3, linter="ruff")]
    comparison = judge([], shown, changed(), hidden_before={("a.py", "pylint")})
    assert (comparison.new, comparison.old) == ((shown[1],), (shown[0],))


def test_what_is_skipped_now_is_not_fixed_and_has_not_moved() -> None:
    comparison = judge(
        [said()], [said(path="b.py")], changed(), changed("b.py", [1]), hidden_after={("a.py", "pylint")}
    )
    assert (comparison.new, comparison.fixed) == ((said(path="b.py"),), ())


def test_the_messages_of_a_deleted_file_are_fixed_unless_its_code_moved() -> None:
    gone = ChangedFile("a.py", None)
    assert len(judge([said()], [], gone).fixed) == 1
    assert_nothing_new(judge([said()], [said(path="b.py")], gone, changed("b.py", [1], before=None)))


def test_lines_are_counted_as_python_counts_them() -> None:
    content = "\ufeffx = 1\r\ny = '\x0c\u2028'\rz".encode()
    lines = [source for _, source in with_lines([said(line=number)[0] for number in (1, 2, 3, 4, 0)], content)]
    assert lines == ["x = 1", "y = '\x0c\u2028'", "z", "", ""]
    assert with_lines([said(whole=True)[0]], content)[0][1] == ""
    assert with_lines([said()[0]], None)[0][1] == ""


# Properties. A file is a list of blocks; a linter says the same of equal lines, names the object around them, and puts
# numbers into its words that depend on where they stand.

BAD = {
    "print(undefined)": ["Undefined variable 'undefined'"],
    "f(a, a)": ["Undefined variable 'a'", "Undefined variable 'a'"],
    "except:": ["No exception type(s) specified"],
    "x = '5'": ["Magic value '5' (line {line})"],
}
LINES = [*BAD, "y = 1", "pass", ""]


@dataclass(frozen=True)
class Block:
    """A function with a name of its own, or lines of a module."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Put:
    """Where a block stands."""

    path: str
    wrapper: str
    block: Block


def lint(layout: Iterable[Put]) -> tuple[dict[str, list[str]], dict[str, list[Said]]]:
    """Return the lines of each file, and what a linter says of them."""
    texts: dict[str, list[str]] = {}
    files: dict[str, list[Said]] = {}
    for put in layout:
        text, messages = texts.setdefault(put.path, []), files.setdefault(put.path, [])
        indent = ""
        if put.wrapper:
            text.append(f"class {put.wrapper}:")
            indent = "    "
        scope = ".".join(filter(None, (put.wrapper, put.block.name)))
        if put.block.name:
            text.append(f"{indent}def {put.block.name}({'self' if put.wrapper else ''}):")
            kind = "Method" if put.wrapper else "Function"
            messages.append(
                said(f'{kind} name "{put.block.name}" is bad', text[-1], path=put.path, line=len(text), scope=scope)
            )
            indent += "  "
        for line in put.block.lines:
            text.append(indent + line if line else "")
            messages += [
                said(words.format(line=len(text)), text[-1], path=put.path, line=len(text), scope=scope)
                for words in BAD.get(line, ())
            ]
    return texts, files


def changes_between(
    before: Mapping[str, list[str]], after: Mapping[str, list[str]], renames: Mapping[str, str]
) -> list[ChangedFile]:
    """Return what git would say, with difflib's idea of which lines are added."""
    changes = [ChangedFile(path, None) for path in before.keys() - after.keys() - set(renames.values())]
    for path, text in after.items():
        origin = renames.get(path, path if path in before else None)
        matcher = difflib.SequenceMatcher(None, before.get(origin or "", []), text, autojunk=False)
        added = [
            line for tag, _, _, first, last in matcher.get_opcodes() if tag != "equal" for line in range(first, last)
        ]
        changes.append(ChangedFile(origin, path, frozenset(line + 1 for line in added)))
    return changes


paths = st.sampled_from(["a.py", "b.py", "pkg/c.py"])
wrappers = st.sampled_from(["", "", "Cart", "Basket"])


@st.composite
def blocks(draw: st.DrawFn) -> list[Block]:
    contents = draw(st.lists(st.lists(st.sampled_from(LINES), min_size=1, max_size=4), max_size=6))
    return [
        Block(f"name{number}" if draw(st.booleans()) else "", tuple(lines)) for number, lines in enumerate(contents)
    ]


@st.composite
def layouts(draw: st.DrawFn, of: list[Block]) -> list[Put]:
    return [Put(draw(paths), draw(wrappers), block) for block in draw(st.permutations(of))]


@st.composite
def moves(draw: st.DrawFn) -> tuple[list[Put], list[Put]]:
    of = draw(blocks())
    return draw(layouts(of)), draw(layouts(of))


@given(moves())
def test_moving_and_indenting_code_and_renaming_what_is_around_it_introduces_nothing(
    both: tuple[list[Put], list[Put]],
) -> None:
    (old_texts, before), (new_texts, after) = map(lint, both)
    assert_nothing_new(compare(before, after, changes_between(old_texts, new_texts, {})))


@given(blocks().flatmap(layouts), st.permutations(["a.py", "b.py", "pkg/c.py", "d/new.py"]))
def test_renaming_files_introduces_nothing(layout: list[Put], names: list[str]) -> None:
    renames = dict(zip(names, ["a.py", "b.py", "pkg/c.py"], strict=False))
    targets = {before: after for after, before in renames.items()}
    old_texts, before = lint(layout)
    new_texts, after = lint([replace(put, path=targets[put.path]) for put in layout])
    used = {after: before for after, before in renames.items() if before in old_texts}
    assert_nothing_new(compare(before, after, changes_between(old_texts, new_texts, used)))


@given(moves(), st.sampled_from(sorted(BAD)), st.integers(1, 5), paths, st.randoms(use_true_random=False))
def test_k_more_of_a_line_are_k_times_its_messages(
    both: tuple[list[Put], list[Put]], line: str, more: int, path: str, chance: random.Random
) -> None:
    extra = [Put(path, "", Block("", (line,)))] * more
    after_layout = [*both[1], *extra]
    chance.shuffle(after_layout)
    (old_texts, before), (new_texts, after) = lint(both[0]), lint(after_layout)
    comparison = compare(before, after, changes_between(old_texts, new_texts, {}))
    assert comparison.fixed == ()
    assert [wording(message.text) for message, _ in comparison.new] == [
        wording(words.format(line=0)) for words in BAD[line]
    ] * more
    assert {source.strip() for _, source in comparison.new} == {line}


@given(moves())
def test_a_tree_introduces_nothing_over_itself(both: tuple[list[Put], list[Put]]) -> None:
    texts, files = lint(both[0])
    assert_nothing_new(compare(files, files, []))
    assert_nothing_new(compare(files, files, [ChangedFile(path, path, frozenset(range(99))) for path in texts]))


@given(blocks().flatmap(layouts), blocks().flatmap(layouts), st.randoms(use_true_random=False))
def test_every_message_is_accounted_for_and_the_order_of_what_is_given_does_not_matter(
    one: list[Put], other: list[Put], chance: random.Random
) -> None:
    (old_texts, before), (new_texts, after) = lint(one), lint(other)
    changes = changes_between(old_texts, new_texts, {})
    comparison = compare(before, after, changes)
    everything = [each for messages in after.values() for each in messages]
    assert sorted([*comparison.new, *comparison.old], key=str) == sorted(everything, key=str)
    assert len(comparison.new) - len(comparison.fixed) == len(everything) - sum(map(len, before.values()))

    def shuffled(files: dict[str, list[Said]]) -> dict[str, list[Said]]:
        items = [(path, chance.sample(messages, len(messages))) for path, messages in files.items()]
        return dict(chance.sample(items, len(items)))

    assert compare(shuffled(before), shuffled(after), chance.sample(changes, len(changes))) == comparison
