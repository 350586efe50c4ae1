"""`autogate listen`: receives, verifies and prints reports."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import typer

from autogate.places import Places
from autogate.secretstore import SECRET_NAME, SecretMissingError, SecretStore
from autogate.settings import SettingsError, load

from . import console, reportview
from .failures import Failure
from .receiver import Received, Receiver


def as_json(received: Received) -> str:
    """Return a report as a line of JSON: ``{"at", "repeated", "report"}``."""
    report = received.report.model_dump(mode="json")
    return json.dumps({"at": received.at.isoformat(), "repeated": received.repeated, "report": report})


def listen(
    context: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for any that is free.")] = 8020,
    path: Annotated[
        str | None,
        typer.Option(help="Path that reports are posted to.", show_default="that of [bot] url"),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the secret shared with the master.", show_default="[bot] secret"),
    ] = None,
    secret_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File that holds the secret.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Print a line of JSON a report.")] = False,
    count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="End after N reports; repeated ones do not count.")
    ] = None,
) -> None:
    """Receive reports as a bot would: check their signatures, print them, and answer.

    A forged or old report is answered with 401, a malformed one with 400, and both are told on the standard error.
    """
    places: Places = context.obj
    bot_path = None
    if secret is None and secret_file is None:
        secret, bot_path = _of_the_bot(places)
    path = path or bot_path or "/"
    if not path.startswith("/"):
        raise typer.BadParameter("it must begin with a slash", param_hint="--path")
    shared = _secret(places, secret, secret_file)

    done = threading.Event()
    left = count
    reader_went_away = False

    def show(received: Received) -> None:
        nonlocal left, reader_went_away
        try:
            if json_lines:
                typer.echo(as_json(received))
            else:
                console.out().print(reportview.render(received), soft_wrap=True)
        except BrokenPipeError:
            reader_went_away = True
            raise
        if left is not None and not received.repeated:
            left -= 1

    def refused(status: HTTPStatus, reason: str) -> None:
        console.warn(f"refused with {status.value}: {reason}")

    def answered() -> None:
        # not before: ending cuts off answers that are still to be sent
        if reader_went_away or (left is not None and left <= 0):
            done.set()

    # the signals first: who reads the line below may send one at once
    with _until_signalled(done), Receiver(host, port, path, shared, show, refused, answered) as receiver:
        console.say(f"Listening on {receiver.url}; Ctrl-C ends it.")
        serving = threading.Thread(target=receiver.serve_forever, daemon=True)
        serving.start()
        done.wait()
        receiver.shutdown()
        serving.join()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: `autogate listen` takes address and secret from [bot]; without any configuration "
        "`autogate listen --secret-file FILE --port 8020 --json`."
    )(listen)


def _of_the_bot(places: Places) -> tuple[str, str]:
    """Return the name of the bot's secret, and the path of its url."""
    cure = "name the secret with --secret NAME or --secret-file FILE, or add [bot] to autogate.toml"
    try:
        bot = load(places).site.bot
    except SettingsError as error:
        raise Failure(str(error), cure) from None
    if bot is None:
        raise Failure(f"{places.site_file} has no [bot], so it names no secret", cure)
    return bot.secret, bot.url.path or "/"


def _secret(places: Places, name: str | None, file: Path | None) -> str:
    if name is not None and file is not None:
        raise typer.BadParameter("give one of --secret and --secret-file", param_hint="--secret")
    if file is not None:
        # its name need not be one that autogate.toml could name
        try:
            content = file.read_text("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise SecretMissingError(f"{file} is not UTF-8 text") from None
        if not content:
            raise SecretMissingError(f"{file} is empty: write the secret to it")
        return content
    if name is None or not SECRET_NAME.fullmatch(name):
        # not repeated: somebody may have written the secret itself
        raise typer.BadParameter("it must be the name of a secret, never the secret itself", param_hint="--secret")
    return SecretStore(places.secrets).get(name)


@contextmanager
def _until_signalled(done: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set ``done``: they are how a listener ends, and no failure."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, lambda *_: done.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
