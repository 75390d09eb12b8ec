"""How the code location is put together. Not here: what a run does (`test_runs.py`)."""

import tomllib
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy
from dagster_shared.serdes.utils import SerializableTimeDelta

from dynsync_pipeline.definitions import build_definitions, defs
from dynsync_pipeline_tests.defs.conftest import failures, materialized, run_job

ROOT = Path(__file__).parents[2]
GRAPH = """
audit            audit       < marketo_writes
extract          dynamics_accounts < dynamics/accounts
extract          dynamics_contacts < dynamics/contacts
extract          dynamics_leads < dynamics/leads
extract          marketo_companies < dynamics_accounts dynamics_contacts dynamics_leads marketo/companies marketo_people
extract          marketo_people < marketo/people
publish          snapshot    < marketo_writes
reconcile        reconcile   < marketo_companies
systems dynamics/accounts <
systems dynamics/contacts <
systems dynamics/leads <
systems marketo/companies <
systems marketo/people <
write_back       dynamics_writes < reconcile
write_back       marketo_writes < dynamics_writes
"""


def test_the_graph_is_the_four_steps_of_a_cycle_and_the_audit() -> None:
    """An accidental change of the graph shows here."""
    graph = defs.resolve_asset_graph()
    lines = sorted(
        " ".join(
            [
                graph.get(key).group_name,
                key.to_user_string(),
                "<",
                *sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            ]
        )
        for key in graph.get_all_asset_keys()
    )
    assert lines == [" ".join(line.split()) for line in GRAPH.strip().splitlines()]


def test_every_asset_says_what_it_is_whose_it_is_and_what_it_runs_on() -> None:
    for definition in defs.resolve_asset_graph().assets_defs:
        for spec in definition.specs:
            assert len(spec.description or "") > 40, spec.key
            assert spec.owners == ["team:dynsync"], spec.key
            assert spec.kinds, spec.key


def test_jobs_sensor_schedule_and_executor_are_there() -> None:
    repository = defs.get_repository_def()
    sync = repository.get_job("sync_cycle")
    assert sync.executor_def is dg.in_process_executor
    assert "audit" not in {node.name for node in sync.nodes}
    assert {node.name for node in repository.get_job("daily_audit").nodes} == {"audit"}
    sensor = repository.get_sensor_def("cycle_sensor")
    assert (sensor.default_status, sensor.minimum_interval_seconds) == (dg.DefaultSensorStatus.RUNNING, 30)
    schedule = repository.get_schedule_def("audit_schedule")
    assert (schedule.default_status, schedule.cron_schedule) == (dg.DefaultScheduleStatus.RUNNING, "30 3 * * *")


def test_the_check_before_the_first_write_blocks_and_the_others_do_not() -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking == {"one_link_per_person_and_record", "everything_was_written"}


def test_without_settings_everything_loads_and_a_run_says_what_is_missing(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("no settings"))
    dg.Definitions.validate_loadable(build_definitions())
    result = run_job(None, instance)
    assert materialized(result) == []
    [sentence] = failures(result).values()  # of the first step alone, and not of the three beside it as well
    assert sentence.startswith("Not set: DYNSYNC_DYNAMICS_URL")


def test_every_asset_of_a_cycle_leads_to_its_code_and_the_snapshot_must_be_fresh() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        references = graph.get(key).metadata["dagster/code_references"]
        assert references.code_references[0].file_path.endswith(".py"), key
    policy = graph.get(dg.AssetKey("snapshot")).freshness_policy
    assert isinstance(policy, TimeWindowFreshnessPolicy)
    assert (policy.warn_window, policy.fail_window) == (
        SerializableTimeDelta.from_timedelta(timedelta(minutes=30)),
        SerializableTimeDelta.from_timedelta(timedelta(hours=1)),
    )


def test_dagsters_own_command_line_finds_the_definitions() -> None:
    """`dg dev` and `dg list defs` ask `pyproject.toml` where they are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["dg"]["project"]
    assert isinstance(import_module(project["code_location_target_module"]).defs, dg.Definitions)
