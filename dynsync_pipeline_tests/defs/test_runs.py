"""Whole runs over real HTTP against both emulators. Not here: what the rules decide (`reconcile`, `end_to_end`)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from pydantic import SecretStr

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.defs.cycle_run import CYCLE_TAG
from dynsync_pipeline.defs.development import prepare_home
from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.settings import PREFIX, Settings
from dynsync_pipeline_tests.defs.conftest import checks, cycles_told, failures, materialized, run_job
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    folder = tmp_path_factory.mktemp("emulators")
    with Emulators(folder, n_accounts=3, n_contacts=12, n_leads=6, n_people=5, time_scale=6000) as emulators:
        yield emulators


@pytest.fixture(scope="module")
def live(emulators: Emulators, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings that reach the emulators; the data folder is shared by the tests of this module, in their order."""
    values: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in emulators.environment.items()
        if name.startswith(PREFIX)
    }
    return Settings(**values | {"data_dir": tmp_path_factory.mktemp("data")})


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as instance:
        yield instance


@pytest.fixture(scope="module")
def runs(live: Settings, instance: dg.DagsterInstance) -> list[dg.ExecuteInProcessResult]:
    """The first two runs."""
    return [run_job(live, instance, cycles=Cycle) for _ in range(2)]


def people(settings: Settings) -> int:
    with duckdb.connect(settings.snapshot_file, read_only=True) as connection:
        return int(connection.execute("select count(*) from people").fetchall()[0][0])


def test_a_first_run_syncs_everything_and_every_check_passes(
    live: Settings, instance: dg.DagsterInstance, runs: list[dg.ExecuteInProcessResult]
) -> None:
    result = runs[0]
    assert result.success, failures(result)
    assert [name for name, passed in checks(result).items() if not passed] in ([], ["nothing_is_refused"])
    assert len(checks(result)) == 8
    assert people(live) > 5
    for event in result.get_asset_materialization_events():
        metadata = event.step_materialization_data.materialization.metadata
        assert {"rows", "calls", "seconds", "preview"} <= metadata.keys(), event.asset_key
    with duckdb.connect(live.snapshot_file, read_only=True) as connection:
        ((oldest,),) = connection.execute("select min(cycle_id) from cycles").fetchall()
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[CYCLE_TAG] == str(oldest)


def test_a_run_tells_columns_where_they_come_from_and_what_to_ask_the_snapshot(
    live: Settings, instance: dg.DagsterInstance, runs: list[dg.ExecuteInProcessResult]
) -> None:
    shown = {
        name: runs[0].asset_materializations_for_node(name)[0].metadata
        for name in ("dynamics_contacts", "marketo_companies", "reconcile", "marketo_writes", "snapshot")
    }
    jobtitle = next(c for c in columns(shown["dynamics_contacts"]) if c.name == "jobtitle")
    assert (jobtitle.type, jobtitle.description) == ("text", "title, both")
    assert {c.name for c in columns(shown["marketo_companies"])} >= {"company", "industry"}
    assert sources(shown["snapshot"], "title") == {
        "dynamics_contacts.jobtitle", "dynamics_leads.jobtitle", "marketo_people.title",
    }  # fmt: skip
    assert sources(shown["snapshot"], "industry") >= {"dynamics_accounts.industrycode", "marketo_companies.industry"}
    assert sources(shown["dynamics_contacts"], "jobtitle") == {"dynamics/contacts.jobtitle"}
    assert shown["dynamics_contacts"]["dagster/row_count"].value == 12
    assert shown["snapshot"]["dagster/row_count"].value == people(live)
    queries = [str(shown[name]["sql"].value) for name in ("reconcile", "marketo_writes", "snapshot")]
    with duckdb.connect(live.snapshot_file, read_only=True) as connection:
        found = [
            connection.execute(query.removeprefix("```sql\n").removesuffix("\n```")).fetchall() for query in queries
        ]
        ((n_changes,),) = connection.execute("select count(*) from changes where cycle_id = 1").fetchall()
    assert [len(found[0]), len(found[2])] == [n_changes, 1]
    run = instance.get_run_by_id(runs[0].run_id)
    assert run is not None
    tags = {name: run.tags[f"dynsync/{name}"] for name in ("edits", "collisions", "refused")}
    assert int(tags.pop("edits")) > 18
    assert tags == {"collisions": "0", "refused": str(len(found[1]))}
    said = [entry.user_message for entry in instance.all_logs(runs[0].run_id)]
    assert sum(line.startswith("Cycle 1: ") and "written to Marketo" in line for line in said) == 1


