"""How the sync is doing (R118, R119, R123): selects over the snapshot. Not here: how it is shown (`cli/status.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.look.approvals import read_causes
from dynsync_pipeline.look.back_fills import read_back_fills
from dynsync_pipeline.look.reading import Row, select

# Days that a system keeps what a reader has not seen yet: Dataverse its change tracking
# (organization.expirechangetrackingindays, 7 unless changed), Marketo its change feed and its list of deleted people.
CURSOR_LIVES = (
    ("Dynamics accounts", "dynamics_accounts", 7),
    ("Dynamics contacts", "dynamics_contacts", 7),
    ("Dynamics leads", "dynamics_leads", 7),
    ("Marketo changes", "marketo_people", 90),
    ("Marketo deletions", "marketo_people", 14),
)
DAY = timedelta(hours=24)


@dataclass(frozen=True)
class Status:
    """Everything `dynsync status` tells; rows are by column name, times UTC without zone.

    backlog: one row per object (account, contact, lead; person is the Marketo side) with `n_inserts`,
    `oldest_insert_at`, `n_updates`, `oldest_update_at`. An insert is a Dynamics record without a person in Marketo; an
    update is a linked record or person with an edit on its own side that is not settled.
    approvals: what waits until somebody approves it, as `read_causes` has it.
    stale: how many people the filter keeps apart from their record, by its type (R90).
    back_fills: those that go on, as `read_back_fills` has them (R102).
    findings: what census and audit found in the last seven days, `n` by `finding_code`, `finding` and `last_found_at`.
    budget: the day of each system, as `budget_days` has it: calls and megabytes, used and forecast to its midnight (R126).
    last_hour: records synced per object and direction in the last full clock hour, which began at `hour_at`.
    """

    backlog: list[Row]
    hour_at: datetime
    last_hour: list[Row]
    last_cycle: Row | None
    last_success: Row | None
    calls: dict[str, int]
    budget: list[Row]
    cursors: list[Row]
    open_errors: dict[str, int]
    parked_fields: list[Row]
    approvals: list[Row]
    stale: dict[str, int]
    back_fills: list[Row]
    findings: list[Row]


def read_status(connection: duckdb.DuckDBPyConnection, at: datetime) -> Status:
    """The status at `at`, UTC without zone."""
    hour_at = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    return Status(
        backlog=select(connection, _BACKLOG),
        hour_at=hour_at,
        last_hour=select(connection, _LAST_HOUR, [hour_at, hour_at + timedelta(hours=1)]),
        last_cycle=_cycle(connection, "ended_at is not null"),
        last_success=_cycle(connection, "is_whole"),
        calls=_calls(connection, at),
        budget=select(connection, "from budget_days where ends_at > ? order by system", [at]),
        cursors=read_cursors(connection, at),
        open_errors={
            row["state"]: row["n"]
            for row in select(
                connection,
                "select state, count(*) as n from sync_errors where state <> 'resolved' group by state order by state",
            )
        },
        parked_fields=select(connection, "from parked_fields order by record_type, field"),
        approvals=read_causes(connection),
        stale={
            row["record_type"]: row["n"]
            for row in select(
                connection, "select record_type, count(*) as n from people where is_stale group by all order by all"
            )
        },
        back_fills=read_back_fills(connection, is_open=True),
        findings=select(
            connection,
            "select finding_code, finding, count(*) as n, max(found_at) as last_found_at from audit_findings "
            "where found_at > ? group by all order by finding_code",
            [at - timedelta(days=7)],
        ),
    )


_BACKLOG = """
with agreed as (
    select person_id_marketo, field, value
    from (
        unpivot (
            select * exclude (fields_without_base), null::varchar as "(nothing)" from base  -- every field may be parked
            where person_id_marketo in (select person_id_marketo from unsettled)
        ) on columns(* exclude (person_id_marketo)) into name field value value
    )
),
sides as (
    select
        u.*,
        -- Without a base a blank is no edit (R42). Null and false are one value for booleans, as Marketo reads a null back
        -- as false.
        case when not coalesce(list_contains(b.fields_without_base, u.field), false) then a.value end as last_agreed,
        case when f.type = 'boolean' then coalesce(last_agreed, 'false') else last_agreed end as agreed
    from unsettled u
    left join field_map f on f.record_type = u.record_type and f.field = u.field
    left join base b on b.person_id_marketo = u.person_id_marketo
    left join agreed a on a.person_id_marketo = u.person_id_marketo and a.field = u.field
),
counted as (
    select record_type as object, 'insert' as kind, record_id_dynamics as key, since
    from sides where person_id_marketo is null and record_type <> 'account'
    union all
    select record_type, 'update', record_id_dynamics, since
    from sides
    where record_type = 'account'  -- a company is written by its key, new or not
       or (person_id_marketo is not null and dynamics_value is distinct from agreed)
    union all
    select 'person', 'update', person_id_marketo::varchar, since
    from sides where person_id_marketo is not null and marketo_value is distinct from agreed
)
select
    o.object,
    count(distinct key) filter (where kind = 'insert') as n_inserts,
    min(since) filter (where kind = 'insert') as oldest_insert_at,
    count(distinct key) filter (where kind = 'update') as n_updates,
    min(since) filter (where kind = 'update') as oldest_update_at
