"""One Dagster run is one cycle: opened late, shared by all steps, ended as what it came to be, the lock given back."""

import threading
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest

from dynsync_pipeline.defs import cycle_run
from dynsync_pipeline.defs.cycle_run import CycleRun
from dynsync_pipeline.errors import CycleRunning, ServerFailed
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.plan import Plan
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.cycle_lock import CycleLock, read_cycle_lock
from dynsync_pipeline.warehouse.cycles import UNFORESEEN
from dynsync_pipeline.write_back.receipts import Written
from dynsync_pipeline_tests.defs.conftest import Cycles, QuietCycle, cycles_told, failures, materialized, run_job
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story
WAIT_S = 60

ALL = [
    "dynamics_accounts",
    "dynamics_contacts",
    "dynamics_leads",
    "dynamics_writes",
    "marketo_companies",
    "marketo_people",
    "marketo_writes",
    "reconcile",
    "snapshot",
]
READS = {"dynamics_accounts", "dynamics_contacts", "dynamics_leads", "marketo_people"}
SERVER_FAILED = ServerFailed(
    "Marketo failed.", system="marketo", request="POST /rest/v1/leads.json", next_step="Wait for it."
)


def lock_is_free(settings: Settings) -> bool:
    last = read_cycle_lock(settings.lock_file)
    return last is not None and not last.is_running and last.ended_at is not None


def test_all_steps_of_a_run_share_one_cycle_that_holds_the_lock_to_the_end(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    held: list[bool] = []

    class Watched(QuietCycle):
        def reconcile(self) -> Plan:
            held.append(not lock_is_free(settings))
            return super().reconcile()

        def write_marketo(self) -> Written:
            with pytest.raises(CycleRunning), CycleLock(settings.lock_file):
                pass
            held.append(True)
            return super().write_marketo()

    cycles = Cycles(Watched)
    result = run_job(settings, instance, cycles=cycles)
    assert result.success
    assert sorted(materialized(result)) == ALL
    assert len(cycles.opened) == 1
    assert held == [True, True]
    assert lock_is_free(settings)
    assert cycles_told(settings) == [("succeeded", None)]


def test_nothing_is_opened_or_locked_before_an_asset_asks_for_it(settings: Settings) -> None:
    cycles = Cycles()
    run = CycleRun(settings, cycles)
    run.end()
    assert cycles.opened == []
    assert not settings.data_dir.exists()


def test_a_failed_step_fails_the_cycle_with_its_sentence_and_gives_the_lock_back(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    class Failing(QuietCycle):
        def write_marketo(self) -> Written:
            raise SERVER_FAILED

    result = run_job(settings, instance, cycles=Failing)
    assert failures(result) == {"marketo_writes": "Marketo failed. Wait for it."}
    assert "snapshot" not in materialized(result)
    assert cycles_told(settings) == [("failed", "Marketo failed. Wait for it.")]
    assert lock_is_free(settings)


def test_an_unforeseen_error_shows_where_it_happened_and_nothing_of_a_record(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    class Broken(QuietCycle):
        def reconcile(self) -> Plan:
            raise KeyError("ada@example.com")

    result = run_job(settings, instance, cycles=Broken)
    assert failures(result)["reconcile"].startswith("KeyError: an error inside DynSync.")
    events = "".join(str(entry) for entry in instance.all_logs(result.run_id))
    assert "test_cycle_run.py" in events
    assert "ada@example.com" not in events
    assert cycles_told(settings) == [("failed", UNFORESEEN)]
    assert lock_is_free(settings)


def test_a_run_that_the_disk_failed_ends_in_order(settings: Settings) -> None:
    run = CycleRun(settings, QuietCycle)
    with pytest.raises(dg.Failure), run.step():
        raise OSError(28, "No space left on device")
    run.end()
    assert lock_is_free(settings)
    assert [status for status, *_ in cycles_told(settings)] == ["failed"]


def test_what_stops_a_cycle_from_opening_stops_every_step_of_the_run(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    """Else a lock that frees up meanwhile would let half a cycle run."""
    cycles = Cycles()
    settings.data_dir.mkdir()
    with CycleLock(settings.lock_file):
        result = run_job(settings, instance, cycles=cycles)
    assert not result.success
    assert materialized(result) == []
    [(step, sentence)] = failures(result).items()  # told once, and not by each step beside it
    assert step in READS
    assert sentence.startswith("Another cycle is running")
    assert "traceback" not in sentence.lower()
    assert len(cycles.opened) == 1


def test_an_interrupted_step_fails_the_cycle_and_stops_the_reads_under_way(settings: Settings) -> None:
    went_on = threading.Event()
    stopped = threading.Event()

    class Endless(QuietCycle):
        def extract_records(self, record_type: RecordType) -> int:
            went_on.set()
            try:
                while True:
                    with self.warehouse.transaction() as connection:
                        connection.execute("select 1")
            finally:
                stopped.set()

    run = CycleRun(settings, Endless)
    with ThreadPoolExecutor(1) as waiting:
        with pytest.raises(KeyboardInterrupt), run.step():
            read = waiting.submit(run.read, "dynamics_leads", {"dynamics_leads"})
            assert went_on.wait(WAIT_S)
            raise KeyboardInterrupt
        run.end()
        assert lock_is_free(settings)
        assert stopped.wait(WAIT_S)
        assert read.exception(WAIT_S) is not None


def test_a_run_that_is_ended_from_outside_says_so(settings: Settings) -> None:
    run = CycleRun(settings, QuietCycle)
    with pytest.raises(KeyboardInterrupt), run.step():
        raise KeyboardInterrupt
    run.end()
    [(status, message)] = cycles_told(settings)
    assert status == "failed"
    assert message is not None
    assert message.startswith("The run was ended before its time")


def test_the_selected_reads_run_side_by_side_and_no_others(settings: Settings, instance: dg.DagsterInstance) -> None:
    together = threading.Barrier(2)

    class Meeting(QuietCycle):
        def extract_records(self, record_type: RecordType) -> int:
            together.wait(WAIT_S)  # breaks, and fails the run, unless both reads are under way at once
            return 7

        def extract_people(self) -> int:
            raise AssertionError("not selected")

    result = run_job(settings, instance, "dynamics_contacts", "dynamics_leads", cycles=Meeting)
    assert result.success
    assert materialized(result) == ["dynamics_contacts", "dynamics_leads"]
    for event in result.get_asset_materialization_events():
        assert event.step_materialization_data.materialization.metadata["rows"].value == 7


def test_one_failed_read_lets_the_others_end_and_nothing_is_planned(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    class HalfBlind(QuietCycle):
        def extract_people(self) -> int:
            raise SERVER_FAILED

    result = run_job(settings, instance, cycles=HalfBlind)
    assert materialized(result) == sorted(READS - {"marketo_people"})
    assert set(failures(result)) == {"marketo_people"}
    assert cycles_told(settings) == [("failed", "Marketo failed. Wait for it.")]


def test_seconds_of_a_read_are_its_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(threading.local):
        """Stands still, but where a thread sets its own."""

        at_s = 0.0

        def monotonic(self) -> float:
            return self.at_s

    clock = Clock()
    monkeypatch.setattr(cycle_run, "time", clock)

    class Slow(QuietCycle):
        def extract_people(self) -> int:
            clock.at_s += 1.5
            return 1

    run = CycleRun(settings, Slow)
    with run.step():
        slow, quick = (run.read(name, READS).seconds for name in ("marketo_people", "dynamics_leads"))
    run.end()
    assert (slow, quick) == (1.5, 0.0)
