"""`dynsync case PERSON`: one person as a file that may be shared, and such a file decided again. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, now, open_snapshot, print_json, value_cell
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.case import Case, pack, read_case, replay
from dynsync_pipeline.look.explain import find_subjects
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, Warehouse, storage_errors
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.follow_map import followed_fields


@app.command(
    help="Pack one person's case into a file that may be shared: every row about them with pseudonyms in the place of texts, "
    "numbers, days and ids, and what the rules make of it. With --replay decide such a file again, anywhere.\n\n"
    "Exit codes: 0 done, 1 failed, nobody has the key, or the file is decided otherwise than when it was packed, 2 settings or "
    "options wrong, 3 a cycle is running."
)
def case(
    person: Annotated[
        str | None, typer.Argument(help="Marketo person id, Dynamics id of a contact or lead, or e-mail address.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the case goes; a file that is there stays.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--replay", metavar="FILE", help="Decide this case again; needs no settings.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Write a case, or decide one again, and print its outcome. Raises: DynSyncError."""
    if (person is None) == (file is None) or (file is not None and to is not None):
        raise typer.BadParameter("name a person, or a file with --replay.", param_hint="PERSON")
    if file is not None:
        _replay(file, as_json=as_json)
        return
    file = to or Path("case.json")
    packed = _packed(load_settings(), str(person))
    _write(file, packed)
    print_json(packed.outcome) if as_json else _show(packed.outcome)
    if not as_json:
        prints_to.print(f"\nWritten to {file}. Look it through before you share it.", highlight=False, markup=False)
    if packed.otherwise:
        errors_to.print(
            "With the real values these fields are decided otherwise than with their pseudonyms: "
            f"{', '.join(packed.otherwise)}.",
            highlight=False,
            markup=False,
        )


def _packed(settings: Settings, key: str) -> Case:
    with open_snapshot(settings) as connection:
        try:
            subjects = find_subjects(connection, key)
        except ValueError as error:
            raise typer.BadParameter(f"This is {error}.", param_hint="PERSON") from None
    people = [each.person_id_marketo for each in subjects if each.person_id_marketo is not None]
    if len(people) != 1:
        whom = "Nobody in Marketo has this key" if not people else f"{len(people):,} people have this key"
        errors_to.print(f"{whom}; `dynsync explain` shows who does.", highlight=False, markup=False)
        raise typer.Exit(Exit.FAILED)
    with CycleLock(settings.lock_file, is_cycle=False), Warehouse(settings.working_file) as warehouse:
        wanted = load_field_map(settings.field_map, settings.own_fields)
        with warehouse.reading() as connection:
            return pack(connection, followed_fields(connection, wanted), settings.own_fields, people[0], now())


def _write(file: Path, packed: Case) -> None:
    with storage_errors(file):
        if file.exists():
            raise StorageFailed(f"{file} is there already.", next_step="Name another file with --to.")
        file.touch(mode=OWNER_ONLY)
        file.write_text(packed.to_json(), "utf-8")


def _replay(file: Path, *, as_json: bool) -> None:
    with storage_errors(file):
        text = file.read_bytes().decode("utf-8", "replace")
    packed = read_case(text)
    outcome = replay(packed)
    print_json(outcome) if as_json else _show(outcome)
    if outcome != packed.outcome:
        errors_to.print(
            f"DynSync {packed.version}, which packed the case, decided otherwise; its outcome stands in the file.",
            highlight=False,
            markup=False,
        )
        raise typer.Exit(Exit.FAILED)


def _show(outcome: list[Row]) -> None:
    if not outcome:
        prints_to.print("Nothing would be written, nothing collides, and nothing waits.", highlight=False)
        return
    table = Table()
    for name in ("Field", "What", "Base", "Old, or Dynamics", "New, or Marketo", "Why"):
        table.add_column(name, overflow="fold")
    for row in outcome:
        what = " ".join(filter(None, (row["what"], row["action"], row["system"] and f"in {row['system']}")))
        why = " ".join(filter(None, (row["winner"], row["code"])))
        values = (value_cell(row[name]) for name in ("base_value", "old_value", "new_value"))
        table.add_row(cell(row["field"]), cell(what), *values, cell(why))
    prints_to.print(table)
