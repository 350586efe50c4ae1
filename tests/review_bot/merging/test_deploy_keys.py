"""The mirror over a real ssh server: the bot's key writes, the readers' key does not."""

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autogate import ssh
from autogate.cli import deploykeys
from autogate.git import Git, GitError
from autogate.ssh import Role
from review_bot.forges.git import GitForge
from review_bot.forges.protocol import ForgeError, Known
from review_bot.merging.landing import Landed
from review_bot.merging.mirror import Mirror
from tests.support.installation import Installation
from tests.support.sshd import git_server, leave_shared_connections

from .case import IDENTITY, Case


@dataclass
class Site:
    """A case whose mirror writes with the bot's key, and a second mirror with the readers' key."""

    case: Case
    reader: Case


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    case = Case.create(tmp_path / "case")
    installation = Installation(tmp_path)
    with git_server(tmp_path / "sshd") as server, tempfile.TemporaryDirectory(dir="/tmp", prefix="ag-") as short:
        installation.places = places = replace(installation.places, state=Path(short))  # a socket's path is short
        installation.write_repository("shop", f'url = "{server.url("/owner/shop.git")}"')
        places.known_hosts.write_text(server.known_hosts_line())
        for role in Role:
            key = deploykeys.make(places, "shop", role)
            server.admit(key.public, "/owner/shop.git", case.repository.bare, write=role is Role.WRITE)
        repositories = installation.load().repositories
        mirrors = {}
        for role in Role:
            ssh.install(repositories, places, role)
            git = Git(ssh.command(places, role))
            mirrors[role] = Mirror(tmp_path / f"mirror-{role}", repositories[0].fetch_url, git, IDENTITY)
        case.mirror = mirrors[Role.WRITE]
        try:
            yield Site(case, replace(case, mirror=mirrors[Role.READ]))
        finally:
            for role in Role:
                leave_shared_connections(ssh.sharing_folder(places, role) or Path(short))


def test_a_topic_lands_with_the_key_that_writes(site: Site) -> None:
    case = site.case
    forge = GitForge(case.mirror, ["main"])
    member = case.topic(1, {"a": "1"})
    (pull,) = asyncio.run(forge.overview([])).pulls
    assert (pull.source, pull.head) == (case.refs[1], member.head)
    made = case.make(member)
    case.push(made)
    assert case.land(made, member) == Landed()
    assert case.assert_rule(made.sha) == [made.sha]
    asyncio.run(forge.finalise(Known(number=1, source=pull.source, head=pull.head), made.sha or ""))
    assert asyncio.run(forge.overview([])).pulls == []
    case.run(case.mirror.forget_attempts([1]))
    case.mirror.close()  # the connection that ssh keeps open for two minutes does not hold the mirror's lock
    next_bot = replace(case.mirror)
    case.run(next_bot.forget_attempts([1]))
    next_bot.close()
    assert not [ref for ref in case.repository.refs() if ref.startswith("refs/autogate/")]


def test_the_key_that_reads_moves_nothing_and_the_error_says_how_to_make_the_other(site: Site) -> None:
    case, reader = site.case, site.reader
    member = case.topic(1, {"a": "1"})
    made = reader.make(member)
    before = case.repository.refs()
    for attempt in (lambda: reader.push(made), lambda: reader.land(made, member)):
        with pytest.raises(GitError, match="marked as read only") as caught:
            attempt()
        assert "autogate keys add NAME --write" in caught.value.cure
        assert not caught.value.is_refusal
    seen = Known(number=1, source=case.refs[1], head=member.head)
    with pytest.raises(ForgeError, match="autogate keys add NAME --write"):
        asyncio.run(GitForge(reader.mirror, ["main"]).finalise(seen, member.head))
    assert case.repository.refs() == before
    assert case.make(member) == made  # the same merge, whoever makes it
    case.push(made)
    assert reader.run(reader.mirror.refs(["refs/heads/auto"])) == {"refs/heads/auto": made.sha}
