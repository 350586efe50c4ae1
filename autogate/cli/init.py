"""`autogate init`: makes the secrets that can be made up."""

import secrets
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from autogate.places import Places
from autogate.secretstore import SecretMissingError, SecretStore, variable_name
from autogate.settings import NamedSecret, Settings, load

from . import console
from .secretfolder import close_to_others, place

BYTES = 32
"""Of randomness in a secret."""


@dataclass(frozen=True)
class Made:
    """What became of the secrets.

    Attributes:
        made: Those that were made.
        kept: Those that were there.
        missing: Those that only somebody else can give, such as a registry's token.
    """

    made: tuple[NamedSecret, ...]
    kept: tuple[NamedSecret, ...]
    missing: tuple[NamedSecret, ...]


def make_secrets(settings: Settings, places: Places) -> Made:
    """Write a random secret for every name that has neither a file nor a variable; never overwrite one.

    Raises:
        Failure: the secrets folder is not private and cannot be made so.
        SecretMissingError: a secret is there, but empty or unreadable.
        OSError: a file cannot be written.
    """
    close_to_others(places.secrets)
    store = SecretStore(places.secrets)
    made: list[NamedSecret] = []
    kept: list[NamedSecret] = []
    missing: list[NamedSecret] = []
    for secret in settings.secrets:
        path = places.secrets / secret.name
        try:
            store.get(secret.name)
        except SecretMissingError:
            if path.exists():
                raise  # an empty or unreadable file is somebody's mistake, not ours to overwrite
            if secret.given:
                missing.append(secret)
            else:
                place(path, secrets.token_urlsafe(BYTES).encode() + b"\n")
                made.append(secret)
        else:
            kept.append(secret)
    return Made(tuple(made), tuple(kept), tuple(missing))


def init(
    context: typer.Context, *, quiet: Annotated[bool, typer.Option("--quiet", help="Print only what is amiss.")] = False
) -> None:
    """Make the random secrets that the configuration names and that are not there yet."""
    places: Places = context.obj
    settings = load(places)
    console.warn_of_problems(settings)
    result = make_secrets(settings, places)
    if not quiet:
        table = Table("Secret", "What for", "")
        for secrets_, note in ((result.made, "made"), (result.kept, "kept"), (result.missing, "missing")):
            for secret in secrets_:
                table.add_row(secret.name, console.plain(secret.purpose), note)
        console.out().print(table)
    for secret in result.missing:
        console.warn(
            f"the secret {secret.name!r} ({secret.purpose}) is not one to be made up: write it to "
            f"{places.secrets / secret.name} or set {variable_name(secret.name)}"
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: `autogate init` before the first start. It never changes a secret that is there.")(
        init
    )
