"""The only place where assets, checks, jobs, sensors and resources meet; Dagster loads `defs` from here.

Importing reads no setting but `DYNSYNC_PAIRS_DIR`: the UI loads without them, and a run says in a sentence what is missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import dagster as dg

from dynsync_pipeline.collecting import collect_rarely

# Each run is a process of its own, which imports all of this; the one that holds the definitions does so once.
collect_rarely()

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.defs.assets import CYCLE_ASSETS, SOURCE_ASSETS
from dynsync_pipeline.defs.audit import audit
from dynsync_pipeline.defs.checks import CHECKS
from dynsync_pipeline.defs.cycle_run import cycle_resource
from dynsync_pipeline.defs.jobs import audit_job, audit_schedule, pairs_audit_schedule, sync_job
from dynsync_pipeline.defs.pair_sensor import build_pair_sensor
from dynsync_pipeline.defs.pairs import of_pairs
from dynsync_pipeline.defs.quiet import quiet_job
from dynsync_pipeline.defs.requests import build_request_sensor
from dynsync_pipeline.defs.sensors import build_cycle_sensor
from dynsync_pipeline.defs.telling import build_notify_sensor
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import find_pairs_dir


def build_definitions(
    settings: Settings | None = None, open_cycle: Callable[[Settings], Cycle] = Cycle, *, has_pairs: bool = False
) -> dg.Definitions:
    """Assemble the code location. `settings` None: read from the environment by whatever needs them, when it does.

    `has_pairs`: each asset has a partition for every pair, and each run reads the settings of its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # of code references, which only the UI shows
        own = [*CYCLE_ASSETS, audit]
        made = dg.with_source_code_references(of_pairs(own) if has_pairs else own)
    return dg.Definitions(
        assets=[*SOURCE_ASSETS, *made],
        asset_checks=CHECKS,
        jobs=[sync_job, audit_job, *([quiet_job] if has_pairs else [])],
        schedules=[pairs_audit_schedule if has_pairs else audit_schedule],
        sensors=[
            build_pair_sensor() if has_pairs else build_cycle_sensor(settings),
            build_request_sensor(settings, has_pairs=has_pairs),
            build_notify_sensor(settings, has_pairs=has_pairs),
        ],
        resources={"cycle": cycle_resource(settings, open_cycle)},
        # One process a run: the cycle lock and the working file are held by it from the first step to the last.
        executor=dg.in_process_executor,
    )


defs = build_definitions(has_pairs=find_pairs_dir() is not None)
