"""Events that never got to the outbox are found, history is not sent, and the outbox does not grow for ever."""

import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from autogate.contract import Result
from tests.support.gate import BUILDERS, RESULTS, SECRET, SHA, Gate, finished, told
from tests.support.postgresql import postgresql_server
from tests.support.receiver import Delivery, Receiver, Reply
from tests.support.waiting import wait_for

FINAL = [RESULTS.index(name) for name in RESULTS if name != "retry"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as receiver:
        yield receiver


@pytest.fixture
def gate(receiver: Receiver, tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate", receiver, reporter=False)
    gate.start()
    yield gate
    gate.stop()


def copies(gate: Gate, request: int, results: list[int], first: int) -> list[int]:
    """Write complete requests into Buildbot's own table, as if no event had ever told of them."""
    columns = "buildsetid, builderid, priority, complete, submitted_at, complete_at, waited_for"
    ids = list(range(first, first + len(results)))
    for number, result in zip(ids, results, strict=True):
        gate.do(
            "query",
            text=f"INSERT INTO buildrequests (id, results, {columns}) "
            f"SELECT {number}, {result}, {columns} FROM buildrequests WHERE id = {request}",
        )
    return ids


def rows(gate: Gate) -> int:
    [[count]] = gate.do("query", text="SELECT COUNT(*) FROM autogate_outbox")
    return int(count)


def all_settled(gate: Gate) -> bool:
    """Tell whether the outbox knows of every delivery that it arrived."""
    rows: list[object] = gate.do("query", text="SELECT 1 FROM autogate_outbox WHERE settled_at IS NULL")
    return not rows


def test_a_first_reporter_on_a_master_with_history(gate: Gate, receiver: Receiver) -> None:
    """One master through its whole life with reporters: each story needs the one before."""
    history = [gate.ask(give=name) for name in ("success", "failure")]
    history += gate.do("end", builder="shop-lint", results=FINAL * 5, revision=SHA)
    wait_for(lambda: all(gate.complete(request) for request in history[:2]), "a history")
    # a second's precision is all that Buildbot's records have
    gate.do("query", text="UPDATE buildrequests SET complete_at = complete_at - 5")
    gate.do("query", text="UPDATE builds SET started_at = started_at - 5, complete_at = complete_at - 5")
    under_way = gate.ask(hold="reporter")
    wait_for(lambda: gate.get(f"buildrequests/{under_way}/builds")["builds"], "a build that is under way")
    gate.do("pause")
    queued = gate.ask()

    # installed now: what is under way is reported, what is over is not
    gate.tell(reporter=True)
    gate.reconfigure()
    (gate.folder / "reporter").touch()
    gate.do("unpause")
    for request in (under_way, queued):
        assert wait_for(partial(finished, receiver, request), "the end").result is Result.SUCCESS
    assert {report.request for report in receiver.reports()} == {under_way, queued}

    # taken out and put back: what happened meanwhile is found; a delivery that is cut short would come twice
    wait_for(partial(all_settled, gate), "delivery")
    gate.tell(reporter=False)
    gate.reconfigure()
    meanwhile = [gate.ask(), *gate.do("end", builder="shop-lint", results=FINAL, revision=SHA)]
    wait_for(lambda: gate.complete(meanwhile[0]), "the end of a build that nobody listens to")
    assert {report.request for report in receiver.reports()} == {under_way, queued}
    gate.tell(reporter=True)
    gate.reconfigure()
    gate.wait_for_ends(meanwhile)
    assert {report.request for report in receiver.reports()} == {under_way, queued, *meanwhile}

    # a builder that is added later brings no history along
    [old] = gate.do("end", builder="unreported", results=[0], revision=SHA)
    gate.do("query", text="UPDATE buildrequests SET complete_at = complete_at - 5")
    wait_for(partial(all_settled, gate), "delivery")
    gate.tell(builders=BUILDERS | {"unreported": ("other", "deploy")})
    gate.reconfigure()
    [new] = gate.do("end", builder="unreported", results=[2], revision=SHA)
    report = wait_for(lambda: finished(receiver, new), "the report on the new builder")
    assert (report.repository, report.kind) == ("other", "deploy")
    assert not finished(receiver, old)

    # old rows are deleted, and what was delivered is not found missing for that
    wait_for(partial(all_settled, gate), "delivery")
    stored, delivered = rows(gate), len(receiver.received)
    far = copies(gate, new, [0], first=new + 5000)
    wait_for(lambda: finished(receiver, far[0]), "a much later request")
    gate.do("query", text="UPDATE autogate_outbox SET settled_at = settled_at - 15 * 86400")
    # what is not yet delivered as of that statement stays, and so do builds, of which there are few
    wait_for(lambda: rows(gate) < stored, "the old rows to be deleted")
    kept = gate.do(
        "query", text="SELECT DISTINCT event FROM autogate_outbox WHERE settled_at IS NOT NULL ORDER BY event"
    )
    assert ["started"] in kept, "what reconciliation still looks at stays"
    looks = gate.do("query", text="SELECT MAX(seen_at) FROM autogate_marks")
    wait_for(lambda: gate.do("query", text="SELECT MAX(seen_at) FROM autogate_marks") > looks, "another look")
    assert len(receiver.received) == delivered + 1, "nothing is sent again"
    assert set(told(receiver.reports()).values()) == {1}


def test_a_thousand_results_through_a_receiver_that_fails_at_random(tmp_path: Path) -> None:
    """1,000 requests end while the receiver fails half of its answers, and the master dies twice."""
    chance = random.Random(20260131)
    with Receiver(SECRET) as receiver:
        gate = Gate(tmp_path / "gate", receiver, timeout=1)
        try:
            gate.start()

            def reply(delivery: Delivery) -> Reply:
                if chance.random() < 0.5:
                    return Reply()
                # few that hang: each costs the whole timeout
                kinds = [Reply(500), Reply(503), Reply(400), Reply(instead="before"), Reply(instead="midway")] * 8
                return chance.choice([*kinds, Reply(instead="hang")])

            receiver.reply = reply
            results = [chance.choice(FINAL) for _ in range(1000)]
            # most of them without an event, so that they are found; the others as Buildbot tells of them
            requests = gate.do("end", builder="shop-lint", results=results[:60], revision=SHA)
            for first, last in ((60, 400), (400, 800), (800, 1000)):
                requests += copies(gate, requests[0], results[first:last], requests[-1] + 1)
                enough = first * 0.9
                wait_for(partial(lambda enough: len(receiver.accepted) > enough, enough), "most to arrive")
                if last < 1000:
                    gate.kill()
                    gate.start()
            built = [gate.ask(give=RESULTS[number % 3]) for number in range(20)]
            gate.wait_for_ends(built, 180)
            gate.wait_for_all(timeout=180)
        finally:
            gate.stop()
        ends = {r.request: r.result for r in receiver.reports() if r.event == "finished"}
        assert [ends[request] for request in requests] == [RESULTS[number] for number in results]
        assert len(ends) == 1020
        ids = {delivery.id: delivery.body for delivery in receiver.received}
        assert all(ids[delivery.id] == delivery.body for delivery in receiver.received), "repeats are the same"
        assert Counter(delivery.id for delivery in receiver.received).most_common(1)[0][1] > 1, "there were repeats"


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    with postgresql_server(tmp_path / "postgresql") as url:
        yield url


def test_on_postgresql(receiver: Receiver, tmp_path: Path, postgresql: str) -> None:
    gate = Gate(tmp_path / "gate", receiver, database=postgresql)
    try:
        gate.start()
        requests = [
            gate.ask(),
            gate.ask(give="retry"),
            *gate.do("end", builder="shop-lint", results=FINAL, revision=SHA),
        ]
        gate.wait_for_ends(requests)
        gate.die_at("before the insert")
        lost = gate.ask()
        assert gate.wait_until_dead() == -9
        gate.start()
        wait_for(lambda: finished(receiver, lost), "the report that never got to the outbox")
        gate.wait_for_all()
        gate.do("query", text="UPDATE autogate_outbox SET settled_at = settled_at - 15 * 86400")
        looks = gate.do("query", text="SELECT MAX(seen_at) FROM autogate_marks")
        wait_for(lambda: gate.do("query", text="SELECT MAX(seen_at) FROM autogate_marks") > looks, "another look")
        assert set(told(receiver.reports())) == gate.happened()
    finally:
        gate.stop()
    assert "Traceback" not in gate.log()
