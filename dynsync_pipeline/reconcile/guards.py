"""What a plan is held against before any write: what is too unlikely to act on stops the cycle (docs/design.md#guards).

Not here: the plan itself (`plan.py`), the rules (`sql/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import duckdb

from dynsync_pipeline.errors import GuardStopped
from dynsync_pipeline.model.records import FILTER_COLUMN


@dataclass(frozen=True)
class Limits:
    """What a plan may not exceed; `first_load` is what an operator allowed for the first one.

    `largest_share` is the part of all links that one plan may delete, clear or collide; small numbers always pass.
    `is_shadow`: nobody is created, so that it stops nothing how many would be.
    """

    max_creates: int
    largest_share: float
    first_load: Literal["refuse", "create", "adopt"]
    is_shadow: bool = False


@dataclass(frozen=True)
class Before:
    """What the working file was like before the plan: whether nobody was linked by then, and how many links there were.

    `was_shadow`: no cycle has written yet since one in shadow.
    """

    is_first_load: bool
    n_links: int
    was_shadow: bool


def look_before(connection: duckdb.DuckDBPyConnection) -> Before:
    """What the guards need of the time before the plan.

    A first load is over with a whole cycle, once somebody was linked or decided on: of an empty system it proves nothing (R5).
    """
    n_whole = _count(connection, "select count(*) from ledger.cycles where is_whole")
    n_links = _count(connection, "select count(*) from state.links")
    n_known = n_links or _count(connection, _EVER_LINKED)
    was_shadow = _count(connection, _WAS_SHADOW) > 0
    return Before(is_first_load=was_shadow or not (n_whole and n_known), n_links=n_links, was_shadow=was_shadow)


def stop_before_read_again(connection: duckdb.DuckDBPyConnection) -> None:
    """What a backup knows is older than the world: both systems are read as a whole first. Raises: GuardStopped."""
    missing = [row[0] for row in connection.execute(_NOT_READ_AGAIN).fetchall()]
    if missing:
        raise GuardStopped(
            f"The working file came back from a backup, and not everything was read since: {', '.join(missing)}. "
            "Nothing was written.",
            next_step="Start the next cycle; it goes on reading.",
        )


_NOT_READ_AGAIN = """
select unnest(['dynamics_accounts', 'dynamics_contacts', 'dynamics_leads', 'marketo_people']) as stream
from state.restored where reread_at is null
except
select stream from state.cursors where is_loaded
order by stream
"""


def stop_on_doubled_links(connection: duckdb.DuckDBPyConnection) -> None:
    """A few are set aside; many mean that the working file is not what it was. Raises: GuardStopped."""
    n_doubled = _count(connection, "select count(*) from doubled")
    if n_doubled > SMALL_NUMBER:
        raise GuardStopped(
            f"{n_doubled:,} links of people or records that are linked more than once. Nothing was written.",
            next_step="Restore the working file from a backup, or start a new one: people are linked again by their keys.",
        )


def stop_on_lost_filters(connection: duckdb.DuckDBPyConnection, limits: Limits | None) -> None:
    """A filter column that is gone must not send those to Marketo whom it kept out on purpose (R87). Raises: GuardStopped.

    An operator who lets everything pass goes on without it. `limits` None: a later round, in which it turns nobody.
    """
    if limits is None:
        return
    if limits.largest_share >= 1:
        connection.execute("update state.lost_filters set is_given_up = true")
    lost = connection.execute(_LOST_FILTERS).fetchall()
    if lost:
        what = " and ".join(
            _LOST[fault_code].format(column=FILTER_COLUMN, record_type=kind) for kind, fault_code in lost
        )
        raise GuardStopped(
            f"{what}, so nobody knows which records are to stay out of the sync. Nothing was written.",
            next_step="Make the column again, or let the sync's user read it, and start the next cycle; set "
            "DYNSYNC_LARGEST_SHARE=1 for one cycle to let everybody in for good.",
        )


def stop_on_the_unlikely(
    connection: duckdb.DuckDBPyConnection, limits: Limits, before: Before, *, at: datetime
) -> None:
    """Hold a plan that was just made against `limits`; `at` is UTC without zone. Raises: GuardStopped.

    What somebody approved value by value (`sql/approvals.sql`) counts for none of them.
    """
    n_creates = _count(connection, "select count(*) from new_people where not is_approved")
    if limits.is_shadow:
        pass
    elif before.is_first_load:
        _stop_on_strangers(connection, limits, n_creates, is_after_shadow=before.was_shadow)
    elif n_creates > limits.max_creates:
        raise GuardStopped(
            f"This cycle would create {n_creates:,} people in Marketo, more than {limits.max_creates:,}. "
            "Nothing was written.",
            next_step="If that is what you want, raise DYNSYNC_MAX_CREATES and start the next cycle.",
        )
    if limits.largest_share < 1:
        _stop_on_emptied_filters(connection, limits)
        _stop_on_cleared_columns(connection, limits)
        _stop_on_mass_change(connection, limits, before.n_links)
    _stop_on_mass_absence(connection, limits, before.n_links, at)


def _stop_on_strangers(
    connection: duckdb.DuckDBPyConnection, limits: Limits, n_creates: int, *, is_after_shadow: bool
) -> None:
    """Whom a native sync created while this one was in shadow bears no key either, so that creations are decided on again."""
    strangers = _count(
        connection,
        "select count(*) from mirror.marketo_people "
        "where dynamics_contact_id is null and dynamics_lead_id is null and not is_deleted",
    )
    # Who cannot be read may be anybody; a window of a bulk export counts as one.
    strangers += _count(
        connection,
        "select count(*) from state.unread where record_type = 'person' and contact_id is null and lead_id is null",
    )
    if not n_creates or not strangers or limits.first_load == "create":
        return
    if limits.first_load == "refuse":
        raise GuardStopped(
            f"Marketo already holds {strangers:,} people without a Dynamics id, and this first load would create "
            f"{n_creates:,} more: people in both systems would stand twice (R5). Nothing was written.",
            next_step="Run `dynsync adopt` and set DYNSYNC_FIRST_LOAD=adopt to link those who are in both, or set "
            "DYNSYNC_FIRST_LOAD=create to create them all; then start the next cycle.",
        )
    undecided = _count(connection, _UNDECIDED if is_after_shadow else _UNDECIDED + _KNOWN_THEN)
    if undecided:
        raise GuardStopped(
            f"Nobody has decided yet what becomes of {undecided:,} contacts and leads in a Marketo that already holds "
            f"{strangers:,} people without a Dynamics id. Nothing was written.",
            next_step="Run `dynsync adopt`, review the file it writes, then run `dynsync adopt --apply FILE`.",
        )


def _stop_on_mass_change(connection: duckdb.DuckDBPyConnection, limits: Limits, n_links: int) -> None:
    """A side that comes back empty, or that a careless import went over, must not empty the other (docs/design.md#guards)."""
    for what, query in _MASS_CHANGES.items():
        most, n_found = _most(limits, n_links), _count(connection, query)
        if n_found > most and query == _DELETED:
            n_found -= _count(connection, _MERGED_LONG_AGO)
        if n_found > most:
            raise GuardStopped(
                f"This cycle saw {n_found:,} {what}, of {n_links:,} linked people. Nothing was written.",
                next_step=_IF_MEANT,
            )


def _stop_on_emptied_filters(connection: duckdb.DuckDBPyConnection, limits: Limits) -> None:
    """People say yes or no; emptied are filters by an import, or a column that was made anew. One alone passes (R87)."""
    for record_type, n_emptied, n_before in connection.execute(_EMPTIED_FILTERS).fetchall():
        if n_emptied > max(1, limits.largest_share * n_before):
            raise GuardStopped(
                f"This cycle saw {n_emptied:,} {record_type}s whose {FILTER_COLUMN} was emptied, of {n_before:,} that it kept "
                "out of the sync, and would let them in. Nothing was written.",
                next_step=f"Write what {FILTER_COLUMN} was to them again, and start the next cycle; or set "
                "DYNSYNC_LARGEST_SHARE=1 for one cycle to let them in.",
            )


def _stop_on_cleared_columns(connection: duckdb.DuckDBPyConnection, limits: Limits) -> None:
    """A column that few hold is as easily lost as one that all hold, so each is held against those who hold it."""
    for system, record_type, field, value_type, n_cleared in connection.execute(_CLEARED_COLUMNS).fetchall():
        # The field map lets no name pass that would need more than these quotes.
        holds = f"\"{field}\" = 'true'" if value_type == "boolean" else f'"{field}" is not null'
        if record_type == "account":
            query, values = f"select count(*) from state.company_values where {holds} and {_OF_ACCOUNTS}", []
        else:
            query = f"select count(*) from state.base_values where {holds} and record_type = coalesce(?, record_type)"
            values = [record_type]
        n_holders = _count(connection, query, *values)
        if n_cleared > _most(limits, n_holders):
            who = f"{record_type}s" if record_type else "people"
            raise GuardStopped(
                f"This cycle saw {n_cleared:,} {who} whose {field} was emptied in {system}, of {n_holders:,} that held a "
                "value. Nothing was written.",
                next_step=_IF_MEANT,
            )


def _stop_on_mass_absence(connection: duckdb.DuckDBPyConnection, limits: Limits, n_links: int, at: datetime) -> None:
    """Who is found gone by absence is found bit by bit, so these are counted over seven days (docs/design.md#guards).

    What an operator let pass is not counted again.
    """
    connection.execute("delete from state.found_absent where found_at <= ?", [at - ABSENCE_REMEMBERED])
    connection.execute(_SEEN_AGAIN)
    if limits.largest_share >= 1:
        connection.execute("delete from state.found_absent")
    n_found = _count(connection, "select count(*) from state.found_absent")
    if n_found > _most(limits, n_links):
        raise GuardStopped(
            f"In the last {ABSENCE_REMEMBERED.days} days {n_found:,} people or records were found gone of which no feed told, "
            f"of {n_links:,} linked people. Nothing was written.",
            next_step="If they are gone, set DYNSYNC_LARGEST_SHARE=1 for one cycle; else see whether the sync's users may "
            "still read everybody, and start the next cycle.",
        )


def _most(limits: Limits, n_all: int) -> float:
    """How many of `n_all` one cycle may change; small numbers always pass."""
    return max(SMALL_NUMBER, limits.largest_share * n_all)


def _count(connection: duckdb.DuckDBPyConnection, query: str, *values: str | None) -> int:
    return int(connection.execute(query, list(values)).fetchall()[0][0])


SMALL_NUMBER = 50
ABSENCE_REMEMBERED = timedelta(days=7)
_IF_MEANT = (
    "If that is what happened, set DYNSYNC_LARGEST_SHARE=1 for one cycle; else look at the system it came from, repair it, "
    "and start the next cycle."
)
_EVER_LINKED = "select (select count(*) from state.tombstones) + (select count(*) from state.adoption)"
_WAS_SHADOW = """
select count(*) from (select is_shadow from ledger.cycles where is_whole order by cycle_id desc limit 1) where is_shadow
"""
_UNDECIDED = """
select count(*) from new_people n
anti join state.adoption a on a.record_type = n.record_type and a.dynamics_id = n.dynamics_id
"""
# What existed when the last adoption was applied must have been decided on; later records are new business.
_KNOWN_THEN = """
where coalesce(n.createdon <= (select strftime(max(decided_at), '%Y-%m-%dT%H:%M:%SZ') from state.adoption), true)
"""
_SEEN_AGAIN = """
delete from state.found_absent
where (record_type = 'person' and suspect_id in (
        select person_id::varchar from mirror.marketo_people
        where not is_deleted and person_id in (select suspect_id::bigint from state.found_absent where record_type = 'person')))
   or (record_type, suspect_id) in (
        select (record_type, dynamics_id) from mirror.person_records
        where not is_deleted and dynamics_id in (select suspect_id from state.found_absent))
"""
_DELETED = "select count(*) from ended_links where side <> 'qualified'"
# They were merged before, and the sync only learns it now, as after an upgrade (R99).
_MERGED_LONG_AGO = """
select count(*)
from ended_links e
semi join mirror.merged_records m on m.record_type = e.record_type and m.dynamics_id = e.dynamics_id
join mirror.person_records r on r.record_type = e.record_type and r.dynamics_id = e.dynamics_id, this_cycle
where e.side <> 'qualified' and r.modifiedon < strftime(planned_at - interval 7 days, '%Y-%m-%dT%H:%M:%SZ')
"""
_MASS_CHANGES = {
    "people or records deleted": _DELETED,
    "people whose record the filter keeps out from now on": """
        select count(*) from filter_turns t join state.links l using (record_type, dynamics_id), this_cycle
        where not t.is_let_in and l.linked_at <> planned_at""",  # else they are linked anew, and were stale before
    "people or records with a field emptied": """
        select count(distinct (record_type, dynamics_id)) from planned_writes
        where action = 'update' and value is null and dynamics_column is not null and rule_code <> 'undo'
          and is_approved is distinct from true""",
    "people with a collision": """
        select count(distinct person_id) from field_outcomes
        where has_base and outcome in ('collision_dynamics_wins', 'collision_marketo_wins') and not is_approved""",
}
_LOST_FILTERS = "select record_type, fault_code from state.lost_filters where not is_given_up order by all"
_LOST = {
    "missing": "The column {column} of {record_type}s, which kept some of them out, is missing or no two-options column",
    "unreadable": "The sync's user may not read the column {column} of {record_type}s",
}
_EMPTIED_FILTERS = """
select record_type, count(*) filter (where is_emptied) as n_emptied,
    (select count(*) from state.filtered_out f where f.record_type = t.record_type)
    + count(*) filter (where is_let_in) - count(*) filter (where not is_let_in) as n_before
from filter_turns t
group by record_type
having n_emptied > 1
order by all
"""
# Columns that were emptied in `system` for more than a small number: in Dynamics one of a table, in Marketo a field of people
# of either type. A yes that becomes a no is emptied, for a boolean that is lost reads as no (R45).
_CLEARED_COLUMNS = f"""
with cleared as (
    select if(system = 'dynamics', 'Marketo', 'Dynamics') as system,
        if(system = 'dynamics', null, record_type) as record_type, field, type
    from planned_writes
    where action <> 'create' and person_id is not null and dynamics_column is not null and rule_code <> 'undo'
      and (value is null or type = 'boolean' and value = 'false') and is_approved is distinct from true
    union all
    select 'Dynamics', 'account', d.field, f.type
    from company_differences d
    join reconcile.fields f on f.record_type = 'account' and f.field = d.field
    where d.old_value is not null and (d.new_value is null or f.type = 'boolean' and d.new_value = 'false')
      and (d.account_id, d.field) not in (select (dynamics_id, field) from state.approvals where record_type = 'account')
)
select system, record_type, field, type, count(*) as n_cleared
from cleared
group by all
having count(*) > {SMALL_NUMBER}
order by all
"""
_OF_ACCOUNTS = "external_company_id in (select accountid from mirror.dynamics_accounts)"
