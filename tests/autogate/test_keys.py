"""`autogate keys`, against a real ssh server."""

import json
import os
import pty
import stat
import subprocess
from pathlib import Path

import pytest

from autogate import remote, ssh
from autogate.cli import deploykeys, hostkeys
from autogate.cli.failures import Failure
from autogate.ssh import Role
from tests.support.installation import AUTOGATE, Installation
from tests.support.sshd import GitServer


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def shop(installation: Installation, server: GitServer) -> Installation:
    installation.write_repository("shop", f'url = "{server.url("/owner/shop.git")}"')
    return installation


def test_add_makes_a_key_pins_the_host_and_says_where_to_paste(shop: Installation, server: GitServer) -> None:
    done = shop.run_process("keys", "add", "shop", "--accept-host-key")
    assert done.returncode == 0, done.stderr
    private = ssh.key_path(shop.places, "shop")
    assert done.stdout.strip() == private.with_name("shop.pub").read_text().strip()
    assert done.stdout.startswith("ssh-ed25519 ")
    assert done.stdout.endswith(" autogate-shop-read\n")
    assert server.fingerprint() in done.stderr
    assert "deploy key of 'shop'" in done.stderr
    assert shop.places.known_hosts.read_text() == server.known_hosts_line()
    assert "PRIVATE" in private.read_text()
    assert "PRIVATE" not in done.stdout + done.stderr


def test_the_folder_protects_keys_that_containers_may_read(shop: Installation) -> None:
    shop.places.secrets.chmod(0o755)
    assert shop.run("keys", "add", "shop", "--accept-host-key").returncode == 0
    private = ssh.key_path(shop.places, "shop")
    assert mode(shop.places.secrets) == 0o700
    assert mode(private.parent) == 0o755
    assert mode(private) == mode(private.with_name("shop.pub")) == 0o644
    assert sorted(path.name for path in private.parent.iterdir()) == ["shop", "shop.pub"]
    assert sorted(path.name for path in shop.places.secrets.iterdir()) == ["keys", "worker_password"]


def test_a_key_is_never_overwritten_but_on_demand(shop: Installation) -> None:
    first = shop.run("keys", "add", "shop", "--accept-host-key").stdout
    again = shop.run("keys", "add", "shop")
    assert again.returncode == 1
    assert "has a read key already" in again.stderr
    assert "--replace" in again.stderr
    assert shop.run("keys", "show", "shop").stdout == first
    assert shop.run("keys", "add", "shop", "--write").returncode == 0
    replaced = shop.run("keys", "add", "shop", "--replace")
    assert "another one" not in replaced.stderr
    assert replaced.returncode == 0
    assert replaced.stdout not in {"", first}
    assert shop.run("keys", "show", "shop").stdout == replaced.stdout


def test_half_a_key_is_a_key(shop: Installation) -> None:
    shop.run("keys", "add", "shop", "--accept-host-key")
    ssh.key_path(shop.places, "shop").unlink()
    assert shop.run("keys", "add", "shop").returncode == 1
    show = shop.run("keys", "show", "shop")
    assert show.returncode == 1
    assert "run `autogate keys add shop`" in show.stderr


def test_the_bots_key_is_another(shop: Installation) -> None:
    first = shop.run("keys", "add", "shop", "--accept-host-key")
    assert "another one, which writes: `autogate keys add shop --write`" in first.stderr
    reads = first.stdout
    done = shop.run("keys", "add", "shop", "--write")
    assert done.returncode == 0
    assert done.stdout != reads
    assert "with write access" in done.stderr
    assert "without write access" not in done.stderr
    assert ssh.key_path(shop.places, "shop", Role.WRITE).is_file()
    assert shop.run("keys", "show", "shop", "--write").stdout == done.stdout


