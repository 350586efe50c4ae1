"""The review bot: from an approval to a landed change."""
