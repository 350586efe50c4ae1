"""`autogate ssh-config`: prints or installs the generated ssh_config."""

import shlex
from typing import Annotated

import typer

from autogate import ssh
from autogate.places import Places
from autogate.settings import load
from autogate.ssh import Role

from . import console


def ssh_config(
    context: typer.Context,
    *,
    role: Annotated[Role, typer.Option(help="Which deploy keys: only the bot has those that write.")] = Role.READ,
    install: Annotated[
        bool, typer.Option("--install", help="Write it to the state folder, with private copies of the keys.")
    ] = False,
) -> None:
    """Print the ssh_config that keeps the deploy keys apart, or install it."""
    places: Places = context.obj
    settings = load(places)
    console.warn_of_problems(settings)
    if not install:
        typer.echo(ssh.render(settings.repositories, places, role), nl=False)
        return
    ssh.install(settings.repositories, places, role)
    for repository in settings.repositories:
        if repository.remote.ssh and not ssh.key_path(places, repository.name, role).exists():
            write = " --write" if role is Role.WRITE else ""
            console.warn(f"{repository.name!r} has no key yet: run `autogate keys add {repository.name}{write}`")
    typer.echo(f"export GIT_SSH_COMMAND={shlex.quote(ssh.command(places, role))}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "ssh-config",
        epilog='Example: `eval "$(autogate ssh-config --install)"`, then '
        "`git ls-remote ssh://autogate-NAME/owner/repo.git` uses NAME's own key.",
    )(ssh_config)
