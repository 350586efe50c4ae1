"""What others write and name stays text: in git, Buildbot, the API, the command line, logs, metrics and trailers."""

import json
import os
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from autogate.cli import app
from autogate.cli.local import LocalInstallation
from review_bot.domain.commands import parse
from tests.support.held import FILES, SETTINGS
from tests.support.repository import IDENTITY
from tests.support.team import Team

BIDI = "\N{RIGHT-TO-LEFT OVERRIDE}"
ZEROS = "0" * 40
TOPICS = {
    "mention": b"@autogate",
    "option": b"--upload-pack=touch${IFS}pwned",
    "shell": b"$(touch${IFS}pwned)`touch${IFS}pwned`;touch${IFS}pwned;'\"|&<>",
    "comment": b"-->",
    "escaped": b"%0a@autogate%20r+",
    "branch": b"refs/heads/main",
    "special": b"HEAD",
    "candidate": b"auto",
    "direction": f"{BIDI}niam/sdaeh/sfer".encode(),
    "long": ("\N{SNOWMAN}" * 78).encode(),
    "latin": b"latin",
}
"""Ref names that git takes."""

PATHS = {
    "mention": b"@autogate r+\n@autogate treeclosed=9",
    "option": b"--upload-pack=touch pwned",
    "shell": b"$(touch pwned);`touch pwned`",
    "comment": b"--><script>alert(1)</script>.py",
    "escaped": b"a\x1b]0;pwned\x07\r\tb\\n\"'.py",
    "branch": b"-rf",
    "special": b"HEAD",
    "candidate": b"~ ~.txt",
    "direction": f"{BIDI}yp.x".encode(),
    "long": ("\N{SNOWMAN}" * 80).encode(),
    "latin": b"caf\xe9.py",
}
TITLES = {
    "mention": b"@autogate r+ p=1000",
    "option": b"--upload-pack=touch pwned",
    "shell": b"$(touch pwned)`touch pwned`;touch pwned",
    "comment": b"--><script>alert(1)</script>[x](javascript:alert(1))![y](//evil.example)",
    "escaped": b"a\x1b[2J\x1b]0;pwned\x07\rnot this\x08\x00"[:-1],
    "branch": b"[bold red]markup[/] {braces} %s %(x)s {0.__class__}",
    "special": b"x\xc2\x85@autogate r+\xe2\x80\xa8@autogate r+",
    "candidate": b"Autogate-Base: " + ZEROS.encode(),
    "direction": f"{BIDI}+r etagotua@".encode(),
    "long": ("\N{SNOWMAN}\N{COMBINING ACUTE ACCENT}" * 150).encode(),
    "latin": b"caf\xe9 \xff\xfe",
}
"""First lines of commit messages, which titles come from."""

MORE = b"""

@autogate r+
-->
Autogate-Base: %(zeros)s
Autogate-Attempt: 99
Approved-by: ada
""" % {b"zeros": ZEROS.encode()}

AUTHOR = b"--upload-pack=touch pwned @autogate r+ \x1b[31m"
UNWELCOME = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What no terminal is to get; tabs and newlines are the command line's own."""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("hostile")
    installation = LocalInstallation(folder / "in", workers=1)
    batch = "[batch]\nmax = 64\n"
    team = Team.create(
        folder, installation, {**FILES, "shared.txt": "ours\n"}, more=SETTINGS + batch, people=("ada", "tim")
    )
    try:
        installation.start()
        yield team
    finally:
        installation.kill()


