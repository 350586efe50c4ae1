"""`autogate queue`: what waits, in which order, and why."""

import contextlib
import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live

from autogate import botapi

from . import botview, console
from .botclient import BotClient, BotOption, JsonOption, TokenFileOption, WatchOption, connect
from .follow import follow

_LOOK_SECONDS = 2
"""Several repositories are looked at in turn, so often."""


def queue(
    context: typer.Context,
    repository: Annotated[
        str | None, typer.Argument(metavar="[REPO]", help="A repository's name.", show_default="all")
    ] = None,
    *,
    target: Annotated[str | None, typer.Option(metavar="BRANCH", help="Only what is to land there.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=botapi.MAX_PAGE, metavar="N", help="At most so many of each repository.")
    ] = botapi.DEFAULT_PAGE,
    watch: WatchOption = False,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Show the open pull requests: those being tested, the queue in order, those set aside, those not approved.

    With --watch it goes on until Ctrl-C.
    """
    client = connect(context.obj, bot, token_file)
    names = [repository] if repository else [one.name for one in client.repositories().repositories]
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(client, names, target, limit, as_json=as_json)
        return
    queues = [client.queue(name, target, limit) for name in names]
    if as_json:
        typer.echo(_json(queues, indent=2))
        return
    for shown in queues:
        console.out().print(botview.queue(shown))
    if not queues:
        console.say("The bot has no repositories: each is a file in repos.d.")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel="Review bot",
        epilog="Examples: `autogate queue`, `autogate queue shop --watch`, in a script `autogate queue shop --json`.",
    )(queue)


def _watch(client: BotClient, names: list[str], target: str | None, limit: int, *, as_json: bool) -> None:
    queues: dict[str, botapi.Queue] = {}
    tags: dict[str, str] = {}
    alone = len(names) == 1

    def look(_tag: str) -> tuple[list[botapi.Queue], str] | None:
        changed = False
        for name in names:
            wait = botapi.MAX_WAIT_SECONDS if alone and name in tags else 0
            if found := client.queue_after(name, target, limit, tags.get(name, ""), wait):
                queues[name], tags[name] = found
                changed = True
        return (list(queues.values()), "seen") if changed else None

    seen = follow(look, 0 if alone else _LOOK_SECONDS)
    screen = console.out()
    if as_json:
        for shown in seen:
            typer.echo(_json(shown))
    elif screen.is_terminal:
        with Live(console=screen, auto_refresh=False) as live:
            for shown in seen:
                live.update(Group(*map(botview.queue, shown)), refresh=True)
    else:
        _print_changes(client, seen)


def _print_changes(client: BotClient, seen: Iterator[list[botapi.Queue]]) -> None:
    """Print a line for every pull request that has come, changed or gone."""
    before: dict[str, dict[int, str]] = {}
    for queues in seen:
        for shown in queues:
            name = shown.repository.name
            now, lines = botview.changes(before.get(name, {}), shown)
            for number in before.get(name, {}).keys() - now.keys():
                lines.append(botview.progress(client.pull_request(name, number).pull))
            before[name] = now
            for line in lines:
                console.out().print(console.plain(f"{name} {line}"), soft_wrap=True)


def _json(queues: list[botapi.Queue], indent: int | None = None) -> str:
    return json.dumps({"queues": [shown.model_dump(mode="json") for shown in queues]}, indent=indent)
