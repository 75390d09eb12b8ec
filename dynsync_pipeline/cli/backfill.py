"""`dynsync backfill`: fills fields of many records again, beside the sync; tells the price first (R100 to R104)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Literal

import duckdb
import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, moment, now, open_snapshot, print_json, rough, set_aside_sentence
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.look.back_fills import Price, price, read_back_fills
from dynsync_pipeline.look.reading import Row
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.back_fills import ask_back_fill, stop_back_fill, synced_fields
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.cycles import calls_of_last_day, usual_duration
from dynsync_pipeline.warehouse.operator_actions import Action, note_action

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


@app.command(
    help="Fill fields of many records again: both systems are read, and what stands unequal is sent once more, the way it went "
    "before. Without --start it only tells what that costs; without --field it shows the back-fills so far.\n\n"
    "Exit codes: 0 done, 1 failed (also: no cycle has run yet), 2 settings or options wrong, 3 nothing was done because a cycle "
    "is running."
)
def backfill(
    field: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="REST name of a field in Marketo; may be given again.")
    ] = None,
    table: Annotated[
        Literal["account", "contact", "lead"] | None, typer.Option(help="Only records of this type.")
    ] = None,
    created_since: Annotated[
        datetime | None, typer.Option(formats=FORMATS, help="Only records created from then on, UTC.")
    ] = None,
    modified_since: Annotated[
        datetime | None, typer.Option(formats=FORMATS, help="Only records modified from then on, UTC.")
    ] = None,
    is_started: Annotated[bool, typer.Option("--start", help="Begin with the next cycle.")] = False,
    stop: Annotated[int | None, typer.Option(metavar="NUMBER", help="Stop this one; what it has read stays.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print price or progress; begin or stop one. Raises: DynSyncError."""
    asks = any(option is not None for option in (table, created_since, modified_since)) or is_started
    settings = load_settings()
    if stop is not None:
        if asks or field:
            raise typer.BadParameter("it goes with no other option.", param_hint="--stop")
        _stop(settings, stop, as_json=as_json)
        return
    if not field:
        if asks:
            raise typer.BadParameter("name the fields that are to be filled again.", param_hint="--field")
        with open_snapshot(settings) as connection:
            found = read_back_fills(connection)
        print_json(found) if as_json else _show(found)
        return
    types = (RecordType(table),) if table else tuple(RecordType)
    number, cost, length = _asked(settings, field, types, (created_since, modified_since), is_started=is_started)
    if as_json:
        print_json({"back_fill_id": number, "minutes": round(length.total_seconds() / 60), **asdict(cost)})
    else:
        _show_price(number, cost, length)


def _asked(
    settings: Settings,
    fields: list[str],
    types: tuple[RecordType, ...],
    since: tuple[datetime | None, datetime | None],
    *,
    is_started: bool,
) -> tuple[int | None, Price, timedelta]:
    """The number of the back-fill where it is started, its price, and how long its reading takes."""
    at = now()
    with CycleLock(settings.lock_file, is_cycle=False), _opened(settings) as warehouse:
        with warehouse.reading() as connection:
            _require_synced(connection, fields, types)
            connection.begin()
            try:
                cost = price(connection, ask_back_fill(connection, fields, types, since, at), at)
            finally:
                connection.rollback()
            left = min(
                settings.dynamics_calls_per_day - calls_of_last_day(connection, "dynamics", at),
                settings.marketo_calls_per_day - calls_of_last_day(connection, "marketo", at),
            )
            gap = timedelta(seconds=settings.pause_s) + usual_duration(connection)
        if not is_started:
            return None, cost, cost.length(max(left, 0), gap)
        asked = {"fields": fields, "record_types": [each.value for each in types], "since": since}
        with warehouse.transaction() as connection:
            note_action(connection, Action.of("backfill --start", asked))
            return ask_back_fill(connection, fields, types, since, at), cost, cost.length(max(left, 0), gap)


def _opened(settings: Settings) -> Warehouse:
    """The working file, under the lock. Raises: StorageFailed, also where there is none."""
    if not settings.working_file.exists():
        raise StorageFailed(
            f"{settings.working_file} does not exist yet.", next_step="Run `dynsync sync`, which makes it."
        )
    return Warehouse(settings.working_file)


