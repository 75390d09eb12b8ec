"""`dynsync backup`: a backup now, also while a cycle runs; the list of those that are kept. Not here: making one (`operate/`)."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from dynsync_pipeline.cli.looking import cell, moment, print_json, span
from dynsync_pipeline.cli.output import app, errors_to, prints_to
from dynsync_pipeline.operate.backup import Backup, backups, read_contents
from dynsync_pipeline.operate.wish import back_up
from dynsync_pipeline.settings_sources import load_settings


@app.command()
def backup(
    wait: Annotated[
        str, typer.Option(metavar="SPAN", help="How long to wait for the end of a cycle, such as 90s, 30m or 6h.")
    ] = "6h",
    only_lists: Annotated[bool, typer.Option("--list", help="Make none, list those that are kept.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Make a backup of working file, requests and field map, try it, and keep the newest few.

    While a cycle runs, that makes it at its end, and this waits. What it holds can be put back by `dynsync restore`.

    Exit codes: 0 made, or listed, 1 failed, 2 settings or options wrong, 3 a cycle ran for all of that time.
    """
    settings = load_settings()
    limit = span(wait)
    if only_lists:
        _print([Backup(file, file.stat().st_size, read_contents(file)) for file in backups(settings)], as_json=as_json)
        return
    with errors_to.status("Waiting for the cycle, and backing up …"):
        made = back_up(settings, limit)
    if as_json:
        print_json(msgspec.to_builtins(made, builtin_types=(), enc_hook=str))
        return
    prints_to.print("Backup:", cell(str(made.file)), soft_wrap=True)
    told = made.contents
    prints_to.print(
        f"{made.size_bytes / 1e6:,.1f} MB: cycle {told.cycle_id}, {told.n_people:,} people, {told.n_requests:,} requests. "
        f"It was read back and is whole; {len(backups(settings))} of {settings.backups_kept} are kept.",
        highlight=False,
    )


def _print(found: list[Backup], *, as_json: bool) -> None:
    if as_json:
        print_json([msgspec.to_builtins(each, builtin_types=(), enc_hook=str) for each in found])
        return
    table = Table(title="Backups, newest last; times in UTC", title_justify="left")
    for name in ("made at", "file", "MB", "cycle", "people", "version"):
        table.add_column(name, justify="right" if name in ("MB", "cycle", "people") else "left", overflow="fold")
    for each in found:
        told = each.contents
        table.add_row(
            moment(told.made_at),
            cell(str(each.file)),
            *(f"{each.size_bytes / 1e6:,.1f}", str(told.cycle_id), f"{told.n_people:,}", told.version),
        )
    prints_to.print(table)
