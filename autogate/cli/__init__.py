"""The command `autogate`: one module a command, with what it decides kept apart from what it prints."""

import typer

from . import check, demo, gatekeeping, init, keys, listen, pullrequests, queue, schema, sshconfig
from .failures import Commands
from .folders import find_places

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


app.callback(help=app.info.help)(find_places)

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
