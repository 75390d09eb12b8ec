"""Several pairs in Dagster: a partition each, a run for each that is due, and nothing of one in another's way.

Runs here meet no system (`defs/conftest.py`), or one that does not answer. Not here: daemon, queue, kills (`test_unattended.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.test_utils import create_run_for_test

from dynsync_pipeline.definitions import build_definitions
from dynsync_pipeline.defs.development import prepare_home
from dynsync_pipeline.defs.pair_sensor import AHEAD, FEWEST_KEPT, SHARED
from dynsync_pipeline.defs.pairs import PAIR_TAG, PAIRS, PAIRS_TAG, Rounds, summed_up
from dynsync_pipeline.defs.retention import prune
from dynsync_pipeline.settings import PREFIX, Settings
from dynsync_pipeline.settings_sources import load_installation, load_settings
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.pause import pause
from dynsync_pipeline_tests.defs.conftest import Cycles, failures
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story

DEFINITIONS = build_definitions(has_pairs=True)
SYSTEMS = {
    "DYNAMICS_URL": "https://127.0.0.1:9",
    "DYNAMICS_AUTHORITY": "https://127.0.0.1:9",
    "DYNAMICS_TENANT_ID": "00000000-0000-0000-0000-000000000001",
    "DYNAMICS_CLIENT_ID": "00000000-0000-0000-0000-000000000002",
    "DYNAMICS_CLIENT_SECRET": "no secret",
    "MARKETO_CLIENT_ID": "nobody",
    "MARKETO_CLIENT_SECRET": "no secret",
    "MARKETO_OLDEST_PERSON": datetime.now(UTC).date().isoformat(),
    "MARKETO_POLL_S": "0.001",
    "RETRY_LIMIT_S": "0",
}
MakePair = Callable[..., Settings]


@pytest.fixture(scope="module")
def shared_instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as instance:
        yield instance


@pytest.fixture
def instance(shared_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance without runs and pairs; to make one takes a second."""
    shared_instance.wipe()
    for name in shared_instance.get_dynamic_partitions(str(PAIRS.name)):
        shared_instance.delete_dynamic_partition(str(PAIRS.name), name)
    return shared_instance


