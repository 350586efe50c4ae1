"""The worker's ssh makes its ssh_config anew when, and only when, the configuration or a key has changed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import BIN

SSH = Path(__file__).parents[2] / "worker" / "ssh"

SITE = '[[workers]]\nname = "worker-1"\nsecret = "worker_1"\n'


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A configuration with one repository; the real `autogate`, and an `ssh` that prints the config it was given."""
    (tmp_path / "config" / "repos.d").mkdir(parents=True)
    (tmp_path / "config" / "autogate.toml").write_text(SITE)
    (tmp_path / "config" / "repos.d" / "shop.toml").write_text('url = "git@git.example.com:acme/shop.git"\n')
    (tmp_path / "secrets" / "keys").mkdir(parents=True)
    (tmp_path / "secrets" / "keys" / "shop").write_text("the key of shop\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text('#!/bin/sh\ncat "$2"\n')
    (programs / "ssh").chmod(0o755)
    (programs / "autogate").write_text(f'#!/bin/sh\necho made >>"{tmp_path}/made"\nexec "{BIN}/autogate" "$@"\n')
    (programs / "autogate").chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "AUTOGATE_CONFIG": str(tmp_path / "config"),
        "AUTOGATE_SECRETS": str(tmp_path / "secrets"),
        "AUTOGATE_STATE": str(tmp_path / "state"),
    }


def ssh(environment: dict[str, str]) -> str:
    done = subprocess.run([SSH, "host"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def times_made(tmp_path: Path) -> int:
    return len((tmp_path / "made").read_text().splitlines())


def test_it_is_made_once_and_then_used(tmp_path: Path, environment: dict[str, str]) -> None:
    assert "Host autogate-shop" in ssh(environment)
    assert "Host autogate-shop" in ssh(environment)
    assert times_made(tmp_path) == 1


def test_a_repository_that_is_added_is_there_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    ssh(environment)
    added = tmp_path / "config" / "repos.d" / "till.toml"
    added.write_text('url = "git@git.example.com:acme/till.git"\n')
    os.utime(added, (0, 0))  # as a copy that keeps an old modification time
    assert "Host autogate-till" in ssh(environment)
    assert times_made(tmp_path) == 2


def test_a_replaced_key_is_used_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    ssh(environment)
    (tmp_path / "secrets" / "keys" / "shop").write_text("a new key\n")
    ssh(environment)
    assert (tmp_path / "state" / "ssh" / "keys" / "shop").read_text() == "a new key\n"
