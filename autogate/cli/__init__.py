"""The command `autogate`: one module a command, with what it decides kept apart from what it prints."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from autogate.places import Places

from . import check, demo, gatekeeping, init, keys, listen, pullrequests, queue, schema, sshconfig
from .failures import Commands

app = typer.Typer(
    cls=Commands,
    name="autogate",
    help="Set up, look after and try out a merge gate.",
    epilog="A new repository: write repos.d/NAME.toml, then `autogate keys add NAME`, the same with --write, "
    "and `autogate check`.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # it prints local variables, and secrets are among them
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (typer's own callback protocol)
    if wanted:
        typer.echo(f"autogate {version('autogate')}")
        raise typer.Exit


@app.callback()
def _find_places(
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
    given = {"AUTOGATE_CONFIG": config, "AUTOGATE_SECRETS": secrets, "AUTOGATE_STATE": state}
    context.obj = Places.from_environ({name: str(path) for name, path in given.items() if path is not None})


init.register(app)
keys.register(app)
check.register(app)
sshconfig.register(app)
schema.register(app)
listen.register(app)
demo.register(app)
queue.register(app)
pullrequests.register(app)
gatekeeping.register(app)


def main() -> None:
    """Run the command line; the entry point of the program `autogate`."""
    app()
