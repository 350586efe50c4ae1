"""What is right to say of each kind of change, and what each program says of it, in real repositories."""

import pytest

from .table import CASES, PAGE, Answers, Case, ask, page_with_table


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    return ask(tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_answer_is_right_in_each_scope(answers: dict[str, Answers], case: Case) -> None:
    own = answers[case.title].own
    assert own == {"introduced": case.right, "lines": case.lines, "files": case.files}
    assert answers[case.title].found == case.found


def test_the_page_is_what_they_say(answers: dict[str, Answers]) -> None:
    page = PAGE.read_text("utf-8")
    assert page == page_with_table(page, answers), "run `python -m tests.worker.lint.table`"
    assert all(case.title in page for case in CASES)
