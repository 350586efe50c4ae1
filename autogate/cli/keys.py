"""`autogate keys`: makes and shows deploy keys, and pins host keys."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.table import Table

from autogate import ssh
from autogate.places import Places
from autogate.settings import Repository, load
from autogate.ssh import Role

from . import console, deploykeys, hostkeys
from .failures import Failure

Name = Annotated[str, typer.Argument(help="The repository: repos.d/NAME.toml.", metavar="NAME", show_default=False)]
Write = Annotated[bool, typer.Option("--write", help="The key that pushes, which only the bot has.")]


def add(
    context: typer.Context,
    name: Name,
    *,
    write: Write = False,
    accept_host_key: Annotated[
        bool, typer.Option("--accept-host-key", help="Pin the server's host key without a question.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Make a new key in place of the old one.")] = False,
) -> None:
    """Make a repository's deploy key, and pin its server's host key.

    Prints the public half on the standard output and where to paste it on the standard error.
    """
    places: Places = context.obj
    role = Role.WRITE if write else Role.READ
    repository = _over_ssh(places, name)
    there = deploykeys.exists(places, name, role)
    pinned = hostkeys.pinned(places.known_hosts, repository.remote)
    if there and pinned and not replace:
        show = f"`autogate keys show {name}{' --write' if write else ''}`"
        raise Failure(
            f"{name!r} has a {role} key already: {ssh.key_path(places, name, role)}",
            f"see it with {show}, or make a new one with --replace",
        )
    if not pinned:
        _pin(places, repository, accepted=accept_host_key)
    if there and not replace:
        console.say(f"Kept the {role} key of {name!r} that was there.")
        key = deploykeys.read(places, name, role)
    else:
        key = deploykeys.make(places, name, role, replace=replace)
        console.say(f"Made {key.path} ({key.fingerprint}).")
    _print_public(key, repository, role)
    if role is Role.READ and not deploykeys.exists(places, name, Role.WRITE):
        console.say(f"The review bot needs another one, which writes: `autogate keys add {name} --write`.")


def show(context: typer.Context, name: Name, *, write: Write = False) -> None:
    """Print the public half of a repository's deploy key, and where to paste it."""
    places: Places = context.obj
    role = Role.WRITE if write else Role.READ
    repository = _over_ssh(places, name)
    _print_public(deploykeys.read(places, name, role), repository, role)


def list_keys(
    context: typer.Context, *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the deploy keys of all repositories."""
    places: Places = context.obj
    settings = load(places)
    console.warn_of_problems(settings)
    rows = [row for repository in settings.repositories if repository.remote.ssh for row in _rows(places, repository)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("Repository", "Role", "Fingerprint", "Private half")
    for row in rows:
        fingerprint = console.plain(row["fingerprint"] or row["fault"], "" if row["fingerprint"] else "red")
        table.add_row(row["repository"], row["role"], fingerprint, console.plain(row["path"]))
    console.out().print(table)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(help="Make and show deploy keys.", no_args_is_help=True)
    keys.command(epilog="Example: `autogate keys add shop`; for the bot: `autogate keys add shop --write`.")(add)
    keys.command(epilog="Example: `autogate keys show shop`.")(show)
    keys.command("list", epilog="Example: `autogate keys list --json`.")(list_keys)
    app.add_typer(keys, name="keys")


def _over_ssh(places: Places, name: str) -> Repository:
    repository = load(places).repository(name)
    if not repository.remote.ssh:
        raise Failure(
            f"{name!r} is not reached over ssh, so it has no deploy key",
            f"write its url in repos.d/{name}.toml as ssh://git@host/owner/repo.git",
        )
    return repository


def _pin(places: Places, repository: Repository, *, accepted: bool) -> None:
    host = hostkeys.host_name(repository.remote)
    with console.err().status(f"Asking {host} for its host key"):
        keys = hostkeys.scan(repository.remote)
    console.say(f"{host} shows these host keys. Compare them with what its owner publishes:")
    for key in keys:
        console.say(f"  {key.fingerprint}  {key.kind}")
    if not accepted:
        if not sys.stdin.isatty():
            raise Failure(
                f"the host key of {host} is not pinned, and there is no terminal to ask on; nothing was made",
                "when the fingerprints are right, run this again with --accept-host-key",
            )
        typer.confirm("Are they right?", err=True, abort=True)
    hostkeys.pin(places.known_hosts, repository.remote, keys)
    console.say(f"Pinned them in {places.known_hosts}.")


def _print_public(key: deploykeys.DeployKey, repository: Repository, role: Role) -> None:
    console.say(deploykeys.where_to_paste(repository.name, repository.remote, role))
    typer.echo(key.public)


def _rows(places: Places, repository: Repository) -> list[dict[str, Any]]:
    rows = []
    for role in Role:
        row = {
            "repository": repository.name,
            "role": role.value,
            "path": str(ssh.key_path(places, repository.name, role)),
            "fingerprint": None,
            "fault": None,
        }
        try:
            row["fingerprint"] = deploykeys.read(places, repository.name, role).fingerprint
        except Failure as failure:
            there = deploykeys.exists(places, repository.name, role)
            row["fault"] = str(failure) if there else "none"
        rows.append(row)
    return rows