@pytest.fixture
def make_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePair:
    """Makes pairs of an installation, whose folder is the one at hand; `ended_s_ago` and `outcome` are its last cycle's."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DYNSYNC_PAIRS_DIR=pairs\nDYNSYNC_CYCLES_AT_ONCE=2\n")
    (tmp_path / "pairs").mkdir()
    numbers = iter(range(1, 1_000))

    def make(name: str, *, ended_s_ago: float | None = None, outcome: str = "done", **values: str) -> Settings:
        folder = tmp_path / "pairs" / name
        folder.mkdir()
        lines = {**SYSTEMS, "MARKETO_URL": f"https://127.0.0.1:{next(numbers)}", **values}
        (folder / ".env").write_text("".join(f"{PREFIX}{key}={value}\n" for key, value in lines.items()))
        settings = load_settings(pair=name)
        if ended_s_ago is not None:
            tell_lock(settings, began_s_ago=ended_s_ago + 60, ended_s_ago=ended_s_ago, outcome=outcome)
        return settings

    return make


def tell_lock(settings: Settings, *, began_s_ago: float, ended_s_ago: float | None, outcome: str = "done") -> None:
    began, ended = (None if s is None else ago(s).isoformat() for s in (began_s_ago, ended_s_ago))
    settings.data_dir.mkdir(exist_ok=True)
    settings.lock_file.write_text(
        json.dumps({"process_id": 1, "started_at": began, "ended_at": ended, "outcome": outcome})
    )


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def tick(instance: dg.DagsterInstance) -> SensorExecutionData:
    """A tick as the daemon asks for it, its requests about partitions carried out."""
    repository = DEFINITIONS.get_repository_def()
    context = dg.SensorEvaluationContext(instance.get_ref(), None, None, None, None, None, repository_def=repository)
    told = repository.get_sensor_def("cycle_sensor").evaluate_tick(context)
    for request in told.dynamic_partitions_requests or []:
        if "Add" in type(request).__name__:
            instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        else:
            for key in request.partition_keys:
                instance.delete_dynamic_partition(request.partitions_def_name, key)
    return told


def started(instance: dg.DagsterInstance) -> list[str]:
    """What a tick starts: the pair of each run, or those that share one."""
    return [each.partition_key or each.tags[PAIRS_TAG] for each in tick(instance).run_requests or []]


def test_a_tick_starts_a_run_for_every_pair_that_is_due_the_longest_wait_first(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    make_pair("acme", ended_s_ago=400)
    make_pair("bolt", ended_s_ago=900)
    make_pair("cord", ended_s_ago=100)
    held = make_pair("dune", ended_s_ago=900)
    pause(held.data_dir, "import")
    make_pair("edge", DYNAMICS_TENANT_ID="")
    with CycleLock(make_pair("fish").lock_file):
        told = tick(instance)
    assert [each.partition_key for each in told.run_requests or []] == ["bolt", "acme"]
    assert {each.tags["dagster/max_runtime"] for each in told.run_requests or []} == {"21600"}
    assert instance.get_dynamic_partitions(str(PAIRS.name)) == ["acme", "bolt", "cord", "dune", "edge", "fish"]
    (Path("pairs") / "bolt").rename("moved")
    tick(instance)
    assert "bolt" not in instance.get_dynamic_partitions(str(PAIRS.name))


def test_quiet_pairs_wait_longer_and_share_runs(make_pair: MakePair, instance: dg.DagsterInstance) -> None:
    quiet = [f"q{n:02}" for n in range(SHARED + 3)]
    for n, name in enumerate(quiet):
        make_pair(name, ended_s_ago=2_000 - n, outcome="quiet", PAUSE_QUIET_S="1800")
    make_pair("rest", ended_s_ago=1_700, outcome="quiet", PAUSE_QUIET_S="1800")
    make_pair("busy", ended_s_ago=400, PAUSE_QUIET_S="1800")
    make_pair("lost", ended_s_ago=400, outcome="failed", PAUSE_QUIET_S="1800")
    assert started(instance) == [",".join(quiet[:SHARED]), ",".join(quiet[SHARED:]), "busy", "lost"]


def test_where_cycles_take_longer_than_pauses_every_pair_gets_its_turn_the_quiet_and_the_new_too(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    """More are due than a tick may start, each time by the same busy ones; these have just had their turn."""
    most = 2 * AHEAD
    for n in range(most):
        make_pair(f"busy{n}", ended_s_ago=500 - n)
    make_pair("calm", ended_s_ago=3_000, outcome="quiet")
    make_pair("turned", ended_s_ago=-3_000)
    make_pair("new")
    make_pair("broken")
    status = dg.DagsterRunStatus.STARTED
    run = create_run_for_test(instance, job_name="sync_cycle", status=status, tags={PAIR_TAG: "broken"})
    instance.report_run_failed(run)
    assert started(instance) == ["new", "turned", "calm", *(f"busy{n}" for n in range(most - 3))]


def test_a_pair_with_a_run_under_way_gets_no_second_one_and_holds_up_no_other(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    for name in ("acme", "bolt", "cord", "dune"):
        make_pair(name)
    status = dg.DagsterRunStatus.STARTING
    create_run_for_test(instance, job_name="sync_cycle", status=status, tags={PAIR_TAG: "acme"})
    create_run_for_test(instance, job_name="quiet_job", status=status, tags={PAIRS_TAG: "bolt,cord"})
    assert started(instance) == ["dune"]


def test_the_queue_grows_no_longer_than_a_tick_can_work_off(make_pair: MakePair, instance: dg.DagsterInstance) -> None:
    for n in range(2 * AHEAD + 3):
        make_pair(f"p{n}")
    assert len(started(instance)) == 2 * AHEAD


def test_a_run_whose_cycle_was_killed_is_ended_at_once_and_one_that_works_is_not(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    pairs = {name: make_pair(name) for name in ("killed", "works", "young", "shares", "shared")}
    runs = {
        name: create_run_for_test(
            instance,
            job_name="sync_cycle",
            status=dg.DagsterRunStatus.STARTED,
            tags={PAIRS_TAG: "shares,shared"} if name == "shares" else {PAIR_TAG: name},
        )
        for name in ("killed", "works", "young", "shares")
    }
    tell_lock(pairs["killed"], began_s_ago=-0.001, ended_s_ago=None)
    tell_lock(pairs["shares"], began_s_ago=-0.001, ended_s_ago=None)
    with CycleLock(pairs["works"].lock_file):
        tick(instance)
    ended = {name: str(instance.get_run_by_id(run.run_id).status.value) for name, run in runs.items()}  # type: ignore[union-attr]
    assert ended == {"killed": "FAILURE", "works": "STARTED", "young": "STARTED", "shares": "FAILURE"}
    assert not set(started(instance)) & {"works", "young"}


def test_a_pair_whose_runs_fail_before_the_lock_is_tried_once_a_pause(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    make_pair("acme")
    make_pair("bolt", PAUSE_S="0")
    for name in ("acme", "bolt"):
        run = create_run_for_test(
            instance, job_name="sync_cycle", status=dg.DagsterRunStatus.STARTED, tags={PAIR_TAG: name}
        )
        instance.report_run_failed(run)
    assert started(instance) == ["bolt"]


def test_old_runs_go_by_pair_so_that_a_busy_one_pushes_out_no_others(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    make_pair("busy")
    make_pair("calm")
    for name, n in (("calm", 2), ("busy", FEWEST_KEPT + 3)):
        for _ in range(n):
            create_run_for_test(
                instance, job_name="sync_cycle", status=dg.DagsterRunStatus.SUCCESS, tags={PAIR_TAG: name}
            )
    assert prune(instance, datetime.now(UTC), tags={PAIR_TAG: "busy"}, most_runs=FEWEST_KEPT) == 3
    assert instance.get_runs_count(dg.RunsFilter(tags={PAIR_TAG: "calm"})) == 2
    assert instance.get_runs_count(dg.RunsFilter(tags={PAIR_TAG: "busy"})) == FEWEST_KEPT


def test_a_run_has_the_settings_of_its_partition_and_its_failure_names_the_pair(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    for name in ("acme", "bolt"):
        make_pair(name)
    make_pair("cord", DYNAMICS_TENANT_ID="")
    instance.add_dynamic_partitions(str(PAIRS.name), ["acme", "bolt", "cord"])
    cycles = Cycles()
    job = build_definitions(open_cycle=cycles, has_pairs=True).resolve_job_def("sync_cycle")
    for name in ("bolt", "cord"):
        result = job.execute_in_process(
            instance=instance,
            partition_key=name,
            raise_on_error=False,
            asset_selection=[dg.AssetKey("dynamics_accounts")],
        )
        assert result.success == (name == "bolt"), failures(result)
    assert cycles.opened[0].settings == load_settings(pair="bolt")
    assert failures(result)["dynamics_accounts"].startswith("Pair cord: Not set: DYNSYNC_DYNAMICS_TENANT_ID")
    assert not load_settings(pair="acme").data_dir.exists()


def test_what_one_pair_of_a_shared_run_has_wrong_is_told_and_the_others_go_on(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    tried = {name: make_pair(name) for name in ("acme", "bolt", "cord")}
    result = DEFINITIONS.resolve_job_def("quiet_job").execute_in_process(
        instance=instance,
        run_config={"ops": {"cycles_of_quiet_pairs": {"config": {"pairs": ["acme", "bolt", "gone", "cord"]}}}},
        raise_on_error=False,
    )
    told = failures(result)["cycles_of_quiet_pairs"].splitlines()
    assert [line.split(":")[0] for line in told] == ["Pair acme", "Pair bolt", "Pair gone", "Pair cord"]
    assert all(each.lock_file.exists() for each in tried.values())


def test_a_pair_that_somebody_pauses_while_it_waits_for_its_turn_in_a_shared_run_is_left_out(
    make_pair: MakePair, instance: dg.DagsterInstance
) -> None:
    held, tried = make_pair("acme"), make_pair("bolt")
    held.data_dir.mkdir(parents=True, exist_ok=True)
    pause(held.data_dir, "import")
    result = DEFINITIONS.resolve_job_def("quiet_job").execute_in_process(
        instance=instance,
        run_config={"ops": {"cycles_of_quiet_pairs": {"config": {"pairs": ["acme", "bolt"]}}}},
        tags={"dagster/sensor_name": "cycle_sensor"},
        raise_on_error=False,
    )
    assert failures(result)["cycles_of_quiet_pairs"].startswith("Pair bolt:")
    assert "Pair acme" not in failures(result)["cycles_of_quiet_pairs"]
    assert (held.lock_file.exists(), tried.lock_file.exists()) == (False, True)


def test_work_beside_the_cycles_is_done_for_every_pair_and_one_that_fails_stops_no_other(make_pair: MakePair) -> None:
    for name in ("acme", "bolt", "cord"):
        make_pair(name)

    def work(settings: Settings) -> str:
        return settings.pair if settings.pair != "bolt" else str(1 // 0)

    logged: list[str] = []
    told = Rounds(work).go(logged.append)
    assert told == "acme: acme bolt: ZeroDivisionError: an error inside DynSync. cord: cord"
    assert logged == ["Pair bolt: ZeroDivisionError: an error inside DynSync."]
    many = summed_up(dict.fromkeys("abcdefgh", "Nothing to do.") | {"z": "No."})
    assert many == "8 pairs: Nothing to do. z: No."


def test_the_audit_is_asked_for_every_pair_behind_the_cycles(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(str(PAIRS.name), ["acme", "bolt"])
    repository = DEFINITIONS.get_repository_def()
    at = datetime(2026, 1, 31, 3, 30, tzinfo=UTC)
    with dg.build_schedule_context(instance, scheduled_execution_time=at, repository_def=repository) as context:
        requests = repository.get_schedule_def("audit_schedule").evaluate_tick(context).run_requests or []
    assert [(each.partition_key, each.tags["dagster/priority"]) for each in requests] == [
        ("acme", "-1"),
        ("bolt", "-1"),
    ]


def test_dagsters_home_lets_several_pairs_run_and_each_but_once(make_pair: MakePair) -> None:
    home = prepare_home(load_installation())
    told = yaml.safe_load((home / "dagster.yaml").read_text())
    assert told["concurrency"]["runs"] == {
        "max_concurrent_runs": 2,
        "tag_concurrency_limits": [{"key": PAIR_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}],
    }
    with dg.DagsterInstance.from_config(str(home)) as made:
        assert made.get_concurrency_config().run_queue_config.max_concurrent_runs == 2  # type: ignore[union-attr]
        assert made.run_coordinator.dequeue_use_threads  # type: ignore[attr-defined]
    Path(".env").write_text("")
    one = yaml.safe_load((prepare_home(load_settings()) / "dagster.yaml").read_text())
    assert one["concurrency"]["runs"] == {"max_concurrent_runs": 1}
    assert "sensors" not in one
