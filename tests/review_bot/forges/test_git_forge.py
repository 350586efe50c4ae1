"""A plain repository as a forge."""

import asyncio
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate.git import Git
from review_bot.domain.events import Comment, Snapshot
from review_bot.forges.git import LONGEST_TITLE, GitForge, target_of
from review_bot.forges.protocol import Forge, ForgeError, Known, Overview, RefDeletion
from review_bot.merging.merger import Identity
from review_bot.merging.mirror import Mirror
from tests.support.repository import Repository

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TARGETS = ("main", "release/1.0", "release/1.0/hot", "gone")


@dataclass
class Site:
    repository: Repository
    forge: GitForge

    def overview(self, *known: Known) -> Overview:
        return asyncio.run(self.forge.overview(known))

    def pulls(self) -> dict[str, Snapshot]:
        return {pull.source: pull for pull in self.overview().pulls}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    repository = Repository.create(tmp_path)
    repository.push("main:release/1.0")
    mirror = Mirror(tmp_path / "mirror", str(repository.bare), Git(), Identity("Autogate", "a@example.org"))
    yield Site(repository, GitForge(mirror, TARGETS, lambda: NOW))
    mirror.close()


def known(source: str, head: str, number: int = 1) -> Known:
    return Known(number=number, source=source, head=head)


def test_it_is_a_forge(site: Site) -> None:
    forge: Forge = site.forge
    assert forge.fetch_ref(known("refs/for/main/t", "1" * 40)) == "refs/for/main/t"


def test_an_empty_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "empty.git"], check=True)
    mirror = Mirror(tmp_path / "mirror", str(tmp_path / "empty.git"), Git(), Identity("A", "a@example.org"))
    assert asyncio.run(GitForge(mirror, TARGETS).overview([])) == Overview(tips={}, pulls=[])


def test_targets_and_topics_are_read_at_once(site: Site) -> None:
    head = site.repository.topic("fix/typo", {"a": "1"}, message="Fix a typo\nin two lines\n\nBecause.")
    seen = site.overview()
    tip = site.repository.tip("main")
    assert seen.tips == {"main": tip, "release/1.0": tip}
    assert seen.pulls == [
        Snapshot(
            number=None,
            source="refs/for/main/fix/typo",
            target="main",
            head=head,
            title="Fix a typo in two lines",
            author="Ada Author",
            read_at=NOW,
        )
    ]
    assert site.forge.faults == {}


def test_a_topic_that_is_pushed_again_or_deleted(site: Site) -> None:
    first = site.repository.topic("t", {"a": "1"})
    site.overview()
    second = site.repository.topic("t", {"b": "1"}, base="t", message="Better")
    pull = site.pulls()["refs/for/main/t"]
    assert (pull.head, pull.title) == (second, "Better")
    site.repository.push(":refs/for/main/t")
    assert site.overview(known("refs/for/main/t", first)).pulls == []


@pytest.mark.parametrize(
    ("ref", "target"),
    [
        ("refs/for/main/t", "main"),
        ("refs/for/main/deep/er", "main"),
        ("refs/for/main", "main"),
        ("refs/for/release/1.0/t", "release/1.0"),
        ("refs/for/release/1.0/hot/t", "release/1.0/hot"),
        ("refs/for/release/1.0/hotter/t", "release/1.0"),
        ("refs/for/release/2.0/t", "release"),
        ("refs/for/unknown/t", "unknown"),
        ("refs/for/mainly/t", "mainly"),
    ],
)
def test_the_target_is_the_longest_that_fits(site: Site, ref: str, target: str) -> None:
    assert target_of(ref, TARGETS) == target
    assert target_of(ref, TARGETS[::-1]) == target
    site.repository.push(f"main:{ref}")
    assert site.pulls()[ref].target == target


ODD = [
    "refs/for/main/--upload-pack=touch-x",
    "refs/for/main/$(touch x)".replace(" ", "+"),
    "refs/for/main/;touch;x&|`id`",
    "refs/for/main/'\"",
    "refs/for/main/@autogate,r+",
    "refs/for/main/-->",
    "refs/for/main/" + "é" * 100,  # a file's name has at most 255 bytes
    "refs/for/main/" + "/".join(["ß" * 50] * 6),
    "refs/for/main/a\u202eb\u2028c",
    "refs/for/main/%n%x00%H",
]


def test_names_can_be_as_odd_as_git_allows(site: Site) -> None:
    head = site.repository.topic("t", {"a": "1"})
    site.repository.push(*(f"{head}:{ref}" for ref in ODD))
    pulls = site.pulls()
    assert set(pulls) == {*ODD, "refs/for/main/t"}
    for ref in ODD:
        seen = known(ref, head)
        assert asyncio.run(site.forge.pull_request(seen)) == pulls[ref]
        asyncio.run(site.forge.finalise(seen, head))
    assert [ref for ref in site.repository.refs() if ref.startswith("refs/for/")] == ["refs/for/main/t"]


