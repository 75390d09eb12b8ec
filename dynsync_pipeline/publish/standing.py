"""How the sync stands, by the tables of the snapshot: what `dynsync status` tells, as rows that hold whenever they are asked for.

A part is one query over published tables. Who has the snapshot at hand asks them there. A cycle asks them, too: those over what
moves in every cycle each time, the others of a snapshot that it is about to swap in; `status.json` tells the rows, so that who
looks at the status opens no database. Not here: what is made of them at a moment (`look/status.py`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

    from dynsync_pipeline.publish.table import PublishedTable

Row = dict[str, Any]
Standing = dict[str, list[Row]]
"""The rows of each part by its name, by column name; times UTC without zone."""

CAUSES = """
select
    approval_id, any_value(cause) as cause, any_value(cause_name) as cause_name, any_value(record_type) as record_type,
    any_value(direction) as direction, max(n_people) as n_people, count(*) as n_values, min(asked_at) as asked_at
from {table}
where approved_at is null
group by approval_id
order by n_people desc, approval_id
"""
"""What waits until somebody approves it, a row a cause, the one that reaches most first; of approvals, or of a table like it."""


def read_standing(connection: duckdb.DuckDBPyConnection, at: datetime) -> Standing:
    """All parts, of the snapshot whose tables are at hand, for whoever asks at `at` (UTC without zone) or later."""
    return _asked(connection, {**_OF_SNAPSHOT, **_MOVING}, at)


def standing_of_snapshot(connection: duckdb.DuckDBPyConnection, at: datetime) -> Standing:
    """The parts that stay as they are until the next swap, likewise."""
    return _asked(connection, _OF_SNAPSHOT, at)


def moving_standing(connection: duckdb.DuckDBPyConnection, tables: Iterable[PublishedTable], at: datetime) -> Standing:
    """The parts that move in every cycle, of the working file; `tables`: all that are published."""
    selects = {table.name: table.select for table in tables}
    queries = {}
    for name, query in _MOVING.items():
        used = (f"{each} as ({selects[each]})" for each in _TABLES if each in query)
        queries[name] = f"with {', '.join(used)} {query}"
    return _asked(connection, queries, at)


def typed(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Rows as JSON has them, with times as times."""
    return [{name: _value(name, value) for name, value in row.items()} for row in rows]


def _value(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name.endswith(("_at", "_since")) and value is not None else value


def _asked(connection: duckdb.DuckDBPyConnection, queries: Mapping[str, str], at: datetime) -> Standing:
    return {name: _rows(connection, query.replace("$at", f"timestamp '{at}'")) for name, query in queries.items()}


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    found = connection.execute(query)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


# Of the snapshot itself, and not of temporary tables that a cycle or an audit gave such a name.
_BACKLOG = """
with unlike as materialized (
    select u.*, f.type
    from main.unsettled u left join main.field_map f on f.record_type = u.record_type and f.field = u.field
),
theirs as materialized (  -- fetched by their row numbers (`warehouse/rows_of.py`)
    from main.base where rowid in (
        select rowid from main.base where person_id_marketo in (select person_id_marketo from unlike)
    )
),
agreed as (
    select person_id_marketo, field, value
    from (
        unpivot (
            select * exclude (fields_without_base), null::varchar as "(nothing)" from theirs  -- every field may be parked
        ) on columns(* exclude (person_id_marketo)) into name field value value
    )
),
sides as (
    select
        u.*,
        -- Without a base a blank is no edit (R42). Null and false are one value for booleans, as Marketo reads a null back
        -- as false.
        case when not coalesce(list_contains(b.fields_without_base, u.field), false) then a.value end as last_agreed,
        case when u.type = 'boolean' then coalesce(last_agreed, 'false') else last_agreed end as agreed
    from unlike u
    left join theirs b on b.person_id_marketo = u.person_id_marketo
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
# By clock hour: that of the last full one is asked for, which is this one an hour later.
_SYNCED = """
select date_trunc('hour', changed_at) as hour_at, record_type as object, direction, count(distinct record_id_dynamics) as n
from main.changes where changed_at >= date_trunc('hour', $at) - interval 1 hour group by all
union all
select date_trunc('hour', changed_at), 'account', 'to_marketo', count(distinct account_id_dynamics)
from main.account_changes where changed_at >= date_trunc('hour', $at) - interval 1 hour group by all
"""
_OPEN_ERRORS = (
    "select state, count(*) as n from main.sync_errors where state <> 'resolved' group by state order by state"
)
_STALE = "select record_type, count(*) as n from main.people where is_stale group by all order by all"
# By hour: of a week of cycles that each find something there are few rows.
_FINDINGS = """
select finding_code, finding, date_trunc('hour', found_at) as hour_at, max(found_at) as last_found_at, count(*) as n
from main.audit_findings where found_at > $at - interval 7 day
group by all order by finding_code, hour_at
"""
_OF_SNAPSHOT = {
    "backlog": _BACKLOG,
    "synced": _SYNCED,
    "open_errors": _OPEN_ERRORS,
    "parked_fields": "from main.parked_fields order by record_type, field",
    "approvals": CAUSES.format(table="main.approvals"),
    "stale": _STALE,
    "back_fills": "from main.back_fills where ended_at is null order by back_fill_id desc, record_type",
    "findings": _FINDINGS,
}

_CYCLE = (
    "select cycle_id, started_at, ended_at, status, message, n_waiting, "
    "extract(epoch from ended_at - started_at) as duration_s from cycles where {chosen} order by cycle_id desc limit 1"
)
# By minute: of cycles that follow each other closely there are many in a day.
_CALLS = """
select max(called_at) as called_at, sum(dynamics)::bigint as dynamics, sum(marketo)::bigint as marketo
from (
    select started_at as called_at, n_calls_dynamics as dynamics, n_calls_marketo as marketo from cycles
    union all
    select
        called_at, case system when 'dynamics' then n_calls else 0 end, case system when 'marketo' then n_calls else 0 end
    from calls_between
)
where called_at > $at - interval 24 hour
group by date_trunc('minute', called_at) order by called_at
"""
_BACKLOG_HOURS = """
select hour_at, sum(n_last)::bigint as n_last
from backlog_hours where hour_at >= (select max(hour_at) - interval 6 hour from backlog_hours)
group by hour_at order by hour_at
"""
_MOVING = {
    "last_cycle": _CYCLE.format(chosen="ended_at is not null"),
    "last_success": _CYCLE.format(chosen="is_whole"),
    "calls": _CALLS,
    "budget": "from budget_days where ends_at > $at order by system",
    "cursors": "from cursors",
    "backlog_hours": _BACKLOG_HOURS,
}
_TABLES = ("cycles", "calls_between", "budget_days", "cursors", "backlog_hours")
PARTS = (*_OF_SNAPSHOT, *_MOVING)
LAYOUT = zlib.crc32(
    repr((_OF_SNAPSHOT, _MOVING)).encode()
)  # of the rows that these queries make; others may lack a column
