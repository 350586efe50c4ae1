"""`autogate check`: the doctor."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from autogate.places import Places
from autogate.ssh import Role

from . import console
from .doctor import Progress, Row, Scope, Status, examine, healthy

QUIET_SECONDS = 2
"""Nothing is shown of a check that takes less."""

_STYLES = {Status.OK: "green", Status.FAILED: "bold red", Status.WARNING: "bold yellow", Status.SKIPPED: "yellow"}


def check(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    worker: Annotated[
        bool, typer.Option("--worker", help="This is a worker: tools and repositories only, no secrets and no bot.")
    ] = False,
    role: Annotated[
        Role | None, typer.Option(help="Which deploy keys are on this machine.", show_default="all that are needed")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="What a server may take to answer.")] = 20,
) -> None:
    """Check configuration, secrets, keys, repositories, bot and tools, and say how each fault is mended.

    Ends with 0 when all is right, 1 when something failed, 2 when it was called wrongly.
    """
    places: Places = context.obj
    rows = asyncio.run(_examine(places, Scope(role=role, worker=worker, timeout=timeout)))
    if as_json:
        typer.echo(json.dumps({"ok": healthy(rows), "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        console.out().print(table(rows))
    if not healthy(rows):
        raise typer.Exit(1)


def table(rows: list[Row]) -> Table:
    """Return the rows as people read them, the cure below each failure and warning."""
    drawn = Table("", "What", "Found")
    for row in rows:
        found = console.plain(row.detail)
        if row.cure:
            found.append_text(Text.assemble(("\n→ ", "bold"), console.plain(row.cure, "bold")))
        drawn.add_row(Text(row.status, _STYLES[row.status]), console.plain(row.what), found)
    return drawn


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: `autogate check`; in a script: `autogate check --json`; on a worker: "
        "`autogate check --worker`; where only the bot is: `autogate check --role write`."
    )(check)


async def _examine(places: Places, scope: Scope) -> list[Row]:
    progress = Progress()
    work = asyncio.create_task(examine(places, scope, progress))
    await asyncio.wait({work}, timeout=QUIET_SECONDS)
    if not work.done():
        await _show(work, progress)
    return await work


async def _show(work: asyncio.Task[list[Row]], progress: Progress) -> None:
    screen = console.err()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("Checking", total=None)
        while not work.done():
            bar.update(task, total=progress.total or None, completed=progress.done)
            await asyncio.wait({work}, timeout=0.2)
