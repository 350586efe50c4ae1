"""The whole way on the real thing: git over sshd, master, two workers, signed reports."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from autogate import ssh
from autogate.cli.local import LocalInstallation
from autogate.contract import Cause, Event, Report, Result
from tests.support.bot import Bot, new_bot
from tests.support.repository import Files, Repository
from tests.support.sshd import GitServer, git_server, leave_shared_connections
from tests.support.waiting import wait_for

GOOD = '"""A module."""\n\n\ndef answer():\n    """Return it."""\n    return 42\n'
BAD = "import os,sys\ndef F(X) :\n  return undefined_name\n"
TEST = """\
import unittest


class AnswerTest(unittest.TestCase):
    def test_answer(self):
        self.assertEqual({}, 42)
"""

SPY = """\
import os, unittest


class Spy(unittest.TestCase):
    def test_environment(self):
        self.fail(str(os.environ))
"""

STUCK = """\
import signal, unittest


class Stuck(unittest.TestCase):
    def test_for_ever(self):
        signal.pause()
"""

MAIN: Files = {
    "pkg/__init__.py": '"""A package."""\n',
    "pkg/legacy.py": BAD,
    "tests/__init__.py": "",
    "tests/test_answer.py": TEST.format("42"),
}

DEPLOYING = """\
url = "{url}"
poll_interval = 3600
[deploy]
command = ["sh", "-c", "echo deployed $TOKEN; env"]
secrets = {{ TOKEN = "deploy_token" }}
"""


@dataclass
class Gate:
    """A running installation and its two private repositories on one host."""

    installation: LocalInstallation
    bot: Bot
    server: GitServer
    shop: Repository
    till: Repository

    def push(self, repository: Repository, *refspecs: str) -> None:
        repository.push(*refspecs)
        self.poke(repository)

    def poke(self, repository: Repository) -> None:
        self.installation.poke("shop" if repository is self.shop else "till")

    def candidate(self, repository: Repository, files: Files, message: str = "Merge") -> str:
        """Push a candidate that brings ``files``, and return its SHA."""
        sha = repository.candidate(files, message=message)
        self.push(repository, "auto")
        return sha

    def verdicts(self, sha: str, name: str = "shop") -> tuple[Report, Report]:
        """Return what lint and test said."""
        return self.bot.verdict(sha, f"{name}-lint"), self.bot.verdict(sha, f"{name}-test")

    def get(self, path: str) -> httpx.Response:
        """Return what ``/api/v2/PATH`` answers."""
        # a master that builds on a busy machine may need more than httpx's five seconds
        return httpx.get(f"{self.installation.url}api/v2/{path}", timeout=30)

    def runs(self, report: Report, step: str) -> bool:
        """Tell whether the step of the report's last build has begun to say something."""
        steps = self.get(f"builds/{report.builds[-1].id}/steps").json()["steps"]
        ids = [each["stepid"] for each in steps if each["name"] == step]
        return any(self.get(f"steps/{stepid}/logs").json()["logs"] for stepid in ids)

    def logs(self, report: Report) -> str:
        """Return all logs of the report's last build."""
        text = ""
        for step in self.get(f"builds/{report.builds[-1].id}/steps").json()["steps"]:
            for log in self.get(f"steps/{step['stepid']}/logs").json()["logs"]:
                text += self.get(f"logs/{log['logid']}/raw").text
        return text


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    bot = new_bot()
    installation = LocalInstallation(folder / "in", bot.url, workers=2)
    installation.add_secret("deploy_token")
    repositories = {name: Repository.create(folder, name, MAIN) for name in ("shop", "till")}
    with git_server(folder / "sshd") as server, bot.listening(installation.secret("bot_secret")):
        installation.places.known_hosts.write_text(server.known_hosts_line())
        (installation.places.secrets / "keys").mkdir()
        for name, repository in repositories.items():
            path = f"/acme/{name}.git"
            key = ssh.key_path(installation.places, name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
            server.admit(key.with_suffix(".pub").read_text().strip(), path, repository.bare)
        installation.add_repository("shop", DEPLOYING.format(url=server.url("/acme/shop.git")))
        try:
            installation.start()
            gate = Gate(installation, bot, server, repositories["shop"], repositories["till"])
            gate.poke(gate.shop)
            wait_for(server.accepted, "the first poll")
            yield gate
        finally:
            installation.kill()
            for state in (installation.places.state, *(folder / "in").glob("worker-*/state")):
                leave_shared_connections(state / "ssh" / "run")


def test_a_clean_merge_passes_and_the_old_bad_file_is_not_looked_at(gate: Gate) -> None:
    sha = gate.candidate(gate.shop, {"pkg/answer.py": GOOD})
    lint, test = gate.verdicts(sha)
    assert (lint.result, test.result) == (Result.SUCCESS, Result.SUCCESS), (lint.summary, test.summary)
    assert (lint.findings, test.failed_tests) == ((), ())
    assert (lint.branch, lint.repository, lint.kind) == ("auto", "shop", "lint")
    assert "legacy" not in gate.logs(lint)


def test_a_merge_of_two_commits_lints_their_two_files_and_nothing_else(gate: Gate) -> None:
    shop = gate.shop
    shop.git("checkout", "-q", "-B", "topic", "main")
    shop.commit({"pkg/a.py": BAD})
    shop.commit({"pkg/b.py": BAD})
    sha = shop.merge(["topic"])
    gate.push(shop, "auto")
    lint, test = gate.verdicts(sha)
    assert {finding.path for finding in lint.findings} == {"pkg/a.py", "pkg/b.py"}
    assert "undefined-variable" in {finding.symbol for finding in lint.findings}
    assert (lint.result, lint.cause) == (Result.FAILURE, Cause.CHANGE)
    assert test.result is Result.SUCCESS


def test_a_failing_test_is_named_with_an_excerpt(gate: Gate) -> None:
    sha = gate.candidate(gate.shop, {"tests/test_answer.py": TEST.format("41")})
    _, test = gate.verdicts(sha)
    assert (test.result, test.cause) == (Result.FAILURE, Cause.CHANGE)
    (failed,) = test.failed_tests
    assert "test_answer" in failed.name
    assert "41 != 42" in failed.excerpt


def test_no_secret_is_in_the_environment_of_a_build(gate: Gate) -> None:
    sha = gate.candidate(gate.shop, {"tests/test_spy.py": SPY})
    _, test = gate.verdicts(sha)
    assert "AUTOGATE_WORKER" in gate.logs(test), "the spy has seen the environment"
    for name in ("worker-1", "worker-2", "bot_secret", "poke_secret", "web_admin_password", "deploy_token"):
        assert gate.installation.secret(name) not in gate.logs(test)


def test_a_target_forwarded_to_the_commit_built_on_auto_is_deployed_once(gate: Gate) -> None:
    sha = gate.candidate(gate.shop, {"pkg/deployed.py": GOOD})
    gate.verdicts(sha)
    gate.push(gate.shop, "auto:main")
    deploy = gate.bot.verdict(sha, "shop-deploy")
    assert (deploy.result, deploy.branch, deploy.kind) == (Result.SUCCESS, "main", "deploy")
    # the next candidate passes through the same poller and schedulers: by its end a second deployment would show
    gate.shop.git("branch", "-f", "main", sha)
    gate.verdicts(gate.candidate(gate.shop, {"pkg/next.py": GOOD}))
    assert len(gate.bot.finished(sha, "shop-deploy")) == 1
    assert len(gate.bot.finished(sha, "shop-lint")) == 1
    log = gate.logs(deploy)
    assert "deployed" in log
    assert gate.installation.secret("deploy_token") not in log


def test_try_builds_are_reported_as_such(gate: Gate) -> None:
    sha = gate.shop.candidate({"pkg/tried.py": GOOD})
    gate.push(gate.shop, "auto:try")
    lint, test = gate.verdicts(sha)
    assert (lint.branch, test.branch) == ("try", "try")


def test_a_newer_candidate_takes_the_place_of_an_older_one(gate: Gate) -> None:
    old = gate.candidate(gate.shop, {"tests/test_stuck.py": STUCK})
    gate.bot.verdict(old, "shop-lint")
    started = gate.bot.wait_for(
        lambda report: (report.revision, report.builder, report.event) == (old, "shop-test", Event.STARTED), "its start"
    )
    # Buildbot 4.3 logs a harmless traceback when it stops a build in the moment in which a step begins
    wait_for(lambda: gate.runs(started, "test"), "the tests to run")
    new = gate.candidate(gate.shop, {"pkg/newer.py": GOOD})
    cancelled = gate.bot.verdict(old, "shop-test")
    assert (cancelled.result, cancelled.cause) == (Result.CANCELLED, Cause.SUPERSEDED)
    assert gate.verdicts(new)[1].result is Result.SUCCESS


def test_a_requirement_that_cannot_be_installed_says_which(gate: Gate) -> None:
    toml = gate.installation.places.repositories / "shop.toml"
    before = toml.read_text()
    toml.write_text(before + '[python]\nrequirements = ["requirements.txt"]\n')
    try:
        gate.installation.reconfigure()
        sha = gate.candidate(gate.shop, {"requirements.txt": "autogate-is-no-such-package==1\n"})
        for verdict in gate.verdicts(sha):
            assert (verdict.result, verdict.cause) == (Result.FAILURE, Cause.CHANGE), verdict.summary
            assert "autogate-is-no-such-package" in verdict.summary + gate.logs(verdict)
            assert "Traceback" not in gate.logs(verdict)
    finally:
        toml.write_text(before)
        gate.installation.reconfigure()


def test_a_pylintrc_that_is_not_there_says_what_to_do(gate: Gate) -> None:
    toml = gate.installation.places.repositories / "shop.toml"
    before = toml.read_text()
    toml.write_text(before + '[lint]\npylintrc = "no/such/pylintrc"\n')
    try:
        gate.installation.reconfigure()
        lint, _ = gate.verdicts(gate.candidate(gate.shop, {"pkg/more.py": GOOD}))
        assert lint.result not in {Result.SUCCESS, Result.WARNINGS}
        assert "no/such/pylintrc" in lint.summary
        assert "Traceback" not in gate.logs(lint)
    finally:
        toml.write_text(before)
        gate.installation.reconfigure()


def test_a_second_private_repository_on_the_same_host_is_added_without_a_restart(gate: Gate) -> None:
    """Each is reached with its own key; last, because it adds a repository."""
    pids = [process.pid for process in (gate.installation.master, *gate.installation.workers)]
    gate.installation.add_repository("till", f'url = "{gate.server.url("/acme/till.git")}"\npoll_interval = 3600\n')
    gate.installation.reconfigure()
    sha = gate.candidate(gate.till, {"pkg/answer.py": GOOD})
    lint, test = gate.verdicts(sha, "till")
    assert (lint.result, test.result) == (Result.SUCCESS, Result.SUCCESS)
    assert pids == [process.pid for process in (gate.installation.master, *gate.installation.workers)]
    assert gate.verdicts(gate.candidate(gate.shop, {"pkg/again.py": GOOD}))[1].result is Result.SUCCESS


def test_with_the_others_key_a_repository_is_refused_and_the_log_says_what_to_do(gate: Gate) -> None:
    keys = gate.installation.places.secrets / "keys"
    gate.installation.add_repository("wrong", f'url = "{gate.server.url("/acme/till.git")}/"\npoll_interval = 3600\n')
    shutil.copy(keys / "shop", keys / "wrong")
    try:
        gate.installation.reconfigure()
        wait_for(lambda: "repository not found" in gate.installation.master.said().lower(), "the refusal")
        assert "deploy key" in gate.installation.master.said()
    finally:
        (gate.installation.places.repositories / "wrong.toml").unlink()
        gate.installation.reconfigure()


def test_no_secret_stands_in_any_log(gate: Gate) -> None:
    said = "".join(process.said() for process in (gate.installation.master, *gate.installation.workers))
    names = ("worker-1", "worker-2", "bot_secret", "poke_secret", "web_admin_password", "deploy_token")
    assert not [name for name in names if gate.installation.secret(name) in said]


@pytest.fixture(autouse=True)
def _no_traceback_in_the_masters_log(gate: Gate) -> Iterator[None]:
    before = len(gate.installation.master.said())
    yield
    assert "Traceback" not in gate.installation.master.said()[before:]


def test_the_reports_of_every_build_are_complete(gate: Gate) -> None:
    """Every candidate so far had a start and an end from both builders, each once."""
    deliveries = [report.delivery for report in gate.bot.reports]
    assert len(deliveries) == len(set(deliveries))
    ended = {(report.revision, report.builder) for report in gate.bot.reports if report.event is Event.FINISHED}
    started = {(report.revision, report.builder) for report in gate.bot.reports if report.event is Event.STARTED}
    assert started <= ended


def test_the_folder_holds_no_private_key_that_others_may_read(gate: Gate) -> None:
    copies: list[Path] = [*gate.installation.places.state.glob("ssh/**/keys/*")]
    assert copies
    assert all(copy.stat().st_mode & 0o077 == 0 for copy in copies)
