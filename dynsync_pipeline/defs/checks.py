"""Asset checks: what must hold of every cycle. Each can fail, and shows counts and ids, never values.

Not here: the queries that select the offending rows (`reconcile/sql/offences/`).
"""

from datetime import timedelta

import dagster as dg

from dynsync_pipeline.defs.assets import marketo_writes, reconcile, snapshot
from dynsync_pipeline.defs.cycle_run import CycleRun
from dynsync_pipeline.defs.shown import counted
from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.publish.snapshot import count_people
from dynsync_pipeline.reconcile.offences import Offences, find_offences
from dynsync_pipeline.warehouse.connection import scalar
from dynsync_pipeline.warehouse.cycles import failure_of_last_cycle


@dg.asset_check(
    asset=reconcile,
    blocking=True,
    description="Every person and every record that this plan touches has exactly one link, and every write goes to a "
    "linked pair. If not, nothing is written.",
)
def one_link_per_person_and_record(cycle: dg.ResourceParam[CycleRun]) -> dg.AssetCheckResult:
    """Stand between the plan and the first write."""
    offences = _offences(cycle, "doubled_links")
    if offences.n_rows:
        cycle.refuse(
            GuardStopped(
                f"The plan touches {offences.n_rows:,} links that are not one to one. Nothing was written.",
                next_step="Their ids stand at the check one_link_per_person_and_record of this run.",
            )
        )
    return _result(offences)


@dg.asset_check(
    asset=marketo_writes,
    description="Whatever differs and is not settled has a reason and a next time to look at it.",
)
def unsettled_has_reason_and_next_look(cycle: dg.ResourceParam[CycleRun]) -> dg.AssetCheckResult:
    """Look through the backlog."""
    return _result(_offences(cycle, "unsettled_without_reason"))


@dg.asset_check(
    asset=marketo_writes,
    description="Every operation of the plan has a receipt or is still unsettled, and every link it touched has one "
    "row in Dynamics, in Marketo and in the base.",
)
def nothing_lost(cycle: dg.ResourceParam[CycleRun]) -> dg.AssetCheckResult:
    """Hold the receipts against the plan."""
    return _result(_offences(cycle, "lost_writes"))


@dg.asset_check(
    asset=snapshot,
    blocking=True,  # nothing comes after it, so that all it ends is the run, as failed
    description="Both systems answered what was written to them. If not, all else was done, and the next cycle goes on.",
)
def everything_was_written(cycle: dg.ResourceParam[CycleRun]) -> dg.AssetCheckResult:
    """Fail the run at its end where a system failed a write."""
    with cycle.looking() as warehouse, warehouse.reading() as connection:
        told = failure_of_last_cycle(connection)
    return dg.AssetCheckResult(passed=told is None, metadata={} if told is None else {"why": told})


@dg.asset_check(
    asset=snapshot,
    description="In the last seven days the census found nothing that change tracking or Marketo's feed had not told.",
)
def feeds_tell_everything(cycle: dg.ResourceParam[CycleRun]) -> dg.AssetCheckResult:
    """Show what the census found."""
    return _result(_offences(cycle, "untold_changes"))


@dg.asset_check(asset=snapshot, description="The snapshot holds as many people as the mirror of Marketo.")
def snapshot_holds_everybody(cycle: dg.ResourceParam[CycleRun]) -> dg.AssetCheckResult:
    """Count people in the published file, as an analyst would."""
    with cycle.looking() as warehouse:
        in_mirror, in_snapshot = count_people(warehouse, cycle.settings.snapshot_file)
    return dg.AssetCheckResult(
        passed=in_mirror == in_snapshot,
        metadata={"people in the mirror": in_mirror, "people in the snapshot": in_snapshot},
    )


@dg.asset_check(
    asset=snapshot,
    description="No edit waits for longer than an hour to reach the other side, but those that a system refuses, or that "
    "somebody has yet to approve.",
)
def edits_arrive_within_an_hour(cycle: dg.ResourceParam[CycleRun]) -> dg.AssetCheckResult:
    """Show what waits, which is the lag."""
    with cycle.looking() as warehouse, warehouse.reading() as connection:
        waiting = counted(connection, _LATE, [warehouse.now() - LONGEST_LAG])
        n_rows = scalar(
            connection, f"select coalesce(sum(n_values), 0)::bigint from ({_LATE})", [warehouse.now() - LONGEST_LAG]
        )
    return dg.AssetCheckResult(passed=not n_rows, severity=_WARN, metadata={"rows": n_rows, "preview": waiting})


LONGEST_LAG = timedelta(hours=1)
_LATE = """
select u.record_type, u.field, sentence as reason, count(*) as n_values, min(since)::varchar as oldest
from state.unsettled u left join codes on codes.code = u.reason_code
where reason_code not in ('refused', 'waiting_for_approval') and next_look_at < never() and since < ?
group by all order by n_values desc limit 20
"""


@dg.asset_check(asset=snapshot, description="No system refuses a write that nobody has mended yet.")
def nothing_is_refused(cycle: dg.ResourceParam[CycleRun]) -> dg.AssetCheckResult:
    """Show what is refused, by cause."""
    with cycle.looking() as warehouse, warehouse.reading() as connection:
        n_rows = scalar(connection, "select count(*) from ledger.sync_errors where state <> 'resolved'")
        causes = counted(connection, _REFUSED)
    return dg.AssetCheckResult(
        passed=not n_rows,
        severity=_WARN,
        metadata={
            "rows": n_rows,
            "preview": causes,
            "next step": "`dynsync errors` shows records, values and what to do.",
        },
    )


_WARN = dg.AssetCheckSeverity.WARN
_REFUSED = """
select record_type, operation, direction, field, code, state, count(*) as n_errors
from ledger.sync_errors where state <> 'resolved' group by all order by n_errors desc, 1, 2, 3, 4, 5 limit 20
"""

CHECKS = [
    edits_arrive_within_an_hour,
    nothing_is_refused,
    one_link_per_person_and_record,
    unsettled_has_reason_and_next_look,
    nothing_lost,
    everything_was_written,
    feeds_tell_everything,
    snapshot_holds_everybody,
]


def _offences(cycle: CycleRun, name: str) -> Offences:
    with cycle.looking() as warehouse, warehouse.reading() as connection:
        return find_offences(connection, name)


def _result(offences: Offences) -> dg.AssetCheckResult:
    metadata: dict[str, int | dg.MarkdownMetadataValue] = {"rows": offences.n_rows}
    if offences.shown:
        metadata["first rows"] = dg.MetadataValue.md("\n".join(f"- {offence}" for offence in offences.shown))
    return dg.AssetCheckResult(passed=not offences.n_rows, metadata=metadata)
