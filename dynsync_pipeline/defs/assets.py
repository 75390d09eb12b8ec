"""The assets of a cycle: extract, reconcile, write back, publish. Each calls one step and shows its figures.

`rows`, `calls` and `seconds` are this step's; the streams are read side by side, so `calls` there is what the cycle
has sent to that system so far. Previews count by record type, field and rule: no value of a record reaches Dagster.
Not here: the steps themselves (`cycle.py`), the daily comparison (`audit.py`).
"""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import dagster as dg

from dynsync_pipeline.clients.systems import System
from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.defs.cycle_run import READS, CycleRun
from dynsync_pipeline.defs.shown import SOURCES, counted, mirror_columns, people_columns, sql, table
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.write_back.receipts import Written

OWNERS = ["team:dynsync"]
# The kinds of Dynamics have the icon of its maker; Dagster has none of Marketo's.
IN_DYNAMICS, IN_MARKETO = {"microsoft"}, {"marketo"}
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1), warn_window=timedelta(minutes=30))


class _Before(NamedTuple):
    """What the clock and the calls so far were before a step."""

    at_s: float
    n_calls: int


SOURCE_ASSETS = [
    dg.AssetSpec(
        key,
        group_name="systems",
        owners=OWNERS,
        kinds=IN_DYNAMICS if kind in TABLES else IN_MARKETO,
        description=f"{key.path[-1].capitalize()} in {key.path[0].capitalize()}, where people edit them. "
        "The sync reads and writes them, and does not make them.",
    )
    for kind, key in SOURCES.items()
]


