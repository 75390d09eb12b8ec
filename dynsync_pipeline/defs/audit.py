"""The daily audit as an asset, with a check that shows whether it found anything. Not here: the comparison itself."""

import time
from collections.abc import Iterator

import dagster as dg

from dynsync_pipeline.defs.assets import OWNERS, marketo_writes
from dynsync_pipeline.defs.cycle_run import CycleRun
from dynsync_pipeline.defs.shown import table
from dynsync_pipeline.engines.opening import open_engine
from dynsync_pipeline.reconcile.audit import run_audit

# A cycle started from the command line may hold the lock at the moment; the audit waits for its end.
_UNTIL_THE_CYCLE_ENDS = dg.RetryPolicy(max_retries=10, delay=120)


@dg.asset(
    group_name="audit",
    owners=OWNERS,
    kinds={"duckdb", "sql"},
    deps=[marketo_writes],
    check_specs=[dg.AssetCheckSpec("audit_finds_nothing", asset="audit")],
    retry_policy=_UNTIL_THE_CYCLE_ENDS,
    description="Once a day all links and all unsettled, compared in full, by the engine of DYNSYNC_AUDIT_ENGINE. Calls no "
    "system and repairs nothing: keys that the cycles missed are looked at by the next one.",
)
def audit(cycle: dg.ResourceParam[CycleRun]) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Compare everything by the engine of the settings."""
    started_s = time.monotonic()
    settings = cycle.settings
    with (
        cycle.as_failure(),
        open_engine(settings, cycle.warehouse, settings.audit_engine, settings.spark_master) as engine,
    ):
        found = run_audit(engine)
    yield dg.MaterializeResult(
        metadata={
            "rows": found.n_links,
            "calls": 0,
            "seconds": round(time.monotonic() - started_s, 3),
            "handed to the next cycle": found.n_missed,
            "damaged": found.n_damaged,
            "preview": table(("finding", "record_type", "field", "n_rows"), found.kinds),
        }
    )
    yield dg.AssetCheckResult(
        check_name="audit_finds_nothing",
        passed=not (found.n_missed or found.n_damaged),
        metadata={"handed to the next cycle": found.n_missed, "damaged": found.n_damaged},
    )
