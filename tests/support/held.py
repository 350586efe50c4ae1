"""A repository whose tests are a shell script: quick, and made to wait by what is in a file."""

from pathlib import Path

from .repository import Files

SETTINGS = '[lint]\nenabled = false\n[test]\ncommand = ["sh", "check.sh"]\n'
"""For the repository's file in the configuration."""

FILES: Files = {
    "check.sh": """\
for file in holds/*; do
    [ -e "$file" ] || continue
    while [ ! -e "$(cat "$file")" ]; do sleep 0.05; done
done
! ls bad*
""",
}
"""What passes begins with these."""


def holding(release: Path) -> Files:
    """Return what makes the tests wait until a file is there."""
    return {f"holds/{release.name}": str(release)}
