"""What the tests of the Dagster layer share: settings, an instance of its own, and a cycle that meets no system."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.definitions import build_definitions
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import utc_now
from dynsync_pipeline_tests.worlds.cuts import Steps
from dynsync_pipeline_tests.worlds.memory import MemorySystems
from dynsync_pipeline_tests.worlds.memory_dynamics import MemoryDynamics
from dynsync_pipeline_tests.worlds.memory_marketo import MemoryMarketo

# Nothing listens there; a test that sends anything fails on it.
UNREACHABLE = "https://127.0.0.1:9"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that name two systems which nobody runs."""
    return Settings(
        data_dir=tmp_path / "data",
        dynamics_url=UNREACHABLE,
        dynamics_authority=UNREACHABLE,
        dynamics_tenant_id="00000000-0000-0000-0000-000000000001",
        dynamics_client_id="00000000-0000-0000-0000-000000000002",
        dynamics_client_secret="no secret",
        marketo_url=UNREACHABLE,
        marketo_client_id="nobody",
        marketo_client_secret="no secret",
        marketo_oldest_person=utc_now().date().isoformat(),
        marketo_poll_s=0.001,
        retry_limit_s=0,
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as instance:
        yield instance


class QuietCycle(Cycle):
    """A cycle between two systems in memory that hold nothing; all else is real."""

    def __init__(self, settings: Settings) -> None:
        fields = load_field_map(settings.field_map)
        nothing = MemorySystems(MemoryDynamics(fields, Steps()), MemoryMarketo(fields, Steps(), utc_now))
        super().__init__(settings, systems=lambda settings, used: nullcontext(nothing))


@dataclass
class Cycles:
    """Opens cycles and keeps them, so that a test sees how many there were."""

    kind: type[Cycle] = QuietCycle
    opened: list[Cycle] = field(default_factory=list)

    def __call__(self, settings: Settings) -> Cycle:
        self.opened.append(self.kind(settings))
        return self.opened[-1]


def run_job(
    settings: Settings | None,
    instance: dg.DagsterInstance,
    *assets: str,
    cycles: Cycles | type[Cycle] = QuietCycle,
    job: str = "sync_cycle",
) -> dg.ExecuteInProcessResult:
    """Run a job, or some of its assets, as the UI would."""
    open_cycle = cycles if isinstance(cycles, Cycles) else Cycles(cycles)
    definitions = build_definitions(settings, open_cycle)
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        raise_on_error=False,
        asset_selection=[dg.AssetKey(name) for name in assets] or None,
    )


def materialized(result: dg.ExecuteInProcessResult) -> list[str]:
    """Names of the assets that a run materialised, in order."""
    return [event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key]


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The sentence that each failed step ended with."""
    found = {}
    for event in result.filter_events(lambda event: event.is_step_failure):
        user_failure = event.step_failure_data.user_failure_data
        found[event.step_key or ""] = (user_failure.description if user_failure else None) or ""
    return found


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Outcome of each check of a run."""
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def cycles_told(settings: Settings) -> list[tuple[str, str | None]]:
    """Status and sentence of every cycle, as the ledger of the working file has them."""
    with duckdb.connect(settings.working_file, read_only=True) as connection:
        return connection.execute("select status, message from ledger.cycles order by cycle_id").fetchall()
