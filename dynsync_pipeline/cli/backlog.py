"""How `dynsync status` shows the backlog by hour: as a sentence and as tables (R123). Not here: the command (`status.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from dynsync_pipeline.cli.looking import rough
from dynsync_pipeline.cli.output import prints_to
from dynsync_pipeline.look.trend import Trend

if TYPE_CHECKING:
    from dynsync_pipeline.look.backlog import Backlog
    from dynsync_pipeline.look.reading import Row

_FIGURES = ("Least", "Mean", "Most")


def backlog_sentence(found: Trend) -> str:
    """How many records wait, and whether they get more."""
    if found.n_before is None:
        return f"Backlog: {found.n_now:,} records at the last look."
    if found.is_growing:
        trend = "it grows"
    elif found.clear_in is not None:
        trend = f"at that pace it is cleared in about {rough(found.clear_in)}"
    else:
        trend = "it does not grow"
    return f"Backlog: {found.n_now:,} records at the last look, {found.n_before:,} six hours before; {trend}."


def show_backlog(found: Backlog) -> None:
    """Print the sentence, the last 24 hours by object, and the last five days by four hours."""
    prints_to.print(backlog_sentence(found), highlight=False)
    day = Table("Object", *_FIGURES, title="\nLast 24 hours: records not settled", title_justify="left")
    for row in found.day:
        day.add_row(row["object"], *_figures(row))
    blocks = Table("From (UTC)", *_FIGURES, title="\nLast five days, by four hours: all of them", title_justify="left")
    for row in found.blocks:
        blocks.add_row(f"{row['begins_at']:%Y-%m-%d %H:%M}", *_figures(row))
    for table in (day, blocks):
        for column in table.columns[1:]:
            column.justify = "right"
        prints_to.print(table)


def _figures(row: Row) -> tuple[str, str, str]:
    return f"{row['n_least']:,}", f"{row['n_mean']:,.1f}", f"{row['n_most']:,}"
