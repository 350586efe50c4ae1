"""Every case on the gate's poller, and on Buildbot's own to show that the cases bite."""

import unittest
import warnings

from tests.master.poller_cases import PollerCases
from tests.master.polling import AutogateHarness, StockHarness

STOCK_FAILS = {
    "test_batch_of_five_merges_is_one_change": "a change for every merge",
    "test_branch_is_deleted_between_ls_remote_and_fetch": "the deleted branch keeps the others back",
    "test_branch_is_newly_configured": "a target fast-forwarded to a known commit gives no change",
    "test_builds_are_requested_when_the_master_died_before_a_scheduler_heard": "never built",
    "test_fields_of_a_change": "a second change, for what the merge brings from the target",
    "test_first_auto_ever_is_there_at_the_first_poll": "the first poll makes no change",
    "test_repository_without_a_branch_at_the_first_poll": "the first branch ever gives no change",
    "test_state_cannot_be_saved": "doubled",
    "test_target_is_fast_forwarded_to_what_was_built_on_auto": "no change",
    "test_target_moves_by_a_batch": "a change for every commit",
    "test_trouble_with_one_branch": "lost",
    "test_unreachable_for_ten_polls": "a traceback at every poll",
}
"""Case -> what Buildbot's own poller does there, as its documentation has it configured by default."""

STOCK_MAY_FAIL = {
    "test_reconfigure_in_mid_poll": "both pushes are lost, unless its poll ends before the reconfiguration stops it",
}
"""A race inside Buildbot's own poller, which a slow machine decides the other way."""

STOCK_FAILS_WITH_EVERY_PUSH = {
    "test_auto_is_reset_to_the_target": "the reset gives a change",
    "test_auto_stands_at_the_target_when_the_target_moves": "both resets give a change",
}
"""The same with ``buildPushesWithNoCommits=True``, which deploying a tested commit would need."""


class TestAutogatePoller(AutogateHarness, PollerCases):
    """Every case, on the poller of the gate."""

    __test__ = True


class StockCases(StockHarness, PollerCases):
    """Every case, on Buildbot's own poller."""

    __test__ = False


class StockCasesWithEveryPush(StockCases):
    """The same, told to make a change also where a push brings no new commit."""

    every_push = True


def run(suite: unittest.TestSuite) -> dict[str, str]:
    """Run the cases and return the failed ones, each with its traceback."""
    result = unittest.TestResult()
    with warnings.catch_warnings():
        # Buildbot's own deprecation warnings would count as errors.
        warnings.simplefilter("ignore")
        suite.run(result)
    return {case.id().rpartition(".")[2]: why for case, why in result.failures + result.errors}


def test_the_cases_bite() -> None:
    """Buildbot's own poller fails exactly the listed cases."""
    failed = run(unittest.defaultTestLoader.loadTestsFromTestCase(StockCases))
    decided = failed.keys() - STOCK_MAY_FAIL.keys()
    assert decided == STOCK_FAILS.keys(), "".join(failed[case] for case in decided - STOCK_FAILS.keys())


def test_the_cases_bite_also_with_every_push() -> None:
    """Telling it to build every push mends the fast-forward and breaks the reset."""
    cases = ["test_target_is_fast_forwarded_to_what_was_built_on_auto", *STOCK_FAILS_WITH_EVERY_PUSH]
    failed = run(unittest.TestSuite(map(StockCasesWithEveryPush, cases)))
    assert set(failed) == set(STOCK_FAILS_WITH_EVERY_PUSH), failed
