"""docs/api.md and docs/command-line.md name what there is."""

import re
from pathlib import Path

from typer.main import get_command

from autogate.cli import app
from review_bot.metrics import Metrics
from tests.support.botsite import BotSite

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_lists_every_route(site: BotSite) -> None:
    page = (DOCS / "api.md").read_text()
    listed = set(re.findall(r"^\| `((?:GET|POST) /\S+)` \|", page, re.MULTILINE))
    there = {f"{method.upper()} {path}" for path, methods in site.app.openapi()["paths"].items() for method in methods}
    assert listed == there


def test_the_page_lists_every_number() -> None:
    page = (DOCS / "api.md").read_text()
    metrics = Metrics()
    names = re.findall(r"^# TYPE (\w+)", metrics.exposition().decode(), re.MULTILINE)
    assert {name for name in names if not name.endswith("_created")} == set(re.findall(r"`(autogate_\w+)`", page))


def test_the_page_lists_every_command_of_the_bot() -> None:
    page = (DOCS / "command-line.md").read_text()
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group, which typer does not say
    of_the_bot = {name for name, command in commands.items() if getattr(command, "rich_help_panel", "") == "Review bot"}
    assert of_the_bot == set(re.findall(r"^\| `autogate (\w+)", page, re.MULTILINE))
    assert of_the_bot
