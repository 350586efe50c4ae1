"""What the bot's database takes with 10,000 open pull requests and 1,000,000 events in it.

Ours is SQLite, the peer PostgreSQL, on the same disk. Both wait for it at each of a decision's two commits that must
outlive a power cut; the last row says how long one such wait is. Each is measured in a process of its own.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

from bench.table import Row, publish
from review_bot.domain.answers import Pong
from review_bot.domain.decide import decide
from review_bot.domain.effects import ReadComment, Reply
from review_bot.domain.events import (
    Comment,
    CommentHinted,
    CommentRead,
    Configured,
    PullRequestSeen,
    Snapshot,
    TargetSeen,
)
from review_bot.domain.model import Policy, PullRequest, Repository, State
from review_bot.metrics import Metrics
from review_bot.store.lease import Lease
from review_bot.store.schema import EVENTS, Moment
from review_bot.store.store import Store
from review_bot.web.app import make_app
from tests.support.botsite import SmallDesk
from tests.support.postgresql import postgresql_server

PULLS = 10_000
EVENTS_TOTAL = 1_000_000
DECISIONS = 500
ENTRIES = 50
PAGES = 60
NAME = "bench"
NOW = datetime.now(UTC)

FILL = """\
WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :total)
INSERT INTO events (repository, kind, key, trace, number, at, body, processed_at)
SELECT :name, 'comment_hinted', 'old-' || n, 'trace-' || n, 1 + n % :pulls, :at, :body, :at FROM series
"""


def pull(number: int) -> PullRequest:
    """Return an open pull request of a usual size."""
    return PullRequest(
        number=number,
        source=f"refs/for/main/topic-{number}",
        target="main",
        head=f"{number:040x}",
        head_since=NOW,
        title=f"Make the thing number {number} a little better than it was before",
        author="somebody",
        author_is_login=True,
        url=f"https://git.example.com/owner/repository/pulls/{number}",
        read_at=NOW,
        opened_at=NOW,
    )


def comment(number: int, turn: int) -> Comment:
    """Return an approval."""
    return Comment(id=f"c{turn}", number=number, author="ann", body="@autogate r+", written_at=NOW)


async def fill(url: str, folder: Path) -> None:
    """Make the database."""
    store = await Store.open(url, folder=folder)
    lease = Lease(store, "bot", "fill", timedelta(hours=1))
    await lease.acquire(NOW)
    policy = Policy(targets=("main",), required_builders=("bench-test",), reviewers=frozenset({"ann"}), batch_max=8)
    state = State(Repository(name=NAME))
    for event in (Configured(at=NOW, policy=policy), TargetSeen(at=NOW, target="main", tip="f" * 40, read_at=NOW)):
        await store.append(NAME, event, trace="fill")
        stored = await store.next_event(NAME)
        assert stored is not None
        after = decide(state, event).state
        if isinstance(event, TargetSeen):
            after = State(after.repository, {number: pull(number) for number in range(1, PULLS + 1)})
        await store.commit(lease.fence, stored, state, after, (), NOW)
        state = after
    values = {"total": EVENTS_TOTAL, "name": NAME, "pulls": PULLS, "at": NOW}
    body = CommentHinted(at=NOW, comment=comment(1, 0)).model_dump_json()
    types: list[sa.BindParameter[Any]] = [
        sa.bindparam("name", type_=sa.Text),
        sa.bindparam("at", type_=Moment),
        sa.bindparam("body", type_=sa.Text),
    ]
    fast = sa.text(FILL).bindparams(*types)
    await store.write(lambda connection: connection.execute(fast, values | {"body": body}))
    await store.write(lambda connection: connection.exec_driver_sql("ANALYZE"))
    await lease.release()
    await store.close()


async def measure(url: str, folder: Path) -> dict[str, list[float]]:
    """Return seconds (and MiB) by figure."""
    begin = time.perf_counter()
    store = await Store.open(url, folder=folder)
    state = await store.load(NAME)
    taken: dict[str, list[float]] = {"start": [time.perf_counter() - begin]}
    taken["memory"] = [psutil.Process().memory_info().rss / 2**20]
    assert len(state.pulls) == PULLS
    lease = Lease(store, "bot", "measure", timedelta(hours=1))
    assert await lease.acquire(NOW)
    numbers = random.Random(1).sample(range(1, PULLS + 1), 2 * DECISIONS)
    taken["database"], taken["decision"] = [], []
    for turn, number in enumerate(numbers):
        known = state.pulls[number]
        snapshot = Snapshot(
            number=number, source=known.source, target="main", head=known.head, head_since=NOW, read_at=NOW
        )
        event = CommentRead(at=NOW, comment=comment(number, turn), may_write=True, snapshot=snapshot)
        real = turn % 2 == 0
        begin = time.perf_counter()
        await store.append(NAME, event, key=f"c{turn}", trace=f"t{turn}")
        stored = await store.next_event(NAME)
        assert stored is not None
        if real:
            decision = decide(state, stored.event, stored.trace)
            after, settled, effects = decision.state, decision.settled, decision.effects
        else:
            after = settled = state.with_pull(known.model_copy(update={"priority": turn}))
            effects = (
                ReadComment(comment=event.comment),
                Reply(number=number, to="ann", comment=event.comment.id, answer=Pong()),
            )
        await store.commit(lease.fence, stored, state, after, effects, NOW)
        state = settled
        (due,) = await store.due_effects(NAME, NOW)
        await store.effect_done(lease.fence, due, None, NOW)
        taken["decision" if real else "database"].append(time.perf_counter() - begin)
        assert not real or state.pulls[number].approval
    taken["timeline"] = []
    for number in numbers[:100]:
        begin = time.perf_counter()
        happenings = await store.timeline(NAME, number, ENTRIES)
        taken["timeline"].append(time.perf_counter() - begin)
        assert len(happenings) == ENTRIES
    await lease.release()
    taken["queue"] = await queue(store)
    count = sa.select(sa.func.count()).select_from(EVENTS)
    assert await store.read(lambda connection: connection.execute(count).scalar_one()) > EVENTS_TOTAL
    await store.close()
    return taken


async def queue(store: Store) -> list[float]:
    """Return how long the API takes for the first page of the queue, each time after something has changed."""
    desk = SmallDesk(store, {NAME: Policy(targets=("main",), required_builders=("bench-test",))})
    await desk.open()
    headers = {"Authorization": f"Bearer {await store.add_token('bench')}"}
    transport = httpx.ASGITransport(make_app(desk, store, Metrics()))
    taken = []
    async with httpx.AsyncClient(transport=transport, base_url="http://bot", headers=headers) as client:
        for turn in range(PAGES):
            known = pull(turn + 1)
            changed = Snapshot(
                number=known.number,
                source=known.source,
                target="main",
                head=known.head,
                head_since=NOW,
                title=f"Turn {turn}",
                read_at=desk.now(),
            )
            await desk.tell(NAME, PullRequestSeen(at=desk.now(), snapshot=changed))
            begin = time.perf_counter()
            answer = await client.get(f"/api/v1/repositories/{NAME}/queue")
            taken.append(time.perf_counter() - begin)
            assert answer.json()["total"] == PULLS, answer.text[:500]
    return taken


def disk(folder: Path) -> float:
    """Return the median of how long the disk takes to keep 4 KiB, in milliseconds."""
    taken = []
    with (folder / "disk").open("wb", buffering=0) as file:
        for _ in range(200):
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begin)
    return 1000 * statistics.median(taken)


def measured(url: str, folder: Path) -> dict[str, list[float]]:
    """Fill a database here, and measure it in a process of its own."""
    asyncio.run(fill(url, folder))
    command = [sys.executable, "-m", "bench.store", url, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    taken: dict[str, list[float]] = json.loads(done.stdout)
    return taken


def p95(values: list[float]) -> float:
    """Return what 95 of 100 stay below."""
    return statistics.quantiles(values, n=20)[-1]


Figure = tuple[str, str, Callable[[list[float]], float], float, str, float | None]

FIGURES: tuple[Figure, ...] = (
    ("start: open and load", "start", max, 1, "s", 3),
    ("decision, with `decide`: median", "decision", statistics.median, 1000, "ms", 5),
    ("decision, with `decide`: p95", "decision", p95, 1000, "ms", None),
    ("decision, database only: median", "database", statistics.median, 1000, "ms", 5),
    ("decision, database only: p95", "database", p95, 1000, "ms", None),
    ("queue from the API, a page of 200: median", "queue", statistics.median, 1000, "ms", 100),
    ("queue from the API, a page of 200: p95", "queue", p95, 1000, "ms", None),
    ("timeline, 50 of 100 entries: median", "timeline", statistics.median, 1000, "ms", None),
    ("timeline, 50 of 100 entries: p95", "timeline", p95, 1000, "ms", None),
    ("memory after the start", "memory", max, 1, "MiB", None),
)


def main() -> None:
    """Measure, print and write; with a url and a folder, measure what is there."""
    if arguments := sys.argv[1:]:
        json.dump(asyncio.run(measure(arguments[0], Path(arguments[1]))), sys.stdout)
        return
    with tempfile.TemporaryDirectory(prefix="autogate-bench-") as name:
        folder = Path(name)
        waits = [disk(folder)]
        ours = measured("sqlite:///bot.sqlite", folder)
        with postgresql_server(folder / "postgresql", durable=True) as url:
            peer = measured(url, folder)
        waits.append(disk(folder))
    rows = []
    for figure, key, summary, factor, unit, limit in FIGURES:
        a, b = factor * summary(ours[key]), factor * summary(peer[key])
        target, holds = ("", None) if limit is None else (f"<= {limit:g}", a <= limit)
        rows.append(Row(figure, a, b, b / a, unit, target, holds))
    rows.append(Row("one wait for the disk: median", statistics.mean(waits), None, None, "ms", "", None))
    publish("store", rows)


if __name__ == "__main__":
    main()
