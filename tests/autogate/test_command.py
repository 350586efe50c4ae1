"""The command line as a whole: help, version, and errors that are a line each."""

import json
import os
import re
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from autogate.cli import app, console
from autogate.cli.failures import cure, describe
from tests.support.installation import AUTOGATE, SITE, Installation

RUNNER = CliRunner()
COMMANDS = [["init"], ["keys", "add"], ["keys", "show"], ["keys", "list"], ["check"], ["ssh-config"], ["schema"]]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_version() -> None:
    done = RUNNER.invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"autogate {version('autogate')}\n")


@pytest.mark.parametrize("command", [*COMMANDS, ["listen"]], ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    done = RUNNER.invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in plain(done.stdout)
    assert "Example" in plain(done.stdout)
    assert "autogate " + " ".join(command) in " ".join(plain(done.stdout).split())


@pytest.mark.parametrize(
    "args", [["chekc"], ["keys", "add"], ["schema", "cat"], ["listen", "--port", "x"]], ids=" ".join
)
def test_wrong_usage_ends_with_2(installation: Installation, args: list[str]) -> None:
    done = installation.run_process(*args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["init"], ["keys", "add", "x"], ["listen"]])
def test_a_broken_site_is_a_line_a_fault(installation: Installation, command: list[str]) -> None:
    installation.write_site("colour = 1\n")
    done = installation.run_process(*command)
    assert done.returncode == 1
    assert "colour: is no key that Autogate knows" in done.stderr
    assert "workers: is missing; add it" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_places_come_from_options_before_the_environment(installation: Installation, tmp_path: Path) -> None:
    done = installation.run("--config", str(tmp_path / "nowhere"), "ssh-config")
    assert done.returncode == 1
    assert str(tmp_path / "nowhere" / "autogate.toml") in done.stderr
    assert installation.run("ssh-config").returncode == 0


def test_a_program_that_is_not_installed_is_named_with_its_package(installation: Installation, tmp_path: Path) -> None:
    installation.write_repository("shop", 'url = "ssh://git@h/shop.git"')
    installation.places.known_hosts.write_text("h ssh-ed25519 AAAA\n")
    done = installation.run("keys", "add", "shop", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "ssh-keygen" in done.stderr
    assert "apt-get install openssh-client" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_the_system_says_is_told_with_what_to_do() -> None:
    error = PermissionError(13, "Permission denied", "/srv/x")
    assert describe(error) == "/srv/x: Permission denied"
    assert "the user who owns it" in cure(error)
    assert cure(FileNotFoundError(2, "No such file or directory", "notes.txt")) == ""
    assert "apt-get install git" in cure(FileNotFoundError(2, "No such file or directory", "git"))
    assert "--port" in cure(OSError(98, "Address already in use"))


def test_init_makes_what_is_missing_and_changes_nothing_else(installation: Installation) -> None:
    installation.places.secrets.chmod(0o755)
    installation.write_site(SITE + '[bot]\nurl = "http://b/"\nsecret = "shared"\n[web.users]\nada = "ada"\n')
    installation.write_repository("shop", 'url = "/srv/x"\n[deploy]\ncommand = ["x"]\nsecrets = { T = "token" }')
    done = installation.run("init", AUTOGATE_SECRET_ADA="from elsewhere")
    assert done.returncode == 0
    secrets = installation.places.secrets
    assert sorted(path.name for path in secrets.iterdir()) == ["shared", "worker_password"]
    assert (secrets / "worker_password").read_text() == "correct horse"
    made = (secrets / "shared").read_text()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", made)
    assert made.strip() not in done.stdout + done.stderr
    assert stat.S_IMODE((secrets / "shared").stat().st_mode) == 0o644
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert "'token'" in done.stderr
    assert "not one to be made up" in done.stderr
    assert (
        "is not one"
        not in installation.run("init", "--quiet", AUTOGATE_SECRET_TOKEN="x", AUTOGATE_SECRET_ADA="x").stderr
    )
    assert (secrets / "shared").read_text() == made


def test_init_makes_the_folder(installation: Installation, tmp_path: Path) -> None:
    places = tmp_path / "new" / "secrets"
    assert installation.run("--secrets", str(places), "init").returncode == 0
    assert stat.S_IMODE(places.stat().st_mode) == 0o700
    assert len((places / "worker_password").read_text()) > 40


def test_init_does_not_hide_an_empty_secret(installation: Installation) -> None:
    installation.secret("worker_password", "")
    done = installation.run("init")
    assert done.returncode == 1
    assert "'worker_password' is empty" in done.stderr
    assert (installation.places.secrets / "worker_password").read_text() == ""


@pytest.mark.parametrize("subject", ["site", "repository", "report"])
def test_schemas_are_json_schemas(subject: str) -> None:
    done = RUNNER.invoke(app, ["schema", subject])
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))


def test_ssh_config_prints_what_it_installs(installation: Installation) -> None:
    installation.write_repository("shop", 'url = "ssh://git@h/shop.git"')
    installation.write_repository("broken", "url = 1")
    printed = installation.run("ssh-config")
    assert printed.returncode == 0
    assert "Host autogate-shop\n" in printed.stdout
    assert "left out: " in printed.stderr
    done = installation.run("ssh-config", "--install")
    assert done.returncode == 0
    assert (installation.places.state / "ssh" / "config").read_text() == printed.stdout
    assert "run `autogate keys add shop`" in done.stderr
    assert done.stdout == f"export GIT_SSH_COMMAND='ssh -F {installation.places.state}/ssh/config'\n"
    writes = installation.run("ssh-config", "--install", "--role", "write")
    assert f"{installation.places.state}/ssh-write/config" in writes.stdout
    assert "run `autogate keys add shop --write`" in writes.stderr


def test_no_colours_but_on_a_terminal(installation: Installation) -> None:
    installation.write_site("")
    assert "\x1b" not in installation.run_process("check").stdout
    assert "\x1b" not in installation.run_process("init").stderr


def test_nobodys_text_commands_the_terminal() -> None:
    text = console.plain("a\x1b[31mb\x07c\x9bd\r\ne\tf[bold]g")
    assert text.plain == "a\ufffd[31mb\ufffdc\ufffdd\ne\tf[bold]g"


def test_a_reader_that_went_away_is_no_error(installation: Installation) -> None:
    script = f'"{AUTOGATE}" schema site | head -c 1'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=os.environ, check=False)
    assert (done.stdout, done.stderr) == ("{", "")


def test_the_command_starts_without_buildbot() -> None:
    """Workers run `autogate ssh-config` in the middle of a fetch."""
    program = "import sys, autogate.cli; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"buildbot", "twisted", "fastapi"} & set(done.stdout.split())