def test_one_bad_topic_hides_no_other(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    good = site.repository.topic("good", {"a": "1"})
    blob = site.repository.git("rev-parse", "HEAD:a")
    site.repository.git("tag", "-a", "-m", "A tag", "tag")
    tag = site.repository.git("rev-parse", "refs/tags/tag")
    site.repository.push(f"{blob}:refs/for/main/blob", f"{tag}:refs/for/main/tag", "HEAD^{tree}:refs/for/main/tree")
    bytes_name = b"refs/for/main/caf\xe9"
    subprocess.run(["git", "update-ref", bytes_name, good], cwd=site.repository.bare, check=True)
    with caplog.at_level(logging.WARNING):
        assert set(site.pulls()) == {"refs/for/main/good"}
    assert set(site.forge.faults) == {
        "refs/for/main/blob",
        "refs/for/main/tag",
        "refs/for/main/tree",
        os.fsdecode(bytes_name),
    }
    assert "is no commit; push a commit there, or delete it" in site.forge.faults["refs/for/main/blob"]
    assert "is not written in UTF-8" in site.forge.faults[os.fsdecode(bytes_name)]
    assert len(caplog.records) == 4
    with caplog.at_level(logging.WARNING):
        site.overview()
    assert len(caplog.records) == 4  # said once
    assert asyncio.run(site.forge.pull_request(known("refs/for/main/blob", blob))) is None
    site.repository.push(*(f":refs/for/main/{name}" for name in ("blob", "tag", "tree")))
    assert set(site.pulls()) == {"refs/for/main/good"}
    assert set(site.forge.faults) == {os.fsdecode(bytes_name)}


def commit(site: Site, name: str, header: bytes, message: bytes) -> str:
    """Push a commit made byte by byte."""
    tree = site.repository.git("rev-parse", "HEAD^{tree}").encode()
    body = b"tree " + tree + b"\n" + header + b"\n" + message
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        cwd=site.repository.bare,
        input=body,
        capture_output=True,
        check=True,
    )
    head = made.stdout.decode().strip()
    subprocess.run(["git", "update-ref", f"refs/for/main/{name}", head], cwd=site.repository.bare, check=True)
    return head


WHEN = b"<m@example.org> 1700000000 +0000\n"


def test_commits_can_say_what_they_like(site: Site) -> None:
    ada = b"author Ada " + WHEN + b"committer Ada " + WHEN
    odd = b"author \xff\xfe" + WHEN + b"committer \xff" + WHEN
    latin = ada + b"encoding ISO-8859-1\n"
    commit(site, "good", ada, b"Good\n")
    commit(site, "bytes", odd, b"\xff\xfe caf\xe9\n")
    commit(site, "latin", latin, b"caf\xe9\n")
    commit(site, "empty", ada, b"")
    commit(site, "control", ada, b"a\x1b[31m\x01b\n")
    commit(site, "long", ada, b"x" * 100_000)
    commit(site, "nobody", b"author  <> 0 +0000\ncommitter  <> 0 +0000\n", b"Nobody\n")
    commit(site, "trailing", ada, b"\n\n\n  Later  \n")
    pulls = {source.removeprefix("refs/for/main/"): pull for source, pull in site.pulls().items()}
    assert pulls["good"].title == "Good"
    assert pulls["bytes"].title.endswith("caf\N{REPLACEMENT CHARACTER}")
    assert pulls["latin"].title == "café"
    assert pulls["empty"].title == ""
    assert pulls["control"].title == "a\x1b[31m\x01b"
    assert pulls["long"].title == "x" * LONGEST_TITLE
    assert (pulls["nobody"].title, pulls["nobody"].author) == ("Nobody", "")
    assert pulls["trailing"].title.strip() == "Later"
    assert all(Snapshot.model_validate_json(pull.model_dump_json()) == pull for pull in pulls.values())


def test_one_topic_is_read_alone(site: Site) -> None:
    head = site.repository.topic("t", {"a": "1"})
    seen = known("refs/for/main/t", head)
    pull = asyncio.run(site.forge.pull_request(seen))
    assert pull is not None
    assert pull == site.pulls()["refs/for/main/t"]
    newer = site.repository.topic("t", {"b": "1"}, base="t")
    moved = asyncio.run(site.forge.pull_request(seen))
    assert moved is not None
    assert moved.head == newer
    site.repository.push(":refs/for/main/t")
    assert asyncio.run(site.forge.pull_request(seen)) is None


