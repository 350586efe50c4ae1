"""Two private repositories on one real ssh server, each with its own deploy key."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autogate import ssh
from autogate.cli import deploykeys
from autogate.git import Git, GitError
from autogate.places import Places
from autogate.ssh import Role
from tests.support.installation import AUTOGATE, Installation
from tests.support.repository import IDENTITY, Repository
from tests.support.sshd import GitServer, leave_shared_connections
from tests.support.waiting import wait_for

NAMES = ("shop", "till")


@dataclass
class Host:
    """A server with two private repositories, and an installation whose keys reach one each."""

    server: GitServer
    installation: Installation
    repositories: dict[str, Repository]

    @property
    def places(self) -> Places:
        return self.installation.places

    def install(self, role: Role = Role.READ, *, sharing: bool) -> Git:
        ssh.install(self.installation.load().repositories, self.places, role, sharing=sharing)
        return Git(ssh.command(self.places, role), timeout=60)

    def swap_keys(self) -> None:
        """Give each repository the other's key."""
        shop, till = (ssh.key_path(self.places, name) for name in NAMES)
        ours, theirs = shop.read_bytes(), till.read_bytes()
        shop.write_bytes(theirs)
        till.write_bytes(ours)


@pytest.fixture(params=[False, True], ids=["apart", "shared"])
def sharing(request: pytest.FixtureRequest) -> bool:
    """Whether connections are shared, which is where one socket for both would betray the wrong key."""
    return bool(request.param)


@pytest.fixture
def host(server: GitServer, tmp_path: Path) -> Iterator[Host]:
    installation = Installation(tmp_path)
    repositories = {}
    for name in NAMES:
        repositories[name] = Repository.create(tmp_path, name, {"README": f"{name}\n"})
        path = f"/owner/{name}.git"
        installation.write_repository(name, f'url = "{server.url(path)}"')
        key = deploykeys.make(installation.places, name, Role.READ)
        server.admit(key.public, path, repositories[name].bare)
    installation.places.known_hosts.write_text(server.known_hosts_line())
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ag-") as short:  # a socket's path has 108 bytes
        installation.places = replace(installation.places, state=Path(short))
        try:
            yield Host(server, installation, repositories)
        finally:
            for role in Role:
                leave_shared_connections(Path(short) / ("ssh" if role is Role.READ else "ssh-write") / "run")


def tips(git: Git, host: Host, name: str) -> dict[str, str]:
    return asyncio.run(git.ls_remote(host.installation.load().repository(name).fetch_url, ["main"]))


def test_each_is_readable_with_its_own_key(host: Host, sharing: bool) -> None:
    git = host.install(sharing=sharing)
    for name in NAMES * 2:
        assert tips(git, host, name) == {"main": host.repositories[name].head()}
    assert host.server.accepted() == (2 if sharing else 4)


def test_each_is_refused_with_the_others_key(host: Host, sharing: bool) -> None:
    host.swap_keys()
    git = host.install(sharing=sharing)
    for name in NAMES:
        with pytest.raises(GitError) as caught:
            tips(git, host, name)
        assert "Repository not found" in str(caught.value)
        assert "deploy key belongs to another repository" in caught.value.cure


def test_a_shared_connection_is_never_the_other_repositorys(host: Host) -> None:
    """With the first one's connection open, the second one's key alone decides about the second."""
    git = host.install(sharing=True)
    assert tips(git, host, "shop")
    run = ssh.sharing_folder(host.places)
    assert run is not None
    assert [path.name for path in run.iterdir()] == ["autogate-shop"]
    ssh.key_path(host.places, "till").write_bytes(ssh.key_path(host.places, "shop").read_bytes())
    git = host.install(sharing=True)
    with pytest.raises(GitError, match="Repository not found"):
        tips(git, host, "till")
    assert tips(git, host, "shop")


def test_both_at_once(host: Host, sharing: bool) -> None:
    git = host.install(sharing=sharing)
    loaded = host.installation.load()

    async def all_at_once() -> list[dict[str, str]]:
        return await asyncio.gather(*(git.ls_remote(loaded.repository(name).fetch_url, ["main"]) for name in NAMES * 4))

    heads = [{"main": host.repositories[name].head()} for name in NAMES * 4]
    assert asyncio.run(all_at_once()) == heads


