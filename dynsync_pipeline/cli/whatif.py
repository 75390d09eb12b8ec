"""`dynsync whatif`: what another field map would have made of past collisions, and would make of what differs now."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.csv_files import export
from dynsync_pipeline.cli.engines import EngineOption, MasterOption, opened
from dynsync_pipeline.cli.looking import cell, moment, now, print_json, value_cell
from dynsync_pipeline.cli.output import app, errors_to, prints_to
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.look.whatif import other_outcomes
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.settings_sources import load_settings

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
MOST_SHOWN = 20
COLUMNS = (
    "settled_at", "collision_id", "person_id_marketo", "record_type", "record_id_dynamics", "field", "base_value",
    "dynamics_value", "marketo_value", "outcome", "outcome_then", "rule_code", "rule",
)  # fmt: skip


@app.command(
    help="Decide past collisions, and what differs now, again under the rules of another field map, and show what would come "
    "out otherwise. Asks neither system and changes nothing. Only the column collision counts: lines that were added or "
    "removed are not tried, nor is another direction or type. With --engine spark it is decided by the same rule files on "
    "Spark, and cycles run meanwhile.\n\n"
    "Exit codes: 0 shown, 1 failed (also: no cycle has run yet), 2 settings, options or field map wrong, 3 not shown because "
    "a cycle is running."
)
def whatif(
    field_map: Annotated[Path, typer.Option(metavar="FILE", help="The other field map.")],
    since: Annotated[
        datetime | None, typer.Option(formats=FORMATS, help="Only collisions settled from then on, UTC.")
    ] = None,
    engine: EngineOption = None,
    master: MasterOption = None,
    csv_file: Annotated[
        str | None, typer.Option("--csv", metavar="FILE", help="Write every one as CSV; - is the standard output.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every one as JSON.")] = False,
) -> None:
    """Print what would come out otherwise. Raises: DynSyncError."""
    settings = load_settings()
    fields = load_field_map(field_map, settings.own_fields)
    with errors_to.status("Deciding …"), opened(settings, engine or "duckdb", master) as over_all:
        found = other_outcomes(over_all, fields, since, now())
    if csv_file is not None:
        export(found, COLUMNS, csv_file, "outcomes")
    elif as_json:
        print_json(found)
    else:
        _show(found, since)


def _show(found: list[Row], since: datetime | None) -> None:
    of_when = f" since {moment(since)} UTC" if since else ""
    past = [row for row in found if row["collision_id"]]
    present = [row for row in found if not row["collision_id"]]
    if not found:
        prints_to.print(f"Every collision{of_when} and all that differs now would come out as it did.", highlight=False)
        return
    people = len({row["person_id_marketo"] for row in found})
    prints_to.print(
        f"Of the collisions{of_when} {len(past):,} would have come out otherwise, and of what differs now {len(present):,}; "
        f"of {people:,} people in all.",
        highlight=False,
    )
    if past:
        prints_to.print(_by_field("Past collisions", past))
    if present:
        prints_to.print(_by_field("What differs now", present))
    prints_to.print(_single(found))
    if len(found) > MOST_SHOWN:
        prints_to.print(f"{len(found) - MOST_SHOWN:,} more are not shown: --csv FILE has all.", highlight=False)
    prints_to.print("Nothing was changed. DYNSYNC_FIELD_MAP names the map that counts.", highlight=False)


def _by_field(title: str, rows: list[Row]) -> Table:
    table = Table(title=f"\n{title}, by field", title_justify="left")
    for name in ("Field", "Came out", "Would come out", "Cases", "People"):
        table.add_column(name, overflow="fold", justify="right" if name in ("Cases", "People") else "left")
    keys = Counter((row["field"], row["record_type"], row["outcome"], row["outcome_then"]) for row in rows)
    for key, n in sorted(keys.items()):
        who = {
            r["person_id_marketo"]
            for r in rows
            if (r["field"], r["record_type"], r["outcome"], r["outcome_then"]) == key
        }
        table.add_row(cell(f"{key[0]}, {key[1]}"), *map(_plain, key[2:]), f"{n:,}", f"{len(who):,}")
    return table


def _single(found: list[Row]) -> Table:
    table = Table(title="\nBy person, the oldest first", title_justify="left")
    for name in ("Person", "Field", "Dynamics", "Marketo", "Would come out"):
        table.add_column(name, overflow="fold")
    for row in found[:MOST_SHOWN]:
        sides = (value_cell(row["dynamics_value"]), value_cell(row["marketo_value"]))
        table.add_row(str(row["person_id_marketo"]), cell(row["field"]), *sides, _plain(row["outcome_then"]))
    return table


def _plain(outcome: str) -> str:
    return outcome.replace("_", " ")
