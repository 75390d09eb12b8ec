"""The assets of a cycle: extract, reconcile, write back, publish. Each calls one step and shows its figures.

`rows`, `calls` and `seconds` are this step's; the streams are read side by side, so `calls` there is what the cycle
has sent to that system so far. Previews count by record type, field and rule: no value of a record reaches Dagster.
Not here: the steps themselves (`cycle.py`), the daily comparison (`audit.py`).
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import dagster as dg
import pandas as pd

from dynsync_pipeline.clients.systems import System
from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.defs.cycle_run import READS, CycleRun
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.write_back.receipts import Written

OWNERS = ["team:dynsync"]


class _Before(NamedTuple):
    """What the clock and the calls so far were before a step."""

    at_s: float
    n_calls: int


def _stream_asset(name: str, system: System, mirror: str, description: str, kinds: set[str]) -> dg.AssetsDefinition:
    @dg.asset(name=name, group_name="extract", owners=OWNERS, kinds=kinds, description=description)
    def extract(context: dg.AssetExecutionContext, cycle: dg.ResourceParam[CycleRun]) -> dg.MaterializeResult[None]:
        with cycle.step() as steps:
            read = cycle.read(name, _reads_of(context))
            deleted = "count(*) filter (is_deleted)"
            return dg.MaterializeResult(
                metadata={
                    "rows": read.n_rows,
                    "calls": cycle.calls(system),
                    "seconds": round(read.seconds, 3),
                    "preview": _table(steps.warehouse, _MIRROR.format(mirror=mirror, deleted=deleted), [read.n_rows]),
                }
            )

    return extract


_MIRROR = "select '{mirror}' as mirror, count(*) as n_rows, {deleted} as n_deleted, ? as n_read from {mirror}"


def _reads_of(context: dg.AssetExecutionContext) -> set[str]:
    """The extract assets that this run will materialise."""
    in_job = {node.name for node in context.job_def.nodes}
    return in_job & READS.keys() & set(context.run.step_keys_to_execute or in_job)


STREAM_ASSETS = [
    *(
        _stream_asset(
            f"dynamics_{TABLES[kind].entity_set}",
            "dynamics",
            TABLES[kind].mirror,
            f"{TABLES[kind].entity_set.capitalize()} changed or deleted in Dynamics since the last cycle, "
            "by change tracking, taken into the mirror.",
            {"dynamics", "duckdb"},
        )
        for kind in RecordType
    ),
    _stream_asset(
        "marketo_people",
        "marketo",
        "mirror.marketo_people",
        "People changed or new in Marketo since the last cycle, by the change feed; the first time by bulk extract.",
        {"marketo", "duckdb"},
    ),
]


@dg.asset(
    group_name="extract",
    owners=OWNERS,
    kinds={"marketo", "duckdb"},
    deps=STREAM_ASSETS,
    description="Companies in Marketo that the changes of accounts, contacts and leads concern, read by their key; there "
    "is no feed of company changes.",
)
def marketo_companies(cycle: dg.ResourceParam[CycleRun]) -> dg.MaterializeResult[None]:
    """Read the companies that the streams just read make worth a look."""
    with cycle.step() as steps:
        before = _Before(time.monotonic(), cycle.calls("marketo"))
        n_read = steps.extract_companies()
        query = _MIRROR.format(mirror="mirror.marketo_companies", deleted="0")
        return dg.MaterializeResult(
            metadata={
                "rows": n_read,
                "calls": cycle.calls("marketo") - before.n_calls,
                "seconds": _since(before.at_s),
                "preview": _table(steps.warehouse, query, [n_read]),
            }
        )


@dg.asset(
    group_name="reconcile",
    owners=OWNERS,
    kinds={"duckdb", "sql"},
    deps=[marketo_companies],
    description="The plan: base, Dynamics and Marketo compared for every touched link, each differing field settled by "
    "the rules in reconcile/sql, all writes committed before the first is sent.",
)
def reconcile(cycle: dg.ResourceParam[CycleRun]) -> dg.MaterializeResult[None]:
    """Make and commit the plan of this cycle."""
    with cycle.step() as steps:
        before = _Before(time.monotonic(), cycle.calls("marketo"))
        plan = steps.reconcile()
        return dg.MaterializeResult(
            metadata={
                "rows": plan.n_operations,
                "calls": cycle.calls("marketo") - before.n_calls,
                "seconds": _since(before.at_s),
                "links compared": plan.n_compared,
                "companies to write in Marketo": plan.n_companies,
                "people to create in Marketo": plan.n_creates,
                "people to update in Marketo": plan.n_updates_to_marketo,
                "records to update in Dynamics": plan.n_updates_to_dynamics,
                "collisions": plan.n_collisions,
                "preview": _table(steps.warehouse, _PLAN_BY_RULE),
            }
        )


_PLAN_BY_RULE = """
select o.system as to_system, o.action, o.record_type, c.field, codes.sentence as rule, count(*) as n_values
from reconcile.operations o
join reconcile.planned_changes c using (operation_id)
left join codes on codes.code = c.rule_code
group by all order by n_values desc, 1, 2, 3, 4, 5 limit 20
"""


@dg.asset(
    group_name="write_back",
    owners=OWNERS,
    kinds={"dynamics"},
    deps=[reconcile],
    description="Marketo's edits of contacts and leads, sent to Dynamics in conditional batches; every record has its "
    "own receipt. Refuses a plan that another cycle made.",
)
def dynamics_writes(cycle: dg.ResourceParam[CycleRun]) -> dg.MaterializeResult[None]:
    """Send this cycle's plan to Dynamics."""
    with cycle.step() as steps:
        before = _Before(time.monotonic(), cycle.calls("dynamics"))
        written = steps.write_dynamics()
        return _writes_shown(steps, "dynamics", written, before, cycle.calls("dynamics"))


