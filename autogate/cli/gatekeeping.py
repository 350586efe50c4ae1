"""What is asked of a repository as a whole: `freeze`, `thaw`, `pause`, `resume`, `poke`."""

from typing import Annotated

import typer
from rich.console import Group

from autogate.botapi import (
    MAX_REASON_CHARACTERS,
    FreezeRequest,
    PauseRequest,
    RepositoryResult,
    ThawRequest,
)

from . import botview, console
from .botclient import BotOption, JsonOption, RepositoryArgument, TokenFileOption, connect

TargetArgument = Annotated[str, typer.Argument(metavar="TARGET", help="The long-lived branch.")]
ReasonArgument = Annotated[str, typer.Argument(metavar="REASON", help="Why: shown to everybody who waits.")]
_MOST_URGENT = 1_000_000


def freeze(
    context: typer.Context,
    repository: RepositoryArgument,
    target: TargetArgument,
    reason: ReasonArgument,
    *,
    priority: Annotated[
        int | None,
        typer.Option(
            min=-_MOST_URGENT, max=_MOST_URGENT, metavar="N", help="From this priority on they land all the same."
        ),
    ] = None,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Let nothing land on a target. For reviewers."""
    client = connect(context.obj, bot, token_file)
    body = FreezeRequest(target=target, priority=priority, reason=_reason(reason))
    _tell(client.ask(repository, "freeze", body), as_json=as_json)


def thaw(
    context: typer.Context,
    repository: RepositoryArgument,
    target: TargetArgument,
    *,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """End a target's freeze. For reviewers."""
    client = connect(context.obj, bot, token_file)
    _tell(client.ask(repository, "thaw", ThawRequest(target=target)), as_json=as_json)


def pause(
    context: typer.Context,
    repository: RepositoryArgument,
    reason: ReasonArgument,
    *,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Start nothing new in a repository, and land nothing. For reviewers."""
    client = connect(context.obj, bot, token_file)
    _tell(client.ask(repository, "pause", PauseRequest(reason=_reason(reason))), as_json=as_json)


def resume(
    context: typer.Context,
    repository: RepositoryArgument,
    *,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """End a repository's pause. For reviewers."""
    _tell(connect(context.obj, bot, token_file).ask(repository, "resume"), as_json=as_json)


def poke(
    context: typer.Context,
    repository: RepositoryArgument,
    *,
    as_json: JsonOption = False,
    bot: BotOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Make the bot look at a repository now, and show what it sees."""
    _tell(connect(context.obj, bot, token_file).ask(repository, "poke"), as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    panel = "Review bot"
    app.command(
        rich_help_panel=panel,
        epilog="Examples: `autogate freeze shop main 'release'`, `autogate freeze shop main --priority 10 'release'`.",
    )(freeze)
    app.command(rich_help_panel=panel, epilog="Example: `autogate thaw shop main`.")(thaw)
    app.command(rich_help_panel=panel, epilog="Example: `autogate pause shop 'the workers move house'`.")(pause)
    app.command(rich_help_panel=panel, epilog="Example: `autogate resume shop`.")(resume)
    app.command(
        rich_help_panel=panel, epilog="Example: `git push origin HEAD:refs/for/main/fix-typo && autogate poke shop`."
    )(poke)


def _reason(text: str) -> str:
    if len(text) > MAX_REASON_CHARACTERS:
        raise typer.BadParameter(f"it may have {MAX_REASON_CHARACTERS} characters at the most", param_hint="REASON")
    return text


def _tell(result: RepositoryResult, *, as_json: bool) -> None:
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        console.out().print(Group(*botview.repository(result.repository)), soft_wrap=True)
    if not result.settled:
        console.warn("the bot has it, but is still at it; `autogate queue` tells when it is done")
