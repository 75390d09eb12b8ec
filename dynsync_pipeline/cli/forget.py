"""`dynsync forget`: erases a person from all that DynSync keeps, and proves it. Not here: how (`operate/forget.py`)."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dynsync_pipeline.cli.looking import cell, print_json
from dynsync_pipeline.cli.output import Exit, app, errors_to, prints_to
from dynsync_pipeline.operate.backup import utc_now
from dynsync_pipeline.operate.forget import finish
from dynsync_pipeline.operate.forget import forget as erase
from dynsync_pipeline.settings_sources import load_settings

MOST_SHOWN = 20


@app.command()
def forget(
    person: Annotated[
        str, typer.Argument(metavar="[PERSON]", help="A Marketo id, a Dynamics id, or an e-mail address.")
    ] = "",
    blocks: Annotated[
        bool,
        typer.Option("--block", help="Also somebody who lives in a synced system, and keep them out from then on."),
    ] = False,
    finishes: Annotated[bool, typer.Option("--finish", help="Go on with an erasure that was cut.")] = False,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask; it cannot be undone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Erase a person from all that DynSync keeps: working file, snapshot, requests, backups, files in the data folder.

    Neither Dynamics nor Marketo is touched. Every file is searched before and after. A hash of the ids stays, so that no
    restore brings the person back.

    Exit codes: 0 erased, 1 failed, nobody named so, living in a synced system, or found somewhere still, 2 settings or options
    wrong, 3 a cycle is running.
    """
    settings = load_settings()
    if finishes == bool(person):
        raise typer.BadParameter("name a person, or --finish what was cut.")
    if not is_sure and not finishes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("an erasure cannot be undone: add --yes where nobody can be asked.")
        typer.confirm("Erase this person from all that DynSync keeps? This cannot be undone", abort=True, err=True)
    with errors_to.status("Searching every file, erasing, and searching again …"):
        if finishes:
            removed = finish(settings)
            print_json({"n_removed": removed}) if as_json else prints_to.print("Finished.")
            return
        done = erase(settings, person, utc_now(), blocks=blocks)
    if as_json:
        print_json({"n_removed": done.n_removed, "found_before": done.found_before, "found_after": done.found_after})
    else:
        _show("Found before in", done.found_before)
        prints_to.print(
            f"Removed: {sum(done.n_removed.values()):,} rows of {len(done.n_removed)} tables and files.",
            highlight=False,
        )
        _show("Found still in", done.found_after)
    if done.found_after:
        errors_to.print(
            "Remove these by hand, and then end it by `dynsync forget --finish`, which searches no more.",
            highlight=False,
        )
        raise typer.Exit(Exit.FAILED)


def _show(title: str, places: list[str]) -> None:
    prints_to.print(f"{title}: {len(places):,} places", highlight=False)
    for place in places[:MOST_SHOWN]:
        prints_to.print(" ", cell(place), soft_wrap=True)
    if len(places) > MOST_SHOWN:
        prints_to.print(f"  and {len(places) - MOST_SHOWN:,} more", highlight=False)
