"""`autogate-bot token`: made once, listed without it, revoked at once."""

import json
import re
import stat
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from autogate.places import Places
from review_bot import tokens
from review_bot.main import app
from tests.support.installation import SITE, Installation

BOT = '[bot]\nurl = "http://127.0.0.1:8080/buildbot"\nsecret = "bot_secret"\n'


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path)
    made.write_site(SITE + BOT)
    made.write_repository("shop", 'url = "/srv/shop.git"\n[review]\nreviewers = ["ada"]\n')
    return made


def run(installation: Installation, *args: str) -> Result:
    done = CliRunner().invoke(app, ["token", *args], env=installation.places.to_environ())
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_token_is_printed_once_and_alone(installation: Installation) -> None:
    made = run(installation, "add", "ada")
    assert made.exit_code == 0
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", made.stdout)
    token = made.stdout.strip()
    assert token not in made.stderr
    assert "no reviewer" not in made.stderr
    for args in (["list"], ["list", "--json"], ["revoke", "ada"]):
        done = run(installation, *args)
        assert done.exit_code == 0
        assert token not in done.stdout + done.stderr
    folder = installation.places.state / "bot"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(token.encode() not in path.read_bytes() for path in folder.iterdir())


def test_the_list_says_who_has_one_and_who_had(installation: Installation) -> None:
    for args in (["add", "ada"], ["add", "tim"], ["revoke", "tim"]):
        assert run(installation, *args).exit_code == 0
    shown = json.loads(run(installation, "list", "--json").stdout)["tokens"]
    assert [(token["name"], token["last_used_at"], bool(token["revoked_at"])) for token in shown] == [
        ("ada", None, False),
        ("tim", None, True),
    ]
    assert re.search(r"ada.*tim", run(installation, "list").stdout, re.DOTALL)


def test_a_name_has_one_token_at_a_time(installation: Installation) -> None:
    first = run(installation, "add", "ada").stdout
    again = run(installation, "add", "ada")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "`autogate-bot token revoke ada` first" in again.stderr
    assert run(installation, "revoke", "ada").exit_code == 0
    second = run(installation, "add", "ada")
    assert second.exit_code == 0
    assert second.stdout != first
    assert run(installation, "revoke", "tim").exit_code == 1


def test_who_is_no_reviewer_is_told_what_that_means(installation: Installation) -> None:
    assert "'tim' is no reviewer of any repository" in run(installation, "add", "tim").stderr


@pytest.mark.parametrize("name", ["", "two words", "a=b", "@ada", "x" * 101, "a\nb", "a\0b"])
def test_what_is_no_name_is_wrong_usage(installation: Installation, name: str) -> None:
    done = run(installation, "add", name)
    assert (done.exit_code, done.stdout) == (2, "")


def test_the_bot_has_no_token(installation: Installation) -> None:
    done = run(installation, "add", "AutoGate")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "never obeys itself" in done.stderr


def test_without_a_bot_or_its_password_it_says_what_to_do(installation: Installation) -> None:
    installation.write_site(SITE)
    assert "has no [bot]: add it" in run(installation, "list").stderr
    installation.write_site(
        SITE + BOT + '[bot.database]\nurl = "postgresql://bot@127.0.0.1/bot"\nsecret = "db_password"\n'
    )
    done = run(installation, "list")
    assert done.exit_code == 1
    assert "'db_password' is missing" in done.stderr


@pytest.mark.parametrize("command", ["add", "list", "revoke"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    app = typer.Typer()
    tokens.register(app)
    done = CliRunner().invoke(app, ["token", command, "--help"], obj=Places.from_environ({}))
    assert done.exit_code == 0
    assert f"autogate-bot token {command}" in " ".join(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).split())
