"""The command `autogate`."""
