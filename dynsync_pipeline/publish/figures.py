"""The figures that `status.json` tells beside its tables, for `status.html` and for monitoring: counts, fields, sentences.

Selects over the working file. None reads more than a few days of a ledger, so that a cycle without changes stays as cheap as
it is. No value of a record is among them; accounts that reached their people are named.
Not here: the files (`status_file.py`, `status_page.py`, `metrics.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import duckdb

from dynsync_pipeline import __version__
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.publish.standing import Row
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.pause import read_pause

MOST_CYCLES = 60
MOST_ROWS = 50  # of what is listed
WEEK = timedelta(days=7)
MONTH = timedelta(days=30)


def read_figures(
    connection: duckdb.DuckDBPyConnection, settings: Settings, fields: FieldMap, at: datetime
) -> dict[str, Any]:
    """Everything, as of `at` (UTC without zone), by name; lists have a row by column name each."""
    pause = read_pause(settings.data_dir)
    return {
        "told_at": at,
        "version": __version__,
        "installation": urlsplit(settings.dynamics_url).hostname or str(settings.data_dir.resolve()),
        "mode": settings.mode,
        "paused": str(pause) if pause else None,
        "recent_cycles": _rows(connection, _CYCLES),
        **_rows(connection, _LAST_SUCCESS)[0],
        "lag": _rows(connection, _LAG),
        "backlog_by_hour": _rows(connection, _BACKLOG),
        "collided": _rows(connection, _COLLIDED, [at - WEEK]),
        "refused": _rows(connection, _REFUSED),
        "budgets": _budgets(connection, settings, at),
        "waiting_for_people": _rows(connection, _WAITING_FOR_PEOPLE)[0],
        "schema": _rows(connection, _SCHEMA, [at - MONTH]),
        "parked": _rows(connection, _PARKED),
        "fanned_out": _named(connection, fields, _rows(connection, _FANNED_OUT, [at - WEEK])),
        "size_bytes": {name: _size(file) for name, file in _files(settings).items()},
    }


def _rows(connection: duckdb.DuckDBPyConnection, query: str, values: list[Any] | None = None) -> list[Row]:
    found = connection.execute(query, values or [])
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


_CYCLES = f"""
select cycle_id, started_at, ended_at, status, failure_code, message, is_whole, n_people_created, n_people_updated,
    n_companies_written, n_records_updated, n_collisions, n_refused, n_calls_dynamics, n_calls_marketo
from ledger.cycles order by cycle_id desc limit {MOST_CYCLES}
"""
# However many have failed since, and are all that is listed.
_LAST_SUCCESS = "select max(ended_at) as last_success_at from ledger.cycles where is_whole"
# What a plan holds and nobody has answered for is yet to be written. An account, contact or lead goes to Marketo, and
# contacts and leads go to Dynamics as well.
_LAG = """
with waiting as (
    select record_type, case system when 'marketo' then 'to_marketo' else 'to_dynamics' end as direction,
        count(distinct dynamics_id) as n
    from reconcile.operations anti join reconcile.receipts using (operation_id) group by all
),
refused as (
    select record_type, direction, count(distinct dynamics_id) as n, min(happened_at) as oldest_at
    from ledger.sync_errors where state <> 'resolved' and record_type in ('account', 'contact', 'lead') group by all
)
select d.object, d.direction, c.moved_at as read_at, coalesce(w.n, 0) as n_waiting, coalesce(r.n, 0) as n_refused, r.oldest_at
from (values
    (1, 'account', 'to_marketo', 'dynamics_accounts'), (2, 'contact', 'to_marketo', 'dynamics_contacts'),
    (3, 'lead', 'to_marketo', 'dynamics_leads'), (4, 'contact', 'to_dynamics', 'marketo_people'),
    (5, 'lead', 'to_dynamics', 'marketo_people')
) as d(place, object, direction, stream)
join state.cursors c on c.stream = d.stream
left join waiting w on w.record_type = d.object and w.direction = d.direction
left join refused r on r.record_type = d.object and r.direction = d.direction
order by d.place
"""
_BACKLOG = "select hour_at, object, n_least, n_most, n_last from ledger.backlog_hours order by hour_at, object"
_COLLIDED = """
with counted as (
    select record_type, field, winner, count(*) as n from ledger.collisions where settled_at > ? group by all
)
from counted order by sum(n) over (partition by field) desc, field, record_type, winner
"""
_REFUSED = f"""
select record_type as object, operation, direction, field, code, count(*) as n, arg_max(message, last_seen_at) as message,
    min(happened_at) as since, count(*) filter (where state = 'quarantined') as n_quarantined
