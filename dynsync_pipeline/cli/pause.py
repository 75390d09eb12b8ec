"""`dynsync pause`: holds cycles, requests and the watchdog, until `dynsync resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from dynsync_pipeline.cli.asking import require_text
from dynsync_pipeline.cli.looking import cell
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.requests.store import make_data_dir
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.pause import pause as hold
from dynsync_pipeline.warehouse.pause import read_pause


@app.command(
    help="Hold the sync: cycles, requests and the watchdog. The sensor starts no cycle, requests are kept and not served. "
    "A cycle that runs goes on to its end; `dynsync sync` by hand runs all the same.\n\n"
    "Exit codes: 0 held, also where it was already, 1 failed, 2 settings or options wrong."
)
def pause(
    why: Annotated[str | None, typer.Option(help="What for, in a few words, for whoever finds it held.")] = None,
) -> None:
    """Hold the sync and say so. Raises: DynSyncError."""
    require_text("--why", why)
    settings = load_settings()
    found = read_pause(settings.data_dir)
    if found is None:
        make_data_dir(settings)
        hold(settings.data_dir, why)
        found = read_pause(settings.data_dir)
    prints_to.print(cell(found), soft_wrap=True)
