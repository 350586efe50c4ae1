"""What the API shows of a state, page by page."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from review_bot.domain.model import Approval, PullRequest, Repository, State
from review_bot.web import views
from tests.support.botsite import POLICY, sha

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def state(count: int, approved: int = 0) -> State:
    pulls = {}
    for number in range(1, count + 1):
        approval = Approval(
            head=sha(number), reviewer="ada", by="ada", at=NOW - timedelta(seconds=number), trace=f"t{number}"
        )
        pulls[number] = PullRequest(
            number=number,
            source=f"refs/for/main/topic-{number}",
            target="main",
            head=sha(number),
            head_since=NOW,
            read_at=NOW,
            opened_at=NOW,
            approval=approval if number <= approved else None,
        )
    return State(Repository(name="shop", policy=POLICY), pulls)


def page(of: State, after: str, limit: int) -> tuple[list[int], str | None]:
    shown = views.queue(of, views.ordering(of), [], target=None, after=after, limit=limit)
    return [entry.number for entry in shown.entries], shown.next


def test_ten_thousand_open_pull_requests_are_shown_page_by_page_each_once() -> None:
    many = state(10_000, approved=100)
    numbers, after = page(many, "", 1000)
    shown = views.queue(many, views.ordering(many), [], target=None, after="", limit=200)
    assert (len(shown.entries), shown.total, shown.repository.open) == (200, 10_000, 10_000)
    assert [entry.position for entry in shown.entries[:101]] == [*range(1, 101), None]
    while after is not None:
        more, after = page(many, after, 1000)
        numbers += more
    # the one that was approved first goes first
    assert numbers == [*range(100, 0, -1), *range(101, 10_001)]


@given(count=st.integers(1, 30), limit=st.integers(1, 12), gone=st.integers(1, 30))
def test_no_pull_request_is_passed_over_when_one_goes_between_two_pages(count: int, limit: int, gone: int) -> None:
    before = state(count)
    first, after = page(before, "", limit)
    if after is None:
        return
    later = replace(before, pulls={number: pull for number, pull in before.pulls.items() if number != gone})
    rest, end = page(later, after, 100)
    assert end is None
    assert {*first, *rest} | {gone} == {*before.pulls} | {gone}
    assert sorted(rest) == rest


def test_the_names_of_a_topic() -> None:
    (pull,) = state(1).pulls.values()
    assert views.topic(pull) == "topic-1"
    for name in ("topic-1", "main/topic-1", "refs/for/main/topic-1"):
        assert views.is_called(pull, name)
        assert pull.source in views.sources(POLICY.targets, name)
    assert not views.is_called(pull, "topic")
    branch = pull.model_copy(update={"source": "feature/x"})
    assert views.topic(branch) == "feature/x"