def _stream_asset(
    name: str, system: System, kind: RecordType | str, mirror: str, description: str, kinds: set[str]
) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        group_name="extract",
        owners=OWNERS,
        kinds=kinds,
        deps=[SOURCES[kind]],
        description=description,
        output_required=False,  # where an earlier step of this run failed of the same cause, and said so
    )
    def extract(
        context: dg.AssetExecutionContext, cycle: dg.ResourceParam[CycleRun]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with cycle.telling_once(context.log.error) as tells, cycle.step() as steps:
            read = cycle.read(name, _reads_of(context))
            tells.append(
                {
                    "rows": read.n_rows,
                    "calls": cycle.calls(system),
                    "seconds": round(read.seconds, 3),
                    **_mirrored(steps.warehouse, mirror, read.n_rows),
                    **mirror_columns(steps.prepare(), kind),
                }
            )
        for metadata in tells:
            yield dg.MaterializeResult(metadata=metadata)

    return extract


def _mirrored(warehouse: Warehouse, mirror: str, n_read: int) -> dict[str, Any]:
    """How many rows were read, and a mirror has, deleted ones included; DuckDB knows that without looking at any."""
    with warehouse.reading() as connection:
        n_rows = scalar(connection, f"select count(*) from {mirror}")
    shown = table(("mirror", "rows read", "rows in it"), [(mirror, n_read, n_rows)])
    return {"dagster/row_count": n_rows, "preview": shown}


def _reads_of(context: dg.AssetExecutionContext) -> set[str]:
    """The extract assets that this run will materialise."""
    in_job = {node.name for node in context.job_def.nodes}
    return in_job & READS.keys() & set(context.run.step_keys_to_execute or in_job)


STREAM_ASSETS = [
    *(
        _stream_asset(
            f"dynamics_{TABLES[kind].entity_set}",
            "dynamics",
            kind,
            TABLES[kind].mirror,
            f"{TABLES[kind].entity_set.capitalize()} changed or deleted in Dynamics since the last cycle, "
            "by change tracking, taken into the mirror.",
            IN_DYNAMICS | {"duckdb"},
        )
        for kind in RecordType
    ),
    _stream_asset(
        "marketo_people",
        "marketo",
        "person",
        "mirror.marketo_people",
        "People changed or new in Marketo since the last cycle, by the change feed; the first time by bulk extract.",
        IN_MARKETO | {"duckdb"},
    ),
]


@dg.asset(
    group_name="extract",
    owners=OWNERS,
    kinds=IN_MARKETO | {"duckdb"},
    deps=[*STREAM_ASSETS, SOURCES["company"]],
    description="Companies in Marketo that the changes of accounts, contacts and leads concern, read by their key; there "
    "is no feed of company changes.",
)
def marketo_companies(cycle: dg.ResourceParam[CycleRun]) -> dg.MaterializeResult[None]:
    """Read the companies that the streams just read make worth a look."""
    with cycle.step() as steps:
        before = _Before(time.monotonic(), cycle.calls("marketo"))
        n_read = steps.extract_companies()
        return dg.MaterializeResult(
            metadata={
                "rows": n_read,
                "calls": cycle.calls("marketo") - before.n_calls,
                "seconds": _since(before.at_s),
                **_mirrored(steps.warehouse, "mirror.marketo_companies", n_read),
                **mirror_columns(steps.prepare(), "company"),
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
                "sql": sql(_CHANGED.format(cycle_id=steps.cycle_id)),
            }
        )


# Whom it was about, and what; Dagster is told neither.
_CHANGED = """select direction, person_id_marketo, record_id_dynamics, field, old_value, new_value, rule
from changes where cycle_id = {cycle_id} order by change_id"""
_REFUSED = """select object, person_id_marketo, record_id_dynamics, field, code, message
from sync_errors where state <> 'resolved' and last_seen_at >= (select started_at from cycles where cycle_id = {cycle_id})"""
_CYCLE = "select * from cycles where cycle_id = {cycle_id}"
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
    kinds=IN_DYNAMICS,
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
    kinds=IN_MARKETO,
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
            "preview": _table(steps.warehouse, _RECEIPTS_BY_OUTCOME, (system,)),
            "sql": sql(_REFUSED.format(cycle_id=steps.cycle_id)),
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
    freshness_policy=FRESH,
    description="snapshot.duckdb in the data folder: what analysts read at any moment, swapped in whole.",
)
def snapshot(context: dg.AssetExecutionContext, cycle: dg.ResourceParam[CycleRun]) -> dg.MaterializeResult[None]:
    """Bring the snapshot up to date and end the cycle, which one line and the tags of the run sum up."""
    with cycle.step() as steps:
        started_s = time.monotonic()
        published = steps.publish()
        rows = table(("table", "rows written"), sorted(published.n_rows.items()))
        _sum_up(context, steps.warehouse)
        return dg.MaterializeResult(
            metadata={
                "rows": sum(published.n_rows.values()),
                "calls": 0,
                "seconds": _since(started_s),
                "people": published.n_people,
                "size in bytes": published.size_bytes,
                "file": dg.MetadataValue.path(str(steps.settings.snapshot_file)),
                "preview": rows,
                "dagster/row_count": published.n_people,
                "dagster/table_name": "people",
                "sql": sql(_CYCLE.format(cycle_id=steps.cycle_id)),
                **people_columns(steps.prepare()),
            }
        )


CYCLE_ASSETS = [*STREAM_ASSETS, marketo_companies, reconcile, dynamics_writes, marketo_writes, snapshot]


def _since(started_s: float) -> float:
    return round(time.monotonic() - started_s, 3)


def _table(warehouse: Warehouse, query: str, values: tuple[object, ...] = ()) -> dg.MetadataValue:
    """What `query` counts, as a table for people."""
    with warehouse.reading() as connection:
        return counted(connection, query, values)


def _sum_up(context: dg.AssetExecutionContext, warehouse: Warehouse) -> None:
    """One line for the log, and the same counts as tags, by which the list of runs is searched."""
    with warehouse.reading() as connection:
        ((cycle_id, n_marketo, n_dynamics, n_collisions, n_refused, seconds),) = connection.execute(_SUM).fetchall()
    context.log.info(
        f"Cycle {cycle_id}: {n_marketo:,} written to Marketo, {n_dynamics:,} to Dynamics, {n_collisions:,} collisions settled, "
        f"{n_refused:,} refused, in {seconds:.1f} s."
    )
    tags = {"edits": n_marketo + n_dynamics, "collisions": n_collisions, "refused": n_refused}
    context.instance.add_run_tags(context.run.run_id, {f"dynsync/{name}": str(n) for name, n in tags.items()})


_SUM = """
select cycle_id, n_companies_written + n_people_created + n_people_updated, n_records_updated, n_collisions, n_refused,
    extract(epoch from ended_at - started_at)
from ledger.cycles order by cycle_id desc limit 1
"""
