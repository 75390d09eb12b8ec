"""`dynsync plan`: what the next cycle would write, found on a scratch copy of the working file. Changes nothing.

Shows values of records, because whoever asks for a plan wants to see them; nothing of it is logged.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import Annotated, TypeVar

import duckdb
import typer
from rich.table import Table
from rich.text import Text

from dynsync_pipeline.cli.approval_causes import cause_in_words, causes_table
from dynsync_pipeline.cli.looking import cell, print_json, value_cell
from dynsync_pipeline.cli.output import EXIT_CODES, app, errors_to, prints_to
from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.look.plan import PlannedOperations, read_plan
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.look.step import read_step, step_tables
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import storage_errors
from dynsync_pipeline.warehouse.copied_file import copy_file
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.erased import FILE as ERASURES
from dynsync_pipeline.warehouse.leftovers import SCRATCH, remove_leftovers

MOST_SHOWN = 50
MOST_REACHES = 10
FEW_REACHED = 50  # people; what reaches no more is told by its rows alone
Found = TypeVar("Found")


@app.command(
    help="Show what the next cycle would write, and change nothing: neither system, nor the working file, nor cursors.\n\n"
    "Reads both systems on a copy of the working file, as a cycle would, so it takes as long and uses as many calls; "
    f"no cycle runs meanwhile.\n\n{EXIT_CODES}"
)
def plan(
    step: Annotated[
        str | None, typer.Option(help="Show this table of the plan instead, as its SQL file made it (docs/steps.md).")
    ] = None,
    person: Annotated[
        int | None, typer.Option(help="With --step: only the rows of the person with this Marketo id.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Print the plan, or a table that led to it. Raises: DynSyncError."""
    if step is None and person is not None:
        raise typer.BadParameter("it chooses rows of a step; name one with --step.", param_hint="--person")
    if step is not None and step not in step_tables():
        known = ", ".join(step_tables())
        raise typer.BadParameter(f"{step!r} is no table of the plan; there are {known}.", param_hint="--step")
    settings = load_settings()

    def look(connection: duckdb.DuckDBPyConnection) -> PlannedOperations | list[Row]:
        if step is not None:
            return read_step(connection, step, person)
        return read_plan(connection, None if as_json else MOST_SHOWN)

    with errors_to.status("Copying the working file") as status:
        found = planned(settings, look, progress=lambda sentence: status.update(f"{sentence} …"))
    if isinstance(found, list):
        _show_step(str(step), found, as_json=as_json)
    elif as_json:
        print_json(asdict(found))
    else:
        _show(found)


def planned(
    settings: Settings,
    look: Callable[[duckdb.DuckDBPyConnection], Found],
    progress: Callable[[str], None] = lambda sentence: None,
) -> Found:
    """Extract and reconcile on a copy that is thrown away; no write is sent. Returns what `look` finds on the copy.

    Raises: CycleRunning, GuardStopped (as the cycle itself would), SettingsWrong, ApiError, StorageFailed.
    """
    settings.require_systems()
    with CycleLock(settings.lock_file, is_cycle=False):
        with _at_rest(settings.working_file):
            remove_leftovers(settings.data_dir)
        with storage_errors(settings.data_dir):
            folder = tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=SCRATCH, ignore_cleanup_errors=True)
        with folder as name:
            scratch = settings.model_copy(update={"data_dir": Path(name)})
            _copy(settings.working_file, scratch.working_file)
            if (settings.data_dir / ERASURES).exists():
                shutil.copyfile(settings.data_dir / ERASURES, scratch.data_dir / ERASURES)
            return _dry_cycle(scratch, look, progress)


@contextmanager
def _at_rest(working_file: Path) -> Iterator[None]:
    """While nobody writes it: DuckDB's own lock keeps a cycle out also where somebody deleted the file of the cycle lock."""
    if not working_file.exists():
        yield
        return
    with storage_errors(working_file), duckdb.connect(working_file, read_only=True):
        yield


