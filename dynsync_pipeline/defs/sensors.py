"""When the next cycle starts: a pause after the last one ended, whatever its outcome and whoever started it (R1, R2).

The lock file tells of every cycle, those of the command line included; Dagster's own runs tell of those that failed
before they took the lock, so that a broken setup is tried once a pause and not at every tick. Not here: the lock.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from dynsync_pipeline.defs.jobs import sync_job
from dynsync_pipeline.defs.retention import prune
from dynsync_pipeline.errors import DynSyncError
from dynsync_pipeline.look.pairs import pause_after, seconds_to_wait
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_settings
from dynsync_pipeline.warehouse.cycle_lock import LastCycle, read_cycle_lock
from dynsync_pipeline.warehouse.pause import read_pause

TICK_S = 30
# A run that is "started" this long while nobody holds the lock is dead: its process went down with the machine, say.
DEAD_AFTER = timedelta(minutes=5)
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_cycle_sensor(settings: Settings | None = None) -> dg.SensorDefinition:
    """The sensor `cycle_sensor`. `settings` None: read from the environment at every tick."""

    @dg.sensor(
        name="cycle_sensor",
        job=sync_job,
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the next cycle when the pause since the end of the last one is over; removes old runs.",
    )
    def cycle_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            current = settings or load_settings()
            current.require_systems()
            held = read_pause(current.data_dir)
        except DynSyncError as error:
            return dg.SkipReason(str(error))
        if held:
            return dg.SkipReason(str(held))
        now = datetime.now(UTC)
        last = read_cycle_lock(current.lock_file)
        if last is not None and last.is_running and last.ended_at is None:  # and not a command, for which a cycle waits
            return dg.SkipReason(_still_running(last, now, current.cycle_limit_s))
        _end_dead_runs(context.instance, last, now)
        if context.instance.get_runs_count(dg.RunsFilter(job_name=sync_job.name, statuses=UNFINISHED)):
            return dg.SkipReason("A run of sync_cycle is queued or about to start or end.")
        wait_s = seconds_to_wait(now, last, _end_of_last_run(context.instance), pause_after(current, last))
        if wait_s > 0:
            return dg.SkipReason(f"The next cycle starts in {wait_s:.0f} seconds.")
        n_pruned = prune(context.instance, now)
        context.log.info(f"Starting the next cycle; removed {n_pruned} old runs.")
        return dg.RunRequest(tags={"dagster/max_runtime": str(round(current.cycle_limit_s))})

    return cycle_sensor


def _end_of_last_run(instance: dg.DagsterInstance) -> datetime | None:
    records = instance.get_run_records(dg.RunsFilter(job_name=sync_job.name), limit=1)
    if not records:
        return None
    record = records[0]
    # A run that was cancelled in the queue has no end time.
    return datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp


def _end_dead_runs(instance: dg.DagsterInstance, last: LastCycle | None, now: datetime) -> None:
    """Mark runs failed whose process is gone; Dagster itself would wait for their time limit and start nothing else."""
    lock_freed_at = None if last is None else last.ended_at or last.started_at
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        quiet_since = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
        # A time far ahead is that of a clock that was set back since.
        if abs(now - max(filter(None, (quiet_since, lock_freed_at)))) > DEAD_AFTER:
            instance.report_run_failed(
                record.dagster_run, "The process of this run is gone. The next cycle finds out what it had written."
            )


def _still_running(last: LastCycle, now: datetime, limit_s: float) -> str:
    since = f"A cycle is running since {last.started_at:%H:%M:%S} UTC in process {last.process_id}"
    if (now - last.started_at).total_seconds() > limit_s + DEAD_AFTER.total_seconds():
        return (
            f"{since}, longer than DYNSYNC_CYCLE_LIMIT_S allows. End that process; the next cycle goes on from there."
        )
    return f"{since}."