def columns(metadata: Mapping[str, Any]) -> list[dg.TableColumn]:
    return list(metadata["dagster/column_schema"].value.columns)


def sources(metadata: Mapping[str, Any], column: str) -> set[str]:
    deps = metadata["dagster/column_lineage"].value.deps_by_column[column]
    return {f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps}


def test_companies_are_read_at_extract_and_reconcile_calls_nobody(
    live: Settings, instance: dg.DagsterInstance, runs: list[dg.ExecuteInProcessResult]
) -> None:
    """The calls shown are those of this cycle alone, not of the day."""
    cases = [("all steps", runs[1], 0)]
    with duckdb.connect(live.working_file) as connection:
        connection.execute("delete from state.cursors where stream = 'marketo_companies'")
        connection.execute(
            "insert into inbox.touched select 'account', accountid, null, false from mirror.dynamics_accounts"
        )
    # One for companies by their keys, one for those of leads that have none (R131).
    cases.append(("reconcile alone", run_job(live, instance, "reconcile", cycles=Cycle), 2))
    for what, result, n_calls in cases:
        [materialization] = result.asset_materializations_for_node("reconcile")
        assert materialization.metadata["calls"].value == n_calls, what
    with duckdb.connect(live.working_file, read_only=True) as connection:
        ((n_of_day, n_of_cycle),) = connection.execute(
            "select sum(n_calls_marketo), max_by(n_calls_marketo, cycle_id) from ledger.cycles"
        ).fetchall()
    assert 0 < n_of_cycle < n_of_day / 2


def test_nothing_that_dagster_keeps_holds_a_value_of_a_record(
    live: Settings, emulators: Emulators, instance: dg.DagsterInstance, runs: list[dg.ExecuteInProcessResult]
) -> None:
    with duckdb.connect(live.snapshot_file, read_only=True) as connection:
        emails = [row[0] for row in connection.execute("select email from people where email is not null").fetchall()]
    events = "".join(str(entry) for run in runs for entry in instance.all_logs(run.run_id))
    assert emails
    assert not [email for email in emails if email in events]
    assert emulators.environment["DYNSYNC_DYNAMICS_CLIENT_SECRET"] not in events


def test_a_second_run_writes_nothing(runs: list[dg.ExecuteInProcessResult]) -> None:
    for name in ("reconcile", "dynamics_writes", "marketo_writes"):
        [materialization] = runs[1].asset_materializations_for_node(name)
        assert materialization.metadata["rows"].value == 0


def test_one_asset_alone_does_something_sensible_or_refuses(live: Settings, instance: dg.DagsterInstance) -> None:
    """Extract, reconcile and publish are safe alone. Write back sends only what the same cycle planned."""
    assert materialized(run_job(live, instance, "dynamics_leads", cycles=Cycle)) == ["dynamics_leads"]
    assert materialized(run_job(live, instance, "reconcile", cycles=Cycle)) == ["reconcile"]
    run_job(live, instance, cycles=Cycle)
    live.snapshot_file.unlink()
    assert materialized(run_job(live, instance, "snapshot", cycles=Cycle)) == ["snapshot"]
    assert people(live) > 5
    alone = run_job(live, instance, "dynamics_writes", cycles=Cycle)
    assert alone.success or "sync_cycle" in failures(alone)["dynamics_writes"]


def test_a_wrong_secret_is_one_sentence_and_fails_the_cycle(live: Settings, instance: dg.DagsterInstance) -> None:
    wrong = live.model_copy(update={"dynamics_client_secret": SecretStr("not the secret")})
    result = run_job(wrong, instance, cycles=Cycle)
    assert "reconcile" not in materialized(result)
    [sentence] = set(failures(result).values())
    assert "\n" not in sentence
    assert "not the secret" not in sentence
    assert cycles_told(live)[-1] == ("failed", sentence)
    assert run_job(live, instance, cycles=Cycle).success


def test_the_home_of_make_dev_has_limits_and_one_run_at_a_time(live: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    home = prepare_home(live)
    assert home == Path(live.data_dir / "dagster").resolve()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == round(live.cycle_limit_s)
        assert not instance.telemetry_enabled
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 1
        assert instance.storage_directory().startswith(str(home))
