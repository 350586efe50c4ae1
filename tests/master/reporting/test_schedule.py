"""What an answer means, and what is tried when: no network and no clock."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.reporting.backoff import MAX_RETRY_AFTER_SECONDS, Outcome, Pace, Verdict, of_status, seconds_to_wait
from master.reporting.outbox import Entry
from master.reporting.schedule import OUTAGE, PATIENCE, Schedule

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DOWN, FAILED, REFUSED = (Outcome(v) for v in (Verdict.UNREACHABLE, Verdict.FAILED, Verdict.REFUSED))
PACE = Pace(initial=1, cap=8, refused_initial=100, refused_cap=200)


def schedule(*entries: Entry, concurrency: int = 4) -> Schedule:
    made = Schedule(PACE, concurrency, lambda: 1.0)
    made.add(entries, 0)
    return made


@pytest.mark.parametrize(
    ("statuses", "verdict", "cure"),
    [
        ((200, 201, 202, 204, 299), Verdict.DELIVERED, ""),
        ((429, 502, 503, 504), Verdict.UNREACHABLE, ""),
        ((408, 500, 501, 505, 599), Verdict.FAILED, ""),
        ((401, 403), Verdict.REFUSED, "same secret"),
        ((301, 302, 307, 308), Verdict.REFUSED, "redirects"),
        ((404, 405), Verdict.REFUSED, "address"),
        ((413,), Verdict.REFUSED, "4 MiB"),
        ((400, 410, 422, 304), Verdict.REFUSED, "log"),
    ],
)
def test_what_a_status_means(statuses: tuple[int, ...], verdict: Verdict, cure: str) -> None:
    for status in statuses:
        outcome = of_status(status, None, NOW)
        assert outcome.verdict is verdict
        assert cure in outcome.cure
        assert bool(outcome.cure) == (verdict is Verdict.REFUSED)
        assert outcome.detail == ("" if verdict is Verdict.DELIVERED else f"it answers {status}")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0),
        (" 120 ", 120),
        ("9" * 50, MAX_RETRY_AFTER_SECONDS),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60),
        ("Sat, 31 Jan 2026 12:01:00 -0000", 60),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("Sat, 31 Jan 2099 11:00:00 GMT", MAX_RETRY_AFTER_SECONDS),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert seconds_to_wait(value, NOW) == seconds
    assert of_status(503, value, NOW).retry_after == seconds


@given(st.sampled_from(Verdict), st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_wait_grows_to_its_cap(verdict: Verdict, failures: int, chance: float) -> None:
    cap = PACE.refused_cap if verdict is Verdict.REFUSED else PACE.cap
    assert 0 < PACE.wait(verdict, failures, chance) <= cap
    assert PACE.wait(verdict, failures, 0) <= PACE.wait(verdict, failures + 1, 0)
    assert PACE.wait(verdict, 1000, 0) == cap / 2


def test_no_more_than_so_many_at_a_time_and_the_oldest_first() -> None:
    s = schedule(*(Entry(n, n) for n in range(1, 6)), concurrency=2)
    first, second = s.next(0), s.next(0)
    assert (first, second, s.next(0)) == (Entry(1, 1), Entry(2, 2), None)
    assert s.when() is None
    assert first
    s.settled(first, 0)
    assert s.next(0) == Entry(3, 3)


def test_an_entry_is_taken_up_once() -> None:
    s = schedule(Entry(1, 1), Entry(1, 1))
    s.add([Entry(1, 1)], 0)
    assert s.next(0) == Entry(1, 1)
    s.add([Entry(1, 1)], 0)
    assert s.next(0) is None
    assert len(s) == 1


def test_later_reports_on_a_request_wait_for_earlier_ones() -> None:
    s = schedule(Entry(1, 7), Entry(2, 7), Entry(3, 8))
    assert [s.next(0), s.next(0), s.next(0)] == [Entry(1, 7), Entry(3, 8), None]
    s.settled(Entry(1, 7), 0)
    assert s.next(0) == Entry(2, 7)


def test_a_failing_report_holds_up_its_request_for_so_long_only() -> None:
    s, now = schedule(Entry(1, 7), Entry(2, 7)), 0.0
    for _ in range(PATIENCE):
        assert s.next(now) == Entry(1, 7)
        assert s.next(now) is None
        s.failed(Entry(1, 7), FAILED, now)
        if _ < PATIENCE - 1:
            now = s.when() or 0
    assert s.next(now) == Entry(2, 7)


def test_a_receiver_that_is_down_is_asked_by_one_at_a_time() -> None:
    s, now = schedule(*(Entry(n, n) for n in range(1, 9))), 0.0
    tried: list[int] = []
    waits: list[float] = []
    for _ in range(6):
        entry = s.next(now)
        assert entry
        tried.append(entry.id)
        assert s.next(now) is None or not waits, "the first finds no outage yet"
        if not waits:  # the other three of the first four are under way
            s.next(now), s.next(now)
            for n in (2, 3, 4):
                s.failed(Entry(n, n), DOWN, now)
        s.failed(entry, DOWN, now)
        assert s.next(now) is None
        due = s.when()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits[-1] == PACE.cap
    assert len(set(tried)) > 3, "another one asks each time"
    entry = s.next(now)
    assert entry
    s.settled(entry, now)
    assert len(list(iter(lambda: s.next(now), None))) == 4, "all that wait are due at once"


def test_down_time_does_not_use_up_patience() -> None:
    s, now = schedule(Entry(1, 7), Entry(2, 7)), 0.0
    for _ in range(PATIENCE * 3):
        assert s.next(now) == Entry(1, 7)
        s.failed(Entry(1, 7), DOWN, now)
        now = s.when() or 0
    assert s.next(now) == Entry(1, 7)
    assert s.next(now) is None


def test_many_different_failures_are_an_outage() -> None:
    s = schedule(*(Entry(n, n) for n in range(1, 30)), concurrency=1)
    for _ in range(OUTAGE):
        entry = s.next(0)
        assert entry
        s.failed(entry, FAILED, 0)
    assert s.next(0) is None
    assert s.when()


def test_a_single_failing_report_holds_up_no_other() -> None:
    s, now = schedule(Entry(1, 1)), 0.0
    for _ in range(OUTAGE * 3):
        assert s.next(now) == Entry(1, 1)
        s.failed(Entry(1, 1), FAILED, now)
        s.add([Entry(100 + _, 100 + _)], now)
        other = s.next(now)
        assert other == Entry(100 + _, 100 + _)
        s.settled(other, now)
        now = max(now, s.when() or now)


def test_a_failing_report_is_woken_once_by_a_success_and_not_by_each() -> None:
    s = schedule(Entry(1, 1))
    s.next(0)
    s.failed(Entry(1, 1), REFUSED, 0)
    woken = 0
    for n in range(2, 12):
        s.add([Entry(n, n)], 0)
        while entry := s.next(0):
            if entry.id == 1:
                woken += 1
                s.failed(entry, REFUSED, 0)
            else:
                s.settled(entry, 0)
    assert woken == 1
    s.hurry(0)
    assert s.next(0) == Entry(1, 1)


def test_retry_after_is_obeyed() -> None:
    s = schedule(Entry(1, 1), Entry(2, 2))
    s.next(0)
    s.failed(Entry(1, 1), Outcome(Verdict.UNREACHABLE, retry_after=77), 0)
    assert s.next(76.9) is None
    assert s.when() == 77
    assert s.next(77) == Entry(2, 2)


def test_what_is_settled_elsewhere_is_forgotten() -> None:
    s = schedule(Entry(1, 7), Entry(2, 7))
    s.next(0)
    s.settled(Entry(1, 7), 0, delivered=False)
    assert s.next(0) == Entry(2, 7)


@given(st.integers(), st.integers(1, 5), st.lists(st.integers(1, 6), min_size=1, max_size=40))
def test_everything_is_delivered_in_the_end(seed: int, concurrency: int, requests: list[int]) -> None:
    chance = random.Random(seed)
    s = Schedule(PACE, concurrency, chance.random)
    entries = [Entry(n, request) for n, request in enumerate(requests, 1)]
    left, under_way, delivered, now = list(entries), [], [], 0.0
    for _ in range(100_000):
        if left and chance.random() < 0.3:
            s.add([left.pop(0)], now)
        if entry := s.next(now):
            assert entry not in under_way
            under_way.append(entry)
            assert len(under_way) <= concurrency
        if under_way and (not entry or chance.random() < 0.5):
            done = under_way.pop(chance.randrange(len(under_way)))
            outcome = chance.choice([DOWN, FAILED, REFUSED, None])
            if outcome:
                s.failed(done, outcome, now)
            else:
                delivered.append(done)
                s.settled(done, now)
        elif not entry and (due := s.when()) is not None:
            now = max(now, due)
        if len(delivered) == len(entries):
            break
    assert sorted(delivered) == entries
    assert len(s) == 0
    assert s.when() is None
