"""What all parts of Autogate share: settings, names, ssh, git, the report on the wire, and the command."""
