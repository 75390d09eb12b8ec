"""The two jobs and the audit's schedule. Not here: when a cycle starts and how long it may take (`sensors.py`)."""

from __future__ import annotations

import dagster as dg

from dynsync_pipeline.defs.assets import CYCLE_ASSETS
from dynsync_pipeline.defs.audit import audit

sync_job = dg.define_asset_job(
    "sync_cycle",
    selection=dg.AssetSelection.assets(*CYCLE_ASSETS),
    description="One cycle: extract, reconcile, write back, publish, under the cycle lock. Started by cycle_sensor.",
)

audit_job = dg.define_asset_job(
    "daily_audit",
    selection=dg.AssetSelection.assets(audit),
    description="All links compared in full, as a proof that the cycles miss nothing.",
)

audit_schedule = dg.ScheduleDefinition(
    name="audit_schedule",
    job=audit_job,
    cron_schedule="30 3 * * *",  # when few people edit
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Starts the audit once a day, at 03:30 UTC.",
)
