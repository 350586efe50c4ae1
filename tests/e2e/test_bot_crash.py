"""`kill -9` of the bot around everything that it does outside its database, on the real thing; and around its git."""

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from autogate.cli.local import ROOT, LocalInstallation, Process
from tests.support.bot_that_dies import FOLDER_VARIABLE
from tests.support.bots import Brake, shorten_lease
from tests.support.team import Team
from tests.support.waiting import wait_for

# many rounds, not one that hangs
pytestmark = pytest.mark.timeout(1200)

T = TypeVar("T")

# a build ends when the file is gone
MORE = """\
lint.enabled = false
test.command = ["sh", "-c", "while test -e {held}; do sleep 0.05; done; test ! -e bad"]
gate.ask_interval = 1
"""

EFFECTS = {
    "read_comment",
    "read_pull_request",
    "make_candidate",
    "push_candidate",
    "land",
    "ask_buildbot",
    "cancel_builds",
    "reply",
    "finalise",
}
"""All but show_status: plain git has nothing to show one in."""


@dataclass
class Place:
    """A team whose bot dies.

    Attributes:
        team: The team.
        folder: Where it is told when.
        held: As long as this file is there, no build ends.
        brake: On the bot's pushes.
    """

    team: Team
    folder: Path
    held: Path
    brake: Brake

    @property
    def bot(self) -> Process:
        """The bot."""
        assert self.team.installation.bot
        return self.team.installation.bot

    def edges(self) -> list[str]:
        """Return every edge that was passed so far."""
        path = self.folder / "edges"
        return path.read_text().splitlines() if path.exists() else []

    @contextlib.contextmanager
    def kept_alive(self) -> Iterator[list[int]]:
        """Start the bot whenever it is dead, while the block runs; gives a list to which every death is added."""
        deaths: list[int] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                if self.bot.pid is None:
                    deaths.append(len(self.edges()))
                    self.bot.start()

        keeper = threading.Thread(target=watch)
        keeper.start()
        try:
            yield deaths
        finally:
            over.set()
            keeper.join()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("bot-crash")
    held, deaths, brake = folder / "held", folder / "deaths", Brake(folder / "brake")
    deaths.mkdir()
    installation = LocalInstallation(folder / "in", workers=2)
    shorten_lease(installation, f"sqlite:///{folder / 'bot.sqlite'}", seconds=2)
    program = folder / "bot"
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tests.support.bot_that_dies run\n")
    program.chmod(0o755)
    environment = {
        **installation.environment,
        "PATH": brake.before(installation.environment["PATH"]),
        "PYTHONPATH": str(ROOT),
        FOLDER_VARIABLE: str(deaths),
    }
    installation.bot = Process(program, environment, folder / "bot.log")
    team = Team.create(folder, installation, more=MORE.format(held=held))
    try:
        installation.start()
        yield Place(team, deaths, held, brake)
    finally:
        installation.kill()


def insist(act: Callable[[], T]) -> T:
    """Do something that the bot may die of, until it has answered, as people do."""
    answers: list[T] = []

    def done() -> bool:
        # it is dead, or does not lead yet
        with contextlib.suppress(httpx.TransportError, AssertionError):
            answers.append(act())
        return bool(answers)

    wait_for(done, "the bot to answer")
    return answers[0]


def propose(team: Team, topic: str, files: dict[str, str | bytes | None] | None = None) -> int:
    team.push(topic, files or {f"{topic}.txt": topic})
    return insist(lambda: team.number(topic))


def approve(team: Team, number: int) -> None:
    insist(lambda: team.approve(number))


def until(team: Team, number: int, *states: str) -> dict[str, Any]:
    return insist(lambda: team.wait_until(number, *states))


def merged(team: Team) -> list[str]:
    """Return the heads that were ever merged into the target."""
    parents = team.repository.git("-C", str(team.repository.bare), "log", "--first-parent", "--format=%P", "main")
    return [line.split()[1] for line in parents.splitlines() if " " in line]


