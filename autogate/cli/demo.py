"""`autogate demo`: a whole installation on this machine, seven pull requests, and what becomes of each."""

import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autogate.botapi import PauseRequest, PullRequest, PullRequestDetail
from autogate.storage import write_private

from . import console
from .botclient import BotClient
from .demoshop import REPOSITORY, REVIEWER, TARGET, TOML, TOPICS, DemoRepository, Topic
from .failures import Failure
from .local import LocalInstallation, StartError

PATIENCE_SECONDS = 600
TOKEN = "token"  # noqa: S105  (a file's name)

T = TypeVar("T")


class DemoError(RuntimeError):
    """The demo could not be played to its end; the message says what did not happen."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog="Examples: `autogate demo`, `autogate demo --keep`")(demo)


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where everything is made; must not exist.", show_default="a temporary folder")
    ] = None,
) -> None:
    """Push seven changes for review, approve them all, and show which land and why the others do not.

    A real master, a real worker and the bot run on this machine meanwhile. Ends with exit code 0 only if each change
    ended as it should.
    """
    if folder is not None and folder.exists():
        raise typer.BadParameter(f"{folder} is already there", param_hint="--folder")
    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="autogate-demo-"))
    # a shell that starts it in the background would have it ignore the one, and the other would leave its children
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        as_expected = _play(place, keep=keep)
    except (DemoError, StartError) as error:
        raise Failure(str(error), f"the logs are in {place}") from None
    if folder is None and as_expected:
        shutil.rmtree(place)
    elif not as_expected:
        console.fail("not every change ended as it should", f"the logs are in {place}")
    raise typer.Exit(0 if as_expected else 1)


def _play(place: Path, *, keep: bool) -> bool:
    place.mkdir(parents=True, exist_ok=True)
    repository = DemoRepository(place)
    installation = LocalInstallation(place, title="Autogate demo")
    with _progress() as progress:
        task = progress.add_task("making a repository")
        asyncio.run(repository.create())
        installation.add_repository(REPOSITORY, TOML.format(url=repository.bare))
        token = installation.add_token(REVIEWER)
        write_private(place / TOKEN, token.encode())
        try:
            progress.update(task, description="starting a master, a worker and the bot")
            installation.start()
            bot = BotClient(installation.bot_url, token)
            for topic in TOPICS:
                progress.update(task, description=f"pushing {topic.name} to refs/for/{TARGET}/{topic.name}")
                asyncio.run(repository.push(topic))
            numbers = approve_all(bot)
            ended = follow(bot, numbers, lambda text: progress.update(task, description=text))
            progress.update(task, description="all have ended")
            progress.stop()
            console.out().print(table(ended))
            console.out().print(console.plain(f"\n{TARGET}, every commit of which passed:\n"))
            console.out().print(console.plain(asyncio.run(repository.history())))
            if keep:
                _wait_for_interrupt(installation)
        finally:
            installation.stop()
    return all(as_it_should(topic, ended[topic.name].pull) for topic in TOPICS)


def approve_all(bot: BotClient) -> Mapping[str, int]:
    """Approve every topic, at a moment at which nothing starts, so that they meet in one batch; return their numbers.

    Raises:
        DemoError: the bot did not do its part.
    """
    _until(lambda: bot.repositories().repositories[0].targets or None, "the bot to read its configuration")
    bot.ask(REPOSITORY, "poke")
    bot.ask(REPOSITORY, "pause", PauseRequest(reason="the demo collects its changes"))
    numbers = {}
    for topic in TOPICS:
        found = bot.find(REPOSITORY, f"{TARGET}/{topic.name}").pulls
        if not found:
            raise DemoError(f"the bot does not see {topic.name}")
        [pull] = found
        numbers[topic.name] = pull.number
        result = bot.comment(REPOSITORY, pull.number, f"@autogate r+ {pull.head}")
        if result.refused:
            raise DemoError(" ".join(result.answers))
    bot.ask(REPOSITORY, "resume")
    return numbers


def follow(bot: BotClient, numbers: Mapping[str, int], tell: Callable[[str], None]) -> Mapping[str, PullRequestDetail]:
    """Wait until every pull request has ended, and return each.

    Args:
        bot: The bot.
        numbers: Topic -> number.
        tell: Called with what happens now.

    Raises:
        DemoError: one did not end in time.
    """

    def all_ended() -> Mapping[str, PullRequestDetail] | None:
        queue = bot.queue(REPOSITORY, None, 100)
        attempts = [target.attempt for target in queue.repository.targets if target.attempt] + list(queue.tries)
        if attempts:
            what = ", ".join(f"#{member.number}" for member in attempts[0].members)
            tell(f"{attempts[0].stage} {what} on {attempts[0].kind}")
        is_over = not attempts and all(pull.state in {"aside", "open"} for pull in queue.entries)
        return {name: bot.pull_request(REPOSITORY, number) for name, number in numbers.items()} if is_over else None

    return _until(all_ended, "all pull requests to end")


def as_it_should(topic: Topic, pull: PullRequest) -> bool:
    """Tell whether a topic ended as it should, and for the right reason."""
    if topic.lands:
        return pull.state == "landed"
    return pull.state == "aside" and topic.told in pull.waiting


def table(ended: Mapping[str, PullRequestDetail]) -> Table:
    """Return what became of each topic, and why."""
    shown = Table("topic", "what it is", "state", "as it should", "why", title="What became of it")
    for topic in TOPICS:
        detail = ended[topic.name]
        landed = detail.pull.state == "landed"
        shown.add_row(
            f"#{detail.pull.number} {topic.name}",
            topic.title,
            Text("landed" if landed else "not landed", style="green" if landed else "red"),
            "yes" if as_it_should(topic, detail.pull) else Text("no", style="bold red"),
            console.plain("\n".join(_why(detail))),
        )
        shown.add_section()
    return shown


def _why(detail: PullRequestDetail) -> Sequence[str]:
    lines = [detail.pull.waiting]
    if detail.pull.state != "landed":
        for verdict in detail.verdicts:
            lines += [f"{found.path}:{found.line}: {found.symbol}: {found.text}" for found in verdict.findings[:3]]
            lines += [f"{test.name}: {_last_line(test.excerpt)}" for test in verdict.failed_tests[:3]]
    return [line for line in lines if line]


def _last_line(excerpt: str) -> str:
    return next((line.strip() for line in reversed(excerpt.splitlines()) if line.strip()), "")


def _until(condition: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise DemoError(f"waited {PATIENCE_SECONDS} s in vain for {what}")
        time.sleep(0.2)


def _progress() -> Progress:
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console.err())


def _wait_for_interrupt(installation: LocalInstallation) -> None:
    console.say(f"\nThe web UI is at {installation.url}; everything is in {installation.folder}.")
    console.say(f"Sign in as admin with the password in {installation.places.secrets / 'web_admin_password'}.")
    token = installation.folder / TOKEN
    console.say(f"Ask the bot: autogate queue --bot {installation.bot_url} --token-file {token}")
    console.say("Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
