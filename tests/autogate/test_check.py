"""`autogate check`: all right on a real installation, and each thing that is broken on purpose gets its cure."""

import asyncio
import contextlib
import json
import os
import pty
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from autogate import ssh
from autogate.cli import app, deploykeys, doctor
from autogate.cli import check as checking
from autogate.cli.doctor import Progress, Row, Scope, Status, examine
from autogate.cli.local import free_port
from autogate.cli.receiver import Receiver
from autogate.git import Git
from autogate.ssh import Role
from review_bot.store.errors import StoreError
from tests.support.botsite import BotSite, bot_site
from tests.support.installation import AUTOGATE, SITE, Installation
from tests.support.repository import Repository
from tests.support.sshd import GitServer, leave_shared_connections

USERS = '[web]\nusers = { bot = "bot_password" }\nadmins = ["bot"]\n'
TOOLS = ("git", "ssh", "ssh-keygen", "ssh-keyscan", "uv", "python3")


@dataclass
class Whole:
    """An installation in which everything is right, with everything running that it needs."""

    installation: Installation
    server: GitServer
    repository: Repository
    bot: BotSite
    tools: Path

    def examine(self, scope: Scope | None = None) -> dict[str, Row]:
        rows = asyncio.run(examine(self.installation.places, scope or Scope(), Progress()))
        assert len({row.what for row in rows}) == len(rows)
        return {row.what: row for row in rows}

    def site(self, extra: str = "") -> None:
        self.installation.write_site(
            f'{SITE}[bot]\nurl = "{self.bot.url}/buildbot"\nsecret = "shared"\nuser = "bot"\n'
            f'[site]\nurl = "{self.bot.url}"\n{extra or USERS}'
        )

    def shop(self, extra: str = "", review: str = '[review]\nreviewers = ["ada"]\n') -> None:
        url = self.server.url("/o/shop.git")
        self.installation.write_repository("shop", f'url = "{url}"\n{extra}\n{review}')

    @property
    def key(self) -> Path:
        return ssh.key_path(self.installation.places, "shop")

    @property
    def write_key(self) -> Path:
        return ssh.key_path(self.installation.places, "shop", Role.WRITE)

    def admit(self, *roles: Role, write: bool = True) -> None:
        """Let only these keys of the repository in."""
        self.server.dismiss_all()
        for role in roles:
            key = deploykeys.read(self.installation.places, "shop", role)
            self.server.admit(key.public, "/o/shop.git", self.repository.bare, write=write and role is Role.WRITE)


@pytest.fixture
def whole(
    installation: Installation,
    server: GitServer,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Whole]:
    repository = Repository.create(tmp_path, "shop")
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in TOOLS:
        found = shutil.which(program, path=f"{AUTOGATE.parent}:{os.environ['PATH']}")
        assert found, program
        (tools / program).symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))
    with bot_site(tmp_path_factory.mktemp("bot")) as bot:
        whole = Whole(installation, server, repository, bot, tools)
        whole.site()
        whole.shop()
        installation.secret("shared", "secret")
        installation.secret("bot_password", "secret")
        for role in Role:
            deploykeys.make(installation.places, "shop", role)
        whole.admit(*Role)
        installation.places.known_hosts.write_text(server.known_hosts_line())
        yield whole


def test_all_is_right(whole: Whole) -> None:
    rows = whole.examine()
    assert {what: row for what, row in rows.items() if row.status is not Status.OK or row.cure} == {}
    assert set(rows) == {
        "configuration",
        *(f"tool {program}" for program in TOOLS),
        "state folder",
        "secret shared",
        "secret bot_password",
        "secret worker_password",
        "shop: deploy key",
        f"shop: host key of [127.0.0.1]:{whole.server.port}",
        "shop: repository",
        "shop: target branches",
        "shop: write key",
        "shop: push",
        "shop: reviewers",
        "bot",
        "bot's user",
        "web UI",
    }
    assert whole.repository.head()[:12] in rows["shop: target branches"].detail
    assert "it leads" in rows["bot"].detail
    assert rows["shop: reviewers"].detail == "ada"


