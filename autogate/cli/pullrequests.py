"""What is asked of one pull request: `show`, `approve`, `comment`, `try`, `retry`, `cancel`."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.live import Live

from autogate import botapi

from . import botview, console
from .botclient import (
    BotClient,
    BotOption,
    JsonOption,
    PullArgument,
    RepositoryArgument,
    TokenFileOption,
    WatchOption,
    connect,
)
from .failures import Failure
from .follow import follow

_SHORTEST_SHA = 7
_INTERRUPTED = 130


def show(
    context: typer.Context,
    repository: RepositoryArgument,
    pull: PullArgument,
    *,
    watch: WatchOption = False,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Show where a pull request is, why it waits, what failed, and what happened to it.

    With --watch it ends when the pull request lands (exit code 0), or is set aside or closed (exit code 1).
    """
    client = connect(context.obj, bot, token_file)
    number = resolve(client, repository, pull)
    if watch:
        _watch(client, repository, number, as_json=as_json)
        return
    detail = client.pull_request(repository, number)
    if as_json:
        typer.echo(detail.model_dump_json(indent=2))
    else:
        console.out().print(botview.pull_request(detail), soft_wrap=True)


def approve(
    context: typer.Context,
    repository: RepositoryArgument,
    pull: PullArgument,
    *,
    sha: Annotated[
        str | None,
        typer.Option(metavar="SHA", help=f"Only if its head begins with this ({_SHORTEST_SHA} digits or more)."),
    ] = None,
    watch: WatchOption = False,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Approve exactly the head that is shown, and no later one: `r+`.

    With --watch it ends when the pull request lands (exit code 0), or is set aside or closed (exit code 1).
    """
    if sha is not None and (len(sha) < _SHORTEST_SHA or not all(digit in "0123456789abcdef" for digit in sha)):
        raise typer.BadParameter(f"it must have {_SHORTEST_SHA} hexadecimal digits or more", param_hint="--sha")
    client = connect(context.obj, bot, token_file)
    number = resolve(client, repository, pull)
    detail = client.pull_request(repository, number)
    head = detail.pull.head
    if sha is not None and not head.startswith(sha):
        raise Failure(f"the head of #{number} is {head}, not {sha}", "look at what was pushed, then approve that")
    console.err().print(botview.headline(detail.pull), soft_wrap=True)
    console.err().print(botview.origin(detail.pull), soft_wrap=True)
    result = client.comment(repository, number, f"@{detail.bot} r+ {head}")
    if watch and not result.refused:
        if not as_json:
            _tell_answers(result)
        _watch(client, repository, number, as_json=as_json)
        return
    _tell(result, as_json=as_json)


def comment(
    context: typer.Context,
    repository: RepositoryArgument,
    pull: PullArgument,
    text: Annotated[str, typer.Argument(help="What to say, such as '@autogate p=10'.")],
    *,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Comment on a pull request, with commands for the bot."""
    client = connect(context.obj, bot, token_file)
    result = client.comment(repository, resolve(client, repository, pull), text)
    _tell(result, as_json=as_json)
    if not result.answers:
        name = client.repositories().bot
        console.warn(f"the bot found no command in it: one begins with @{name}, such as `@{name} help`")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    panel = "Review bot"
    app.command(
        rich_help_panel=panel,
        epilog="Examples: `autogate show shop 7`, `autogate show shop fix-typo --watch`, "
        "`autogate show shop 7 --json`.",
    )(show)
    app.command(
        rich_help_panel=panel,
        epilog="Examples: `autogate approve shop fix-typo --watch`; in a script, only what was looked at: "
        "`autogate approve shop 7 --sha 0123456789ab`.",
    )(approve)
    app.command(
        rich_help_panel=panel,
        epilog="Examples: `autogate comment shop 7 '@autogate p=10'`, `autogate comment shop 7 '@autogate help'`.",
    )(comment)
    for name, summary, example in (
        ("try", "Test a pull request on top of its target, without landing it.", "autogate try shop fix-typo"),
        ("retry", "Let a pull request that failed go into the queue again.", "autogate retry shop 7"),
        ("cancel", "Stop what is being tested of a pull request.", "autogate cancel shop 7"),
    ):
        app.command(name, rich_help_panel=panel, help=summary, epilog=f"Example: `{example}`.")(_saying(name))


def resolve(client: BotClient, repository: str, pull: str) -> int:
    """Return the number of a pull request.

    Args:
        client: The bot.
        repository: The repository.
        pull: ``7``, ``#7``, or a topic.

    Raises:
        Failure: there is no such pull request, or more than one.
    """
    written = pull.removeprefix("#")
    if written.isascii() and written.isdigit():
        return int(written)
    found = client.find(repository, pull)
    if not found.pulls:
        try:
            # it may have been pushed a moment ago
            client.ask(repository, "poke")
        except Failure as failure:
            console.warn(f"the bot could not look for new ones: {failure}")
        found = client.find(repository, pull)
    match found.pulls:
        case [only]:
            return only.number
        case []:
            near = f"did you mean {' or '.join(found.near)}? " if found.near else ""
            raise Failure(
                f"{repository!r} has no pull request {pull!r}",
                f"{near}`autogate queue {repository}` lists the open ones",
            )
    choices = ", ".join(f"#{one.number} for {one.target}" for one in found.pulls)
    raise Failure(f"{pull!r} stands for more than one pull request: {choices}", "give the number")


def _saying(command: str) -> Callable[..., None]:
    """Return the command that says ``command`` to the bot."""

    def say(
        context: typer.Context,
        repository: RepositoryArgument,
        pull: PullArgument,
        *,
        as_json: JsonOption = False,
        bot: BotOption = None,
        token_file: TokenFileOption = None,
    ) -> None:
        client = connect(context.obj, bot, token_file)
        number = resolve(client, repository, pull)
        name = client.pull_request(repository, number).bot
        _tell(client.comment(repository, number, f"@{name} {command}"), as_json=as_json)

    return say


def _tell(result: botapi.CommandResult, *, as_json: bool) -> None:
    """Print what became of a comment; ends with 1 when it was refused."""
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _tell_answers(result)
        console.out().print(console.plain(botview.progress(result.pull)), soft_wrap=True)
    if result.refused:
        raise typer.Exit(1)


def _tell_answers(result: botapi.CommandResult) -> None:
    for answer in result.answers:
        console.out().print(console.plain(answer), soft_wrap=True)


def _watch(client: BotClient, repository: str, number: int, *, as_json: bool) -> None:
    """Show a pull request until it is over; ends with 1 when it did not land."""
    screen = console.out()
    seen = follow(lambda tag: client.pull_request_after(repository, number, tag))
    state = ""
    last_line = ""
    try:
        with Live(console=screen, auto_refresh=False) if screen.is_terminal and not as_json else nullcontext() as live:
            for detail in seen:
                line = botview.progress(detail.pull)
                if as_json:
                    typer.echo(detail.model_dump_json())
                elif live:
                    live.update(botview.pull_request(detail), refresh=True)
                elif line != last_line:
                    screen.print(console.plain(line), soft_wrap=True)
                last_line, state = line, detail.pull.state
                if state in {"landed", "aside", "closed"}:
                    break
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    if state != "landed":
        raise typer.Exit(1)