from ledger.sync_errors where state <> 'resolved'
group by all order by n desc, object, operation, direction, field, code limit {MOST_ROWS}
"""
_SCHEMA = f"""
select seen_at, system, record_type, name as column_name, s.code as change_code, old_value, new_value, sentence as meaning
from ledger.schema_changes s left join codes on codes.code = s.code
where seen_at > ? order by entry_id desc limit {MOST_ROWS}
"""
_PARKED = (
    "select record_type, marketo_field as field, reason from state.parked_fields order by record_type, marketo_field"
)
_FANNED_OUT = f"""
select cycle_id, min(changed_at) as changed_at, account_id, string_agg(field, ', ' order by field) as fields,
    max(n_contacts) as n_contacts, bool_or(activities_suppressed) as activities_suppressed
from ledger.account_changes where changed_at > ?
group by cycle_id, account_id order by cycle_id desc, n_contacts desc, account_id limit {MOST_ROWS}
"""


def _named(connection: duckdb.DuckDBPyConnection, fields: FieldMap, accounts: list[Row]) -> list[Row]:
    """The accounts with their names, where the field map has a column for these."""
    mapped = [field for field in fields.of(RecordType.ACCOUNT) if field.marketo_field == "company"]
    if not accounts or not mapped:
        return [row | {"name": None} for row in accounts]
    table = TABLES[RecordType.ACCOUNT]
    names = dict(
        connection.execute(
            f"select {table.id_column}, {quoted(mapped[0].dynamics_column)} from {table.mirror} "
            f"where {table.id_column} in (select unnest(?))",
            [[row["account_id"] for row in accounts]],
        ).fetchall()
    )
    return [row | {"name": names.get(row["account_id"])} for row in accounts]


def _budgets(connection: duckdb.DuckDBPyConnection, settings: Settings, at: datetime) -> list[Row]:
    """Calls of the last 24 hours, how many these may have, and the forecast of the system's own day, by system."""
    allowed = {"dynamics": settings.dynamics_calls_per_day, "marketo": settings.marketo_calls_per_day}
    days = {row["system"]: row for row in _rows(connection, _DAYS, [at])}
    used = _rows(connection, _CALLS, [at - timedelta(days=1)])
    return [row | {"n_allowed": allowed[row["system"]], "day": days.get(row["system"])} for row in used]


_WAITING_FOR_PEOPLE = """
select (select count(*) from state.reviews where choice is null) as n_reviews,
    (select count(*) from state.approvals where approved_at is null) as n_approvals,
    (select count(*) from ledger.merge_proposals where state = 'open') as n_merges
"""
_DAYS = "select system, ends_at, n_used, n_forecast from ledger.budget_days where ends_at > ? order by ends_at"


_CALLS = """
select system, coalesce(sum(n_calls), 0)::bigint as n_used
from (
    select 'dynamics' as system, n_calls_dynamics as n_calls from ledger.cycles where started_at > $1
    union all
    select 'marketo', n_calls_marketo from ledger.cycles where started_at > $1
    union all
    select system, n_calls from ledger.calls_between where called_at > $1
)
group by system order by system
"""


def _files(settings: Settings) -> dict[str, Any]:
    return {"working_file": settings.working_file, "snapshot": settings.snapshot_file}


def _size(file: Any) -> int:
    """The size of a file in bytes; 0 where it is not there."""
    try:
        return int(file.stat().st_size)
    except OSError:
        return 0
