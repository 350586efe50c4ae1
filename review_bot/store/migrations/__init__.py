"""Alembic's environment. `review_bot.store.migrate` runs it; a step is a module in `versions`, and is never changed."""
