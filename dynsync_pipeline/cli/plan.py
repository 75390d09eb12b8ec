"""`dynsync plan`: what the next cycle would write, found on a scratch copy of the working file. Changes nothing.

Shows values of records, because whoever asks for a plan wants to see them; nothing of it is logged.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, print_json, value_cell
from dynsync_pipeline.cli.output import EXIT_CODES, app, errors_to, prints_to
from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.publish.plan import PlannedOperations, read_plan
from dynsync_pipeline.publish.reading import Row
from dynsync_pipeline.settings import Settings, load_settings
from dynsync_pipeline.warehouse.connection import storage_errors
from dynsync_pipeline.warehouse.cycle_lock import CycleLock

MOST_SHOWN = 50
SCRATCH = "plan-"


@app.command(
    help="Show what the next cycle would write, and change nothing: neither system, nor the working file, nor cursors.\n\n"
    "Reads both systems on a copy of the working file, as a cycle would, so it takes as long and uses as many calls; "
    f"no cycle runs meanwhile.\n\n{EXIT_CODES}"
)
def plan(as_json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False) -> None:
    """Print the plan. Raises: DynSyncError."""
    settings = load_settings()
    with errors_to.status("Copying the working file") as status:
        found = planned(
            settings, None if as_json else MOST_SHOWN, progress=lambda sentence: status.update(f"{sentence} …")
        )
    if as_json:
        print_json(asdict(found))
    else:
        _show(found)


def planned(
    settings: Settings, most: int | None, progress: Callable[[str], None] = lambda sentence: None
) -> PlannedOperations:
    """Extract and reconcile on a copy that is thrown away; no write is sent. `most`: see `read_plan`.

    Raises: CycleRunning, GuardStopped (as the cycle itself would), SettingsWrong, ApiError, StorageFailed.
    """
    settings.require_systems()
    with CycleLock(settings.lock_file, is_cycle=False):
        with storage_errors(settings.data_dir):
            for stale in settings.data_dir.glob(f"{SCRATCH}*"):  # of a plan that was killed; we hold its lock
                shutil.rmtree(stale, ignore_errors=True)
            folder = tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=SCRATCH, ignore_cleanup_errors=True)
        with folder as name:
            scratch = settings.model_copy(update={"data_dir": Path(name)})
            _copy(settings.working_file, scratch.working_file)
            return _dry_cycle(scratch, most, progress)


def _copy(working_file: Path, copy: Path) -> None:
    with storage_errors(working_file):
        for suffix in ("", ".wal"):  # a cycle that was killed leaves a write-ahead log, which belongs to the file
            source = working_file.with_name(working_file.name + suffix)
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + suffix))


def _dry_cycle(scratch: Settings, most: int | None, progress: Callable[[str], None]) -> PlannedOperations:
    with Cycle(scratch) as cycle:
        try:
            progress("Reading both systems")
            cycle.extract()
            cycle.extract_companies()
            progress("Comparing")
            cycle.reconcile()
            with cycle.warehouse.reading() as connection:
                return read_plan(connection, most)
        except DynSyncError as error:
            stopped = error  # raised outside: a cycle that fails publishes a snapshot, which nobody would read here
    raise stopped


def _show(found: PlannedOperations) -> None:
    if not found.groups:
        prints_to.print("Nothing to write: both systems agree, or what differs waits or stands.", highlight=False)
        return
    for group in found.groups:
        operations = [row for row in found.operations if all(row[name] == group[name] for name in GROUP)]
        prints_to.print(_operations_table(group, operations))
        if group["n"] > len(operations):
            _say_more(group["n"] - len(operations))
    if found.collisions:
        prints_to.print(_collisions_table(found))
        if found.n_collisions > len(found.collisions):
            _say_more(found.n_collisions - len(found.collisions))
    total = sum(group["n"] for group in found.groups)
    prints_to.print(
        f"\n{_number(total, 'write')}, {_number(found.n_collisions, 'collision')}. "
        "Nothing was changed; `dynsync sync` reads again and then writes.",
        highlight=False,
    )


def _number(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


GROUP = ("system", "action", "record_type")


def _say_more(n_more: int) -> None:
    prints_to.print(f"{n_more:,} more are not shown: --json has all.", style="dim", highlight=False)


def _operations_table(group: Row, operations: list[Row]) -> Table:
    title = (
        f"\n{group['action'].capitalize()} in {group['system'].capitalize()}: {group['n']:,} × {group['record_type']}"
    )
    table = Table(title=title, title_justify="left")
    is_new = group["action"] in ("create", "company")
    table.add_column("Dynamics id" if is_new else "Person", no_wrap=True)
    if group["action"] == "create":
        table.add_column("Fields")
        for operation in operations:
            table.add_row(cell(operation["record_id_dynamics"]), cell(_filled(operation)))
        return table
    for name in ("Field", "Old", "New", "Rule"):
        table.add_column(name, overflow="fold", no_wrap=name == "Field")
    for operation in operations:
        who = operation["record_id_dynamics"] if is_new else operation["person_id_marketo"]
        if not operation["changes"]:  # a company that Marketo does not hold yet
            table.add_row(cell(who), cell(_filled(operation)))
        for place, change in enumerate(operation["changes"]):
            table.add_row(
                cell(who if place == 0 else ""),
                cell(change["field"]),
                value_cell(change["old_value"]),
                value_cell(change["new_value"]),
                cell(change["rule"]),
            )
    return table


def _filled(operation: Row) -> str:
    return ", ".join(name for name, value in operation["body"].items() if value is not None)


def _collisions_table(found: PlannedOperations) -> Table:
    table = Table(title=f"\nCollisions: {found.n_collisions:,}", title_justify="left")
    table.add_column("Person", no_wrap=True)
    for name in ("Field", "Base", "Dynamics", "Marketo", "Rule"):
        table.add_column(name, overflow="fold", no_wrap=name == "Field")
    for row in found.collisions:
        sides = [value_cell(row[f"{side}_value"]) for side in ("base", "dynamics", "marketo")]
        table.add_row(cell(row["person_id_marketo"]), cell(row["field"]), *sides, cell(row["rule"]))
    return table
