"""`dynsync restore`: puts a backup back, and says what the next cycle does with it. Not here: how (`operate/restore.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynsync_pipeline.cli.looking import cell, moment, print_json
from dynsync_pipeline.cli.output import app, errors_to, prints_to
from dynsync_pipeline.operate.backup import utc_now
from dynsync_pipeline.operate.restore import restore as put_back
from dynsync_pipeline.settings_sources import load_settings


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup, as `dynsync backup --list` names them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what was put back as JSON.")] = False,
) -> None:
    """Put a backup back in the place of the working file, lost or not.

    The next cycle reads both systems as a whole and writes nothing before that. Where they differ, neither side is overwritten
    until somebody edits one. Requests that had not ended wait for your word: `dynsync requests`.

    Exit codes: 0 put back, 1 failed, 2 settings or options wrong, or the backup is of other systems, 3 a cycle is running.
    """
    settings = load_settings()
    at = utc_now()
    with errors_to.status("Reading the backup …"):
        done = put_back(settings, file, at)
    told = done.contents
    if as_json:
        print_json(
            {
                "made_at": told.made_at,
                "cycle_id": told.cycle_id,
                "n_people": told.n_people,
                "n_requests_asking": done.n_asking,
                "other_field_map": done.other_field_map,
            }
        )
        return
    prints_to.print(
        f"Put back: the backup of {moment(told.made_at)} UTC, cycle {told.cycle_id}, {told.n_people:,} people. The working "
        "file that was there, if any, is kept beside it as dynsync.duckdb.replaced.\n"
        "Now run `dynsync sync`, or let the next cycle come: it reads both systems as a whole, which takes about as long as the "
        "first load did, and writes nothing before that. `dynsync plan` shows what it would write.\n"
        "Fields that differ stand as they are until somebody edits one: table standing_differences, reason_code restored.",
        highlight=False,
    )
    if done.n_asking:
        prints_to.print(f"{done.n_asking:,} requests wait for your word: `dynsync requests`.", highlight=False)
    if done.other_field_map is not None:
        prints_to.print(
            "The field map of then was another one than yours; it is in",
            cell(str(done.other_field_map)),
            soft_wrap=True,
        )