def _require_synced(connection: duckdb.DuckDBPyConnection, fields: list[str], types: tuple[RecordType, ...]) -> None:
    known = {name for record_type in types for name in synced_fields(connection, record_type)}
    for name in fields:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise typer.BadParameter(
                f"{name!r} is no field that is synced"
                + (f"; did you mean {near[0]}?" if near else ". `dynsync status` shows the fields that are parked."),
                param_hint="--field",
            )


def _stop(settings: Settings, number: int, *, as_json: bool) -> None:
    with (
        CycleLock(settings.lock_file, is_cycle=False),
        _opened(settings) as warehouse,
        warehouse.transaction() as connection,
    ):
        if not stop_back_fill(connection, number, now()):
            raise typer.BadParameter(
                f"no back-fill {number} goes on; `dynsync backfill` shows them all.", param_hint="--stop"
            )
        note_action(connection, Action.of("backfill --stop", {"back_fill_id": number}))
    if as_json:
        print_json({"back_fill_id": number, "outcome_code": "stopped"})
    else:
        prints_to.print(f"Back-fill {number} is stopped. What it has read stays.", highlight=False)


def _show_price(number: int | None, cost: Price, length: timedelta) -> None:
    table = Table()
    for name in ("Records", "Read in Dynamics", "Read in Marketo"):
        table.add_column(name, justify="left" if name == "Records" else "right")
    for row in cost.chosen:
        table.add_row(row["record_type"], f"{row['n_records']:,}", f"{row['n_people']:,}")
    prints_to.print(table)
    for line in (
        f"Calls: {cost.n_calls_dynamics:,} to Dynamics, {cost.n_calls_marketo:,} to Marketo.",
        f"Time: about {rough(length)}, beside the sync.",
        f"Values that are sent, as far as is known now: {cost.n_to_marketo:,} to Marketo, {cost.n_to_dynamics:,} to Dynamics; "
        f"{cost.n_collisions:,} of them collide.",
        f"Entries in people's activities: {cost.n_activities:,}.",
        "Nothing was begun; --start begins it."
        if number is None
        else f"Back-fill {number} begins with the next cycle; `dynsync backfill` shows how far it is.",
    ):
        prints_to.print(line, highlight=False)


def pace_sentence(row: Row, at: datetime) -> str:
    """How fast a back-fill is read since it was asked for, and when it is done at that pace; nothing where that is not known."""
    took, n_left = at - row["asked_at"], row["n_records"] - row["n_read"]
    if row["ended_at"] or not row["n_read"] or n_left <= 0 or took <= timedelta():
        return ""
    an_hour = row["n_read"] / (took / timedelta(hours=1))
    return (
        f"Back-fill {row['back_fill_id']} reads {an_hour:,.0f} {row['record_type']}s an hour: about "
        f"{rough(timedelta(hours=n_left / an_hour))} left."
    )


def _show(found: list[Row]) -> None:
    if not found:
        prints_to.print("Nobody has asked for a back-fill yet; --field tells what one would cost.", highlight=False)
        return
    table = Table(title="Back-fills (times are UTC)", title_justify="left")
    for name in ("No.", "Fields", "Asked", "Read", "Sent again", "Set aside", "Ended"):
        table.add_column(
            name, overflow="fold", justify="right" if name in ("Read", "Sent again", "Set aside") else "left"
        )
    for row in found:
        table.add_row(
            f"{row['back_fill_id']}",
            cell(f"{row['record_type']}: {', '.join(row['fields'])}"),
            moment(row["asked_at"]),
            f"{row['n_read']:,} of {row['n_records']:,}",
            f"{row['n_sent_again']:,}",
            f"{row['n_set_aside']:,}",
            f"{row['outcome_code']} {moment(row['ended_at'])}" if row["ended_at"] else "",
        )
    prints_to.print(table)
    paces = [pace_sentence(row, now()) for row in found]
    for line in filter(None, [*paces, *map(set_aside_sentence, found)]):
        prints_to.print(line, markup=False, highlight=False)
