"""When the next cycle starts. Not here: the lock that keeps cycles apart (`warehouse`)."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.test_utils import create_run_for_test

from dynsync_pipeline.definitions import build_definitions
from dynsync_pipeline.defs.sensors import DEAD_AFTER
from dynsync_pipeline.defs.telling import build_notify_sensor
from dynsync_pipeline.look.pairs import seconds_to_wait
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.cycle_lock import CycleLock, LastCycle

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
PAUSE_S = 300.0


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def last(started: float, ended: float | None) -> LastCycle:
    return LastCycle(1, ago(started), None if ended is None else ago(ended), is_running=False)


@pytest.mark.parametrize(
    ("cycle", "run_ended", "expected"),
    [
        (None, None, 0),  # the first cycle of all
        (last(900, 310), None, -10),  # from the command line, ended long enough ago
        (last(900, 100), None, 200),  # from the command line, just ended
        (last(900, 100), ago(90), 210),  # the run ends after its cycle
        (last(900, 800), ago(10), 290),  # a run that failed before it took the lock
        (last(4000, None), None, -3700),  # killed after an hour: at once
        (last(20, None), None, 280),  # killed young: after the pause
        (last(900, -86_400), None, 0),  # ended tomorrow, by a clock that was set back since
        (last(-31_536_000, None), None, 0),  # began in a year, and was killed
        (last(900, -86_400), ago(100), 200),  # of two ends only the one that has come counts
        (last(900, 100), ago(-86_400), 200),
    ],
)
def test_the_pause_counts_from_the_last_end_of_any_kind(
    cycle: LastCycle | None, run_ended: datetime | None, expected: float
) -> None:
    """R1."""
    assert seconds_to_wait(NOW, cycle, run_ended, PAUSE_S) == expected


def tick(settings: Settings | None, instance: dg.DagsterInstance) -> SensorExecutionData:
    repository = build_definitions(settings).get_repository_def()
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    return repository.get_sensor_def("cycle_sensor").evaluate_tick(context)


def tell_lock(settings: Settings, *, started_s_ago: float, ended_s_ago: float | None) -> None:
    now = datetime.now(UTC)
    ended = None if ended_s_ago is None else (now - timedelta(seconds=ended_s_ago)).isoformat()
    told = {"process_id": 1, "started_at": (now - timedelta(seconds=started_s_ago)).isoformat(), "ended_at": ended}
    settings.data_dir.mkdir(exist_ok=True)
    settings.lock_file.write_text(json.dumps(told))


def test_the_first_cycle_starts_at_once_with_its_time_limit(settings: Settings, instance: dg.DagsterInstance) -> None:
    [request] = tick(settings, instance).run_requests or []
    assert request.tags["dagster/max_runtime"] == str(round(settings.cycle_limit_s))
    assert request.job_name in (None, "sync_cycle")


def test_the_next_cycle_starts_a_pause_after_one_from_the_command_line(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    tell_lock(settings, started_s_ago=900, ended_s_ago=settings.pause_s - 100)
    told = re.fullmatch(r"The next cycle starts in (\d+) seconds\.", tick(settings, instance).skip_message or "")
    assert told is not None
    assert 0 < int(told[1]) <= 100  # a machine may be busy
    tell_lock(settings, started_s_ago=900, ended_s_ago=settings.pause_s + 1)
    assert len(tick(settings, instance).run_requests or []) == 1


def test_nothing_starts_while_another_process_runs_a_cycle(settings: Settings, instance: dg.DagsterInstance) -> None:
    settings.data_dir.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(settings.lock_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert f"in process {holder.pid}." in (tick(settings, instance).skip_message or "")
        holder.kill()
    # The kernel gave the lock back; the pause counts from the killed cycle's start.
    assert "The next cycle starts in" in (tick(settings, instance).skip_message or "")


_HOLD = """
import pathlib, sys
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
with CycleLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_cycle_that_hangs_beyond_its_limit_is_named_with_what_to_do(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    impatient = settings.model_copy(update={"cycle_limit_s": -DEAD_AFTER.total_seconds() - 1})
    with CycleLock(settings.lock_file):
        assert "End that process" in (tick(impatient, instance).skip_message or "")


@pytest.mark.parametrize(
    "status",
    [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED],
)
def test_nothing_starts_while_a_run_of_the_job_is_under_way(
    settings: Settings, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    create_run_for_test(instance, job_name="sync_cycle", status=status)
    assert tick(settings, instance).skip_message == "A run of sync_cycle is queued or about to start or end."


def test_a_dead_run_is_ended_though_the_clock_was_set_back_since_it_began(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    run = create_run_for_test(instance, job_name="sync_cycle", status=dg.DagsterRunStatus.STARTED)
    began_at = (datetime.now(UTC) + timedelta(days=400)).timestamp()
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("update runs set start_time = ? where run_id = ?", (began_at, run.run_id))
    tell_lock(settings, started_s_ago=-900, ended_s_ago=-300)
    assert len(tick(settings, instance).run_requests or []) == 1


def test_a_run_that_failed_before_it_took_the_lock_is_followed_after_the_pause(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    run = create_run_for_test(instance, job_name="sync_cycle", status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    assert "The next cycle starts in" in (tick(settings, instance).skip_message or "")
    hasty = settings.model_copy(update={"pause_s": 0.0})
    assert len(tick(hasty, instance).run_requests or []) == 1


def test_a_run_whose_process_is_gone_is_ended_so_that_the_next_can_start(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run_for_test(instance, job_name="sync_cycle", status=dg.DagsterRunStatus.STARTED)
    monkeypatch.setattr("dynsync_pipeline.defs.sensors.DEAD_AFTER", timedelta(seconds=-1))
    tick(settings, instance)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE


def test_missing_settings_are_told_at_the_tick_and_start_nothing(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("no settings"))
    assert (tick(None, instance).skip_message or "").startswith("Not set: DYNSYNC_DYNAMICS_URL")


def test_the_sensor_that_tells_people_says_what_it_told_or_why_not(tmp_path: Path) -> None:
    def tick(**settings: Any) -> str:
        sensor = build_notify_sensor(Settings(data_dir=tmp_path, **settings))
        (skipped,) = [sensor(dg.build_sensor_context())]
        assert isinstance(skipped, dg.SkipReason)
        return skipped.skip_message or ""

    assert tick() == "DYNSYNC_NOTIFY names nobody to tell."
    assert tick(notify="json://127.0.0.1:9") == "Nothing new to tell."
    assert "apprise does not understand address 1 of 1" in tick(notify="no address")
