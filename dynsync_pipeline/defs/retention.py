"""Removes old runs with everything Dagster wrote for them. Ticks are removed by Dagster itself (`dagster.yaml`).

At one run every five minutes the history would take gigabytes a month (docs/design.md#storage). What cycles did stands in
the ledger for good; Dagster's runs are for looking at recent ones. Not here: when this runs (`sensors.py`, `pair_sensor.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.runs import SqlRunStorage
from sqlalchemy import text

KEEP = timedelta(days=7)  # a week shows what is usual at each hour of each weekday
MOST_RUNS = 500  # nearly two days of cycles, about 200 MB
MOST_AT_ONCE = 50  # a sensor's tick has a minute; after a long stop of the sensor several ticks share the work
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def prune(
    instance: dg.DagsterInstance,
    now: datetime,
    *,
    most_runs: int | None = MOST_RUNS,
    keep: timedelta = KEEP,
    tags: Mapping[str, str] | None = None,
    job_name: str | None = None,
) -> int:
    """Remove finished runs older than `keep` and all but the newest `most_runs`, oldest first; returns how many.

    Only those with these tags, or of this job; `most_runs` None: by age alone.
    """

    def those(created_before: datetime | None = None) -> dg.RunsFilter:
        return dg.RunsFilter(statuses=FINISHED, tags=tags, job_name=job_name, created_before=created_before)

    too_old = instance.get_runs_count(those(now - keep))
    too_many = 0 if most_runs is None else instance.get_runs_count(those()) - most_runs
    n_runs = min(max(too_old, too_many), MOST_AT_ONCE)
    if n_runs <= 0:
        return 0
    oldest = instance.get_run_records(those(), limit=n_runs, ascending=True)
    for record in oldest:
        _remove(instance, record.dagster_run.run_id)
    return len(oldest)


def _remove(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run and what `delete_run` leaves behind: check executions, tags, its own database and folder of logs."""
    instance.delete_run(run_id)
    events = instance.event_log_storage
    if isinstance(events, SqlEventLogStorage):
        with events.index_connection() as connection:
            connection.execute(text("delete from asset_check_executions where run_id = :run_id"), {"run_id": run_id})
    runs = instance.run_storage
    if isinstance(runs, SqlRunStorage):
        with runs.connect() as connection:
            connection.execute(text("delete from run_tags where run_id = :run_id"), {"run_id": run_id})
    if isinstance(events, SqliteEventLogStorage):
        database = Path(events.path_for_shard(run_id))
        for suffix in ("", "-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
