"""How `dynsync errors` shows what was refused: a table a cause, with what to do above it. Not here: the command (`errors.py`)."""

from __future__ import annotations

from collections.abc import Iterable

from rich.style import Style
from rich.table import Table
from rich.text import Text

from dynsync_pipeline.cli.looking import cell, counted, value_cell
from dynsync_pipeline.cli.output import prints_to
from dynsync_pipeline.look.links import dynamics_link, marketo_link
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.look.sync_errors import Cause, by_cause
from dynsync_pipeline.settings import Settings

MOST_ROWS = 10  # of one cause
_IN = {"to_marketo": "in Marketo", "to_dynamics": "in Dynamics"}


def show_causes(errors: list[Row], settings: Settings, limit: str) -> None:
    """Print the errors by cause; `limit` says within what they were looked for."""
    if not errors:
        prints_to.print(f"No such errors{limit}.", highlight=False)
        return
    causes = by_cause(errors)
    told = f"Sync errors: {len(errors):,}, of {counted(len(causes), 'cause')}. Times are UTC."
    prints_to.print(Text(told, "bold"))
    for cause in causes:
        _show_cause(cause)
    for line in _addresses(settings, {cause.object for cause in causes}):
        prints_to.print(cell(line), soft_wrap=True)


def _show_cause(cause: Cause) -> None:
    at = f" at {cause.field}" if cause.field else ""
    what = f"{cause.operation} {cause.object} {_IN[cause.direction]}"
    prints_to.print()
    prints_to.print(cell(f"{len(cause.rows):,} × {cause.code}{at}: {what}", style="bold"))
    prints_to.print(cell(cause.message))
    prints_to.print(_table(cause.rows[:MOST_ROWS]))
    if (n_more := len(cause.rows) - MOST_ROWS) > 0:
        prints_to.print(f"{n_more:,} older ones are not shown: --csv FILE has all.", highlight=False)


def _table(rows: list[Row]) -> Table:
    table = Table(show_lines=True)
    table.add_column("Error", no_wrap=True)
    table.add_column("Record", no_wrap=True, min_width=36)  # a Dynamics id in one piece, to copy
    table.add_column("Refused value", overflow="fold")
    for row in rows:
        error = f"{row['error_id']}\n{row['state']}\n{counted(row['attempts'], 'time')}"
        value = value_cell(row["refused_value"]).append(f"\n{row['last_seen_at']:%Y-%m-%d %H:%M}", "dim")
        table.add_row(cell(error), _record(row), value)
    return table


def _record(row: Row) -> Text:
    """Name and both ids, which lead into both systems where the terminal follows links."""
    person = f"person {row['person_id_marketo']}" if row["person_id_marketo"] else "no person yet"
    lines = ((row["name"], None), (person, row["marketo_link"]), (row["record_id_dynamics"], row["dynamics_link"]))
    return Text("\n").join(_linked(text, link) for text, link in lines if text)


def _linked(text: str, link: str | None) -> Text:
    shown = cell(text)
    if link:
        shown.stylize(Style(link=link))
    return shown


def _addresses(settings: Settings, kinds: Iterable[str]) -> Iterable[str]:
    """Where a record and a person open, for terminals and files that follow no links."""
    if links := [link for kind in sorted(kinds) if (link := dynamics_link(settings, kind, "ID"))]:
        yield "\nOpen a record in Dynamics:"
        yield from (f"  {link}" for link in links)
    if marketo := marketo_link(settings, 0):
        yield f"Open a person in Marketo:\n  {marketo.removesuffix('0')}ID"
