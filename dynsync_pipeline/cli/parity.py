"""`dynsync parity`: where DynSync in shadow decides otherwise than the native sync beside it. Only looks.

Not here: what is compared (`reconcile/sql/native_writes.sql`), what shadow is (docs/switch-over.md).
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.csv_files import export
from dynsync_pipeline.cli.looking import cell, moment, open_snapshot, print_json, value_cell
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.look.parity import Parity, read_parity
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.settings_sources import load_settings

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
MOST_SHOWN = 20
COLUMNS = (
    "shadow_change_id", "cycle_id", "seen_at", "person_id_marketo", "record_type", "record_id_dynamics", "field", "base_value",
    "dynamics_value", "marketo_value", "our_direction", "our_value", "their_direction", "their_value", "verdict", "rule_code",
    "rule",
)  # fmt: skip
_DIRECTIONS = {"to_marketo": "to Marketo", "to_dynamics": "to Dynamics", None: "nothing"}


@app.command(
    help="Show where DynSync in shadow decides otherwise than the native sync beside it: by field and rule, and by person. "
    "What stood on either side before the native sync wrote is rebuilt from Marketo's feed and from what was seen; what cannot "
    "be rebuilt counts as cannot tell. Accounts are not compared.\n\n"
    "Exit codes: 0 shown, 1 failed or no snapshot yet, 2 settings or options wrong."
)
def parity(
    since: Annotated[
        datetime | None, typer.Option(formats=FORMATS, help="Only what was seen from then on, UTC.")
    ] = None,
    csv_file: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write every value as CSV, those decided alike too; - is the standard output."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Print the comparison. Raises: DynSyncError."""
    with open_snapshot(load_settings()) as connection:
        found = read_parity(connection, since)
    if csv_file is not None:
        export(found.rows, COLUMNS, csv_file, "values")
    elif as_json:
        print_json(asdict(found))
    else:
        _show(found, since)


def _show(found: Parity, since: datetime | None) -> None:
    of_when = f" since {moment(since)} UTC" if since else ""
    same, differs, untold = found.verdicts.values()
    if not same + differs + untold:
        prints_to.print(
            f"Nothing that a native sync wrote was seen{of_when}. It is compared in shadow (docs/switch-over.md)."
        )
    else:
        prints_to.print(
            f"Of what the native sync wrote or left{of_when}, DynSync would have done {same:,} alike and {differs:,} otherwise; "
            f"of {untold:,} nobody can tell.",
            highlight=False,
        )
    if found.n_waiting:
        prints_to.print(
            f"{found.n_waiting:,} values are yet to be carried over; what is left for an hour counts as otherwise.",
            highlight=False,
        )
    for verdict, title in (("differs", "Decided otherwise"), ("cannot_tell", "Cannot tell")):
        if rows := [row for row in found.groups if row["verdict"] == verdict]:
            prints_to.print(_by_rule(title, rows))
    if rows := [row for row in found.rows if row["verdict"] == "differs"]:
        prints_to.print(_by_person(rows))
        if len(rows) > MOST_SHOWN:
            prints_to.print(
                f"{len(rows) - MOST_SHOWN:,} older ones are not shown: --csv FILE has all.", highlight=False
            )


def _by_rule(title: str, rows: list[Row]) -> Table:
    table = Table(title=f"\n{title}, by field and rule", title_justify="left")
    for name in ("Field", "DynSync", "Native sync", "Rule", "Values", "People"):
        table.add_column(name, overflow="fold", justify="right" if name in ("Values", "People") else "left")
    for row in rows:
        ours, theirs = (_DIRECTIONS[row[f"{whose}_direction"]] for whose in ("our", "their"))
        told = (ours if row["verdict"] == "differs" else "", theirs, row["rule"] or row["rule_code"])
        counts = (f"{row['n']:,}", f"{row['n_people']:,}")
        table.add_row(cell(f"{row['field']}, {row['record_type']}"), *map(cell, told), *counts)
    return table


def _by_person(rows: list[Row]) -> Table:
    table = Table(title="\nBy person, the newest first", title_justify="left")
    for name in ("Person", "Field", "Base", "Dynamics", "Marketo", "DynSync", "Native sync"):
        table.add_column(name, overflow="fold")
    for row in rows[:MOST_SHOWN]:
        before = (value_cell(row[name]) for name in ("base_value", "dynamics_value", "marketo_value"))
        done = (
            value_cell(row[f"{whose}_value"]) if row[f"{whose}_direction"] else "nothing" for whose in ("our", "their")
        )
        table.add_row(str(row["person_id_marketo"]), cell(row["field"]), *before, *done)
    return table
