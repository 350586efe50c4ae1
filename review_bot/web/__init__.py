"""The bot's face on HTTP: the JSON API, its health, its numbers."""
