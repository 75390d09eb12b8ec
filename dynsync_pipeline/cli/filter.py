"""`dynsync filter`: whom the filter keeps out, and who would start, stop and go stale by another condition (R87). Only looks.

Shows values of records, because whoever asks for a condition wants to see them; nothing of it is logged.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.csv_files import export
from dynsync_pipeline.cli.looking import cell, open_snapshot, print_json, value_cell
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.look.sync_filter import FilterEffect, columns_of, columns_used, filter_effect
from dynsync_pipeline.model.records import FILTER_COLUMN, RecordType
from dynsync_pipeline.reconcile.guards import SMALL_NUMBER
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings

MOST_SHOWN = 50
_OUTCOMES = {
    "starts": "starts",
    "goes_stale": "goes stale",
    "stops": "stops, no person yet",
    "stale": "stale",
    "kept_out": "kept out, no person",
}


@app.command(
    name="filter",
    help=f"Show whom the column {FILTER_COLUMN} keeps out, or, with --where, who would start, stop and go stale if that "
    "condition were the filter. Works while a cycle runs, reads the snapshot alone, and changes nothing.\n\n"
    "Exit codes: 0 shown, 1 failed (also: no snapshot yet), 2 settings, options or condition wrong.",
)
def filter_command(
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="Let in the records for which this is true, over the columns that the snapshot has of their table: "
            '"statecode = 0 and emailaddress1 is not null".',
        ),
    ] = None,
    table: Annotated[
        RecordType | None, typer.Option(help="Only this table; else every one that has the columns of the condition.")
    ] = None,
    csv_file: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write all of them as CSV for spreadsheets; - is the standard output."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Print what the filter does, or would do. Raises: DynSyncError."""
    settings = load_settings()
    most = None if as_json or csv_file is not None else MOST_SHOWN
    with open_snapshot(settings) as connection:
        connection.execute("set enable_external_access = false")
        try:
            used = columns_used(connection, where) if where is not None else []
            tables = (
                [table] if table else [each for each in RecordType if set(used) <= set(columns_of(connection, each))]
            )
            if not tables:
                raise ValueError(f"no table has all of its columns: {', '.join(used)}; ask for one with --table")
            found = [filter_effect(connection, each, where, most) for each in tables]
            n_links = connection.execute("select count(*) from links").fetchall()[0][0]
        except ValueError as error:
            raise typer.BadParameter(f"This is no condition: {error}.", param_hint="--where") from None
    if csv_file is not None:
        rows = [{"record_type": each.record_type, **row} for each in found for row in each.rows]
        columns = ("record_type", "outcome", "record_id_dynamics", "person_id_marketo", *used)
        export(rows, columns, csv_file, "records")
    elif as_json:
        print_json([asdict(each) for each in found])
    else:
        _show(found, used, settings, n_links)


def _show(found: list[FilterEffect], used: list[str], settings: Settings, n_links: int) -> None:
    prints_to.print(_counts_table(found))
    for effect in found:
        if effect.rows:
            prints_to.print(_rows_table(effect, used))
            n_more = sum(effect.n_by_outcome.values()) - len(effect.rows)
            if n_more > 0:
                prints_to.print(f"{n_more:,} more are not shown: --csv FILE has all.", style="dim", highlight=False)
    for line in _guard_lines(found, settings, n_links):
        prints_to.print(line, style="yellow", highlight=False)
    prints_to.print("Nothing was changed; this is what the last snapshot tells.", style="dim", highlight=False)


def _counts_table(found: list[FilterEffect]) -> Table:
    table = Table(title="Records, by what the filter does", title_justify="left")
    outcomes = [outcome for outcome in _OUTCOMES if any(outcome in effect.n_by_outcome for effect in found)]
    for name in ("Table", "Let in", "Kept out", *(_OUTCOMES[outcome].capitalize() for outcome in outcomes)):
        table.add_column(name, justify="left" if name == "Table" else "right")
    for effect in found:
        n_each = (effect.n_in, effect.n_out, *(effect.n_by_outcome.get(outcome, 0) for outcome in outcomes))
        table.add_row(f"{effect.record_type}s", *(f"{n:,}" for n in n_each))
    return table


def _rows_table(effect: FilterEffect, used: list[str]) -> Table:
    table = Table(title=f"\n{effect.record_type.capitalize()}s", title_justify="left")
    for name in ("Dynamics id", "Person", "What becomes of it", *used):
        table.add_column(name, overflow="fold", no_wrap=name == "Dynamics id")
    for row in effect.rows:
        values = (value_cell(None if row[name] is None else str(row[name])) for name in used)
        table.add_row(
            cell(row["record_id_dynamics"]), cell(row["person_id_marketo"]), _OUTCOMES[row["outcome"]], *values
        )
    return table


def _guard_lines(found: list[FilterEffect], settings: Settings, n_links: int) -> list[str]:
    """What would stop the cycle that sees such a filter (docs/filter.md#what-stops-a-cycle)."""
    lines = []
    n_stale = sum(effect.n_by_outcome.get("goes_stale", 0) for effect in found)
    n_new = sum(effect.n_new_people for effect in found)
    if settings.largest_share < 1 and n_stale > max(SMALL_NUMBER, settings.largest_share * n_links):
        lines.append(
            f"A guard would stop the cycle that sees {n_stale:,} of {n_links:,} linked people go stale: change few at a time, "
            "or set DYNSYNC_LARGEST_SHARE=1 for that cycle."
        )
    if n_new > settings.max_creates:
        lines.append(
            f"A guard would stop the cycle that sees {n_new:,} new people: change few at a time, or raise DYNSYNC_MAX_CREATES."
        )
    return lines
