"""What the bot decides: pure functions over immutable values, with no I/O and no clock but the events'."""
