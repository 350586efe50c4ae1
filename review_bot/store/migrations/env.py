"""Run by Alembic, on the connection and in the transaction of `review_bot.store.migrate.upgrade`."""

from alembic import context

from review_bot.store.migrate import OPTIONS

# a table is changed by making it anew, since SQLite can do little else
context.configure(connection=context.config.attributes["connection"], render_as_batch=True, **OPTIONS)
context.run_migrations()
