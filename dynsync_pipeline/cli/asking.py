"""What `dynsync push`, `assign` and `task` share: whom they ask for, carrying it out, showing what became of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dynsync_pipeline.cli.csv_files import decoded, separator
from dynsync_pipeline.cli.looking import print_json
from dynsync_pipeline.cli.output import Exit, errors_to, prints_to
from dynsync_pipeline.requests.desk import carry_out
from dynsync_pipeline.requests.store import FULFILLED, Request, Wish
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.operator_actions import Action, named

LARGEST_ID = 2**31 - 1
QUEUED = "queued"
_COMMANDS = {"record": "push", "owner": "assign", "task": "task"}

Person = Annotated[list[int] | None, typer.Option(help="Id of a person in Marketo; may be given again.")]
CsvFile = Annotated[Path | None, typer.Option("--csv", help="CSV file whose column `person_id` holds their ids.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what became of them as JSON.")]


def people_of(person: Sequence[int] | None, csv_file: Path | None) -> list[int]:
    """The ids that the options name, each once. Raises: typer.BadParameter."""
    people = dict.fromkeys([*(person or []), *(_ids_of(csv_file) if csv_file else [])])
    if not people:
        raise typer.BadParameter("give people with --person or --csv.")
    if wrong := [each for each in people if not 0 < each <= LARGEST_ID]:
        raise typer.BadParameter(f"{wrong[0]} is not the id of a person in Marketo.", param_hint="--person")
    return list(people)


def require_text(option: str, value: str | None) -> None:
    """Raise typer.BadParameter where an option holds what is no text."""
    if value is not None and not value.isprintable():
        raise typer.BadParameter("it holds characters that are no text.", param_hint=option)


def ask(wishes: Sequence[Wish], *, as_json: bool) -> None:
    """Print what became of each; end with 1 if one was refused. Raises: DynSyncError."""
    settings = load_settings()
    settings.require_systems()
    settings.require_live("A request")
    found, waiting = carry_out(settings, wishes, command_of(wishes))
    if as_json:
        print_json([_row(each) for each in found])
    else:
        _show(found)
    if waiting:
        errors_to.print(waiting, markup=False, highlight=False)
    if any(each.outcome not in (None, *FULFILLED) for each in found):
        raise typer.Exit(Exit.FAILED)


def command_of(wishes: Sequence[Wish]) -> Action:
    """The command that asks for these, given just now."""
    asked = {"as": wishes[0].record_type.value, "people": named([each.person_id for each in wishes])}
    return Action.of(_COMMANDS[wishes[0].kind], asked)


def _ids_of(file: Path) -> list[int]:
    """The ids in the column `person_id`. Raises: typer.BadParameter, naming the line."""
    try:
        text = decoded(file.read_bytes())
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator(text))
        if "person_id" not in (reader.fieldnames or []):
            raise typer.BadParameter(f"{file} has no column person_id.", param_hint="--csv")
        return [_id_of(row["person_id"], f"{file}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no CSV in UTF-8 or UTF-16"
        raise typer.BadParameter(f"{file} cannot be read: {why}.", param_hint="--csv") from None


def _id_of(text: str | None, where: str) -> int:
    if text is None or not text.strip().isdecimal() or len(text.strip()) > len(str(LARGEST_ID)):
        raise typer.BadParameter(f"{where}: person_id is not a number.", param_hint="--csv")
    return int(text)


def _row(request: Request) -> dict[str, object]:
    return {
        "person_id": request.person_id,
        "kind": request.kind,
        "as": request.record_type.value,
        "result": request.outcome or QUEUED,
        "dynamics_id": request.made_id,
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
