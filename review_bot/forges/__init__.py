"""Where pull requests live: one protocol, an adapter a forge."""
