"""`dynsync push`: asks that people of Marketo become leads or contacts, from the command line (docs/requests.md)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import print_json
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.errors import CycleRunning
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.requests.desk import Desk
from dynsync_pipeline.requests.store import Request, RequestStore, Wish, make_data_dir
from dynsync_pipeline.settings import Settings, load_settings
from dynsync_pipeline.warehouse.connection import utc_now

LARGEST_ID = 2**31 - 1
QUEUED = "queued"


@app.command(
    help="Ask that people of Marketo become leads or contacts in Dynamics, and serve that at once if no cycle runs.\n\n"
    "Whoever is in the sync already is left alone.\n\n"
    "Exit codes: 0 done or queued, 1 failed or one was refused, 2 settings or options wrong."
)
def push(
    record_type: Annotated[Literal["lead", "contact"], typer.Option("--as", help="What they become.")],
    person: Annotated[list[int] | None, typer.Option(help="Id of a person in Marketo; may be given again.")] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="CSV file whose column `person_id` holds their ids.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Name or e-mail address of the user who owns the records.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what became of them as JSON.")] = False,
) -> None:
    """Print what became of each; end with 1 if one was refused. Raises: DynSyncError."""
    people = dict.fromkeys([*(person or []), *(_ids_of(csv_file) if csv_file else [])])
    if not people:
        raise typer.BadParameter("give people with --person or --csv.")
    if wrong := [each for each in people if not 0 < each <= LARGEST_ID]:
        raise typer.BadParameter(f"{wrong[0]} is no id of a person in Marketo.", param_hint="--person")
    if owner is not None and not owner.isprintable():
        raise typer.BadParameter("it holds what is no text.", param_hint="--owner")
    found, waiting = pushed(load_settings(), [Wish(each, RecordType(record_type), "push", owner) for each in people])
    if as_json:
        print_json([_row(each) for each in found])
    else:
        _show(found)
    if waiting:
        errors_to.print(waiting, markup=False, highlight=False)
    if any(each.outcome not in (None, "created", "already_in_sync") for each in found):
        raise typer.Exit(Exit.FAILED)


def pushed(settings: Settings, wishes: list[Wish]) -> tuple[list[Request], str | None]:
    """Keep these wishes and serve them, if no cycle runs; how they stand then, and why some wait.

    Raises: SettingsWrong, StorageFailed.
    """
    settings.require_systems()
    make_data_dir(settings)
    with RequestStore(settings.requests_file) as store, Desk(settings, store) as desk:
        taken = store.ask(wishes, utc_now().replace(tzinfo=None))
        try:
            waiting = desk.serve()
        except CycleRunning as error:
            waiting = f"{error.message} What is queued is kept, and served when that has ended."
        return [store.request(each) for each in taken], waiting


def _ids_of(file: Path) -> list[int]:
    """The ids in the column `person_id`. Raises: typer.BadParameter, naming the line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            if "person_id" not in (reader.fieldnames or []):
                raise typer.BadParameter(f"{file} has no column person_id.", param_hint="--csv")
            return [_id_of(row["person_id"], f"{file}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no CSV in UTF-8"
        raise typer.BadParameter(f"{file} cannot be read: {why}.", param_hint="--csv") from None


def _id_of(text: str | None, where: str) -> int:
    if text is None or not text.strip().isdecimal() or len(text.strip()) > len(str(LARGEST_ID)):
        raise typer.BadParameter(f"{where}: person_id is no number.", param_hint="--csv")
    return int(text)


def _row(request: Request) -> dict[str, object]:
    is_there = request.outcome == "created"
    return {
        "person_id": request.person_id,
        "as": request.record_type.value,
        "result": request.outcome or QUEUED,
        "dynamics_id": request.request_id if is_there else None,
        "field": request.field,
        "message": request.message,
    }


def _show(found: list[Request]) -> None:
    table = Table()
    for name in ("person", "result", "id in Dynamics", "why"):
        table.add_column(name, overflow="fold")
    for each in map(_row, found):
        table.add_row(
            str(each["person_id"]), str(each["result"]), str(each["dynamics_id"] or ""), str(each["message"] or "")
        )
    prints_to.print(table)
