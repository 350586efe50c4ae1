"""What killed processes leave, and two who want the same mirror."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from review_bot.domain.effects import Land
from review_bot.domain.model import Member
from review_bot.merging.errors import MirrorBusyError
from review_bot.merging.landing import Landed
from review_bot.merging.merger import Candidate
from review_bot.merging.mirror import Mirror
from tests.support.waiting import wait_for

from .case import Case

_BOT = """\
import asyncio, json, sys
from pathlib import Path
from autogate.git import Git
from review_bot.domain.effects import EFFECT
from review_bot.forges.protocol import RefDeletion
from review_bot.merging.merger import Identity
from review_bot.merging.mirror import Mirror

folder, url, effect, refs = sys.argv[1:]
mirror = Mirror(Path(folder), url, Git(), Identity("Autogate", "autogate@example.org"))
effect, refs = EFFECT.validate_json(effect), {int(number): ref for number, ref in json.loads(refs).items()}
if effect.kind == "land":
    deletions = [RefDeletion(refs[member.number], member.head) for member in effect.members]
    asyncio.run(mirror.land(effect, deletions))
elif effect.kind == "make_candidate":
    asyncio.run(mirror.make_candidate(effect, refs))
else:
    asyncio.run(mirror.push_candidate(effect, "auto"))
