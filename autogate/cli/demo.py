"""`autogate demo`: a whole installation on this machine, four candidates, and what the gate says of each."""

import asyncio
import contextlib
import queue
import shutil
import signal
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autogate import names
from autogate.contract import Event, Report, Result
from autogate.names import Kind

from . import console
from .demoshop import CANDIDATES, REPOSITORY, TOML, Candidate, DemoRepository
from .failures import Failure
from .local import LocalInstallation, StartError, free_port
from .receiver import Received, Receiver

PATIENCE_SECONDS = 300


class DemoError(RuntimeError):
    """The demo could not be played to its end; the message says what did not happen."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog="Examples: `autogate demo`, `autogate demo --keep`")(demo)


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the web UI running until Ctrl-C.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where everything is made; must not exist.", show_default="a temporary folder")
    ] = None,
) -> None:
    """Play four candidates through a real master and worker on this machine, and show what each builder says.

    Ends with exit code 0 only if every verdict came as it should.
    """
    if folder is not None and folder.exists():
        raise typer.BadParameter(f"{folder} is already there", param_hint="--folder")
    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="autogate-demo-"))
    # a shell that starts it in the background would have it ignore the one, and the other would leave its children
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        as_expected = _play(place, keep=keep)
    except (DemoError, StartError) as error:
        raise Failure(str(error), f"the logs are in {place}") from None
    if folder is None and as_expected:
        shutil.rmtree(place)
    elif not as_expected:
        console.fail("not every verdict came as it should", f"the logs are in {place}")
    raise typer.Exit(0 if as_expected else 1)


def _play(place: Path, *, keep: bool) -> bool:
    place.mkdir(parents=True, exist_ok=True)
    repository = DemoRepository(place)
    reports: queue.Queue[Report] = queue.Queue()
    bot_port = free_port()
    installation = LocalInstallation(place, f"http://127.0.0.1:{bot_port}/buildbot", title="Autogate demo")

    def take(received: Received) -> None:
        if not received.repeated:
            reports.put(received.report)

    receiver = Receiver("127.0.0.1", bot_port, "/buildbot", installation.secret("bot_secret"), take)
    with _progress() as progress, receiver.listening():
        task = progress.add_task("making a repository")
        asyncio.run(repository.create())
        installation.add_repository(REPOSITORY, TOML.format(url=repository.bare))
        try:
            progress.update(task, description="starting a master and a worker")
            installation.start()
            verdicts: list[tuple[Candidate, Mapping[Kind, Report]]] = []
            for candidate in CANDIDATES:
                progress.update(task, description=f"pushing {candidate.title} to auto")
                sha = asyncio.run(repository.push(candidate))
                installation.poke(REPOSITORY)
                progress.update(task, description=f"waiting for the verdicts on {candidate.title}")
                verdicts.append((candidate, _verdicts(reports, sha, candidate.expected.keys())))
            progress.update(task, description="all verdicts are in")
            progress.stop()
            console.out().print(table(verdicts))
            if keep:
                _wait_for_interrupt(installation)
        finally:
            installation.stop()
    return all(as_it_should(candidate, reported) for candidate, reported in verdicts)


def as_it_should(candidate: Candidate, reported: Mapping[Kind, Report]) -> bool:
    """Tell whether every builder said what it should of ``candidate``."""
    return {kind: report.result for kind, report in reported.items()} == dict(candidate.expected)


def table(verdicts: Iterable[tuple[Candidate, Mapping[Kind, Report]]]) -> Table:
    """Return what each builder said, and why."""
    shown = Table("candidate on auto", "builder", "verdict", "as it should", "why", title="What the gate says")
    for candidate, reported in verdicts:
        for kind, expected in candidate.expected.items():
            report = reported[kind]
            passed = report.result in {Result.SUCCESS, Result.WARNINGS}
            shown.add_row(
                candidate.title,
                report.builder,
                Text(str(report.result), style="green" if passed else "red"),
                "yes" if report.result is expected else Text(f"no: {expected}", style="bold red"),
                console.plain(_why(report)),
            )
        shown.add_section()
    return shown


def _why(report: Report) -> str:
    lines = [report.summary]
    lines += [f"{found.path}:{found.line}: {found.symbol}: {found.text}" for found in report.findings[:3]]
    lines += [f"{test.name}: {_last_line(test.excerpt)}" for test in report.failed_tests[:3]]
    return "\n".join(line for line in lines if line)


def _last_line(excerpt: str) -> str:
    return next((line.strip() for line in reversed(excerpt.splitlines()) if line.strip()), "")


def _verdicts(reports: "queue.Queue[Report]", sha: str, kinds: Collection[Kind]) -> Mapping[Kind, Report]:
    """Wait until every builder has reported on the commit.

    Raises:
        DemoError: one did not.
    """
    found: dict[Kind, Report] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found.keys() != set(kinds):
        try:
            report = reports.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            missing = ", ".join(names.builder(REPOSITORY, kind) for kind in kinds if kind not in found)
            raise DemoError(f"no verdict from {missing} within {PATIENCE_SECONDS} s") from None
        if report.revision == sha and report.event is Event.FINISHED:
            found[Kind(report.kind)] = report
    return found


def _progress() -> Progress:
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console.err())


def _wait_for_interrupt(installation: LocalInstallation) -> None:
    console.say(f"\nThe web UI is at {installation.url}; everything is in {installation.folder}.")
    console.say(f"Sign in as admin with the password in {installation.places.secrets / 'web_admin_password'}.")
    console.say("Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