@dg.asset(
    group_name="write_back",
    owners=OWNERS,
    kinds={"marketo"},
    deps=[dynamics_writes],
    description="New people and Dynamics' edits, sent to Marketo in batches and read back; every person has its own "
    "receipt. Refuses a plan that another cycle made.",
)
def marketo_writes(cycle: dg.ResourceParam[CycleRun]) -> dg.MaterializeResult[None]:
    """Send this cycle's plan to Marketo."""
    with cycle.step() as steps:
        before = _Before(time.monotonic(), cycle.calls("marketo"))
        written = steps.write_marketo()
        return _writes_shown(steps, "marketo", written, before, cycle.calls("marketo"))


def _writes_shown(
    steps: Cycle, system: System, written: Written, before: _Before, n_calls: int
) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(
        metadata={
            "rows": written.n_companies + written.n_created + written.n_updated,
            "calls": n_calls - before.n_calls,
            "seconds": _since(before.at_s),
            "created": written.n_created,
            "updated": written.n_updated,
            "refused": written.n_refused,
            "preview": _table(steps.warehouse, _RECEIPTS_BY_OUTCOME, [system]),
        }
    )


_RECEIPTS_BY_OUTCOME = """
select o.action, o.record_type, coalesce(r.outcome, 'no receipt') as outcome, r.code, r.field, count(*) as n_operations
from reconcile.operations o left join reconcile.receipts r using (operation_id)
where o.system = ?
group by all order by n_operations desc, 1, 2, 3, 4, 5 limit 20
"""


@dg.asset(
    group_name="publish",
    owners=OWNERS,
    kinds={"duckdb"},
    deps=[marketo_writes],
    description="snapshot.duckdb in the data folder: what analysts read at any moment, swapped in whole.",
)
def snapshot(cycle: dg.ResourceParam[CycleRun]) -> dg.MaterializeResult[None]:
    """Bring the snapshot up to date and end the cycle."""
    with cycle.step() as steps:
        started_s = time.monotonic()
        published = steps.publish()
        rows = pd.DataFrame(sorted(published.n_rows.items()), columns=["table", "rows written"])
        return dg.MaterializeResult(
            metadata={
                "rows": sum(published.n_rows.values()),
                "calls": 0,
                "seconds": _since(started_s),
                "people": published.n_people,
                "size in bytes": published.size_bytes,
                "file": dg.MetadataValue.path(str(steps.settings.snapshot_file)),
                "preview": dg.MetadataValue.md(rows.to_markdown(index=False)),
            }
        )


CYCLE_ASSETS = [*STREAM_ASSETS, marketo_companies, reconcile, dynamics_writes, marketo_writes, snapshot]


def _since(started_s: float) -> float:
    return round(time.monotonic() - started_s, 3)


def _table(warehouse: Warehouse, query: str, values: Sequence[object] = ()) -> dg.MetadataValue:
    """What `query` counts, as a table for people."""
    with warehouse.reading() as connection:
        counts = connection.execute(query, list(values)).df()
    return dg.MetadataValue.md(counts.fillna("").to_markdown(index=False) if len(counts) else "Nothing.")
