"""`autogate demo` on the real thing, and that it would notice a wrong verdict."""

import signal
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from autogate.cli.demo import as_it_should
from autogate.cli.demoshop import CANDIDATES, Candidate
from autogate.contract import Event, Report, Result
from autogate.names import Kind
from tests.support.processes import BIN
from tests.support.waiting import wait_for


def report(kind: Kind, result: Result) -> Report:
    return Report(
        delivery=uuid.uuid4(),
        event=Event.FINISHED,
        repository="shop",
        builder=f"shop-{kind}",
        kind=kind.value,
        branch="auto",
        revision="0" * 40,
        request=1,
        result=result,
        occurred_at=datetime.now(UTC),
    )


def processes_below(folder: Path) -> list[psutil.Process]:
    running = psutil.process_iter(["cwd"])
    return [process for process in running if (process.info["cwd"] or "").startswith(str(folder))]


def test_all_four_candidates_are_judged_as_they_should_be_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [BIN / "autogate", "demo", "--folder", folder], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("undefined-variable", "AssertionError: 2 != 3", "a syntax error", "was never closed"):
        assert words in done.stdout
    assert "legacy" not in done.stdout
    assert "\x1b" not in done.stdout
    assert not processes_below(folder)


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "autogate", "demo", "--folder", tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "already" in done.stderr


def test_a_demo_that_is_stopped_takes_its_children_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo = subprocess.Popen([BIN / "autogate", "demo", "--folder", folder], stderr=subprocess.DEVNULL)
    wait_for(lambda: processes_below(folder), "a process of the demo")
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(90) != 0
    assert not processes_below(folder)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.title)
@pytest.mark.parametrize("kind", [Kind.LINT, Kind.TEST])
@pytest.mark.parametrize("result", Result)
def test_any_other_verdict_is_noticed(candidate: Candidate, kind: Kind, result: Result) -> None:
    reported = {each: report(each, expected) for each, expected in candidate.expected.items()}
    reported[kind] = report(kind, result)
    assert as_it_should(candidate, reported) == (result is candidate.expected[kind])
