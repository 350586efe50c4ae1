"""The master dies at every point between a build's begin and the note that its report arrived: nothing is lost."""

from collections.abc import Iterator

import pytest

from autogate.contract import Result
from tests.support.gate import SECRET, Gate, finished
from tests.support.receiver import Delivery, Receiver
from tests.support.waiting import wait_for

POINTS = (
    "after the build began",
    "after the build ended",
    "before the request ends",
    "after the request ended",
    "before the insert",
    "after the insert",
    "before the post",
    "after the post",
    "before the note of delivery",
    "after the note of delivery",
)
NO_REPEAT = {"before the insert", "after the insert", "before the post", "after the note of delivery"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def gate(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path_factory.mktemp("crash") / "gate", receiver)
    gate.start()
    yield gate
    gate.stop()


@pytest.mark.parametrize("point", POINTS)
def test_no_event_is_lost_when_the_master_dies(gate: Gate, receiver: Receiver, point: str) -> None:
    # reports on the start would pass the points of the post too early
    held = "post" in point or "note" in point
    request = gate.ask(hold=point) if held else 0
    if held:
        wait_for(lambda: any(report.request == request for report in receiver.reports()), "the report of the start")
        wait_for(
            lambda: not gate.do("query", text="SELECT 1 FROM autogate_outbox WHERE settled_at IS NULL"), "the note"
        )
    gate.die_at(point)
    if held:
        (gate.folder / point).touch()
    else:
        request = gate.ask()
    assert gate.wait_until_dead() == -9
    gate.start()
    wait_for(lambda: finished(receiver, request), f"the report that request {request} ended")
    gate.wait_for_all()
    report = finished(receiver, request)
    assert report is not None
    assert report.result is Result.SUCCESS

    def ends() -> list[Delivery]:
        return [delivery for delivery in list(receiver.received) if delivery.report == report]

    if point in {"after the post", "before the note of delivery"}:
        wait_for(lambda: len(ends()) > 1, "the repeat of a post that is not known to have arrived")
        assert len(ends()) == 2
    bodies: dict[str, set[bytes]] = {}
    for delivery in receiver.received:
        bodies.setdefault(delivery.id, set()).add(delivery.body)
    assert len(bodies) == len(gate.happened()), "a repeat has the delivery id of what it repeats"
    assert all(len(same) == 1 for same in bodies.values()), "a repeat is the same, byte for byte"
    if point in NO_REPEAT:
        assert len(ends()) == 1
