"""A receiver that fails in every way a bot can: each report arrives all the same."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from master.reporting.reporter import AutogateReporter
from tests.support.gate import BUILDERS, SECRET, Gate, finished, told
from tests.support.receiver import Delivery, Receiver, Reply
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(SECRET).start()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="module")
def gate(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path_factory.mktemp("delivery") / "gate", receiver)
    gate.start()
    yield gate
    gate.stop()
    assert SECRET not in gate.log()


def test_a_receiver_that_is_down_gets_all_when_it_is_back(gate: Gate, receiver: Receiver) -> None:
    receiver.stop()
    before = gate.tries()
    requests = [gate.ask(builder) for builder in BUILDERS]
    wait_for(lambda: gate.tries() > before + 5, "some refused tries")
    assert not any(finished(receiver, request) for request in requests)
    receiver.start()
    gate.wait_for_all()
    assert gate.log().count("autogate: no connection (ConnectionRefusedError)") == 1, "trouble is logged once"
    wait_for(lambda: "autogate: deliveries arrive again" in gate.log(), "the end of the trouble in the log")


def once_each(reply: Reply) -> Callable[[Delivery], Reply]:
    """Fail each delivery's first two tries."""
    tries: Counter[str] = Counter()

    def answer(delivery: Delivery) -> Reply:
        tries[delivery.id] += 1
        return reply if tries[delivery.id] <= 2 else Reply()

    return answer


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(instead="midway"),
        Reply(instead="before"),
        Reply(503, {"Retry-After": "0"}),
        Reply(408),
        Reply(400),
        Reply(302, {"Location": "http://127.0.0.1:1/"}),
    ],
    ids=lambda reply: reply.instead or str(reply.status),
)
def test_a_failed_try_is_repeated(gate: Gate, receiver: Receiver, reply: Reply) -> None:
    receiver.reply = once_each(reply)
    try:
        request = gate.ask()
        wait_for(lambda: finished(receiver, request), "the report")
        gate.wait_for_all()
    finally:
        receiver.reply = lambda _: Reply()
    tries = Counter(delivery.id for delivery in receiver.received if delivery.report.request == request)
    assert set(tries.values()) == {3}
    assert told(receiver.reports())["finished", request] == 1


def test_a_try_without_an_answer_is_given_up_and_repeated(gate: Gate, receiver: Receiver) -> None:
    # so short a timeout that on a busy machine others than the tries that hang may reach it
    gate.tell(timeout=1)
    gate.reconfigure()
    receiver.reply = once_each(Reply(instead="hang"))
    try:
        request = gate.ask()
        gate.wait_for_ends([request])
        gate.wait_for_all()
    finally:
        receiver.reply = lambda _: Reply()
        gate.tell(timeout=30)
        gate.reconfigure()
    tries = Counter(delivery.id for delivery in receiver.received if delivery.report.request == request)
    assert min(tries.values()) >= 3
    assert "autogate: no complete answer within 1 s" in gate.log()


def test_a_report_that_always_fails_holds_up_no_other(gate: Gate, receiver: Receiver) -> None:
    poisoned = gate.ask(hold="poison")
    receiver.reply = lambda delivery: Reply(500 if delivery.report.request == poisoned else 200)
    try:
        (gate.folder / "poison").touch()
        for _ in range(3):
            request = gate.ask()
            wait_for(partial(finished, receiver, request), "the report on another request")
        # patience has an end: the start of the poisoned request does not hold up its end for ever
        wait_for(
            lambda: any(
                delivery.report.request == poisoned and delivery.report.event == "finished"
                for delivery in list(receiver.received)
            ),
            "a try of the poisoned request's end",
        )
        assert finished(receiver, poisoned) is None
    finally:
        receiver.reply = lambda _: Reply()
    gate.wait_for_all()


def test_the_start_is_told_before_the_end(gate: Gate, receiver: Receiver) -> None:
    tries: Counter[str] = Counter()

    def reply(delivery: Delivery) -> Reply:
        tries[delivery.id] += 1
        return Reply(500 if delivery.report.event == "started" and tries[delivery.id] <= 2 else 200)

    receiver.reply = reply
    try:
        requests = [gate.ask(builder) for builder in BUILDERS for _ in range(3)]
        gate.wait_for_ends(requests)
    finally:
        receiver.reply = lambda _: Reply()
    for request in requests:
        assert [r.event.value for r in receiver.reports() if r.request == request][-1] == "finished"
        assert sum(r.request == request for r in receiver.reports()) in {1, 2}, "an unbuilt request never started"


def test_a_wrong_secret_is_refused_and_can_be_put_right(gate: Gate, receiver: Receiver) -> None:
    gate.tell(secret="another-secret-that-must-not-be-logged")
    gate.reconfigure()
    accepted = len(receiver.accepted)
    seen = len(receiver.received)
    request = gate.ask()
    wait_for(lambda: len(receiver.received) > seen + 3, "some refused tries")
    assert len(receiver.accepted) == accepted
    assert "do master and bot have the same secret?" in gate.log()
    gate.tell(secret=SECRET)
    gate.reconfigure()
    wait_for(lambda: finished(receiver, request), "the report with the right secret")
    gate.wait_for_all()
    assert gate.log().count("autogate: it answers 401") == 1, "trouble is logged once"
    assert "another-secret" not in gate.log()


def test_what_waits_outlives_a_restart(gate: Gate, receiver: Receiver) -> None:
    receiver.stop()
    before = gate.tries()
    request = gate.ask()
    wait_for(lambda: gate.tries() > before, "a refused try")
    wait_for(lambda: gate.complete(request), "the end of the request")
    gate.stop()
    receiver.start()
    gate.start()
    wait_for(lambda: finished(receiver, request), "the report")
    gate.wait_for_all()


def test_a_reconfiguration_that_fails_does_not_log_the_secret() -> None:
    reporter = AutogateReporter(url="http://127.0.0.1/", secret=SECRET, builders={})
    assert SECRET not in repr(reporter.getConfigDict())
    assert SECRET not in repr(reporter)
