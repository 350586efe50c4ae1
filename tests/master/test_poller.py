"""The poller on real git and real masters in this process."""

import unittest
import warnings
from typing import Any

from buildbot.changes.gitpoller import GitPoller

from master.poller import AutogatePoller
from tests.master.poller_cases import PollerCases


class TestAutogatePoller(PollerCases):
    """Every case, on the poller of the gate."""

    __test__ = True

    def make_poller(self, url: str, name: str = "project-poller", **options: Any) -> GitPoller:
        targets, candidates = options.pop("branches", [["main"], ["auto", "try"]])
        options.pop("others", None)
        options = {"pollInterval": 3600} | options
        return AutogatePoller(url, name=name, project="project", targets=targets, candidates=candidates, **options)


class StockCases(PollerCases):
    """Every case, on Buildbot's own poller."""

    def make_poller(self, url: str, name: str = "project-poller", **options: Any) -> GitPoller:
        targets, candidates = options.pop("branches", [["main"], ["auto", "try"]])
        options.pop("others", None)
        options = {"pollInterval": 3600} | options
        return GitPoller(
            url,
            name=name,
            project="project",
            branches=[*candidates, *targets],
            workdir=f"{name}-work",
            pollAtLaunch=True,
            **options,
        )


STOCK_FAILS: set[str] = set()


def test_the_cases_bite() -> None:
    """Buildbot's own poller fails exactly the listed cases."""
    result = unittest.TestResult()
    with warnings.catch_warnings():
        # Buildbot's own deprecation warnings would count as errors.
        warnings.simplefilter("ignore")
        unittest.defaultTestLoader.loadTestsFromTestCase(StockCases).run(result)
    failed = {case.id().rpartition(".")[2]: why for case, why in result.failures + result.errors}
    for case in sorted(failed.keys() - STOCK_FAILS):
        print(case, failed[case])
    assert set(failed) == STOCK_FAILS