def _copy(working_file: Path, copy: Path) -> None:
    with _at_rest(working_file):
        for suffix in ("", ".wal"):  # a cycle that was killed leaves a write-ahead log, which belongs to the file
            source = working_file.with_name(working_file.name + suffix)
            if source.exists():
                copy_file(source, copy.with_name(copy.name + suffix))


def _dry_cycle(
    scratch: Settings, look: Callable[[duckdb.DuckDBPyConnection], Found], progress: Callable[[str], None]
) -> Found:
    with Cycle(scratch) as cycle:
        try:
            progress("Reading both systems")
            cycle.extract()
            cycle.extract_companies()
            progress("Comparing")
            cycle.reconcile()
            with cycle.warehouse.reading() as connection:
                return look(connection)
        except DynSyncError as error:
            stopped = error  # raised outside: a cycle that fails publishes a snapshot, which nobody would read here
    raise stopped


def _show_step(name: str, rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    prints_to.print(f"{name}: {step_tables()[name]}", highlight=False)
    if not rows:
        prints_to.print("No rows.", highlight=False)
        return
    for row in rows[:MOST_SHOWN]:
        table = Table(show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for column, value in row.items():
            table.add_row(cell(column), value_cell(None if value is None else str(value)))
        prints_to.print(table)
    if len(rows) > MOST_SHOWN:
        _say_more(len(rows) - MOST_SHOWN)


def _show(found: PlannedOperations) -> None:
    if found.waiting:
        prints_to.print(causes_table(found.waiting, "\nWaits to be approved (`dynsync approve`), and is not written"))
    if not found.groups:
        prints_to.print("Nothing to write: both systems agree, or what differs waits or stands.", highlight=False)
        return
    for group in found.groups:
        _show_group(group, [row for row in found.operations if _of_group(row) == _of_group(group)])
    if found.collisions:
        prints_to.print(_collisions_table(found))
        _say_more(found.n_collisions - len(found.collisions))
    if wide := [row for row in found.reach if row["n_people"] > FEW_REACHED]:
        prints_to.print(_reach_table(wide))
        _say_more(len(wide) - MOST_REACHES)
    total = sum(group["n"] for group in found.groups)
    prints_to.print(
        f"\n{_number(total, 'write')}, {_number(found.n_collisions, 'collision')}. "
        "Nothing was changed; `dynsync sync` reads again and then writes.",
        highlight=False,
    )


def _number(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _reach_table(rows: list[Row]) -> Table:
    title = f"\nWhat reaches more than {FEW_REACHED} people"
    table = Table(title=title, title_justify="left")
    table.add_column("Cause", overflow="fold")
    for name in ("Writes", "People", "Activities", "Calls", "Minutes"):
        table.add_column(name, justify="right")
    for row in rows[:MOST_REACHES]:
        figures = (f"{row[name]:,}" for name in ("n_writes", "n_people", "n_activities", "n_calls"))
        minutes = "" if row["minutes"] is None else f"{row['minutes']:,}"
        cause = cause_in_words(row["cause"], row["name"], row["record_type"], row["system"])
        table.add_row(cell(cause), *figures, minutes)
    return table


_of_group = itemgetter("system", "action", "record_type")


def _show_group(group: Row, operations: list[Row]) -> None:
    prints_to.print(_operations_table(group, operations))
    _say_more(group["n"] - len(operations))


def _say_more(n_more: int) -> None:
    if n_more > 0:
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
        for row in _change_rows(who, operation):
            table.add_row(*row)
    return table


def _change_rows(who: object, operation: Row) -> Iterator[tuple[Text, ...]]:
    """One row a change; `who` stands in the first one alone."""
    if not operation["changes"]:  # a company that Marketo does not hold yet
        yield cell(who), cell(_filled(operation))
    for place, change in enumerate(operation["changes"]):
        yield (
            cell(who if place == 0 else ""),
            cell(change["field"]),
            value_cell(change["old_value"]),
            value_cell(change["new_value"]),
            cell(change["rule"]),
        )


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
