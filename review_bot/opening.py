"""Opens the database that the settings name."""

from autogate.places import Places
from autogate.secretstore import SecretStore
from autogate.settings import Settings
from review_bot.store.errors import StoreError
from review_bot.store.store import Store


async def open_store(places: Places, settings: Settings) -> Store:
    """Return the bot's database, its tables up to date; the caller closes it.

    Args:
        places: Where secrets are, and where a relative SQLite path starts: ``bot`` in the state folder.
        settings: Name the database.

    Raises:
        SecretMissingError: its password is missing.
        StoreError: it cannot be used, or there is no bot.
    """
    bot = settings.site.bot
    if bot is None:
        raise StoreError(f"{places.site_file} has no [bot]: add it")
    database = bot.database
    password = SecretStore(places.secrets).get(database.secret) if database.secret else None
    folder = places.state / "bot"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return await Store.open(database.url, password, folder=folder)
