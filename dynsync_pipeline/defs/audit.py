"""The daily audit as an asset, with a check that shows whether it found anything. Not here: the comparison itself."""

import time
from collections.abc import Iterator

import dagster as dg

from dynsync_pipeline.defs.assets import OWNERS, marketo_writes
from dynsync_pipeline.defs.cycle_run import CycleRun
from dynsync_pipeline.defs.shown import counted
from dynsync_pipeline.reconcile.audit import run_audit

# A cycle started from the command line may hold the lock at the moment; the audit waits for its end.
_UNTIL_THE_CYCLE_ENDS = dg.RetryPolicy(max_retries=10, delay=120)


_COUNTS = """
select sentence as finding, record_type, field, count(*) as n_rows from audit_findings join codes using (code)
group by all order by all limit 20
"""


@dg.asset(
    group_name="audit",
    owners=OWNERS,
    kinds={"duckdb", "sql"},
    deps=[marketo_writes],
    check_specs=[dg.AssetCheckSpec("audit_finds_nothing", asset="audit")],
    retry_policy=_UNTIL_THE_CYCLE_ENDS,
    description="Once a day all links and all unsettled, compared in full. Calls no system and repairs nothing: keys "
    "that the cycles missed are looked at by the next one.",
)
def audit(cycle: dg.ResourceParam[CycleRun]) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Compare everything, under the cycle lock."""
    with cycle.looking() as warehouse, warehouse.transaction() as connection:
        started_s = time.monotonic()
        found = run_audit(connection, warehouse.now())
        preview = counted(connection, _COUNTS)
    yield dg.MaterializeResult(
        metadata={
            "rows": found.n_links,
            "calls": 0,
            "seconds": round(time.monotonic() - started_s, 3),
            "handed to the next cycle": found.n_missed,
            "damaged": found.n_damaged,
            "preview": preview,
        }
    )
    yield dg.AssetCheckResult(
        check_name="audit_finds_nothing",
        passed=not (found.n_missed or found.n_damaged),
        metadata={"handed to the next cycle": found.n_missed, "damaged": found.n_damaged},
    )
