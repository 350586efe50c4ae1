"""`autogate demo` on the real thing, and that it would notice a wrong verdict."""

import signal
import subprocess
from pathlib import Path
from typing import get_args

import psutil
import pytest

from autogate.botapi import PullRequest, PullState
from autogate.cli.demo import as_it_should
from autogate.cli.demoshop import TOPICS, Topic
from tests.support.processes import BIN
from tests.support.waiting import wait_for

# many rounds, not one that hangs
pytestmark = pytest.mark.timeout(1200)


def processes_below(folder: Path) -> list[psutil.Process]:
    running = psutil.process_iter(["cwd"])
    return [process for process in running if (process.info["cwd"] or "").startswith(str(folder))]


def test_all_seven_changes_end_as_they_should_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [BIN / "autogate", "demo", "--folder", folder], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("undefined-variable", "AssertionError: 3 != 2", "but not together with", "Conflicts with main"):
        assert words in done.stdout
    assert done.stdout.count("Merge #") == 3
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


def pull(state: PullState, waiting: str) -> PullRequest:
    return PullRequest(
        number=1,
        title="A change",
        author="ada",
        target="main",
        head="0" * 40,
        source="refs/for/main/x",
        topic="x",
        state=state,
        waiting=waiting,
    )


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
@pytest.mark.parametrize("state", get_args(PullState))
def test_any_other_end_is_noticed(topic: Topic, state: PullState) -> None:
    assert as_it_should(topic, pull(state, f"... {topic.told} ...")) == (
        state == ("landed" if topic.lands else "aside")
    )


def test_the_right_end_for_the_wrong_reason_is_noticed() -> None:
    for topic in TOPICS:
        assert not as_it_should(topic, pull("aside", "the disk is full"))
