"""How many records are not settled, by hour, for five days (R123). Not here: what of them is told (`look/backlog.py`)."""

from __future__ import annotations

from datetime import datetime

import duckdb


def note_backlog(connection: duckdb.DuckDBPyConnection, at: datetime) -> None:
    """Count what is not settled into the hour of `at` (UTC without zone); a cycle does when it has planned and when it ends."""
    connection.execute(_NOTED, [at])
    connection.execute(_FORGOTTEN, [at])


_NOTED = """
merge into ledger.backlog_hours h
using (
    select
        date_trunc('hour', $1::timestamp) as hour_at,
        o.object,
        count(distinct coalesce(u.person_id::varchar, u.dynamics_id)) as n
    from (values ('account'), ('contact'), ('lead')) as o(object)
    left join state.unsettled u on u.record_type = o.object
    group by o.object
) b
on h.hour_at = b.hour_at and h.object = b.object
when matched then update set
    n_looks = h.n_looks + 1, n_sum = h.n_sum + b.n, n_least = least(h.n_least, b.n),
    n_most = greatest(h.n_most, b.n), n_last = b.n
when not matched then insert (hour_at, object, n_looks, n_sum, n_least, n_most, n_last)
    values (b.hour_at, b.object, 1, b.n, b.n, b.n, b.n)
"""
# An hour that is yet to come is of a clock that was set back since.
_FORGOTTEN = """
delete from ledger.backlog_hours
where hour_at <= date_trunc('hour', $1::timestamp) - interval 5 day or hour_at > $1::timestamp
"""
