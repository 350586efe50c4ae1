"""The program `autogate-bot`."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import structlog
import typer
import uvicorn

from autogate import ssh
from autogate.cli.failures import Commands, Failure
from autogate.cli.folders import find_places
from autogate.places import Places
from autogate.secretstore import SecretMissingError, SecretStore
from autogate.settings import Bot, Repository, Settings, SettingsError, load
from autogate.ssh import Role
from review_bot import logs, tokens, wording
from review_bot.ci import routes
from review_bot.ci.buildbot import Buildbot
from review_bot.engine import Consumer, Engine, FencedGit, configured, utc_now
from review_bot.forges.git import GitForge
from review_bot.hands import Hands, States
from review_bot.merging.merger import Identity
from review_bot.merging.mirror import Mirror
from review_bot.metrics import Metrics
from review_bot.opening import open_store
from review_bot.settings_watch import fingerprint
from review_bot.store.errors import StoreError
from review_bot.store.lease import Lease, elapsed
from review_bot.store.store import Store
from review_bot.web import server
from review_bot.web.app import make_app

CONFIGURATION_SECONDS = 2.0
"""So often it is looked whether the configuration has changed."""

app = typer.Typer(
    cls=Commands,
    name="autogate-bot",
    help="The review bot: merges approved pull requests, has them tested, and lands what passed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it prints local variables, and secrets are among them
    context_settings={"help_option_names": ["-h", "--help"]},
)

log = structlog.get_logger(__name__)


app.callback(help=app.info.help)(find_places)


@app.command(epilog="Example: `autogate-bot run`, with AUTOGATE_CONFIG, AUTOGATE_SECRETS and AUTOGATE_STATE set.")
def run(context: typer.Context) -> None:
    """Run the bot in the foreground, until SIGTERM or Ctrl-C.

    A second one on the same database stands by, and takes over within seconds when the first dies.
    """
    places: Places = context.obj
    settings = load(places)
    if settings.site.bot is None:
        raise Failure(f"{places.site_file} has no [bot]", "add it, with url and secret")
    try:
        asyncio.run(Running(places, settings, settings.site.bot).serve())
    except StoreError as error:
        raise Failure(str(error)) from None


tokens.register(app)


class Running:
    """One run of the bot.

    Args:
        places: Where everything is.
        settings: The configuration at the start.
        bot: Its part about the bot, which takes a restart to change.
    """

    def __init__(self, places: Places, settings: Settings, bot: Bot) -> None:
        self._places = places
        self._settings = settings
        self._bot = bot
        self._secrets = SecretStore(places.secrets)
        self._metrics = Metrics()

    async def serve(self) -> None:
        """Serve until a signal ends it.

        Raises:
            StoreError: the database cannot be used.
            SecretMissingError: a secret is missing.
            OSError: the address or port cannot be had.
        """
        logs.configure(self._known_secrets)
        self._secrets.get(self._bot.secret)
        async with self._open() as (store, client):
            engine = Engine(
                store,
                lambda repository, lease: self._consumer(repository, lease, store, client),
                self._metrics,
                lease_time=timedelta(seconds=self._bot.lease),
            )
            self._reconfigure(engine)
            web = make_app(
                engine,
                store,
                self._metrics,
                routers=[routes.router(engine, lambda: self._settings, self._secrets.get, utc_now)],
            )
            listening = socket.create_server(
                (self._bot.interface, self._bot.port),
                family=socket.AF_INET6 if ":" in self._bot.interface else socket.AF_INET,
            )
            serving = _Server(server.config(web, self._bot.interface, self._bot.port))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, serving.stop)
            log.info("listening", interface=self._bot.interface, port=self._bot.port)
            work = [asyncio.create_task(engine.run()), asyncio.create_task(self._watch_configuration(engine))]
            for task in work:
                # without its work the bot would only look alive
                task.add_done_callback(lambda _task: serving.stop())
            await serving.serve([listening])
            for task in work:
                task.cancel()
            for outcome in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Store, httpx.AsyncClient]]:
        store = await open_store(self._places, self._settings)
        try:
            async with httpx.AsyncClient(timeout=30) as client:
                yield store, client
        finally:
            await store.close()

    def _consumer(self, repository: Repository, lease: Lease, store: Store, client: httpx.AsyncClient) -> Consumer:
        git = FencedGit(ssh.command(self._places, Role.WRITE), may_push=lambda: lease.is_safe(elapsed()))
        folder = self._places.state / "bot" / "mirrors" / repository.name
        mirror = Mirror(folder, repository.fetch_url, git, Identity(self._bot.name, self._bot.email))
        forge = GitForge(mirror, repository.targets, utc_now)
        buildbot = self._buildbot(client)

        def hands(state: States) -> Hands:
            async def status(number: int) -> str | None:
                pull = await store.pull_request(repository.name, number)
                attempts = await store.attempts_of(repository.name, number)
                troubles = await store.troubles(repository.name)
                return wording.status(state(), pull, attempts, troubles, markdown=True) if pull else None

            return Hands(repository, mirror, forge, buildbot, state, status, utc_now)

        policy = configured(repository, self._bot, utc_now)
        return Consumer(repository, store, lease, hands, policy, self._metrics, utc_now)

    def _buildbot(self, client: httpx.AsyncClient) -> Buildbot:
        site, user = self._settings.site, self._bot.user
        return Buildbot(
            str(self._bot.master or site.site.url),
            pages=site.site.base_url,
            user=user,
            password=self._secrets.get(site.web.users[user]) if user else None,
            poke_password=self._secrets.get(site.web.poke_secret) if site.web.poke_secret else None,
            client=client,
        )

    def _reconfigure(self, engine: Engine) -> None:
        for problem in self._settings.problems:
            log.error("a repository is left out", problem=str(problem))
        ssh.install(self._settings.repositories, self._places, Role.WRITE)
        engine.configure(self._settings.repositories)

    async def _watch_configuration(self, engine: Engine) -> None:
        before = fingerprint(self._places)
        while True:
            await asyncio.sleep(CONFIGURATION_SECONDS)
            now = fingerprint(self._places)
            if now == before:
                continue
            before = now
            try:
                settings = load(self._places)
            except SettingsError as error:
                log.exception(
                    "the configuration stays as it was", problems=[str(problem) for problem in error.problems]
                )
                continue
            if settings.site.bot != self._bot:
                log.warning("[bot] has changed, which takes effect when the bot is restarted")
            self._settings = settings
            log.info("the configuration was read again", repositories=[each.name for each in settings.repositories])
            self._reconfigure(engine)

    def _known_secrets(self) -> list[str]:
        found = []
        for secret in self._settings.secrets:
            with contextlib.suppress(SecretMissingError):
                found.append(self._secrets.get(secret.name))
        return found


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals to the bot: it has more to end than connections."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


def main() -> None:
    """Run the command line; the entry point of the program `autogate-bot`."""
    app()
