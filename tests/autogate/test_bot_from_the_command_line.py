"""The whole bot as a process of its own, steered by `autogate` and `autogate-bot`; results are posted by hand."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from autogate import contract
from autogate.cli.local import ROOT, Process
from autogate.contract import Event, Report, Result
from tests.support.installation import AUTOGATE, SITE, Installation
from tests.support.ports import reserve_port
from tests.support.repository import Repository
from tests.support.waiting import wait_for

SECRET = "shared-with-the-master"


class Bot:
    """A bot, its repository, and somebody who may approve."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder)
        self.repository = Repository.create(folder, "shop")
        self.url = f"http://127.0.0.1:{(port := reserve_port())}"
        site = f'[site]\nurl = "http://127.0.0.1:{reserve_port()}/"\n'
        bot = f'[bot]\nurl = "{self.url}/buildbot"\nsecret = "bot_secret"\nport = {port}\n'
        self.installation.write_site(SITE.replace("[[workers]]", f"{site}{bot}[[workers]]"))
        self.installation.secret("bot_secret", SECRET)
        review = '[review]\nreviewers = ["ada"]\n'
        self.installation.write_repository("shop", f'url = "{self.repository.bare}"\npoll_interval = 3600\n{review}')
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**self.installation.places.to_environ(), "PATH": path}
        self.process = Process(ROOT / "review_bot" / "entrypoint", environment, folder / "bot.log")
        self.token = ""

    def start(self) -> None:
        self.process.start()

        def leads() -> bool:
            assert self.process.pid is not None, self.process.said()
            try:
                return self.healthz().get("role") == "leader"
            except httpx.TransportError:
                return False

        wait_for(leads, "the bot to lead")

    def healthz(self) -> dict[str, Any]:
        health: dict[str, Any] = httpx.get(f"{self.url}/healthz", timeout=60).json()
        return health

    def autogate(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.installation.run(*args, AUTOGATE_TOKEN=self.token)

    def json(self, *args: str) -> dict[str, Any]:
        done = self.autogate(*args, "--json")
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def state(self, pull: str) -> str:
        return str(self.json("show", "shop", pull)["pull"]["state"])

    def post(self, revision: str, builder: str, result: Result) -> None:
        """Report as the master does."""
        report = Report(
            delivery=uuid.uuid4(),
            event=Event.FINISHED,
            repository="shop",
            builder=f"shop-{builder}",
            kind=builder,
            branch="auto",
            revision=revision,
            request=1,
            result=result,
            summary="as the test says",
            occurred_at=datetime.now(UTC),
        )
        body, now = report.to_body(), int(time.time())
        headers = {
            "Content-Type": "application/json",
            contract.TIMESTAMP_HEADER: str(now),
            contract.DELIVERY_HEADER: str(report.delivery),
            contract.SIGNATURE_HEADER: contract.sign(SECRET, now, body),
        }
        answer = httpx.post(f"{self.url}/buildbot", content=body, headers=headers, timeout=60)
        assert answer.is_success, answer.text


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = Bot(tmp_path)
    environment = os.environ | made.installation.places.to_environ()
    program = AUTOGATE.parent / "autogate-bot"
    added = subprocess.run(
        [program, "token", "add", "ada"], env=environment, capture_output=True, text=True, check=True
    )
    made.token = added.stdout.strip()
    try:
        made.start()
        yield made
    finally:
        made.process.kill()


def test_a_topic_goes_from_a_push_to_landed_by_the_command_line_alone(bot: Bot) -> None:
    head = bot.repository.topic("fix-typo", {"README": "A project\n"})
    approved = bot.autogate("approve", "shop", "fix-typo")
    assert approved.returncode == 0, approved.stderr
    assert head in approved.stderr
    wait_for(lambda: bot.state("fix-typo") == "testing" and bot.repository.refs().get("refs/heads/auto"), "the push")
    watching = subprocess.Popen(
        [AUTOGATE, "show", "shop", "fix-typo", "--watch"],
        env=os.environ | bot.installation.places.to_environ() | {"AUTOGATE_TOKEN": bot.token},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert "testing" in watching.stdout.readline()
    candidate = bot.repository.refs()["refs/heads/auto"]
    for builder in ("lint", "test"):
        bot.post(candidate, builder, Result.SUCCESS)
    out, _err = watching.communicate(timeout=60)
    assert watching.returncode == 0, out
    assert out.splitlines()[-1].startswith("#1 landed: ")
    assert bot.repository.refs()["refs/heads/main"] == candidate
    shown = bot.autogate("show", "shop", "fix-typo")
    assert "ada: @autogate r+" in shown.stdout
    assert "attempt 1: landed" in shown.stdout
    assert bot.json("queue", "shop")["queues"][0]["total"] == 0
    assert bot.token not in bot.process.said()


def test_a_failure_is_set_aside_and_a_freeze_holds(bot: Bot) -> None:
    bot.repository.topic("bad", {"README": "Bad\n"})
    assert bot.autogate("freeze", "shop", "main", "release").returncode == 0
    assert bot.autogate("approve", "shop", "bad").returncode == 0
    assert "is frozen" in bot.json("show", "shop", "bad")["pull"]["waiting"]
    assert bot.autogate("thaw", "shop", "main").returncode == 0
    wait_for(lambda: bot.state("bad") == "testing" and bot.repository.refs().get("refs/heads/auto"), "the push")
    bot.post(bot.repository.refs()["refs/heads/auto"], "lint", Result.FAILURE)
    wait_for(lambda: bot.state("bad") == "aside", "the verdict")
    done = bot.autogate("show", "shop", "bad", "--watch")
    assert (done.returncode, "shop-lint failed" in done.stdout) == (1, True)


def test_a_bot_that_is_told_to_end_does_not_wait_for_those_who_watch(bot: Bot) -> None:
    bot.repository.topic("fix-typo", {"README": "A project\n"})
    assert bot.autogate("poke", "shop").returncode == 0
    headers = {"Authorization": f"Bearer {bot.token}"}
    queue = f"{bot.url}/api/v1/repositories/shop/queue"
    tag = httpx.get(queue, headers=headers).headers["etag"]
    watching = subprocess.Popen(
        [AUTOGATE, "queue", "shop", "--watch"],
        env=os.environ | bot.installation.places.to_environ() | {"AUTOGATE_TOKEN": bot.token},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    try:
        assert "#1 open" in watching.stdout.readline()
        bot.process.stop()
        assert bot.process.pid is None
        assert "trying again" in watching.stderr.readline()
        bot.start()
        assert httpx.get(queue, headers=headers).headers["etag"] == tag
    finally:
        watching.kill()
        watching.communicate()
