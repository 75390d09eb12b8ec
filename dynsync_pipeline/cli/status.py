"""`dynsync status`: backlog, last full hour, last cycle, budgets, cursors, open errors (R118, R119). Only looks."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from dynsync_pipeline.cli.approval_causes import causes_table
from dynsync_pipeline.cli.backlog import backlog_sentence, show_backlog
from dynsync_pipeline.cli.csv_files import export
from dynsync_pipeline.cli.looking import (
    cell,
    find_status,
    first_load_sentence,
    moment,
    now,
    open_snapshot,
    print_json,
    rough,
    running_cycle,
    set_aside_sentence,
    span,
)
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.cli.request_queue import queue_figures, queue_lines, read_queue
from dynsync_pipeline.cli.status_all import show_all
from dynsync_pipeline.look.status import Status
from dynsync_pipeline.model.records import FILTER_COLUMN
from dynsync_pipeline.settings import SHADOW_SENTENCE, Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.cycle_lock import LastCycle, read_cycle_lock
from dynsync_pipeline.warehouse.erased import CUT, read_erasures
from dynsync_pipeline.warehouse.pause import read_pause

SOON_D = 2.0  # a cursor with fewer days left is shown in red
CLOCKS_APART = timedelta(minutes=1)  # between the machine that syncs and the one that asks
SHORT = 0.8  # so is a budget of which more than this share is used
TOLD = (
    "Inserts: contacts and leads that have no person in Marketo yet. Updates: linked records with an edit that is not "
    "settled; accounts, contacts and leads count edits made in Dynamics, person those made in Marketo."
)


@app.command(
    help="Show backlog, last full hour, last cycle, call budgets, cursors, errors. Works while a cycle runs.\n\n"
    "Exit codes: 0 shown, 1 the last success is older than --fail-if-older-than and nobody paused the sync, or there is no "
    "snapshot yet, "
    "2 settings or options wrong."
)
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    fail_if_older_than: Annotated[
        timedelta | None,
        typer.Option(
            parser=span, metavar="SPAN", help="End with 1 if the last successful cycle ended longer ago: 90s, 30m, 1d."
        ),
    ] = None,
    shows_hours: Annotated[
        bool, typer.Option("--backlog", help="Show the backlog by hour of the last five days instead.")
    ] = False,
    csv_file: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="With --backlog: write its hours as CSV; - is the standard output."),
    ] = None,
    shows_all: Annotated[bool, typer.Option("--all", help="Show a line for every pair.")] = False,
) -> None:
    """Print the status. Raises: DynSyncError."""
    if shows_all:
        if shows_hours or csv_file is not None:
            raise typer.BadParameter("it goes without --backlog and --csv.", param_hint="--all")
        if late := show_all(as_json=as_json, limit=fail_if_older_than):
            errors_to.print(f"No recent success: {', '.join(late)}.", highlight=False)
            raise typer.Exit(Exit.FAILED)
        return
    if csv_file is not None and (as_json or not shows_hours):
        raise typer.BadParameter("it goes with --backlog, and not with --json.", param_hint="--csv")
    settings = load_settings()
    at = now()
    if shows_hours:
        _show_hours(settings, csv_file, as_json=as_json)
        return
    found = find_status(settings, at)
    calls = _calls(found, settings)
    running = running_cycle(settings)
    if as_json:
        requests = queue_figures(read_queue(settings, at))
        held = read_pause(settings.data_dir)
        paused = asdict(held) if held else None
        told = {"mode": settings.mode, "requests": requests, "paused": paused}
        print_json(_as_json(found, calls, running, at) | told)
    else:
        _show(found, calls, running, settings, at)
        prints_to.print(backlog_sentence(found.trend), highlight=False)
    if fail_if_older_than is None or read_pause(settings.data_dir):
        return
    if sentence := _too_old(found, fail_if_older_than, at):
        errors_to.print(sentence, highlight=False)
        raise typer.Exit(Exit.FAILED)


def _show_hours(settings: Settings, csv_file: str | None, *, as_json: bool) -> None:
    from dynsync_pipeline.look.backlog import HOURS, read_backlog  # reads the snapshot

    with open_snapshot(settings) as connection:
        found = read_backlog(connection)
    if csv_file is not None:
        export(found.hours, HOURS, csv_file, "hours")
    elif as_json:
        print_json(asdict(found) | {"clear_in": found.clear_in and round(found.clear_in.total_seconds())})
    else:
        show_backlog(found)


def _too_old(found: Status, limit: timedelta, at: datetime) -> str | None:
    if found.last_success is None:
        return "No cycle has succeeded yet. Run `dynsync sync` to see why."
    ended_at = found.last_success["ended_at"]
    if at - ended_at < -CLOCKS_APART:
        return (
            f"The last successful cycle ended at {moment(ended_at)} UTC, which is yet to come: the clock was set back since, "
            "and nobody can tell how long ago that was. Run `dynsync sync`."
        )
    if at - ended_at <= limit:
        return None
    return (
        f"The last successful cycle ended {rough(at - ended_at)} ago, at {moment(ended_at)} UTC; "
        f"no more than {rough(limit)} is allowed. Run `dynsync sync` to see why."
    )


def _calls(found: Status, settings: Settings) -> list[dict[str, Any]]:
    limits = {"dynamics": settings.dynamics_calls_per_day, "marketo": settings.marketo_calls_per_day}
    return [{"system": name, "n_used": found.calls[name], "n_allowed": limit} for name, limit in limits.items()]


def _as_json(found: Status, calls: list[dict[str, Any]], running: LastCycle | None, at: datetime) -> dict[str, Any]:
    figures = asdict(found)
    hour_at = figures.pop("hour_at")
    del figures["trend"]
    return {
        "at": at,
        "is_running": running is not None,
        "running_since": running.started_at if running else None,
        **figures,
        "last_hour": {
            "from": hour_at,
            "to": hour_at + timedelta(hours=1),
            "synced": [row | {"n_inserts": None, "n_updates": None} for row in found.last_hour],  # N/A, R119
        },
        "calls": calls,
    }


def _show(
    found: Status, calls: list[dict[str, Any]], running: LastCycle | None, settings: Settings, at: datetime
) -> None:
    prints_to.print(f"[bold]Status at {moment(at)} UTC[/]", highlight=False)
    for line in _cycle_lines(found, running, settings, at):
        prints_to.print(line, highlight=False)

    prints_to.print(_backlog_table(found, at))
    prints_to.print(TOLD, style="dim", highlight=False)
    prints_to.print(_hour_table(found))
    prints_to.print(_calls_table(calls))
    if found.budget:
        prints_to.print(_budget_table(found, at))
    if found.last_cycle and found.last_cycle["n_waiting"]:
        prints_to.print(
            f"{found.last_cycle['n_waiting']:,} writes of the last cycle wait for calls; collisions and consent go first (R126).",
            style="red",
            highlight=False,
        )
    if found.approvals:
        prints_to.print(causes_table(found.approvals, "\nWaiting to be approved, see `dynsync approve`"))
    prints_to.print(_cursors_table(found, at))
    for line in _waiting_lines(found):
        prints_to.print(line, style="red", highlight=False)
    if found.stale:
        stale = " and ".join(f"{n:,} {record_type}{'' if n == 1 else 's'}" for record_type, n in found.stale.items())
        prints_to.print(f"\nStale people, whose records {FILTER_COLUMN} keeps out: {stale} (R90).", highlight=False)
    for row in found.back_fills:
        told = (
            f"Back-fill {row['back_fill_id']} of {', '.join(row['fields'])}: {row['n_read']:,} of {row['n_records']:,} "
        )
        prints_to.print(cell(f"{told}{row['record_type']}s read. {set_aside_sentence(row)}".rstrip()))
    for line in queue_lines(settings, at):
        prints_to.print(cell(line))
    told = ", ".join(f"{n:,} {state}" for state, n in found.open_errors.items())
    prints_to.print(f"\nSync errors open: {told + '; see `dynsync errors`' if told else 'none'}.", highlight=False)
    listed = ", ".join(f"{row['n']:,} × {row['finding']}" for row in found.findings)
    prints_to.print(f"Findings of census and audit in the last 7 days: {listed or 'none'}.", highlight=False)
    if found.parked_fields:
        prints_to.print(_parked_table(found))


def _backlog_table(found: Status, at: datetime) -> Table:
    def age(since: datetime | None) -> str:
        return f"{rough(at - since)} ago" if since else ""

    table = _table("\nBacklog: not synced yet", "Object", "Inserts", "Oldest", "Updates", "Oldest")
    for row in found.backlog:
        inserts, updates = f"{row['n_inserts']:,}", f"{row['n_updates']:,}"
        table.add_row(row["object"], inserts, age(row["oldest_insert_at"]), updates, age(row["oldest_update_at"]))
    return table


def _hour_table(found: Status) -> Table:
    title = f"\nLast full hour, {found.hour_at:%H:%M}–{found.hour_at + timedelta(hours=1):%H:%M} UTC: records synced"
    table = _table(title, "Object", "To Marketo", "To Dynamics", "Inserts", "Updates")
    for row in found.last_hour:
        table.add_row(row["object"], f"{row['n_to_marketo']:,}", f"{row['n_to_dynamics']:,}", "N/A", "N/A")
    return table


def _calls_table(calls: list[dict[str, Any]]) -> Table:
    table = _table("\nCalls in the last 24 hours", "System", "Used", "Allowed", "Share")
    for row in calls:
        share = row["n_used"] / row["n_allowed"]
        style = "red" if share > SHORT else ""
        table.add_row(row["system"], f"{row['n_used']:,}", f"{row['n_allowed']:,}", cell(f"{share:.1%}", style=style))
    return table


def _budget_table(found: Status, at: datetime) -> Table:
    """Used and forecast to the midnight of each system's day; what is left beside the reserve is what may wait."""
    title = "\nForecast to midnight, Marketo's of US Central"
    table = _table(title, "System", "Midnight in", "Used", "Then", "Allowed", "Kept back", "Export MB", "Then MB")
    for row in found.budget:
        style = "red" if row["n_forecast"] > row["n_allowed"] - row["n_reserved"] else ""
        table.add_row(
            row["system"],
            rough(row["ends_at"] - at),
            f"{row['n_used']:,}",
            cell(f"{row['n_forecast']:,}", style=style),
            f"{row['n_allowed']:,}",
            f"{row['n_reserved']:,}",
            f"{row['export_mb']:,.1f}",
            f"{row['export_mb_forecast']:,.1f}",
        )
    return table