def test_without_a_terminal_an_unknown_host_key_stops_everything(shop: Installation, server: GitServer) -> None:
    done = shop.run_process("keys", "add", "shop")
    assert done.returncode == 1
    assert server.fingerprint() in done.stderr
    assert "--accept-host-key" in done.stderr
    assert not shop.places.known_hosts.exists()
    assert not ssh.key_path(shop.places, "shop").exists()
    assert not done.stdout


@pytest.mark.parametrize(("answer", "accepted"), [("y", True), ("n", False), ("", False)])
def test_on_a_terminal_it_asks(shop: Installation, answer: str, accepted: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [AUTOGATE, "keys", "add", "shop"],
            env=os.environ | shop.places.to_environ(),
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Are they right?" in done.stderr
    assert (done.returncode == 0) is accepted
    assert shop.places.known_hosts.exists() is accepted
    assert ssh.key_path(shop.places, "shop").exists() is accepted
    assert "Traceback" not in done.stderr


def test_a_key_that_is_there_is_kept_while_its_host_is_pinned(shop: Installation) -> None:
    first = shop.run("keys", "add", "shop", "--accept-host-key").stdout
    shop.places.known_hosts.unlink()
    done = shop.run("keys", "add", "shop", "--accept-host-key")
    assert (done.returncode, done.stdout) == (0, first)
    assert "Kept" in done.stderr
    assert shop.places.known_hosts.exists()


def test_other_lines_of_known_hosts_stay(shop: Installation, server: GitServer) -> None:
    shop.places.known_hosts.write_text("# ours\nother.example.com ssh-ed25519 AAAA")
    shop.run("keys", "add", "shop", "--accept-host-key")
    text = "# ours\nother.example.com ssh-ed25519 AAAA\n" + server.known_hosts_line()
    assert shop.places.known_hosts.read_text() == text


def test_a_host_that_does_not_answer(shop: Installation, server: GitServer) -> None:
    server.stop()
    done = shop.run("keys", "add", "shop", "--accept-host-key")
    assert done.returncode == 1
    assert f"[127.0.0.1]:{server.port} shows no host key" in done.stderr
    assert "may this machine reach it?" in done.stderr
    assert not ssh.key_path(shop.places, "shop").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('url = "/srv/shop.git"', "is not reached over ssh"),
        ('url = "https://h/shop.git"', "is not reached over ssh"),
        ("url = 3", "valid string"),
        (None, "no repository is called 'shop'"),
    ],
)
def test_repositories_that_get_no_key(installation: Installation, text: str | None, says: str) -> None:
    if text is not None:
        installation.write_repository("shop", text)
    done = installation.run("keys", "add", "shop")
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_secrets_folder_of_everybody_is_left_alone(installation: Installation, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    done = installation.run("--secrets", str(shared), "init")
    assert done.returncode == 1
    assert "--secrets" in done.stderr
    assert mode(shared) == 0o1777
    assert list(shared.iterdir()) == []


def test_list_tells_every_key_and_its_fingerprint(shop: Installation) -> None:
    shop.write_repository("plain", 'url = "/srv/plain.git"')
    shop.run("keys", "add", "shop", "--accept-host-key")
    reads, writes = json.loads(shop.run("keys", "list", "--json").stdout)
    key = subprocess.run(["ssh-keygen", "-l", "-f", f"{reads['path']}.pub"], capture_output=True, text=True, check=True)
    assert reads["fingerprint"] == key.stdout.split()[1]
    assert (reads["repository"], reads["role"], reads["fault"]) == ("shop", "read", None)
    assert (writes["role"], writes["fingerprint"], writes["fault"]) == ("write", None, "none")
    printed = shop.run("keys", "list").stdout
    assert reads["fingerprint"] in printed
    assert reads["path"] in printed


@pytest.mark.parametrize("passphrase", ["", "secret words"])
def test_the_public_half_comes_from_the_private_one(shop: Installation, tmp_path: Path, passphrase: str) -> None:
    path = ssh.key_path(shop.places, "shop")
    path.parent.mkdir()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-N", passphrase, "-C", "mine", "-f", tmp_path / "own"], check=True
    )
    path.write_bytes((tmp_path / "own").read_bytes())
    path.chmod(0o444)
    path.with_name("shop.pub").write_text("ssh-ed25519 AAAA of another key")
    if passphrase:
        with pytest.raises(Failure, match="is no private key without a passphrase") as caught:
            deploykeys.read(shop.places, "shop", Role.READ)
        assert caught.value.cure == "make a new one: `autogate keys add shop --replace`"
    else:
        expected = (tmp_path / "own.pub").read_text().strip()
        assert deploykeys.read(shop.places, "shop", Role.READ).public == expected