from (values (1, 'account'), (2, 'contact'), (3, 'lead'), (4, 'person')) as o(place, object)
left join counted using (object)
group by o.place, o.object
order by o.place
"""

_LAST_HOUR = """
with synced as (
    select record_type, direction, count(distinct record_id_dynamics) as n
    from changes where changed_at >= $1 and changed_at < $2 group by all
    union all
    select 'account', 'to_marketo', count(distinct account_id_dynamics)
    from account_changes where changed_at >= $1 and changed_at < $2
)
select
    o.object,
    coalesce(max(n) filter (where direction = 'to_marketo'), 0) as n_to_marketo,
    coalesce(max(n) filter (where direction = 'to_dynamics'), 0) as n_to_dynamics
from (values (1, 'account'), (2, 'contact'), (3, 'lead')) as o(place, object)
left join synced on synced.record_type = o.object
group by o.place, o.object
order by o.place
"""


def _cycle(connection: duckdb.DuckDBPyConnection, chosen: str) -> Row | None:
    found = select(
        connection,
        "select cycle_id, started_at, ended_at, status, message, n_waiting, "
        "extract(epoch from ended_at - started_at) as duration_s "
        f"from cycles where {chosen} order by cycle_id desc limit 1",
    )
    return found[0] if found else None


def _calls(connection: duckdb.DuckDBPyConnection, at: datetime) -> dict[str, int]:
    row = select(
        connection,
        "select coalesce(sum(n_calls_dynamics), 0)::bigint as dynamics, "
        "coalesce(sum(n_calls_marketo), 0)::bigint as marketo "
        "from (select started_at as called_at, n_calls_dynamics, n_calls_marketo from cycles union all by name "
        "select called_at, case system when 'dynamics' then n_calls end as n_calls_dynamics, "
        "case system when 'marketo' then n_calls end as n_calls_marketo from calls_between) "
        "where called_at > ? and called_at < ?",
        [at - DAY, at + DAY],  # as the budget counts them, which trusts no clock that was far ahead
    )[0]
    return {system: int(n_calls) for system, n_calls in row.items()}


def read_cursors(connection: duckdb.DuckDBPyConnection, at: datetime) -> list[Row]:
    """When each reading last went on, when its system forgets where, and why it waits where it does."""
    moved = {row["stream"]: row for row in select(connection, "from cursors")}
    return [
        {
            "what": what,
            "last_read_at": moved[stream]["moved_at"],
            "dies_at": (dies_at := min(moved[stream]["moved_at"], at) + timedelta(days=days)),
            "days_left": round((dies_at - at) / timedelta(days=1), 1),
            "is_loaded": moved[stream]["is_loaded"],
            "waits_because": moved[stream]["waits_because"],
        }
        for what, stream, days in CURSOR_LIVES
        if stream in moved
    ]
