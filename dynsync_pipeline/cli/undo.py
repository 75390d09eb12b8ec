"""`dynsync undo`: takes back what one cycle wrote, where it is still ours. Shows it first; `--apply` writes.

Not here: what is still ours (`reconcile/sql/undone_fields.sql`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import duckdb
import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, open_snapshot, print_json, value_cell
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.reconcile.undo import OURS, Undo, stop_on_much_undone, want_undo
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.cycles import NOT_ALL_WRITTEN
from dynsync_pipeline.warehouse.operator_actions import Action, note_action
from dynsync_pipeline.whole_cycle import run_cycle

MOST_SHOWN = 50
LEFT = {
    "written_since": "a later cycle wrote the field",
    "edited_since": "edited since, or a system keeps another value than was written",
    "created": "a new person or record, which is never deleted",
    "not_synced": "no field of the map, or one of the sync's own",
    "of_company": "a company's value, which follows its account or lead",
    "not_compared": "the link ended, is kept out, or cannot be read",
    "nothing_to_undo": "the value was the same before",
    "option_unknown": "the label of before is no option in Dynamics",
}


@app.command(
    help="Take back what one cycle wrote: shows it, and with --apply writes it. A value is taken back where it is still ours: "
    "the newest write of its field, both sides hold it, and nobody was seen to edit it since; the rest is left. The side "
    "of whoever edited it stays; the other gets back what it held, and the two stay unequal until either is edited. New people "
    "are never deleted. --apply runs a whole cycle, which reads both systems first.\n\n"
    "Exit codes: 0 done, 1 failed or not everything written, 2 settings or options wrong, 3 a cycle is running, 4 stopped by a "
    "guard."
)
def undo(
    cycle_id: Annotated[int, typer.Argument(metavar="CYCLE", help="The number of the cycle.")],
    field: Annotated[str | None, typer.Option(help="Only this field, by its REST name in Marketo.")] = None,
    person: Annotated[int | None, typer.Option(metavar="ID", help="Only this person in Marketo.")] = None,
    is_applied: Annotated[bool, typer.Option("--apply", help="Write it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print what would be undone, or undo it. Raises: DynSyncError."""
    settings = load_settings()
    found, n_of_accounts = _wanted(settings, cycle_id, field, person, is_applied=is_applied)
    is_any_ours = any(each.verdict == OURS for each in found)
    failures: list[str] = []
    n_undone = 0
    if is_applied and is_any_ours:
        with errors_to.status("Reading both systems …") as status:
            report = run_cycle(settings, progress=lambda sentence: status.update(f"{sentence} …"))
        failures = report.failures
        n_undone = _n_undone(settings, report.cycle_id)
    if as_json:
        rows = [asdict(each) for each in found]
        print_json({"changes": rows, "n_account_changes_left": n_of_accounts, "n_undone": n_undone})
    else:
        _show(found, n_of_accounts)
        _say(is_any_ours, n_undone, is_applied=is_applied)
    if failures:
        errors_to.print(f"{NOT_ALL_WRITTEN} {' '.join(failures)}", markup=False, highlight=False)
        raise typer.Exit(Exit.FAILED)


def _wanted(
    settings: Settings, cycle_id: int, field: str | None, person: int | None, *, is_applied: bool
) -> tuple[list[Undo], int]:
    """What that cycle wrote, with verdicts, and how many values of accounts; where it is applied, it is kept to be undone."""
    if is_applied:
        settings.require_systems()
        settings.require_live("An undo")
    with CycleLock(settings.lock_file, is_cycle=False):
        if not settings.working_file.exists():
            raise StorageFailed(
                f"{settings.working_file} does not exist yet.", next_step="Run `dynsync sync`, which makes it."
            )
        with Warehouse(settings.working_file) as warehouse, warehouse.reading() as connection:
            _require_cycle(connection, cycle_id)
            if field is not None:
                _require_field(connection, cycle_id, field)
            connection.begin()
            try:
                found = want_undo(connection, cycle_id, field, person)
                stop_on_much_undone(connection, found, settings.largest_share)
                n_of_accounts = _n_of_accounts(connection, cycle_id, field, person)
                if is_applied and any(each.verdict == OURS for each in found):
                    n_ours = sum(each.verdict == OURS for each in found)
                    plan = {"cycle_id": cycle_id, "field": field, "person_id": person, "n": n_ours}
                    note_action(connection, Action.of("undo --apply", plan))
                    connection.commit()
                else:
                    connection.rollback()
            except BaseException:
                connection.rollback()
                raise
    return found, n_of_accounts