def _cursors_table(found: Status, at: datetime) -> Table:
    table = _table(
        "\nWhere each reading goes on: once that is forgotten, everything is read again",
        "Reading",
        "Last read",
        "Forgotten in",
    )
    for row in found.cursors:
        left = f"{row['days_left']} d" + ("" if row["is_loaded"] else ", first load under way")
        read = f"{rough(at - row['last_read_at'])} ago"
        table.add_row(row["what"], read, cell(left, style="red" if row["days_left"] < SOON_D else ""))
    return table


def _waiting_lines(found: Status) -> list[str]:
    """The streams that are not read now, and what their system said."""
    return [
        cell(f"Not read: {row['what']}. {row['waits_because']}").markup for row in found.cursors if row["waits_because"]
    ]


def _parked_table(found: Status) -> Table:
    table = _table(
        "\nParked fields: left out until a system offers them again (R107), or, new ones, until they were read (R100)",
        "Field",
        "Why",
    )
    for row in found.parked_fields:
        table.add_row(cell(f"{row['record_type']}.{row['field']}"), cell(row["reason"]))
    return table


_LOST = (
    "The working file is gone, and the next cycle begins anew. To keep what it knew, stop what starts cycles, and put a backup "
    "back: docs/operate.md#restore."
)


def _cycle_lines(found: Status, running: LastCycle | None, settings: Settings, at: datetime) -> list[str]:
    held = read_pause(settings.data_dir)
    lines = [cell(held, style="bold red").markup] if held else []
    if settings.lock_file.exists() and not settings.working_file.exists():  # else the snapshot alone was copied here
        lines.append(cell(_LOST, style="bold red").markup)
    lines += [cell(CUT, style="bold red").markup] if read_erasures(settings.data_dir).is_cut else []
    lines += [f"[bold]{SHADOW_SENTENCE}[/]"] if settings.is_shadow else []
    lines += [told] if (told := first_load_sentence(settings)) else []
    last, success = found.last_cycle, found.last_success
    if last is None:
        lines.append("No cycle has ended yet.")
    else:
        colour = "green" if last["status"] == "succeeded" else "red"
        lines.append(
            f"Last cycle: {last['cycle_id']} [{colour}]{last['status']}[/], ended {rough(at - last['ended_at'])} ago, "
            f"took {last['duration_s']:.1f} s."
        )
        if last["message"]:
            lines.append(cell(last["message"]).markup)
        if last["status"] != "succeeded":
            ago = f"{rough(at - success['ended_at'])} ago" if success else "never"
            lines.append(f"Last success: {ago}.")
    if running:
        lines.append(f"Running now: since {running.started_at:%H:%M:%S} UTC, process {running.process_id}.")
    else:
        lines.append("Running now: no.")
        lines += _unpublished_line(found, settings, at)
    return lines


def _unpublished_line(found: Status, settings: Settings, at: datetime) -> list[str]:
    """A cycle that fails before it knows the fields publishes nothing; only the lock file tells of it."""
    lock = read_cycle_lock(settings.lock_file)
    if lock is None or found.last_cycle is None:
        return []
    started_at = lock.started_at.replace(tzinfo=None)
    if started_at <= found.last_cycle["ended_at"]:
        return []
    return [
        f"[red]Since then a run began {rough(at - started_at)} ago that this snapshot does not know.[/] "
        "It published nothing; `dynsync sync` says why it failed."
    ]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(columns):
        is_number = name in (
            "Inserts",
            "Updates",
            "Used",
            "Then",
            "Allowed",
            "Kept back",
            "Export MB",
            "Then MB",
            "Share",
            "To Marketo",
            "To Dynamics",
        )
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=number == 0)
    return table
