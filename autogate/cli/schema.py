"""`autogate schema`: JSON Schemas for editors and for other bots."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from autogate import contract, settings


class Subject(StrEnum):
    """What there is a schema of."""

    SITE = "site"
    REPOSITORY = "repository"
    REPORT = "report"


def schema_of(subject: Subject) -> dict[str, Any]:
    """Return the JSON Schema of a configuration file or of the report on the wire."""
    match subject:
        case Subject.SITE:
            return settings.json_schema(settings.SiteFile)
        case Subject.REPOSITORY:
            return settings.json_schema(settings.Repository)
        case Subject.REPORT:
            return contract.json_schema()


def schema(
    subject: Annotated[Subject, typer.Argument(help="autogate.toml, repos.d/NAME.toml, or the report.")],
) -> None:
    """Print the JSON Schema of a configuration file, or of the report that the bot gets."""
    typer.echo(json.dumps(schema_of(subject), indent=2))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: `autogate schema repository > repository.schema.json`, for an editor that knows TOML."
    )(schema)