def _require_cycle(connection: duckdb.DuckDBPyConnection, cycle_id: int) -> None:
    if not scalar(connection, "select count(*) from ledger.cycles where cycle_id = ?", [cycle_id]):
        raise typer.BadParameter(
            f"there is no cycle {cycle_id}; the table cycles of the snapshot lists those that are kept.",
            param_hint="CYCLE",
        )


def _require_field(connection: duckdb.DuckDBPyConnection, cycle_id: int, field: str) -> None:
    query = (
        "select distinct field from ledger.changes where cycle_id = $1 "
        "union select field from ledger.account_changes where cycle_id = $1 order by field"
    )
    written = [name for (name,) in connection.execute(query, [cycle_id]).fetchall()]
    if written and field not in written:
        raise typer.BadParameter(
            f"cycle {cycle_id} wrote no field of that name; it wrote {', '.join(written)}.", param_hint="--field"
        )


def _n_of_accounts(connection: duckdb.DuckDBPyConnection, cycle_id: int, field: str | None, person: int | None) -> int:
    query = "select count(*) from ledger.account_changes where cycle_id = $1 and ($2 is null or field = $2)"
    return 0 if person is not None else scalar(connection, query, [cycle_id, field])


def _n_undone(settings: Settings, cycle_id: int) -> int:
    with open_snapshot(settings) as connection:
        return scalar(connection, "select count(*) from changes where rule_code = 'undo' and cycle_id = ?", [cycle_id])


def _show(found: list[Undo], n_of_accounts: int) -> None:
    ours = [each for each in found if each.verdict == OURS]
    if ours:
        table = Table(title=f"Still ours: {len(ours):,} values", title_justify="left")
        for name in ("Person", "Field", "Written to", "Holds", "Gets back"):
            table.add_column(name, overflow="fold")
        for each in ours[:MOST_SHOWN]:
            values = (value_cell(each.new_value), value_cell(each.old_value))
            table.add_row(
                str(each.person_id), cell(each.field), each.direction.removeprefix("to_").capitalize(), *values
            )
        prints_to.print(table)
        if len(ours) > MOST_SHOWN:
            prints_to.print(f"{len(ours) - MOST_SHOWN:,} more are not shown: --json has all.", highlight=False)
    counts = Counter(each.verdict for each in found if each.verdict != OURS)
    for verdict, n in sorted(counts.items()):
        prints_to.print(f"Left: {n:,}, {LEFT[verdict]}.", highlight=False)
    if n_of_accounts:
        prints_to.print(f"Left: {n_of_accounts:,} values of accounts, whose companies follow them.", highlight=False)
    if not found and not n_of_accounts:
        prints_to.print("That cycle wrote nothing of the kind.")


def _say(is_any_ours: bool, n_undone: int, *, is_applied: bool) -> None:
    if is_applied and is_any_ours:
        prints_to.print(
            f"Undone: {n_undone:,}. What was edited meanwhile was left; what a system put off, or what gets the new label of an "
            "option first, follows by itself.",
            highlight=False,
        )
    elif is_any_ours:
        prints_to.print("Nothing was changed; --apply reads both systems again, and writes.")
    else:
        prints_to.print("There is nothing to undo.")
