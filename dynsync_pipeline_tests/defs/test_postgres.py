"""Dagster over PostgreSQL, as a server has it: the home that `dynsync init --postgres` makes, runs, and their end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.runs import SqlRunStorage
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage

from dynsync_pipeline.defs.development import POSTGRES_URL, prepare_home
from dynsync_pipeline.defs.retention import prune
from dynsync_pipeline.settings import Settings
from dynsync_pipeline_tests.defs.test_retention import JOB, MOST_RUNS, footprint, rows_left
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.worlds.postgres import MISSING, postgres, tools


@story
@pytest.mark.skipif(tools() is None, reason=MISSING)
def test_runs_leave_no_more_in_postgres_than_the_newest_few(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty of them in `make deep`."""
    n_runs = 50 if is_deep() else 12
    home = prepare_home(settings, has_postgres=True)
    assert prepare_home(settings) == home, "a start of `make dev` keeps the storage"
    with postgres() as address:
        monkeypatch.setenv(POSTGRES_URL, address)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
            kinds = (PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage)
            assert tuple(map(type, storages)) == kinds
            assert isinstance(instance.event_log_storage, SqlEventLogStorage)
            assert isinstance(instance.run_storage, SqlRunStorage)
            left = {}
            for number in range(1, n_runs + 1):
                assert JOB.execute_in_process(instance=instance, tags={"number": str(number)}).success
                prune(instance, datetime.now(UTC), most_runs=MOST_RUNS)
                if number in (8, n_runs):
                    left[number] = (footprint(home)[1], rows_left(instance))
            assert left[n_runs] == left[8]
            newest = [run.tags["number"] for run in instance.get_runs(limit=MOST_RUNS)]
            assert newest == [str(number) for number in range(n_runs, n_runs - MOST_RUNS, -1)]
            instance.dispose()
