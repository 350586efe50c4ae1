"""The generated ssh_config, read by ssh itself."""

import shlex
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autogate import ssh
from autogate.ssh import Role
from autogate.storage import write_private
from tests.support.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ag-") as short:  # a socket's path has 108 bytes
        installation.places = replace(installation.places, state=Path(short) / "var")
        yield installation


def effective(installation: Installation, alias: str, role: Role = Role.READ) -> dict[str, str]:
    """Return what ssh makes of the installed ssh_config for a host."""
    config = ssh.config_path(installation.places, role)
    done = subprocess.run(["ssh", "-G", "-F", config, alias], capture_output=True, text=True, check=True)
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


def add(installation: Installation, name: str, url: str, role: Role = Role.READ, key: str = "a key\n") -> Path:
    installation.write_repository(name, f'url = "{url}"')
    path = ssh.key_path(installation.places, name, role)
    path.parent.mkdir(exist_ok=True)
    path.write_text(key)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_two_repositories_on_one_host_have_each_their_own_key(installation: Installation) -> None:
    add(installation, "shop", "ssh://git@git.example.com:2222/o/shop.git")
    add(installation, "till", "git@git.example.com:o/till.git")
    ssh.install(installation.load().repositories, installation.places)
    shop, till = effective(installation, "autogate-shop"), effective(installation, "autogate-till")
    assert (shop["hostname"], shop["port"], shop["user"]) == ("git.example.com", "2222", "git")
    assert (till["hostname"], till["port"], till["user"]) == ("git.example.com", "22", "git")
    assert shop["identityfile"] != till["identityfile"]
    assert shop["controlpath"] != till["controlpath"]
    for options in (shop, till):
        assert options["identitiesonly"] == "yes"
        assert options["batchmode"] == "yes"
        assert options["stricthostkeychecking"] == "true"
        assert options["userknownhostsfile"] == str(installation.places.known_hosts)
        assert options["identityagent"] == "none"


def test_nothing_leads_to_another_host(installation: Installation) -> None:
    add(installation, "shop", "ssh://git@git.example.com/o/shop.git")
    ssh.install(installation.load().repositories, installation.places)
    assert effective(installation, "git.example.com")["hostname"] == "git.example.com"
    assert str(installation.places.state) not in str(effective(installation, "git.example.com"))


def test_only_repositories_over_ssh_are_in_it(installation: Installation) -> None:
    installation.write_repository("plain", 'url = "/srv/plain.git"')
    assert "Host" not in ssh.render(installation.load().repositories, installation.places)


def test_keys_that_all_may_read_are_copied_for_their_user_alone(installation: Installation) -> None:
    key = add(installation, "shop", "ssh://git@h/shop.git")
    key.chmod(0o444)
    ssh.install(installation.load().repositories, installation.places)
    copy = Path(effective(installation, "autogate-shop")["identityfile"])
    assert copy.read_text() == "a key\n"
    assert mode(copy) == 0o600
    for folder in (copy.parent, copy.parents[1], installation.places.state):
        assert mode(folder) == 0o700
    assert mode(ssh.config_path(installation.places)) == 0o600


def test_the_two_roles_share_nothing(installation: Installation) -> None:
    add(installation, "shop", "ssh://git@h/shop.git", key="reads\n")
    add(installation, "shop", "ssh://git@h/shop.git", Role.WRITE, key="writes\n")
    repositories = installation.load().repositories
    ssh.install(repositories, installation.places, Role.WRITE)
    ssh.install(repositories, installation.places, Role.READ)
    read = effective(installation, "autogate-shop")
    write = effective(installation, "autogate-shop", Role.WRITE)
    assert Path(read["identityfile"]).read_text() == "reads\n"
    assert Path(write["identityfile"]).read_text() == "writes\n"
    # one connection for both would let the reader write, or forbid it to the writer
    assert read["controlpath"] != write["controlpath"]
    assert ssh.command(installation.places) != ssh.command(installation.places, Role.WRITE)


def test_a_changed_key_counts_and_a_lost_one_is_forgotten(installation: Installation) -> None:
    shop = add(installation, "shop", "ssh://git@h/shop.git")
    add(installation, "till", "ssh://git@h/till.git")
    repositories = installation.load().repositories
    ssh.install(repositories, installation.places)
    copies = installation.places.state / "ssh" / "keys"
    shop.write_text("another key\n")
    ssh.install(repositories, installation.places)
    assert (copies / "shop").read_text() == "another key\n"
    shop.unlink()
    ssh.install(repositories, installation.places)
    assert [path.name for path in copies.iterdir()] == ["till"]
    ssh.install([], installation.places)
    assert list(copies.iterdir()) == []


def test_folders_with_spaces_and_percent_signs(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "100% ours")
    add(installation, "shop", "ssh://git@h/shop.git")
    ssh.install(installation.load().repositories, installation.places)
    options = effective(installation, "autogate-shop")
    # ssh -G shows %% as it stands; what it opens is seen with -v
    assert options["identityfile"].replace("%%", "%") == str(installation.places.state / "ssh" / "keys" / "shop")
    done = subprocess.run(
        [*shlex.split(ssh.command(installation.places)), "-v", "-o", "ProxyCommand=false", "autogate-shop"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"identity file {installation.places.state}/ssh/keys/shop type" in done.stderr


def test_no_sharing_where_the_path_is_too_long_for_a_socket(installation: Installation) -> None:
    deep = replace(installation.places, state=installation.places.state / ("x" * 60))
    short = replace(installation.places, state=Path("/v"))
    add(installation, "shop", "ssh://git@h/shop.git")
    repositories = installation.load().repositories
    assert "ControlPath" not in ssh.render(repositories, deep)
    assert "ControlPath" in ssh.render(repositories, short)
    assert "ControlPath" not in ssh.render(repositories, short, sharing=False)


def test_the_alias_of_a_longest_name_still_fits(installation: Installation) -> None:
    name = "n" * 40
    add(installation, name, "ssh://git@h/shop.git")
    length = 107 - 17 - len(f"/ssh/run/autogate-{name}")
    places = replace(installation.places, state=Path("/" + "s" * (length - 1)))
    (path,) = [
        line.split('"')[1]
        for line in ssh.render(installation.load().repositories, places).splitlines()
        if "ControlPath" in line
    ]
    assert len(path) + 17 == 107
    assert ssh.sharing_folder(replace(places, state=Path("/" + "s" * length))) is None


def test_a_private_file_replaces_another_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_private(path, b"old")
    inode = path.stat().st_ino
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != inode
    assert [child.name for child in path.parent.iterdir()] == ["file"]
    assert (mode(tmp_path / "a"), mode(path.parent), mode(path)) == (0o700, 0o700, 0o600)


def test_a_private_file_whose_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_private(tmp_path / "file" / "x", b"")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
