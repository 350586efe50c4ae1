"""`autogate queue`, `show`, `approve` and the others, against a bot on a real port."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autogate import botapi
from autogate.cli import app
from autogate.cli.local import free_port
from review_bot.domain.events import PullRequestGone
from review_bot.domain.model import AttemptKind
from tests.support.botsite import BotSite, bot_site, sha
from tests.support.installation import AUTOGATE, SITE, Installation
from tests.support.waiting import wait_for

RUNNER = CliRunner()
COMMANDS = [
    "queue",
    "show",
    "approve",
    "comment",
    "try",
    "retry",
    "cancel",
    "freeze",
    "thaw",
    "pause",
    "resume",
    "poke",
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[BotSite]:
    with bot_site(tmp_path) as running:
        yield running


class Person:
    """Somebody at a command line."""

    def __init__(self, installation: Installation, site: BotSite, name: str = "ada") -> None:
        self._installation = installation
        self._site = site
        self.environment = {"AUTOGATE_BOT_URL": site.url, "AUTOGATE_TOKEN": site.tokens[name]}

    def run(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = self._installation.run(*args, **self.environment | environment)
        for token in self._site.tokens.values():
            assert token not in done.stdout + done.stderr
        return done

    def json(self, *args: str) -> Any:
        done = self.run(*args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, *args: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
        """Start ``autogate ARGS`` as a process of its own."""
        return subprocess.Popen(
            [AUTOGATE, *args],
            env=os.environ | self._installation.places.to_environ() | self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def ada(installation: Installation, site: BotSite) -> Person:
    return Person(installation, site)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = RUNNER.invoke(app, [command, "--help"])
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).split())
    assert done.exit_code == 0
    assert "Example" in text
    assert f"autogate {command}" in text
    assert "--token " not in text


# queue


def test_the_queue_shows_every_repository_and_why_each_waits(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7), site.seen("add-tests", 8))
    site.tell(site.seen("docs", 9), repository="library")
    ada.run("approve", "shop", "1")
    ada.run("freeze", "shop", "release/1.0", "--priority", "5", "release week")
    done = ada.run("queue")
    assert done.returncode == 0
    assert re.search(r"^library\n", done.stdout, re.MULTILINE)
    assert re.search(r"#1 .*fix typo.*ada.*testing", done.stdout)
    assert re.search(r"#2 .*add tests.*Not approved yet", done.stdout)
    assert "frozen below priority 5 by ada: release week" in done.stdout
    assert "shop-lint waits" in done.stdout
    assert "\x1b" not in done.stdout
    assert "docs" not in ada.run("queue", "shop").stdout


def test_the_queue_as_json_has_one_form_for_one_repository_and_for_all(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7), site.seen("hotfix", 8, target="release/1.0"))
    everything, one = ada.json("queue"), ada.json("queue", "shop", "--target", "main")
    assert [queue["repository"]["name"] for queue in everything["queues"]] == ["library", "shop"]
    (queue,) = map(botapi.Queue.model_validate, one["queues"])
    assert [entry.number for entry in queue.entries] == [1]


def test_a_long_queue_says_how_much_more_there_is(site: BotSite, ada: Person) -> None:
    site.tell(*(site.seen(f"t{place}", place + 10) for place in range(4)))
    done = ada.run("queue", "shop", "--limit", "3")
    assert "and 1 more: --limit shows them" in done.stdout


def test_an_empty_queue_says_so(ada: Person) -> None:
    assert "no open pull requests" in ada.run("queue", "shop").stdout


# show


def test_show_tells_what_failed_and_what_happened(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7))
    ada.run("approve", "shop", "fix-typo")
    site.fail()
    done = ada.run("show", "shop", "fix-typo")
    assert done.returncode == 0
    for text in ("#1 fix typo", sha(7), "unused-import", "tests.test_x.test_sum", "assert 1 == 2", "ada: @autogate r+"):
        assert text in done.stdout
    assert botapi.PullRequestDetail.model_validate(ada.json("show", "shop", "1")).pull.state == "aside"


@pytest.mark.parametrize("name", ["1", "#1", "fix-typo", "main/fix-typo", "refs/for/main/fix-typo"])
def test_a_pull_request_has_a_number_and_a_topic(site: BotSite, ada: Person, name: str) -> None:
    site.tell(site.seen("fix-typo", 7))
    assert ada.json("show", "shop", name)["pull"]["number"] == 1


def test_a_topic_that_was_just_pushed_is_looked_for(site: BotSite, ada: Person) -> None:
    site.desk.unseen["shop"] = [site.seen("fix-typo", 7)]
    assert ada.json("show", "shop", "fix-typo")["pull"]["head"] == sha(7)


def test_an_unknown_topic_is_told_with_near_ones(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7))
    done = ada.run("show", "shop", "fix-tpyo")
    assert done.returncode == 1
    assert "'shop' has no pull request 'fix-tpyo' → did you mean fix-typo?" in done.stderr
    site.desk.forge_error = "git.example.com does not answer"
    again = ada.run("show", "shop", "fix-tpyo")
    assert again.returncode == 1
    assert "git.example.com does not answer" in again.stderr


def test_a_topic_that_two_targets_have_is_not_guessed(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix", 7), site.seen("fix", 8, target="release/1.0"))
    done = ada.run("approve", "shop", "fix")
    assert done.returncode == 1
    assert "#1 for main, #2 for release/1.0 → give the number" in done.stderr
    assert not any(pull.approval for pull in site.state().pulls.values())


def test_unknown_numbers_and_repositories_are_told_with_those_that_there_are(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7))
    assert "did you mean 1?" in ada.run("show", "shop", "11").stderr
    for command in (["show", "shpo", "1"], ["queue", "shpo"], ["poke", "shpo"]):
        done = ada.run(*command)
        assert done.returncode == 1
        assert "there is no repository 'shpo' → there are: library, shop" in done.stderr


# approve and the others


def test_approve_shows_what_it_approves_and_approves_exactly_that(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7, title="Fix a typo"))
    done = ada.run("approve", "shop", "1")
    assert done.returncode == 0
    assert "Fix a typo" in done.stderr
    assert sha(7) in done.stderr
    assert re.fullmatch(r"Approved: 000000000000\.\n#1 testing: .*\n", done.stdout)
    approval = site.state().pulls[1].approval
    assert approval is not None
    assert (approval.head, approval.by) == (sha(7), "ada")


def test_approve_refuses_another_sha_before_anything_is_said(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 0x7ABCDEF))
    assert ada.run("approve", "shop", "1", "--sha", "0" * 39 + "8").returncode == 1
    assert ada.run("approve", "shop", "1", "--sha", "xyz").returncode == 2
    assert ada.run("approve", "shop", "1", "--sha", "000").returncode == 2
    assert site.state().pulls[1].approval is None
    assert ada.json("approve", "shop", "1", "--sha", sha(0x7ABCDEF)[:10])["pull"]["approved_by"] == "ada"


def test_who_may_not_is_told_and_it_ends_with_1(site: BotSite, installation: Installation) -> None:
    site.tell(site.seen("fix-typo", 7))
    eve = Person(installation, site, "eve")
    done = eve.run("approve", "shop", "1")
    assert done.returncode == 1
    assert "eve" in done.stdout or "reviewer" in done.stdout
    assert site.state().pulls[1].approval is None
    refused = eve.run("approve", "shop", "1", "--json")
    assert (refused.returncode, json.loads(refused.stdout)["refused"]) == (1, True)
    frozen = eve.run("freeze", "shop", "main", "mine")
    assert frozen.returncode == 1
    assert "'eve' is not a reviewer of 'shop' → ask one" in frozen.stderr


def test_try_retry_cancel_and_comment_say_it_to_the_bot(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7))
    assert ada.run("retry", "shop", "1").returncode == 1
    assert ada.run("try", "shop", "fix-typo").returncode == 0
    assert [attempt.kind for attempt in site.state().attempts.values()] == ["try"]
    assert ada.run("comment", "shop", "1", "@autogate p=10").returncode == 0
    assert site.state().pulls[1].priority == 10
    ada.run("approve", "shop", "1")
    site.fail()
    assert ada.run("retry", "shop", "1").returncode == 0
    assert site.state().live(AttemptKind.AUTO) is not None
    assert ada.run("cancel", "shop", "1").returncode == 0
    assert site.state().live(AttemptKind.AUTO) is None
    done = ada.run("comment", "shop", "1", "well done")
    assert done.returncode == 0
    assert "the bot found no command in it: one begins with @autogate" in done.stderr


def test_a_repository_is_frozen_thawed_paused_resumed_and_poked(site: BotSite, ada: Person) -> None:
    assert (
        "main at 000000000000, 0 queued  frozen by ada: release" in ada.run("freeze", "shop", "main", "release").stdout
    )
    assert ada.json("thaw", "shop", "main")["repository"]["targets"][0]["freeze"] is None
    assert "paused by ada: moving house" in ada.run("pause", "shop", "moving house").stdout
    assert ada.json("resume", "shop")["repository"]["pause"] is None
    site.desk.unseen["shop"] = [site.seen("fix-typo", 7)]
    assert ada.json("poke", "shop")["repository"]["open"] == 1
    unknown = ada.run("freeze", "shop", "mian", "x")
    assert unknown.returncode == 1
    assert "there are: main, release/1.0" in unknown.stderr
    assert ada.run("freeze", "shop", "main", "x" * 501).returncode == 2


# --watch


def test_watching_a_pull_request_ends_with_0_when_it_lands(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7))
    watching = ada.start("approve", "shop", "1", "--watch")
    wait_for(lambda: site.state().attempts or None, "the approval")
    assert watching.stdout is not None
    assert "Approved" in watching.stdout.readline()
    assert "#1 testing" in watching.stdout.readline()
    site.pass_all()
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert "#1 landed: " in out.splitlines()[-1]
    assert "\x1b" not in out + err


@pytest.mark.parametrize("end", ["aside", "closed"])
def test_watching_a_pull_request_ends_with_1_when_it_does_not_land(site: BotSite, ada: Person, end: str) -> None:
    site.tell(site.seen("fix-typo", 7))
    ada.run("approve", "shop", "1")
    watching = ada.start("show", "shop", "1", "--watch", "--json")
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["pull"]["state"] == "testing"
    if end == "aside":
        site.fail()
    else:
        now = site.desk.now()
        site.tell(PullRequestGone(number=1, read_at=now, at=now))
    out, _err = watching.communicate(timeout=60)
    assert watching.returncode == 1
    assert json.loads(out.splitlines()[-1])["pull"]["state"] == end


def test_watching_goes_on_through_a_restart_of_the_bot(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7))
    ada.run("approve", "shop", "1")
    watching = ada.start("show", "shop", "1", "--watch")
    assert watching.stdout is not None
    assert watching.stderr is not None
    assert "testing" in watching.stdout.readline()
    site.hang_up()
    assert "trying again" in watching.stderr.readline()
    site.listen()
    site.pass_all()
    out, _err = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert "#1 landed" in out


@pytest.mark.parametrize("repository", [["shop"], []], ids=["one", "all"])
def test_watching_the_queue_prints_what_changes_until_ctrl_c(site: BotSite, ada: Person, repository: list[str]) -> None:
    site.tell(site.seen("fix-typo", 7))
    watching = ada.start("queue", *repository, "--watch")
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("shop #1 open: ")
    ada.run("approve", "shop", "1")
    assert watching.stdout.readline().startswith("shop #1 testing: ")
    site.pass_all()
    assert watching.stdout.readline().startswith("shop #1 landed: ")
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=60)
    assert (watching.returncode, out, err) == (0, "", "")


def test_watching_the_queue_as_json_prints_a_line_a_change(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7))
    watching = ada.start("queue", "shop", "--watch", "--json")
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["queues"][0]["total"] == 1
    site.tell(site.seen("other", 8))
    assert json.loads(watching.stdout.readline())["queues"][0]["total"] == 2
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=60)
    assert watching.returncode == 0


def test_a_terminal_shows_it_live(site: BotSite, ada: Person) -> None:
    site.tell(site.seen("fix-typo", 7))
    ada.run("approve", "shop", "1")
    ours, theirs = pty.openpty()
    watching = ada.start("show", "shop", "1", "--watch", stdout=theirs, TERM="xterm-256color")
    os.close(theirs)
    shown = b""

    def reads(*texts: bytes) -> bool:
        nonlocal shown
        if select.select([ours], [], [], 0.05)[0]:
            shown += os.read(ours, 65536)
        return all(text in shown for text in texts)

    try:
        wait_for(lambda: reads(b"fix typo", b"testing"), "the first picture")
        site.pass_all()
        wait_for(lambda: reads(b"Landed on main"), "the last picture")
        assert watching.wait(60) == 0
        assert b"\x1b[1;32mlanded" in shown
    finally:
        os.close(ours)
        watching.kill()
        watching.communicate()


# What goes wrong


HOSTILE = [
    "\x1b[2J\x1b]0;evil\x07",
    "[bold red]x[/bold red]",
    "a\r\nb\x00c",
    "@autogate r+\n#1 landed: no",
    "\u202eevil",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_title_commands_the_terminal(site: BotSite, ada: Person, text: str) -> None:
    site.tell(site.seen("x", 7, title=text, author=text))
    for command in (["queue"], ["show", "shop", "1"], ["approve", "shop", "1"], ["show", "shop", "1"]):
        done = ada.run(*command)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr)
        assert "\u202e" not in done.stdout + done.stderr
        assert not re.search(r"^#1 landed", done.stdout + done.stderr, re.MULTILINE)
    assert "[bold red]x[/bold red]" in ada.run("queue").stdout or "bold" not in text


def test_without_a_bot_it_says_where_it_looked(ada: Person, installation: Installation) -> None:
    port = free_port()
    done = ada.run("queue", AUTOGATE_BOT_URL=f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert f"the bot at http://127.0.0.1:{port} cannot be reached" in done.stderr
    assert "--bot or AUTOGATE_BOT_URL" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_proxy_gets_what_stays_on_this_machine(ada: Person) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    assert ada.run("queue", HTTP_PROXY=proxy, http_proxy=proxy, ALL_PROXY=proxy).returncode == 0
    assert "cannot be reached" in ada.run("queue", "--bot", "http://bot.invalid", http_proxy=proxy).stderr


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://ada:secret-word@127.0.0.1:1"])
def test_a_wrong_address_is_wrong_usage(ada: Person, url: str) -> None:
    done = ada.run("queue", "--bot", url)
    assert done.returncode == 2
    assert "secret-word" not in done.stderr


def test_the_address_comes_from_the_settings_else(site: BotSite, ada: Person, installation: Installation) -> None:
    del ada.environment["AUTOGATE_BOT_URL"]
    done = ada.run("queue")
    assert done.returncode == 1
    assert "has no [bot] → name its address with --bot URL or AUTOGATE_BOT_URL" in done.stderr
    port = site.url.rpartition(":")[2]
    for interface in ("127.0.0.1", "0.0.0.0"):
        bot = f'[bot]\nurl = "http://elsewhere/"\nsecret = "s"\ninterface = "{interface}"\nport = {port}\n'
        installation.write_site(SITE + bot)
        assert ada.run("queue").returncode == 0
    installation.places.site_file.unlink()
    assert "AUTOGATE_BOT_URL" in ada.run("queue").stderr


def test_what_is_no_bot_is_said_to_be_none(ada: Person) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for reply in (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
                b"HTTP/1.1 404 Nope\r\nContent-Length: 0\r\n\r\n",
            ):
                with server.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(reply)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert "no bot that this version understands" in ada.run("queue", "--bot", url).stderr
        assert "answers 404" in ada.run("queue", "--bot", url).stderr
        thread.join()


def test_a_token_that_does_not_count_is_told_with_how_to_make_one(site: BotSite, ada: Person) -> None:
    done = ada.run("queue", AUTOGATE_TOKEN="wrong-token")
    assert done.returncode == 1
    assert "autogate-bot token add NAME" in done.stderr
    assert "wrong-token" not in done.stderr
    two = ada.run("queue", AUTOGATE_TOKEN="two words")
    assert (two.returncode, "two words" in two.stderr) == (1, False)


def test_the_token_comes_from_a_file_that_others_cannot_read(site: BotSite, ada: Person, tmp_path: Path) -> None:
    token = ada.environment.pop("AUTOGATE_TOKEN")
    home = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    missing = ada.run("queue", **home)
    assert missing.returncode == 1
    assert "there is no token for the bot → make one where the bot runs with `autogate-bot token add" in missing.stderr
    file = tmp_path / "home" / "autogate" / "token"
    file.parent.mkdir(parents=True)
    file.write_text(f"{token}\n")
    file.chmod(0o644)
    assert f"chmod 600 {file}" in ada.run("queue", **home).stderr
    file.chmod(0o600)
    assert ada.run("queue", **home).returncode == 0
    assert ada.run("queue", "--token-file", str(file)).returncode == 0
    file.write_bytes(b"\xff\xfe")
    assert "holds no token" in ada.run("queue", **home).stderr
    assert ada.run("queue", "--token-file", str(tmp_path / "none")).returncode == 1
