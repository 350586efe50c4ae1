"""What every benchmark prints and writes."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        figure: What was measured.
        ours: Ours.
        peer: That of what it is compared with, measured in the same run; None where there is nothing to compare with.
        ratio: The peer's divided by ours; None without a peer.
        unit: The unit of ``ours`` and ``peer``.
        target: What is wanted, in words; empty for a figure that is only reported.
        holds: Whether that is reached; None without a target.
    """

    figure: str
    ours: float
    peer: float | None
    ratio: float | None
    unit: str
    target: str
    holds: bool | None


def publish(name: str, rows: Sequence[Row]) -> None:
    """Print the rows as a table and write them to ``bench/results/NAME.json``."""
    table = Table("figure", "ours", "peer", "ratio", "unit", "target", "holds", title=name)
    for row in rows:
        numbers = ("-" if number is None else f"{number:,.4g}" for number in (row.ours, row.peer, row.ratio))
        verdict = "-" if row.holds is None else "yes" if row.holds else "[red]no[/red]"
        table.add_row(row.figure, *numbers, row.unit, row.target or "-", verdict)
    Console().print(table)
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps([dataclasses.asdict(row) for row in rows], indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n", "utf-8")
