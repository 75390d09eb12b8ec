"""`dynsync approve`: what waits because its cause reaches many people; shows it, and approves all of it or some.

Not here: what waits, and what a word leads to (`reconcile/sql/approvals.sql`).
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.approval_causes import MOST_SHOWN, causes_table
from dynsync_pipeline.cli.csv_files import decoded, export, harmless, separator
from dynsync_pipeline.cli.looking import cell, now, open_snapshot, print_json, value_cell
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.approvals import read_causes, read_values
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.approvals import approve_causes, approve_values, waiting_causes, waiting_values
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.operator_actions import Action, named, note_action, operator

SAME = (
    "record_type",
    "record_id_dynamics",
    "field",
    "direction",
    "old_value",
    "new_value",
)  # tell one value from all others
COLUMNS = ("approval_id", "cause", "cause_name", "n_people", "person_id_marketo", *SAME, "asked_at")


@app.command(
    help="Show what waits because its cause reaches more people than DYNSYNC_ASK_ABOVE: an account, a field of many records, new "
    "people. With a number, its values. --accept approves all of a number, or of all; --apply the lines that were left in a CSV. "
    "The next cycle writes what is still the same; what was edited since is decided anew. Without a word it waits; to refuse it, "
    "put it right where it was entered.\n\n"
    "Exit codes: 0 done, 1 failed, or some lines of the file do not wait any more (also: no snapshot yet), 2 settings or options "
    "wrong, 3 nothing was approved because a cycle is running."
)
def approve(
    approval_id: Annotated[int | None, typer.Argument(metavar="[ID]", help="Show the values of this number.")] = None,
    accept: Annotated[
        str | None, typer.Option(metavar="ID|all", help="Approve all of this number, or all that waits.")
    ] = None,
    csv_file: Annotated[
        str | None, typer.Option("--csv", metavar="FILE", help="Write the values as CSV; - is the standard output.")
    ] = None,
    apply: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Approve the values that stand in this CSV.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it, or what was approved, as JSON.")] = False,
) -> None:
    """Print what waits, or approve some of it. Raises: DynSyncError."""
    settings = load_settings()
    if accept is None and apply is None:
        _look(settings, approval_id, csv_file, as_json=as_json)
        return
    if (accept and apply) or approval_id is not None or csv_file is not None:
        raise typer.BadParameter("--accept and --apply go alone; a number without either, and --csv, only show.")
    n_approved, n_unknown = _accept(settings, str(accept)) if apply is None else _apply(settings, _read(apply))
    if as_json:
        print_json({"n_approved": n_approved, "n_not_waiting": n_unknown})
    else:
        prints_to.print(
            f"Approved: {n_approved:,} values. The next cycle writes what is still the same.", highlight=False
        )
    if n_unknown:
        errors_to.print(
            f"{n_unknown:,} lines do not wait as they stand there: a side was edited, they are written or approved, or a "
            "spreadsheet wrote a value anew, such as 0049 as 49. `dynsync approve` shows what waits.",
            highlight=False,
        )
        raise typer.Exit(Exit.FAILED)


def _look(settings: Settings, approval_id: int | None, csv_file: str | None, *, as_json: bool) -> None:
    with open_snapshot(settings) as connection:
        causes, values = read_causes(connection), []
        if approval_id is not None or csv_file is not None or as_json:
            values = read_values(connection, approval_id)
    if csv_file is not None:
        export(values, COLUMNS, csv_file, "values")
    elif as_json:
        print_json({"causes": [row for row in causes if approval_id in (None, row["approval_id"])], "values": values})
    elif approval_id is not None:
        _show_values(values)
    elif not causes:
        prints_to.print("Nothing waits to be approved.")
    else:
        prints_to.print(causes_table(causes, f"Causes waiting to be approved: {len(causes):,} (times are UTC)"))
        prints_to.print(
            "`dynsync approve NUMBER` shows the values, `dynsync approve --accept NUMBER` approves them.",
            highlight=False,
        )


def _show_values(values: list[Row]) -> None:
    if not values:
        prints_to.print("Nothing of this number waits; `dynsync approve` shows what does.")
        return
    table = Table(title=f"Waiting: {len(values):,} values", title_justify="left")
    for name in ("Record", "Person", "Field", "Old", "New"):
        table.add_column(name, overflow="fold")
    for row in values[:MOST_SHOWN]:
        who = (cell(row["record_id_dynamics"]), cell(row["person_id_marketo"]))
        what = cell(row["field"] or "new person")
        table.add_row(*who, what, value_cell(row["old_value"]), value_cell(row["new_value"]))
    prints_to.print(table)
    if len(values) > MOST_SHOWN:
        prints_to.print(f"{len(values) - MOST_SHOWN:,} more are not shown: --csv FILE has all.", highlight=False)


def _accept(settings: Settings, which: str) -> tuple[int, int]:
    """Approve all of a number, or of all. Raises: typer.BadParameter where nothing of it waits."""
    if which != "all" and not (which.isascii() and which.isdecimal() and len(which) < 19):
        raise typer.BadParameter(f"{which!r} is neither a number nor all.", param_hint="--accept")
    with (
        CycleLock(settings.lock_file, is_cycle=False),
        _opened(settings) as warehouse,
        warehouse.transaction() as connection,
    ):
        waiting = waiting_causes(connection)
        chosen = [number for number in waiting if which in ("all", str(number))]
        if not chosen and which != "all":
            raise typer.BadParameter(
                f"Nothing of number {which} waits; `dynsync approve` shows what does.", param_hint="--accept"
            )
        if chosen:
            n_values = sum(waiting[number] for number in chosen)
            note_action(connection, Action.of("approve", {"approvals": named(chosen), "n_values": n_values}))
        return approve_causes(connection, chosen, operator(), now()), 0


def _apply(settings: Settings, lines: list[tuple[str, ...]]) -> tuple[int, int]:
    """Approve the values of a file; returns how many were approved, and how many of its lines do not wait."""
    with (
        CycleLock(settings.lock_file, is_cycle=False),
        _opened(settings) as warehouse,
        warehouse.transaction() as connection,
    ):
        waiting = {tuple(harmless(value) for value in row[1:]): row for row in waiting_values(connection)}
        chosen = [waiting[line] for line in lines if line in waiting]
        if chosen:
            numbers = Counter(row[0] for row in chosen)
            plan = {"approvals": named(sorted(numbers)), "n_values": len(chosen)}
            note_action(connection, Action.of("approve", plan))
            approve_values(connection, [row[1:] for row in chosen], operator(), now())
    return len(chosen), len(lines) - len(chosen)


def _opened(settings: Settings) -> Warehouse:
    if not settings.working_file.exists():
        raise StorageFailed(
            f"{settings.working_file} does not exist yet.", next_step="Run `dynsync sync`, which makes it."
        )
    return Warehouse(settings.working_file)


def _read(path: Path) -> list[tuple[str, ...]]:
    """The values of a CSV, each line once, as it was written. Raises: typer.BadParameter."""
    try:
        text = decoded(path.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}.", param_hint="--apply") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{path} is no UTF-8; save it as CSV UTF-8.", param_hint="--apply") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator(text))
    try:
        missing = [name for name in SAME if name not in (rows.fieldnames or ())]
        if missing:
            raise typer.BadParameter(f"{path} has no column {missing[0]}; nothing was approved.", param_hint="--apply")
        return list(dict.fromkeys(tuple(row[name] or "" for name in SAME) for row in rows))
    except csv.Error:
        raise typer.BadParameter(f"{path} cannot be read as CSV; nothing was approved.", param_hint="--apply") from None