def test_it_changes_nothing(whole: Whole) -> None:
    places = whole.installation.places
    before = {path: path.read_bytes() for path in places.config.parent.rglob("*") if path.is_file()}
    whole.examine()
    after = {path: path.read_bytes() for path in places.config.parent.rglob("*") if path.is_file()}
    assert {path for path in before | after if before.get(path) != after.get(path)} == {whole.server.folder / "log"}
    assert list(places.state.iterdir()) == []


def _unreadable_key(whole: Whole) -> None:
    whole.key.write_text("no key")


def _other_repository(whole: Whole) -> None:
    whole.admit(Role.WRITE)
    public = deploykeys.read(whole.installation.places, "shop", Role.READ).public
    whole.server.admit(public, "/o/other.git", whole.repository.bare)


def _changed_host_key(whole: Whole) -> None:
    whole.server.stop()
    whole.server.change_host_key()
    whole.server.start()


def _old_git(whole: Whole) -> None:
    (whole.tools / "git").unlink()
    (whole.tools / "git").write_text("#!/bin/sh\necho git version 2.37.1\n")
    (whole.tools / "git").chmod(0o755)


def _no_state(whole: Whole) -> None:
    whole.installation.places.state.parent.joinpath("var").write_text("a file")


def _silent_bot(whole: Whole) -> None:
    whole.installation.write_site(
        f'{SITE}[bot]\nurl = "http://127.0.0.1:{free_port()}/"\nsecret = "shared"\n[site]\nurl = "{whole.bot.url}"\n'
    )


def _stuck_bot(whole: Whole) -> None:
    whole.bot.desk.stuck = 1e6


def _no_database(whole: Whole) -> None:
    async def fails(*_: object) -> None:
        raise StoreError("the database fails: start it")

    whole.bot.store.oldest_unprocessed_age = fails  # type: ignore[method-assign,assignment]


ALSO_FAILS = {"another host key": ["shop: push"], "a server that is down": ["shop: push"]}
"""Where one fault shows twice."""