def git(team: Team, *args: bytes, stdin: bytes = b"", **environment: bytes) -> bytes:
    """Run git in the work tree with arguments that need be no text."""
    names = {name.encode(): value for name, value in environment.items()}
    done = subprocess.run(
        [b"git", *args],
        cwd=team.repository.tree,
        env={**os.environb, **{name.encode(): value.encode() for name, value in IDENTITY.items()}, **names},
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (args, done.stderr)
    return done.stdout.strip()


def push(team: Team, topic: bytes, path: bytes, title: bytes, content: bytes = b"theirs\n") -> str:
    """Push a change with a file, without a work tree: not every name can be one."""
    base = git(team, b"rev-parse", b"origin/main")
    blob = git(team, b"hash-object", b"-w", b"--stdin", stdin=content)
    index = os.fsencode(team.repository.tree / "index-of-a-stranger")
    git(team, b"read-tree", base, GIT_INDEX_FILE=index)
    git(
        team,
        *(b"update-index", b"-z", b"--add", b"--index-info"),
        stdin=b"100644 " + blob + b"\t" + path + b"\0",
        GIT_INDEX_FILE=index,
    )
    tree = git(team, b"write-tree", GIT_INDEX_FILE=index)
    head = git(team, b"commit-tree", tree, b"-p", base, stdin=title + MORE, GIT_AUTHOR_NAME=AUTHOR)
    git(team, b"push", b"-q", b"origin", head + b":refs/for/main/" + topic)
    return head.decode()


def autogate(team: Team, *args: str) -> str:
    """Run the command line, and return what it printed."""
    bot = {"AUTOGATE_BOT_URL": team.installation.bot_url, "AUTOGATE_TOKEN": team.tokens["ada"]}
    done = CliRunner().invoke(app, args, env=team.installation.places.to_environ() | bot)
    assert done.exit_code == 0, done.output
    return done.stdout


def pulls(team: Team) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = team.ask("GET", "queue", params={"limit": "100"}).json()["entries"]
    return found


def test_everything_lands_and_nothing_is_obeyed(team: Team) -> None:
    heads = {push(team, TOPICS[name], PATHS[name], TITLES[name]) for name in TOPICS}
    team.ask("POST", "poke")
    opened = {pull["head"]: pull for pull in pulls(team)}
    assert opened.keys() == heads
    assert {pull["state"] for pull in opened.values()} == {"open"}
    assert {pull["priority"] for pull in opened.values()} == {0}
    check_command_line(team, opened.values())
    team.ask("POST", "pause", json={"reason": "so that all go together -->\n@autogate r+ \x1b[2J"})
    for pull in opened.values():
        team.approve(pull["number"])
    check_command_line(team, opened.values())
    team.ask("POST", "resume", json={})
    team.wait_until_landed(*(pull["number"] for pull in opened.values()))
    check_command_line(team, opened.values())
    assert git(team, b"ls-remote", b"origin", b"refs/for/*") == b""


def test_a_topic_that_nobody_can_write_down_is_left_alone_and_the_log_says_so(team: Team) -> None:
    push(team, b"caf\xe9", b"cafe.txt", b"Title")
    team.ask("POST", "poke")
    assert pulls(team) == []
    bot = team.installation.bot
    assert bot
    assert "push it under another name, and delete this one" in bot.said()


def check_command_line(team: Team, some: Any) -> None:
    """Assert that what is printed of pull requests is text, and commands nothing."""
    printed = [autogate(team, "queue", "shop")]
    for pull in some:
        printed.append(autogate(team, "show", "shop", str(pull["number"])))
        shown = json.loads(autogate(team, "show", "shop", str(pull["number"]), "--json"))
        assert shown["pull"]["head"] == pull["head"]
        assert parse(shown["status"], "autogate") == ()
        assert parse(shown["pull"]["waiting"], "autogate") == ()
    for text in printed:
        assert not UNWELCOME.search(text), text


def test_the_trailers_of_each_merge_are_the_bots_own(team: Team) -> None:
    git(team, b"fetch", b"-q", b"origin")
    merges = git(team, b"rev-list", b"--first-parent", team.begin.encode() + b"..origin/main").decode().split()
    assert len(merges) == len(TOPICS)
    for merge in merges:
        message = git(team, b"log", b"-1", b"--format=%B", merge.encode()).decode("utf-8")
        trailers = git(team, b"interpret-trailers", b"--parse", stdin=message.encode()).decode("utf-8").splitlines()
        assert trailers == [f"Autogate-Base: {team.begin}", "Autogate-Attempt: 1", "Approved-by: ada"]
        subject = message.splitlines()[0]
        assert subject.startswith("Merge #")
        assert not UNWELCOME.search(subject)
        assert not any(unicodedata.category(character) == "Cc" for character in subject)


def test_a_conflict_in_a_file_with_such_a_name_is_told_and_commands_nothing(team: Team) -> None:
    name = PATHS["mention"]
    git(team, b"fetch", b"-q", b"origin")
    first = push(team, b"first", name, b"One", b"one\n")
    second = push(team, b"second", name, b"Another", b"another\n")
    team.ask("POST", "poke")
    numbers = {pull["head"]: pull["number"] for pull in pulls(team)}
    team.approve(numbers[first])
    team.wait_until_landed(numbers[first])
    team.approve(numbers[second])
    shown = team.wait_until(numbers[second], "aside")
    assert "Conflicts with main in" in shown["waiting"]
    assert "treeclosed=9" in shown["waiting"]
    check_command_line(team, [shown])
    assert team.ask("GET", "queue").json()["repository"]["targets"][0]["freeze"] is None


@pytest.mark.parametrize(
    "body",
    [
        "--upload-pack=touch pwned",
        "x\x00y\x1b[2J",
        "`" * 1000 + "\n@autogate r+\n" + "`" * 1000,
        "> @autogate r+",
        "<!-- @autogate r+ -->",
        "\N{SNOWMAN}" * 300,
        "@autogate r+ $(touch pwned)",
        "@autogate treeclosed=\N{ARABIC-INDIC DIGIT ONE}",
        "@autogate treeclosed=1 -->\x1b[2J",
    ],
)
def test_such_a_comment_is_answered_and_obeyed_in_nothing(team: Team, body: str) -> None:
    number = team.propose("talked-about", {"talked-about.txt": "x"})
    team.ask("POST", "pause", json={"reason": "so that nothing lands meanwhile"})
    answer = team.say(number, body, by="tim")
    for text in answer["answers"]:
        assert parse(text, "autogate") == ()
        assert not UNWELCOME.search(text)
    assert team.show(number)["approved_by"] is None
    assert team.ask("GET", "queue").json()["repository"]["targets"][0]["freeze"] is None


def test_nobody_with_such_a_name_is_put_into_a_trailer(team: Team) -> None:
    number = team.number("talked-about")
    for name in ("--upload-pack=touch${IFS}pwned", "[bold]-->", "a\\nAutogate-Base:x", "\x1b[31mada"):
        answer = team.say(number, f"@autogate r={name}")
        assert answer["refused"], name
        assert parse(answer["answers"][0], "autogate") == ()
        assert not UNWELCOME.search(answer["answers"][0])
    # a line that reads as something else than it says is nobody's word
    assert team.say(number, f"@autogate r={BIDI}ada")["answers"] == []
    assert team.show(number)["approved_by"] is None
    team.ask("POST", "resume", json={})


def test_text_that_is_no_unicode_is_refused(team: Team) -> None:
    number = team.propose("talked-about", {"talked-about.txt": "y"})
    url = f"{team.installation.bot_url}/api/v1/repositories/shop/pulls/{number}/comments"
    headers = {"Authorization": f"Bearer {team.tokens['ada']}", "Content-Type": "application/json"}
    for body in (
        b'{"body": "\\ud800 @autogate r+", "id": "a"}',
        b'{"body": "\xff", "id": "b"}',
        b'{"body": "',
        b"\x00",
    ):
        answer = httpx.post(url, headers=headers, content=body, timeout=60)
        assert answer.is_client_error, body
        answer.json()


def test_logs_metrics_and_mirror_are_whole(team: Team) -> None:
    bot = team.installation.bot
    assert bot
    for line in bot.said().splitlines():
        assert isinstance(json.loads(line), dict), line
        assert not UNWELCOME.search(line)
    headers = {"Authorization": f"Bearer {team.tokens['ada']}"}
    metrics = httpx.get(f"{team.installation.bot_url}/metrics", headers=headers, timeout=60).raise_for_status().text
    samples = {
        sample.name: sample.labels for family in text_string_to_metric_families(metrics) for sample in family.samples
    }
    assert samples
    allowed = re.compile(r"[A-Za-z0-9_.+-]+")
    assert all(allowed.fullmatch(value) for labels in samples.values() for value in labels.values())
    mirrors = team.installation.places.state / "bot" / "mirrors"
    [mirror] = [path for path in mirrors.iterdir() if path.is_dir()]
    subprocess.run(["git", "fsck", "--no-dangling", "--strict"], cwd=mirror, check=True, capture_output=True)
    # where a shell that was fooled would have made it
    folders = (team.repository.tree.parent, Path.cwd(), Path.home())
    assert not list(folders[0].rglob("pwned"))
    assert not [folder for folder in folders if (folder / "pwned").exists()]
    team.check()
