"""`autogate-bot token`: who may use the API."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from autogate.cli import console
from autogate.cli.failures import Failure
from autogate.places import Places
from autogate.settings import PersonName, Settings, load
from review_bot.opening import open_store
from review_bot.store.errors import StoreError
from review_bot.store.store import Store
from review_bot.store.tokens import Token, TokenExistsError

_NAME: TypeAdapter[str] = TypeAdapter(PersonName)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Who speaks with it: a name of `reviewers`, or any other.")
]

T = TypeVar("T")


def add(context: typer.Context, name: NameArgument) -> None:
    """Make a token, and print it: it is not kept, and not shown again."""
    settings = load(context.obj)
    if not _is_name(name):
        raise typer.BadParameter("one word of up to 100 characters, without ',' and '='", param_hint="NAME")
    bot = settings.site.bot
    if bot and name.casefold() == bot.name.casefold():
        raise Failure(f"{name!r} is the bot's own name, and it never obeys itself", "choose another")
    try:
        token = _with_store(context.obj, settings, lambda store: store.add_token(name))
    except TokenExistsError:
        raise Failure(f"{name!r} has a token already", f"`autogate-bot token revoke {name}` first") from None
    console.say("Keep it in ~/.config/autogate/token (mode 0600) or in AUTOGATE_TOKEN; it is not shown again.")
    if not any(name in repository.review.reviewers for repository in settings.repositories):
        console.warn(f"{name!r} is no reviewer of any repository: it can read and comment, but not approve")
    typer.echo(token)


def show_all(
    context: typer.Context, *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List whose tokens there are, and when each was used."""
    tokens = _with_store(context.obj, load(context.obj), lambda store: store.tokens())
    if as_json:
        typer.echo(json.dumps({"tokens": [_as_json(token) for token in tokens]}, indent=2))
        return
    table = Table("name", "made", "last used", "revoked")
    for token in tokens:
        moments = (token.created_at, token.last_used_at, token.revoked_at)
        table.add_row(
            console.plain(token.name),
            *(f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else "" for moment in moments),
            style="dim" if token.revoked_at else "",
        )
    console.out().print(table)


def revoke(context: typer.Context, name: NameArgument) -> None:
    """Make somebody's token invalid, at once."""
    if not _with_store(context.obj, load(context.obj), lambda store: store.revoke_token(name)):
        raise Failure(f"{name!r} has no valid token", "`autogate-bot token list` shows who has one")
    console.say(f"{name}'s token is revoked.")


def register(app: typer.Typer) -> None:
    """Add the group `token`. The context's object must be the `Places`."""
    group = typer.Typer(help="Make, list and revoke the tokens with which people use the API.", no_args_is_help=True)
    group.command(epilog="Example: `autogate-bot token add ada >token` writes it to a file and shows it nowhere else.")(
        add
    )
    group.command("list", epilog="Example: `autogate-bot token list --json`.")(show_all)
    group.command(epilog="Example: `autogate-bot token revoke ada`, when it was lost or ada has left.")(revoke)
    app.add_typer(group, name="token")


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return text.isprintable()


def _with_store(places: Places, settings: Settings, ask: Callable[[Store], Awaitable[T]]) -> T:
    async def opened() -> T:
        store = await open_store(places, settings)
        try:
            return await ask(store)
        finally:
            await store.close()

    try:
        return asyncio.run(opened())
    except StoreError as error:
        raise Failure(str(error)) from None


def _as_json(token: Token) -> dict[str, str | None]:
    shown: dict[str, str | None] = {"name": token.name}
    moments = {"created_at": token.created_at, "last_used_at": token.last_used_at, "revoked_at": token.revoked_at}
    return shown | {key: moment.isoformat() if moment else None for key, moment in moments.items()}