def test_the_bot_is_killed_before_and_after_everything_it_does(place: Place) -> None:
    team = place.team
    (place.folder / "die").write_text("(before|after) (carry out|git push of) .*\n1\n")
    with place.kept_alive() as deaths:
        numbers = tell(place)
        # it is told to Buildbot when the rest of the story is over
        wait_for(lambda: "after carry out cancel_builds" in place.edges(), "the builds to be cancelled")
    (place.folder / "die").unlink()
    edges = {edge for edge in place.edges() if "carry out" in edge or "git push of" in edge}
    wanted = {f"{when} carry out {kind}" for kind in EFFECTS for when in ("before", "after")}
    wanted |= {f"{when} git push of {ref}" for ref in ("auto", "try", "main") for when in ("before", "after")}
    assert wanted - edges == set()
    assert len(deaths) == len(edges)
    landed = merged(team)
    assert len(landed) == len(set(landed)) == 4
    assert [team.show(numbers[topic])["approved_by"] for topic in ("two", "conflict", "cancelled")] == ["ada"] * 3
    assert team.show(numbers["tried"])["state"] == "open"
    for topic in ("good", "one", "three", "moved"):
        assert team.ref(f"refs/for/main/{topic}") is None
    team.check()


def tell(place: Place) -> dict[str, int]:
    """Let everything happen once, and return topic -> number."""
    team = place.team
    numbers = {"good": propose(team, "good")}
    approve(team, numbers["good"])
    until(team, numbers["good"], "landed")

    with paused(team):
        for topic in ("one", "two", "three"):
            numbers[topic] = propose(team, topic, {"bad": "yes"} if topic == "two" else None)
            approve(team, numbers[topic])
    for topic in ("one", "three"):
        until(team, numbers[topic], "landed")
    until(team, numbers["two"], "aside")
    team.check()

    conflict = numbers["conflict"] = propose(team, "conflict", {"README": "mine"})
    team.human_pushes({"README": "theirs"})
    approve(team, conflict)
    until(team, conflict, "aside")

    tried = numbers["tried"] = propose(team, "tried")
    insist(lambda: team.say(tried, "@autogate try"))
    wait_for(lambda: "green" in insist(lambda: stages(team, tried)), "a green try")

    place.held.touch()
    cancelled = numbers["cancelled"] = propose(team, "cancelled")
    approve(team, cancelled)
    # else there may be nothing that could be cancelled
    wait_for(lambda: insist(lambda: builds(team, cancelled)), "a build")
    insist(lambda: team.say(cancelled, "@autogate cancel"))
    until(team, cancelled, "aside")
    place.held.unlink()

    with paused(team):
        moved = numbers["moved"] = propose(team, "moved")
        approve(team, moved)
        # it is seen only when it is to be merged
        head = team.push("moved", {"moved.txt": "again"})
    wait_for(lambda: insist(lambda: team.show(moved))["head"] == head, "the push to be noticed")
    approve(team, moved)
    until(team, moved, "landed")
    return numbers


@contextlib.contextmanager
def paused(team: Team) -> Iterator[None]:
    """Let what happens while the block runs happen at once."""
    insist(lambda: team.ask("POST", "pause", json={"reason": "so that they meet"}))
    yield
    insist(lambda: team.ask("POST", "resume", json={}))


def builds(team: Team, number: int) -> list[str]:
    attempts = team.detail(number)["attempts"]
    return [builder["url"] for attempt in attempts for builder in attempt["builders"] if builder["url"]]


def stages(team: Team, number: int) -> list[str]:
    return [attempt["stage"] for attempt in team.detail(number)["attempts"]]


@pytest.mark.parametrize("all_at_once", [False, True], ids=["the bot alone", "the bot and its git"])
@pytest.mark.parametrize("ref", ["refs/heads/auto", "refs/heads/main"])
def test_the_bot_is_killed_in_the_middle_of_a_push(place: Place, ref: str, all_at_once: bool) -> None:
    team = place.team
    topic = f"push-{ref.rpartition('/')[2]}-{all_at_once}"
    with place.kept_alive():
        number = propose(team, topic)
        place.brake.hold(ref)
        approve(team, number)
        lives = place.bot.said().count("this process leads")
        push = place.brake.wait_until_held()
        os.kill(place.bot.pid or 0, signal.SIGKILL)
        if all_at_once:
            os.killpg(push.pid, signal.SIGKILL)
        # else it outlives the bot, and the next one waits for it
        wait_for(lambda: place.bot.said().count("this process leads") > lives, "the next one")
        place.brake.release()
        until(team, number, "landed")
    assert merged(team).count(team.show(number)["head"]) == 1
    team.check()
