"""`kill -9` at every edge, in a story in which everything happens once: it ends as it would have ended."""

import asyncio
import multiprocessing
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from review_bot.domain.effects import Effect
from review_bot.domain.events import Event
from review_bot.store.store import Store
from tests.support import crash_story
from tests.support.repository import Repository
from tests.support.rule import assert_rule

# many rounds, not one that hangs
pytestmark = pytest.mark.timeout(1200)

PROCESSES = multiprocessing.get_context("forkserver")
# a life begins in milliseconds
PROCESSES.set_forkserver_preload([crash_story.__name__])

NO_PART_OF_IT = {
    # plain git has nothing to show a status in
    "show_status",
    # the mirror was deleted, or somebody fights the bot over the target: tests.review_bot.test_machine
    "candidate_lost",
    "landing_contradicted",
}


def both(work: str) -> tuple[str, str]:
    return f"before {work}", f"after {work}"


@dataclass(frozen=True)
class End:
    """How the story ended.

    Attributes:
        edges: Every edge that was passed, as often as it was.
        deaths: So many times the bot died.
        pulls: Topic -> what became of it.
        landed: What was merged into the target, in order.
        refs: What is left of the topics.
    """

    edges: list[str]
    deaths: int
    pulls: Mapping[str, tuple[str, ...]]
    landed: list[str]
    refs: set[str]


def tell(folder: Path, pattern: str = "", nth: int = 1) -> End:
    """Tell the story, and start the bot again whenever it dies; the rule is checked after each life."""
    real, heads = crash_story.create(folder)
    begin = real.tip("main")
    if pattern:
        (folder / "die").write_text(f"{pattern}\n{nth}\n")
    deaths = 0
    while True:
        life = PROCESSES.Process(target=crash_story.live, args=(folder, deaths))
        life.start()
        life.join()
        check(real, begin, set(heads.values()))
        if life.exitcode == 0:
            break
        assert life.exitcode == -signal.SIGKILL, (folder / "log").read_text()[-6000:]
        deaths += 1
    edges = (folder / "edges").read_text().splitlines()
    names = {head: topic for topic, head in heads.items()}
    merges = real_git(real, "log", "--first-parent", "--format=%P", f"{begin}..main").split("\n")
    landed = [names[line.split()[1]] for line in reversed(merges)]
    refs = {ref for ref in real.refs() if ref.startswith("refs/for/")}
    return End(edges, deaths, asyncio.run(pulls(folder, names)), landed, refs)


def check(real: Repository, begin: str, approved: set[str]) -> None:
    shas = set(real_git(real, "log", "--walk-reflogs", "--format=%H", "main").split())
    assert_rule(real.bare, "main", begin, approved, {sha for sha in shas if crash_story.passes(real.bare, sha)})


def real_git(real: Repository, *args: str) -> str:
    return real.git("-C", str(real.bare), *args)


async def pulls(folder: Path, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    store = await Store.open("sqlite:///bot.sqlite", folder=folder)
    found = {}
    for number in range(1, len(crash_story.TOPICS) + 1):
        pull = await store.pull_request("shop", number)
        assert pull
        approval = pull.approval
        attempts = await store.attempts_of("shop", number)
        assert not any(attempt.is_live for attempt in attempts)
        approved = (names[approval.head], approval.reviewer, approval.trace) if approval else ()
        found[pull.source] = (pull.standing.value, pull.setback.kind if pull.setback else "", *approved)
    await store.close()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> End:
    return tell(tmp_path_factory.mktemp("undisturbed"))


def kinds(union: Any) -> set[str]:
    found: set[str] = {get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(union)[0])}
    return found - NO_PART_OF_IT


def test_the_story_has_every_effect_and_every_event_and_every_end(undisturbed: End) -> None:
    edges = {edge for work in ("carry out", "done") for kind in kinds(Effect) for edge in both(f"{work} {kind}")}
    edges |= {edge for kind in kinds(Event) for edge in both(f"commit {kind}")}
    edges |= {edge for ref in ("auto", "try", "main") for edge in both(f"git push of {ref}")}
    assert edges - set(undisturbed.edges) == set()
    assert undisturbed.landed == ["good", "one", "three", "moved again", "stale again", "frozen"]
    ends = {topic.rpartition("/")[2]: end[:2] for topic, end in undisturbed.pulls.items()}
    assert ends == {
        **dict.fromkeys(["good", "one", "three", "moved", "stale", "frozen"], ("landed", "")),
        "two": ("open", "failed"),
        "conflict": ("open", "conflicted"),
        "tried": ("open", ""),
        "cancelled": ("open", "stopped"),
        "gone": ("closed", ""),
    }


@pytest.mark.parametrize("nth", [1, 2])
def test_a_bot_that_is_killed_at_every_edge_ends_where_it_would_have(
    tmp_path: Path, undisturbed: End, nth: int
) -> None:
    end = tell(tmp_path, ".*", nth)
    assert set(undisturbed.edges) <= set(end.edges)
    assert end.deaths == sum(end.edges.count(edge) >= nth for edge in set(end.edges))
    assert sorted(end.landed) == sorted(undisturbed.landed)
    assert end.pulls == undisturbed.pulls
    assert end.refs == undisturbed.refs
