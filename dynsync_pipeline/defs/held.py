"""Whether somebody paused the sync while a run that a sensor asked for was in the queue.

What somebody starts by hand runs all the same. Not here: the pause (`warehouse/pause.py`), the sensors, which ask for no run
of what is paused.
"""

import dagster as dg

from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.pause import Pause, read_pause

ASKED_BY = "dagster/sensor_name"  # Dagster's tag on a run that a sensor asked for
REPEATS = "dagster/parent_run_id"  # and on one that somebody started anew in the UI, which keeps the other tags


def held_by(run: dg.DagsterRun | None, settings: Settings) -> Pause | None:
    """The pause that keeps this run from beginning a cycle. Raises: StorageFailed where nobody can tell."""
    is_unattended = run is not None and ASKED_BY in run.tags and REPEATS not in run.tags
    return read_pause(settings.data_dir) if is_unattended else None
