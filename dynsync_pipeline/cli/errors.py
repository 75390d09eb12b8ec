"""`dynsync errors`: browse, filter and export what failed (R120, R121), and release it to be tried again (R116).

All but the release only looks. Shows names and refused values, because whoever mends a record needs them; nothing of them
is logged. Not here: how errors are shown (`causes.py`).
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from dynsync_pipeline.cli.causes import show_causes
from dynsync_pipeline.cli.csv_files import export
from dynsync_pipeline.cli.looking import now, open_snapshot, print_json, rough, span
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.sync_errors import ErrorFilter, name_them, read_errors
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.operator_actions import Action, named, note_action
from dynsync_pipeline.warehouse.releases import open_errors, release_errors

COLUMNS = (
    "error_id", "cycle_id", "happened_at", "last_seen_at", "object", "person_id_marketo", "record_id_dynamics", "field",
    "operation", "direction", "code", "message", "attempts", "state", "name", "refused_value", "dynamics_link", "marketo_link",
)  # fmt: skip
_ERROR_ID = re.compile(r"[0-9]{1,18}")


class State(StrEnum):
    """What becomes of an error."""

    WAITING = "waiting"
    QUARANTINED = "quarantined"
    RESOLVED = "resolved"


class Direction(StrEnum):
    """Where the refused write went."""

    TO_MARKETO = "to_marketo"
    TO_DYNAMICS = "to_dynamics"


class Object(StrEnum):
    """What was to be written or read."""

    ACCOUNT = "account"
    CONTACT = "contact"
    LEAD = "lead"
    PERSON = "person"
    COMPANY = "company"


@app.command(
    help="Show what a system refused, by cause: the newest of each, or all as JSON or CSV. Works while a cycle runs, but for "
    "--release.\n\nExit codes: 0 done, 1 failed (also: no snapshot yet), 2 settings or options wrong, 3 nothing was "
    "released because a cycle is running."
)
def errors(
    state: Annotated[
        State | None, typer.Option(metavar="STATE", help="Only errors that are waiting, quarantined or resolved.")
    ] = None,
    direction: Annotated[
        Direction | None, typer.Option(metavar="WAY", help="Only writes that go to_marketo or to_dynamics.")
    ] = None,
    object_: Annotated[
        Object | None,
        typer.Option("--object", metavar="KIND", help="Only of one kind: account, contact, lead, person or company."),
    ] = None,
    code: Annotated[str | None, typer.Option(help="Only this error code, such as 1003 or 0x80044331.")] = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only errors with this text in code, field, message or Dynamics id."),
    ] = None,
    person: Annotated[int | None, typer.Option(metavar="ID", help="Only errors of this Marketo person.")] = None,
    since: Annotated[
        timedelta, typer.Option(parser=span, metavar="SPAN", help="Only errors last seen in this span: 12h, 5d.")
    ] = "5d",  # type: ignore[assignment] # the parser reads it
    of_all_times: Annotated[bool, typer.Option("--all", help="Errors of all times, whatever --since says.")] = False,
    csv_file: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="Write a CSV for spreadsheets; - is the standard output."),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(
            metavar="ID[,ID...]|all",
            help="Let the next cycle try these errors again, or all of them, quarantined or not.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the errors as JSON.")] = False,
) -> None:
    """Print the chosen errors, or release some. Raises: DynSyncError."""
    settings = load_settings()
    at = now()
    if release is not None:
        if any(option is not None for option in (state, direction, object_, code, search, person, csv_file)):
            raise typer.BadParameter("--release takes the ids of errors, or all; it goes with no filter.")
        _say_released(_release(settings, release), as_json=as_json)
        return
    wanted = ErrorFilter(
        state=state,
        direction=direction,
        object=object_,
        code=code,
        search=search,
        person_id=person,
        seen_after=None if of_all_times else at - since,
    )
    with open_snapshot(settings) as connection:
        found = name_them(connection, read_errors(connection, wanted), settings)
    if csv_file is not None:
        export(found, COLUMNS, csv_file, "errors")
    elif as_json:
        print_json(found)
    else:
        show_causes(found, settings, "" if of_all_times else f" in the last {rough(since)}; --all looks further back")


def _say_released(n_released: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"n_released": n_released})
    else:
        prints_to.print(f"Errors released: {n_released:,}. The next cycle tries them again.", highlight=False)


def _release(settings: Settings, wanted: str) -> int:
    ids = _ids(wanted)
    with CycleLock(settings.lock_file, is_cycle=False):
        if not settings.working_file.exists():
            raise StorageFailed(
                f"{settings.working_file} does not exist yet.", next_step="Run `dynsync sync`, which makes it."
            )
        with Warehouse(settings.working_file) as warehouse, warehouse.transaction() as connection:
            known = open_errors(connection)
            chosen = known if ids is None else ids
            if unknown := sorted(chosen - known):
                raise typer.BadParameter(
                    f"No open error has the id {', '.join(map(str, unknown))}; nothing was released. `dynsync errors` shows them."
                )
            note_action(connection, Action.of("errors --release", {"errors": named(sorted(chosen))}))
            return release_errors(connection, chosen, now())


def _ids(wanted: str) -> set[int] | None:
    """The ids in the option --release; None for all."""
    if wanted.strip().lower() == "all":
        return None
    texts = [text.strip() for text in wanted.split(",")]
    if not all(_ERROR_ID.fullmatch(text) for text in texts):
        raise typer.BadParameter("--release takes ids as the first column of `dynsync errors` shows them, or all.")
    return {int(text) for text in texts}
