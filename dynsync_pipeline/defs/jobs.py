"""The jobs and the audit's schedule. Not here: when a cycle starts and how long it may take (`sensors.py`)."""

import dagster as dg

from dynsync_pipeline.defs.assets import CYCLE_ASSETS
from dynsync_pipeline.defs.audit import audit
from dynsync_pipeline.defs.pairs import PAIRS

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

AT_NIGHT = "30 3 * * *"  # when few people edit

audit_schedule = dg.ScheduleDefinition(
    name="audit_schedule",
    job=audit_job,
    cron_schedule=AT_NIGHT,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Starts the audit once a day, at 03:30 UTC.",
)


@dg.schedule(
    name="audit_schedule",
    job=audit_job,
    cron_schedule=AT_NIGHT,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Starts the audit of every pair once a day, at 03:30 UTC; cycles go first.",
)
def pairs_audit_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """A run for each pair, behind whatever else is queued."""
    names = context.instance.get_dynamic_partitions(str(PAIRS.name))
    day = f"{context.scheduled_execution_time:%Y-%m-%d}"
    tags = {"dagster/priority": "-1"}
    return [dg.RunRequest(run_key=f"{name} {day}", partition_key=name, tags=tags) for name in names]
