"""A repository's results are signed with its own secret, where it has one."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.gate import SECRET, Gate
from tests.support.receiver import Delivery, Receiver, Reply
from tests.support.waiting import wait_for

OWN = "only-the-tills-secret"
BUILDERS = {"shop-test": ("shop", "test"), "shop-lint": ("till", "lint")}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def ends(receiver: Receiver, request: int) -> list[Delivery]:
    return [d for d in list(receiver.received) if (d.report.request, d.report.event) == (request, "finished")]


def test_each_repository_is_signed_for_with_its_own_secret_and_a_new_one_counts_at_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    gate = Gate(tmp_path / "gate", receiver, builders=BUILDERS, secrets={"till": OWN})
    gate.start()
    try:
        shop, till = gate.ask("shop-test"), gate.ask("shop-lint")
        for request, secret in ((shop, SECRET), (till, OWN)):
            wait_for(partial(ends, receiver, request), "the verdict")[0].verify(secret)
        receiver.reply = lambda _: Reply(503)
        waits = gate.ask("shop-lint")
        wait_for(lambda: any(delivery.report.request == waits for delivery in list(receiver.received)), "a try")
        gate.tell(secrets={"till": "a new one"})
        gate.reconfigure()
        receiver.reply = lambda _: Reply()
        [accepted] = wait_for(lambda: [d for d in ends(receiver, waits) if d in receiver.accepted], "the report")
        accepted.verify("a new one")
    finally:
        gate.stop()
    assert OWN not in gate.log()
