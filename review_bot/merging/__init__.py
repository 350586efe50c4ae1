"""The bot's own copy of a repository: candidates are merged in it, and landed from it."""