@pytest.mark.parametrize(
    ("host", "role", "says"),
    [
        ("github.com", Role.READ, "https://github.com/o/r/settings/keys/new (GitHub), with 'Allow write access' off"),
        ("github.com", Role.WRITE, "with 'Allow write access' on"),
        ("gitlab.example.com", Role.READ, "https://gitlab.example.com/o/r/-/settings/repository (GitLab)"),
        ("codeberg.org", Role.READ, "https://codeberg.org/o/r/settings/keys (Gitea or Forgejo)"),
        ("pagure.io", Role.WRITE, "https://pagure.io/o/r/settings (Pagure), with push access on"),
        ("git.example.com", Role.READ, "without write access: on GitHub and Gitea"),
        ("git.example.com", Role.WRITE, ", with write access: on GitHub and Gitea"),
    ],
)
def test_where_to_paste(host: str, role: Role, says: str) -> None:
    assert says in deploykeys.where_to_paste("r", remote.parse(f"git@{host}:o/r.git"), role)


KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJ7x2bSDV0EsBfVkVb3Bv3i0Xh3m0kX0mVt2m1c0d3Zr"


def test_the_answer_of_ssh_keyscan() -> None:
    output = (
        f"# h:22 SSH-2.0-OpenSSH_9.2\nh ssh-rsa {KEY}\nh ssh-ed25519 {KEY}\n\n"
        "h ssh-ed25519 not*base64\nh two\nh evil\x1b[31m AAAA\nh ecdsa-sha2-nistp256 AAAA extra\n"
    )
    assert [key.kind for key in hostkeys.parse_scan(output)] == ["ssh-ed25519", "ssh-rsa"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("ssh://h/r", "h"),
        ("ssh://h:22/r", "h"),
        ("ssh://h:2222/r", "[h]:2222"),
        ("ssh://[::1]/r", "::1"),
        ("ssh://[::1]:2222/r", "[::1]:2222"),
    ],
)
def test_a_pinned_host_is_found_as_ssh_finds_it(tmp_path: Path, url: str, name: str) -> None:
    known, there = tmp_path / "known_hosts", remote.parse(url)
    assert hostkeys.host_name(there) == name
    assert not hostkeys.pinned(known, there)
    hostkeys.pin(known, there, (hostkeys.HostKey("ssh-ed25519", KEY),))
    assert hostkeys.pinned(known, there)
    assert not hostkeys.pinned(known, remote.parse("ssh://other:2222/r"))
    subprocess.run(["ssh-keygen", "-H", "-f", known], check=True, capture_output=True)
    assert known.read_text().startswith("|1|")
    assert hostkeys.pinned(known, there)


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("*.example.com ssh-ed25519 " + KEY, True),
        ("@cert-authority *.example.com ssh-ed25519 " + KEY, True),
        ("@revoked * ssh-ed25519 " + KEY, False),
        ("*.example.org ssh-ed25519 " + KEY, False),
        ("!git.example.com,* ssh-ed25519 " + KEY, False),
    ],
)
def test_patterns_of_known_hosts(tmp_path: Path, line: str, counts: bool) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(line + "\n")
    assert hostkeys.pinned(known, remote.parse("git@git.example.com:o/r.git")) is counts
