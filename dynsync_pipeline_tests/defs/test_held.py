"""A run that waits in the queue while somebody pauses the sync begins no cycle; one that somebody starts by hand does."""

import dagster as dg
import pytest

from dynsync_pipeline.definitions import build_definitions
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.pause import pause, resume
from dynsync_pipeline_tests.defs.conftest import Cycles, failures
from dynsync_pipeline_tests.properties.effort import story

BY_SENSOR = {"dagster/sensor_name": "cycle_sensor"}
AGAIN = BY_SENSOR | {"dagster/parent_run_id": "of the one before"}


def run(
    settings: Settings, instance: dg.DagsterInstance, tags: dict[str, str]
) -> tuple[dg.ExecuteInProcessResult, Cycles]:
    cycles = Cycles()
    job = build_definitions(settings, cycles).resolve_job_def("sync_cycle")
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=tags), cycles


@story
def test_a_queued_run_of_a_paused_sync_opens_nothing_and_says_who_holds_it(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    settings.data_dir.mkdir()
    pause(settings.data_dir, "import of the fair")
    result, cycles = run(settings, instance, BY_SENSOR)
    (sentence,) = set(failures(result).values())
    assert "Paused by " in sentence and "(import of the fair)" in sentence
    assert sentence.endswith("This run waited in the queue, and did nothing.")
    assert cycles.opened == []
    assert not settings.lock_file.exists()
    resume(settings.data_dir)
    result, cycles = run(settings, instance, BY_SENSOR)
    assert result.success
    assert len(cycles.opened) == 1


@pytest.mark.parametrize("tags", [{}, AGAIN], ids=["launched", "launched anew"])
@story
def test_a_pause_holds_no_run_that_somebody_starts_by_hand(
    settings: Settings, instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    settings.data_dir.mkdir()
    pause(settings.data_dir, None)
    result, cycles = run(settings, instance, tags)
    assert result.success
    assert len(cycles.opened) == 1
