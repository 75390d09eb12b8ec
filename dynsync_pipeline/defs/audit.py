"""The daily audit as an asset, with a check that shows whether it found anything. Not here: the comparison itself."""

import time
from collections.abc import Iterator, Sequence

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
            "preview": by_record_type(found.kinds),
        }
    )
    yield dg.AssetCheckResult(
        check_name="audit_finds_nothing",
        passed=not (found.n_missed or found.n_damaged),
        metadata={"handed to the next cycle": found.n_missed, "damaged": found.n_damaged},
    )


def by_record_type(kinds: Sequence[tuple[str, str | None, str | None, int]]) -> dg.MetadataValue:
    """What was found: a line for each finding and field, and in a column for each record type how many."""
    import pandas as pd  # half a second, of which a run of a cycle, whose definitions are the same, is spared

    found = pd.DataFrame(kinds, columns=["finding", "record_type", "field", "n_rows"])
    found = found.fillna({"record_type": "no record", "field": ""})
    lines = found.pivot_table(
        index=["finding", "field"], columns="record_type", values="n_rows", aggfunc="sum", fill_value=0, sort=False
    ).reset_index()
    return table(list(lines.columns), lines.astype(object).to_numpy().tolist())
