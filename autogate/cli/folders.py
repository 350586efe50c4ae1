"""The options that say where everything is; they stand before the command."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from autogate.places import Places


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (typer's own callback protocol)
    if wanted:
        typer.echo(f"autogate {version('autogate')}")
        raise typer.Exit


def find_places(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(envvar="AUTOGATE_CONFIG", help="Folder of autogate.toml.", show_default="./config")
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(envvar="AUTOGATE_SECRETS", help="Folder of secrets and keys.", show_default="./secrets"),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(envvar="AUTOGATE_STATE", help="Folder of generated files.", show_default="./var")
    ] = None,
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Make the `Places` that the options or the environment name the context's object."""
    given = {"AUTOGATE_CONFIG": config, "AUTOGATE_SECRETS": secrets, "AUTOGATE_STATE": state}
    context.obj = Places.from_environ({name: str(path) for name, path in given.items() if path is not None})
