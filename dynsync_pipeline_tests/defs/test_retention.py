"""Old runs go, with everything that Dagster wrote for them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.runs import SqlRunStorage
from sqlalchemy import text

from dynsync_pipeline.defs.retention import prune
from dynsync_pipeline_tests.properties.effort import deep

MOST_RUNS = 5


@dg.asset
def small() -> None:
    """Writes what any asset writes: events, and a line in the log of its process."""
    print("a line that the compute log keeps")


@dg.asset_check(asset=small)
def small_check() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


# One asset and one check write every kind of thing that a run writes; eight more would only write more of it.
JOB = (
    dg.Definitions(assets=[small], asset_checks=[small_check], jobs=[dg.define_asset_job("small_job")])
    .get_repository_def()
    .get_job("small_job")
)


def footprint(root: Path) -> tuple[int, int]:
    """Bytes and files under the instance's folder; SQLite's own log of changes comes and goes and does not count."""
    sizes = [
        path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.name.endswith(("wal", "shm"))
    ]
    return sum(sizes), len(sizes)


def rows_left(instance: dg.DagsterInstance) -> dict[str, int]:
    """Rows of every table that grows with runs."""
    counts = {}
    assert isinstance(instance.event_log_storage, SqlEventLogStorage)
    assert isinstance(instance.run_storage, SqlRunStorage)
    with instance.event_log_storage.index_connection() as connection:
        for table in ("event_logs", "asset_event_tags", "asset_check_executions"):
            counts[table] = connection.execute(text(f"select count(*) from {table}")).scalar_one()
    with instance.run_storage.connect() as connection:
        for table in ("runs", "run_tags"):
            counts[table] = connection.execute(text(f"select count(*) from {table}")).scalar_one()
    return counts


@deep
def test_disk_use_levels_off_over_25_runs(instance: dg.DagsterInstance) -> None:
    """The last 15 runs leave no more behind than the first 10 did."""
    seen = {}
    for number in range(1, 26):
        assert JOB.execute_in_process(instance=instance, tags={"number": str(number)}).success
        prune(instance, datetime.now(UTC), most_runs=MOST_RUNS)
        if number in (10, 25):
            seen[number] = (*footprint(Path(instance.root_directory)), rows_left(instance))
    assert seen[25][1] == seen[10][1]
    assert seen[25][2] == seen[10][2]
    assert seen[25][0] <= seen[10][0] * 1.02
    assert instance.get_runs_count() == MOST_RUNS
    newest = instance.get_runs(limit=MOST_RUNS)
    assert [run.tags["number"] for run in newest] == [str(number) for number in range(25, 20, -1)]


def test_runs_go_when_they_are_old_and_stay_when_they_are_not_finished(instance: dg.DagsterInstance) -> None:
    JOB.execute_in_process(instance=instance)
    waiting = instance.create_run_for_job(JOB)
    now = datetime.now(UTC)
    assert prune(instance, now) == 0
    assert prune(instance, now + timedelta(days=8)) == 1
    assert [run.run_id for run in instance.get_runs()] == [waiting.run_id]