def test_fetch_and_clone_go_the_same_way(host: Host, sharing: bool, tmp_path: Path) -> None:
    git = host.install(sharing=sharing)
    for name in NAMES:
        url = host.installation.load().repository(name).fetch_url
        asyncio.run(git.run("clone", "-q", "--", url, str(tmp_path / f"{name}-clone")))
        assert (tmp_path / f"{name}-clone" / "README").read_text() == f"{name}\n"


def push(git: Git, host: Host, name: str) -> None:
    url = host.installation.load().repository(name).fetch_url
    asyncio.run(git.run("push", "-q", url, "HEAD:refs/heads/auto", cwd=host.repositories[name].tree))


def test_only_the_bots_key_pushes(host: Host, sharing: bool) -> None:
    reads = host.install(sharing=sharing)
    assert tips(reads, host, "shop")
    with pytest.raises(GitError) as caught:
        push(reads, host, "shop")
    assert "read only" in str(caught.value)
    assert "autogate keys add NAME --write" in caught.value.cure

    key = deploykeys.make(host.places, "shop", Role.WRITE)
    host.server.admit(key.public, "/owner/shop.git", host.repositories["shop"].bare, write=True)
    writes = host.install(Role.WRITE, sharing=sharing)
    push(writes, host, "shop")
    assert host.repositories["shop"].tip("auto") == host.repositories["shop"].head()
    # and reading, with the writer's connection open, still is only reading
    with pytest.raises(GitError, match="read only"):
        push(reads, host, "shop")


def test_a_changed_host_key_is_refused_with_the_cure(host: Host) -> None:
    git = host.install(sharing=False)
    assert tips(git, host, "shop")
    host.server.stop()
    host.server.change_host_key()
    host.server.start()
    with pytest.raises(GitError) as caught:
        tips(git, host, "shop")
    assert "Host key verification failed" in str(caught.value)
    assert "not the pinned one" in caught.value.cure


def test_an_unpinned_host_is_refused_with_the_cure(host: Host) -> None:
    git = host.install(sharing=False)
    host.places.known_hosts.unlink()
    with pytest.raises(GitError) as caught:
        tips(git, host, "shop")
    assert "autogate keys add NAME" in caught.value.cure


def test_a_key_that_the_server_does_not_know_is_refused_with_the_cure(host: Host) -> None:
    git = host.install(sharing=False)
    host.server.dismiss_all()
    with pytest.raises(GitError) as caught:
        tips(git, host, "shop")
    assert "Permission denied (publickey" in str(caught.value)
    assert "autogate keys show NAME" in caught.value.cure


def test_nobodys_own_ssh_setup_has_a_say(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent with the right key, and a ~/.ssh of one's own, neither help nor harm."""
    agent = tmp_path / "agent"
    started = subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL)
    try:
        wait_for(agent.exists, "the agent")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        right = tmp_path / "right"
        right.write_bytes(ssh.key_path(host.places, "shop").read_bytes())
        right.chmod(0o600)
        subprocess.run(["ssh-add", "-q", right], check=True, stdin=subprocess.DEVNULL)
        host.swap_keys()
        git = host.install(sharing=False)
        with pytest.raises(GitError, match="Repository not found"):
            tips(git, host, "shop")
    finally:
        started.terminate()
        started.wait()


def test_the_command_gives_what_a_shell_needs(host: Host) -> None:
    """`eval "$(autogate ssh-config --install)"` and git works, as the documentation says."""
    script = 'eval "$(autogate ssh-config --install)" && git ls-remote "$1" refs/heads/main'
    done = subprocess.run(
        ["sh", "-c", script, "sh", host.installation.load().repository("till").fetch_url],
        env=os.environ | IDENTITY | host.places.to_environ() | {"PATH": f"{AUTOGATE.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [host.repositories["till"].head(), "refs/heads/main"], done.stderr