BREAKAGES: dict[str, tuple[Callable[[Whole], object], str, str, str]] = {
    # what breaks, how, the row that says so, what was found, the cure
    "an unknown key": (lambda w: w.shop("colour = 1"), "configuration: repos.d/shop.toml", "no key that", "edit "),
    "a broken site": (lambda w: w.site("[wbe]"), "configuration: autogate.toml", "did you mean 'web'?", "edit "),
    "no repository": (
        lambda w: (w.installation.places.repositories / "shop.toml").unlink(),
        "repositories",
        "there is no file in",
        "autogate schema repository",
    ),
    "a missing secret": (
        lambda w: (w.installation.places.secrets / "shared").unlink(),
        "secret shared",
        "is missing (shared by master and bot)",
        "run `autogate init`, or write it to the file",
    ),
    "an empty secret": (
        lambda w: w.installation.secret("shared", ""),
        "secret shared",
        "is empty",
        "write it to the file",
    ),
    "a missing token": (
        lambda w: w.shop('[deploy]\ncommand = ["x"]\nsecrets = { T = "token" }'),
        "secret token",
        "T of 'shop' when it is deployed",
        "write it to the file",
    ),
    "no key": (lambda w: w.key.unlink(), "shop: deploy key", "is missing", "run `autogate keys add shop`"),
    "a broken key": (_unreadable_key, "shop: deploy key", "is no private key", "--replace"),
    "a key that nobody pasted": (
        lambda w: w.admit(Role.WRITE),
        "shop: repository",
        "Permission denied",
        "keys show NAME",
    ),
    "the other repository's key": (_other_repository, "shop: repository", "not found", "belongs to another repository"),
    "no write key": (
        lambda w: w.write_key.unlink(),
        "shop: write key",
        "is missing",
        "run `autogate keys add shop --write`",
    ),
    "a write key that nobody pasted": (
        lambda w: w.admit(Role.READ),
        "shop: push",
        "Permission denied",
        "(the bot's: with --write)",
    ),
    "a write key that may only read": (
        lambda w: w.admit(*Role, write=False),
        "shop: push",
        "git push failed",
        "write access",
    ),
    "no host key": (
        lambda w: w.installation.places.known_hosts.unlink(),
        "shop: host key of [127.0.0.1]:{port}",
        "is not in",
        "run `autogate keys add shop` and compare",
    ),
    "another host key": (_changed_host_key, "shop: repository", "Host key verification failed", "not the pinned one"),
    "a server that is down": (lambda w: w.server.stop(), "shop: repository", "Connection refused", "does not answer"),
    "no target": (
        lambda w: w.shop('targets = ["mian", "main"]'),
        "shop: target branches",
        "'mian' does not exist",
        "correct targets in repos.d/shop.toml",
    ),
    "a stuck bot": (_stuck_bot, "bot", "it is stuck", "restart it"),
    "a bot without its database": (_no_database, "bot", "does not reach its database", "start its database"),
    "no bot": (_silent_bot, "bot", "All connection attempts failed", "start the bot"),
    "no git": (lambda w: (w.tools / "git").unlink(), "tool git", "is not in PATH", "apt-get install git"),
    "an old git": (_old_git, "tool git", "is version 2.37.1", "install git 2.38 or newer"),
    "no ssh": (lambda w: (w.tools / "ssh").unlink(), "tool ssh", "is not in PATH", "openssh-client"),
    "no ssh-keygen": (lambda w: (w.tools / "ssh-keygen").unlink(), "tool ssh-keygen", "not in PATH", "openssh-client"),
    "no state folder": (_no_state, "state folder", "cannot be written", "--state"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_is_broken_gets_its_cure_and_nothing_else_does(whole: Whole, breakage: str) -> None:
    spoil, what, found, cure = BREAKAGES[breakage]
    spoil(whole)
    rows = whole.examine()
    what = what.format(port=whole.server.port)
    assert rows[what].status is Status.FAILED
    assert found in rows[what].detail
    assert cure in rows[what].cure
    assert [row.what for row in rows.values() if row.status is Status.FAILED] == [what, *ALSO_FAILS.get(breakage, [])]
    assert [row.what for row in rows.values() if row.status is Status.WARNING and row.what != "bot's user"] == []


WARNINGS: dict[str, tuple[Callable[[Whole], object], str, str, str]] = {
    "nobody may approve": (lambda w: w.shop(review=""), "shop: reviewers", "nothing lands", 'reviewers = ["ada"]'),
    "a bot that does not sign in": (
        lambda w: w.installation.write_site(
            f'{SITE}[bot]\nurl = "{w.bot.url}"\nsecret = "shared"\n[site]\nurl = "{w.bot.url}"\n'
        ),
        "bot's user",
        "cannot cancel builds, nor ask for results that were lost",
        'user = "bot" in [bot]',
    ),
    "a bot's user who is no admin": (
        lambda w: w.site('[web]\nusers = { bot = "bot_password" }\n'),
        "bot's user",
        "cannot cancel builds",
        "add 'bot' to admins",
    ),
}


@pytest.mark.parametrize("weakness", WARNINGS)
def test_what_is_weak_gets_its_cure_and_is_no_failure(whole: Whole, weakness: str) -> None:
    weaken, what, found, cure = WARNINGS[weakness]
    weaken(whole)
    rows = whole.examine()
    assert [row.what for row in rows.values() if row.status is not Status.OK] == [what]
    assert rows[what].status is Status.WARNING
    assert found in rows[what].detail
    assert cure in rows[what].cure
    assert doctor.healthy(rows.values())


def test_the_push_that_is_tried_pushes_nothing(whole: Whole) -> None:
    before = whole.repository.refs()
    assert whole.examine()["shop: push"].status is Status.OK
    assert whole.repository.refs() == before


def test_a_receiver_of_results_is_told_apart_from_the_bot(whole: Whole) -> None:
    receiver = Receiver("127.0.0.1", 0, "/results", "secret", lambda _: None)
    serving = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        whole.installation.write_site(f'{SITE}[bot]\nurl = "{receiver.url}"\nsecret = "shared"\n')
        row = whole.examine()["bot"]
    finally:
        receiver.shutdown()
        receiver.server_close()
        serving.join()
    assert row.status is Status.WARNING
    assert "is not the review bot" in row.detail
    assert "autogate-bot run" in row.cure


def test_other_branches_are_suggested(whole: Whole) -> None:
    whole.repository.push("main:refs/heads/master")
    whole.shop('targets = ["release"]')
    assert "there is 'main' and 'master'" in whole.examine()["shop: target branches"].detail


def test_auto_and_try_need_not_exist(whole: Whole) -> None:
    whole.shop('auto = "nowhere"\ntry = "neither"')
    assert whole.examine()["shop: target branches"].status is Status.OK


def test_a_worker_needs_tools_and_keys_but_no_secrets_and_no_bot(whole: Whole) -> None:
    for secret in ("shared", "bot_password", "worker_password"):
        (whole.installation.places.secrets / secret).unlink()
    (whole.tools / "uv").unlink()
    rows = whole.examine(Scope(worker=True))
    assert not {"bot", "web UI", "secret shared"} & set(rows)
    assert [row.what for row in rows.values() if row.status is not Status.OK] == ["tool uv"]
    assert rows["tool uv"].status is Status.FAILED
    assert whole.examine()["tool uv"].status is Status.SKIPPED


def test_each_machine_may_have_its_own_keys_only(whole: Whole) -> None:
    host_key = f"shop: host key of [127.0.0.1]:{whole.server.port}"
    whole.key.unlink()
    bots = whole.examine(Scope(role=Role.WRITE))
    assert {"shop: write key", host_key, "shop: push"} < set(bots)
    assert not {"shop: deploy key", "shop: repository"} & set(bots)
    assert doctor.healthy(bots.values())
    deploykeys.make(whole.installation.places, "shop", Role.READ, replace=True)
    whole.admit(*Role)
    whole.write_key.unlink()
    masters = whole.examine(Scope(role=Role.READ))
    assert {"shop: deploy key", host_key, "shop: repository"} < set(masters)
    assert not {"shop: write key", "shop: push"} & set(masters)
    assert doctor.healthy(masters.values())


def test_a_connection_that_is_still_open_hides_nothing(whole: Whole) -> None:
    """The check asks with the key, not through what an earlier command left open."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ag-") as short:  # a socket's path has 108 bytes
        places = replace(whole.installation.places, state=Path(short))
        whole.installation.places = places
        ssh.install(whole.installation.load().repositories, places)
        git = Git(ssh.command(places))
        url = whole.installation.load().repository("shop").fetch_url
        try:
            assert asyncio.run(git.ls_remote(url, ["main"]))
            whole.server.dismiss_all()
            assert asyncio.run(git.ls_remote(url, ["main"]))  # the open connection has no need of the key
            assert whole.examine()["shop: repository"].status is Status.FAILED
            assert asyncio.run(git.ls_remote(url, ["main"]))  # and it is not disturbed
        finally:
            leave_shared_connections(Path(short) / "ssh" / "run")


def test_it_leaves_no_connection_open(whole: Whole) -> None:
    whole.examine()
    me = psutil.Process()
    assert [child.name() for child in me.children(recursive=True) if child.name() == "ssh"] == []
    marks = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert not [words for words in marks if words and "autogate-check-" in words[0]]  # ssh: SOCKET [mux]


def test_repositories_without_ssh_need_no_keys(whole: Whole) -> None:
    whole.installation.write_repository("plain", f'url = "{whole.repository.bare}"')
    rows = whole.examine()
    assert rows["plain: repository"].status is Status.OK
    assert "plain: deploy key" not in rows


def test_many_repositories_at_once(whole: Whole) -> None:
    for number in range(25):
        whole.installation.write_repository(f"r{number}", f'url = "file://{whole.repository.bare}{"/" * number}"')
    progress = Progress()
    rows = asyncio.run(examine(whole.installation.places, Scope(), progress))
    assert sum(row.status is Status.OK for row in rows if row.what.endswith(": repository")) == 26
    assert (progress.done, progress.total) == (54, 54)


def test_a_server_that_hangs_is_given_up(whole: Whole) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        whole.installation.write_site(f'{SITE}[bot]\nurl = "{url}"\nsecret = "shared"\n[site]\nurl = "{url}"\n')
        whole.installation.write_repository("hung", f'url = "{url}hung.git"')
        rows = whole.examine(Scope(timeout=1))
    assert "no answer within 1 s" in rows["hung: repository"].detail
    assert "no answer within 1 s" in rows["bot"].detail
    # nobody is blamed for a master that is not started yet
    assert rows["web UI"].status is Status.SKIPPED
    assert rows["shop: repository"].status is Status.OK


@pytest.mark.parametrize("status", [b"200 OK", b"302 Found\r\nLocation: http://127.0.0.1:1/", b"500 No"])
def test_any_answer_shows_that_a_homu_is_there(whole: Whole, status: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

        asked: list[bytes] = []
        bot = threading.Thread(target=answer)
        bot.start()
        port = listening.getsockname()[1]
        whole.installation.write_site(
            f'{SITE}[bot]\nurl = "http://127.0.0.1:{port}/x"\nsecret = "shared"\nprotocol = "homu"\n'
        )
        rows = whole.examine()
        bot.join()
    assert rows["bot"].status is Status.OK
    assert asked[0].startswith(b"GET /x HTTP/1.1\r\n")  # nothing posted and nothing signed: no result
    assert b"autogate-" not in asked[0].lower()


def test_the_command_prints_a_table_and_ends_with_0(whole: Whole) -> None:
    done = whole.installation.run_process("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "shop: target branches" in done.stdout
    assert "failed" not in done.stdout


def test_the_command_prints_cures_and_ends_with_1(whole: Whole) -> None:
    whole.key.unlink()
    done = whole.installation.run("check")
    assert done.returncode == 1
    assert "→ run `autogate keys add shop`" in done.stdout


def test_the_command_prints_json(whole: Whole) -> None:
    done = whole.installation.run("check", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert {"what": "tool ssh", "status": "ok", "detail": str(whole.tools / "ssh"), "cure": ""} in told["rows"]
    whole.key.unlink()
    done = whole.installation.run("check", "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (1, False)


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--config", str(tmp_path), "--state", str(tmp_path / "var"), "check", "--json"])
    assert done.exit_code == 1
    failed = [row for row in json.loads(done.stdout)["rows"] if row["status"] == "failed"]
    assert failed[0]["what"] == "configuration: autogate.toml"
    assert "copy the example" in failed[0]["detail"]


def test_progress_is_shown_on_a_terminal_only(whole: Whole) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        whole.installation.write_site(f'{SITE}[bot]\nurl = "{url}"\nsecret = "shared"\n')
        command = [str(AUTOGATE), "check", "--timeout", str(checking.QUIET_SECONDS + 1)]
        environment = os.environ | whole.installation.places.to_environ() | {"TERM": "xterm"}
        ours, theirs = pty.openpty()
        on_terminal = subprocess.Popen(command, env=environment, stderr=theirs, stdout=subprocess.PIPE, text=True)
        piped = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        os.close(theirs)
        shown = _drain(ours)  # until the command has ended
        printed, _ = on_terminal.communicate(timeout=60)
        _, complained = piped.communicate(timeout=60)
    assert "Checking" in shown
    assert "Checking" not in printed
    assert complained == ""
    assert (on_terminal.returncode, piped.returncode) == (1, 1)


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("git version 2.39.5", (2, 39, 5)),
        ("git version 2.39.3 (Apple Git-146)", (2, 39, 3)),
        ("git version 2.53.0.windows.1", (2, 53, 0)),
        ("git version 2.38.GIT", (2, 38)),
        ("", ()),
    ],
)
def test_versions_of_git(output: str, version: tuple[int, ...]) -> None:
    assert doctor.git_version(output) == version
    assert (version >= doctor.OLDEST_GIT) is bool(output)


def _drain(descriptor: int) -> str:
    chunks: list[bytes] = []
    with contextlib.suppress(OSError):  # EIO: nobody has the other end
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    os.close(descriptor)
    return b"".join(chunks).decode()
