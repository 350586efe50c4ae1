"""The bot's database: events, what was decided, the outbox, the lease, tokens."""