"""


class Hold:
    """A place where a script stops until it is let go on."""

    def __init__(self, folder: Path) -> None:
        self.reached = folder / "reached"
        self.go = folder / "go"
        os.mkfifo(self.go)
        self.script = f"touch {self.reached}; read -r _ <{self.go}"

    def release(self) -> None:
        descriptor = wait_for(self._open, "the held process to read")
        os.close(descriptor)

    def _open(self) -> int | None:
        try:
            return os.open(self.go, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    return Hold(tmp_path)


class Bot:
    """A process that carries out one effect with the case's mirror."""

    def __init__(self, case: Case, effect: str) -> None:
        case.mirror.close()
        refs = str({str(number): ref for number, ref in case.refs.items()}).replace("'", '"')
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOT, str(case.mirror.folder), case.mirror.url, effect, refs],
            cwd=Path(__file__).parents[3],
        )

    def kill(self, *, with_git: bool) -> None:
        """``kill -9`` it, and every process that it started when so told."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        assert children
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if with_git:
            for child in children:
                child.kill()
            psutil.wait_procs(children)


@pytest.fixture
def candidate(case: Case) -> tuple[Candidate, Member]:
    member = case.topic(1, {"a": "1"})
    made = case.make(member)
    case.push(made)
    return made, member


def landing(case: Case, candidate: tuple[Candidate, Member]) -> Land:
    return case.landing(*candidate)


@pytest.mark.parametrize("hook", ["pre-receive", "post-receive"])
def test_a_bot_and_its_git_are_killed_in_mid_landing(
    case: Case, candidate: tuple[Candidate, Member], hold: Hold, hook: str
) -> None:
    case.repository.hook(hook, hold.script)
    bot = Bot(case, landing(case, candidate).model_dump_json())
    wait_for(hold.reached.exists, "the server's hook")
    bot.kill(with_git=True)
    moved = case.tip() == candidate[0].sha
    assert moved == (hook == "post-receive")
    case.repository.hook(hook, "exit 0")
    assert case.land(*candidate) == Landed()
    assert case.assert_rule(candidate[0].sha) == [candidate[0].sha]
    assert "refs/for/main/t1" not in case.repository.refs()


def test_a_git_that_outlives_its_bot_is_waited_for(case: Case, candidate: tuple[Candidate, Member], hold: Hold) -> None:
    """Else it could land what the next bot has given up meanwhile."""
    case.repository.hook("pre-receive", hold.script)
    bot = Bot(case, landing(case, candidate).model_dump_json())
    wait_for(hold.reached.exists, "the server's hook")
    bot.kill(with_git=False)
    with pytest.raises(MirrorBusyError, match="a killed bot left behind"):
        case.land(*candidate)
    assert case.tip() == case.begin
    case.repository.hook("pre-receive", "exit 0")
    hold.release()
    assert wait_for(lambda: free(case, candidate), "the git that was left to end") == Landed()
    assert case.assert_rule(candidate[0].sha) == [candidate[0].sha]


def free(case: Case, candidate: tuple[Candidate, Member]) -> object:
    try:
        return case.land(*candidate)
    except MirrorBusyError:
        return None


def test_a_bot_and_its_git_are_killed_in_mid_fetch(case: Case, hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    member = case.topic(1, {"a": "1"})
    pack = case.folder / "pack"
    pack.write_text(f'#!/bin/sh\n{hold.script}\nexec "$@"\n')
    pack.chmod(0o755)
    settings = case.folder / "gitconfig"
    settings.write_text(f"[uploadpack]\npackObjectsHook = {pack}\n")
    with monkeypatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        bot = Bot(case, case.effect(member).model_dump_json())
        wait_for(hold.reached.exists, "the server to pack")
        bot.kill(with_git=True)
    made = case.make(member)
    case.push(made)
    assert case.land(made, member) == Landed()
    case.assert_rule(made.sha)


@pytest.mark.parametrize("what", ["make_candidate", "push_candidate"])
def test_locks_of_a_killed_git_are_cleared_away(
    case: Case, candidate: tuple[Candidate, Member], hold: Hold, what: str
) -> None:
    """A hook holds git while it has its ref locked, in the mirror or on the server."""
    _made, member = candidate
    hook = f'case "$1" in prepared) {hold.script};; esac'
    if what == "make_candidate":
        path = case.mirror.folder / "hooks" / "reference-transaction"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{hook}\n")
        path.chmod(0o755)
        case.advance({"by-hand": "1"})
        bot = Bot(case, case.effect(member, attempt=2).model_dump_json())
        wait_for(hold.reached.exists, "git to lock its ref")
        bot.kill(with_git=True)
        path.unlink()
        assert list((case.mirror.folder / "refs").rglob("*.lock"))
    else:
        for name in ("config", "packed-refs", "HEAD", "shallow", "refs/autogate/attempts/1", "objects/info/alternates"):
            lock = case.mirror.folder / f"{name}.lock"
            lock.parent.mkdir(exist_ok=True, parents=True)
            lock.touch()
        case.mirror.close()
    again = case.make(member, attempt=1)
    case.push(case.make(member, attempt=2))
    assert again.sha
    assert not [lock for lock in case.mirror.folder.rglob("*.lock") if lock.name != "autogate.lock"]


@pytest.mark.parametrize("left", ["", "refs objects", "HEAD.lock config.lock"])
def test_a_mirror_that_was_being_made_is_made(case: Case, left: str) -> None:
    case.mirror.folder.mkdir()
    for name in left.split():
        path = case.mirror.folder / name
        path.mkdir() if name in {"refs", "objects"} else path.touch()
    assert case.make(case.topic(1, {"a": "1"})).sha


def test_two_bots_cannot_share_a_mirror_unknowingly(case: Case) -> None:
    member = case.topic(1, {"a": "1"})
    case.make(member)
    other = Mirror(case.mirror.folder, case.mirror.url, case.mirror.git, case.mirror.identity)
    with pytest.raises(MirrorBusyError, match="give each its own AUTOGATE_STATE"):
        case.run(other.make_candidate(case.effect(member), case.refs))
    case.mirror.close()
    case.mirror.close()
    assert case.run(other.make_candidate(case.effect(member), case.refs)).sha
    other.close()


@pytest.fixture(autouse=True)
def _nobody_is_left(hold: Hold) -> Iterator[None]:
    """Let go of whatever a failed test still holds."""
    yield
    if (descriptor := hold._open()) is not None:
        os.close(descriptor)