def test_a_name_is_never_taken_for_a_pattern_or_the_end_of_another(site: Site) -> None:
    head = site.repository.topic("t", {"a": "1"})
    site.repository.push(f"{head}:refs/heads/refs/for/main/x", f"{head}:refs/heads/old/refs/heads/gone")
    assert asyncio.run(site.forge.pull_request(known("refs/for/main/x", head))) is None
    assert "gone" not in site.overview().tips
    assert set(site.pulls()) == {"refs/for/main/t"}


@pytest.mark.parametrize("source", ["refs/heads/main", "--upload-pack=x", "main"])
def test_what_is_no_topic_is_never_touched(site: Site, source: str) -> None:
    seen = known(source, site.repository.tip("main"))
    with pytest.raises(ValueError, match="is no ref below refs/for/"):
        asyncio.run(site.forge.finalise(seen, seen.head))
    with pytest.raises(ValueError, match="is no ref below refs/for/"):
        site.forge.landing_deletions(seen)


def test_finalising_deletes_only_what_landed_and_does_no_harm_twice(site: Site) -> None:
    head = site.repository.topic("t", {"a": "1"})
    seen = known("refs/for/main/t", head)
    assert site.forge.landing_deletions(seen) == (RefDeletion(ref="refs/for/main/t", expected=head),)
    newer = site.repository.topic("t", {"b": "1"}, base="t")
    asyncio.run(site.forge.finalise(seen, "1" * 40))
    assert site.repository.refs()["refs/for/main/t"] == newer
    for _ in range(2):
        asyncio.run(site.forge.finalise(known("refs/for/main/t", newer), "1" * 40))
        assert "refs/for/main/t" not in site.repository.refs()


def test_a_comment_is_what_the_api_took(site: Site) -> None:
    hint = Comment(id="1", number=1, author="grace", body="r+", written_at=NOW)
    read = asyncio.run(site.forge.comment(hint))
    assert (read.comment, read.may_write) == (hint, False)


def test_a_server_that_is_away_is_a_forge_error_with_its_cure(site: Site) -> None:
    site.repository.bare.rename(site.repository.bare.with_name("away"))
    with pytest.raises(ForgeError, match="the path in the url is wrong"):
        site.overview()


def test_a_mirror_that_is_in_use_is_a_forge_error(site: Site) -> None:
    site.repository.topic("t", {"a": "1"})
    site.overview()
    other = Mirror(site.forge._mirror.folder, str(site.repository.bare), Git(), Identity("A", "a@example.org"))
    with pytest.raises(ForgeError, match="another process uses"):
        asyncio.run(GitForge(other, TARGETS).overview([]))


class Commands:
    """Counts the gits that run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = folder / "commands"
        program = folder / "bin" / "git"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$1" >>{self.log}\nexec "{shutil.which("git")}" "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def taken(self) -> Sequence[str]:
        """Return those that ran since the last call."""
        found = self.log.read_text().split()
        self.log.unlink()
        return found


def import_topics(repository: Repository, count: int) -> None:
    """Make topics with a commit each, at once."""
    begin = repository.tip("main")
    stream = "".join(
        f"commit refs/for/main/t{number}\ncommitter Ada <a@example.org> {number} +0000\n"
        f"data <<END\nTopic {number}\nEND\nfrom {begin}\nM 644 inline f{number}\ndata 1\nx\n"
        for number in range(count)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repository.bare, input=stream.encode(), check=True)


def test_many_topics_take_a_few_processes_and_the_next_look_takes_one(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_topics(site.repository, 500)
    commands = Commands(tmp_path, monkeypatch)
    pulls = site.pulls()
    assert {pull.title for pull in pulls.values()} == {f"Topic {number}" for number in range(500)}
    ran = commands.taken()
    assert ran.count("ls-remote") == ran.count("fetch") == ran.count("log") == 1
    assert len(ran) < 10
    assert site.pulls() == pulls
    assert commands.taken() == ["ls-remote"]
    site.repository.topic("one-more", {"a": "1"})
    commands.taken()
    assert len(site.pulls()) == 501
    assert sorted(commands.taken()) == ["cat-file", "cat-file", "fetch", "log", "ls-remote"]
    again = GitForge(site.forge._mirror, TARGETS, lambda: NOW)  # as after a restart
    assert len(asyncio.run(again.overview([])).pulls) == 501
    assert sorted(commands.taken()) == ["cat-file", "log", "ls-remote"]


@given(st.text(), st.lists(st.text()))
def test_any_name_has_a_target(name: str, targets: list[str]) -> None:
    target = target_of(f"refs/for/{name}", targets)
    assert name == target or name.startswith(f"{target}/")
