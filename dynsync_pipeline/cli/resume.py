"""`dynsync resume`: ends what `dynsync pause` began."""

from __future__ import annotations

from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.pause import read_pause
from dynsync_pipeline.warehouse.pause import resume as let_go


@app.command(
    help="End a pause: the sensor, the doors of requests and the watchdog go on.\n\n"
    "Exit codes: 0 going on, also where nobody had paused it, 1 failed, 2 settings wrong."
)
def resume() -> None:
    """End the pause and say so. Raises: DynSyncError."""
    settings = load_settings()
    if read_pause(settings.data_dir) is None:
        prints_to.print("Nobody has paused it.")
        return
    let_go(settings.data_dir)
    prints_to.print(
        "Resumed: the next cycle starts when its pause is over, and what was asked for meanwhile is served."
    )
