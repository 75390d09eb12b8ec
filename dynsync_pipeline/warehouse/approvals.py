"""Approving what waits in `state.approvals`: the next cycle looks at it, and writes what is still the same.

Not here: what is put there, and what a word leads to (`reconcile/sql/approvals.sql`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import duckdb

BY_LIMIT = "DYNSYNC_ASK_ABOVE"  # who approved what is above the limit no more
# What tells one value that waits, as the snapshot shows it, from all others.
VALUE = ("record_type", "dynamics_id", "field", "direction", "old_value", "new_value")


def waiting_causes(connection: duckdb.DuckDBPyConnection) -> dict[int, int]:
    """How many values of each number nobody has approved."""
    rows = connection.execute(
        "select approval_id, count(*) from state.approvals where approved_at is null group by all order by all"
    ).fetchall()
    return dict(rows)


def waiting_values(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """The values that nobody has approved: the number, and what stands in `VALUE`."""
    return connection.execute(
        f"select approval_id, {', '.join(VALUE)} from state.approvals where approved_at is null"
    ).fetchall()


def approve_causes(
    connection: duckdb.DuckDBPyConnection, approval_ids: Collection[int] | None, by: str, at: datetime
) -> int:
    """Approve all values of these numbers, None being all that wait; returns how many. `at` is UTC without zone."""
    return _approve(
        connection, "$ids::bigint[] is null or list_contains($ids::bigint[], approval_id)", by, at, ids=approval_ids
    )


def approve_values(
    connection: duckdb.DuckDBPyConnection, values: Collection[tuple[str | None, ...]], by: str, at: datetime
) -> int:
    """Approve these values, each a tuple in the order of `VALUE`; returns how many of them wait. `at` is UTC without zone."""
    rows = [dict(zip(VALUE, value, strict=True)) for value in values]
    import pyarrow as pa  # `dynsync status` comes by here, and does not need it

    connection.register("chosen_values", pa.Table.from_pylist(rows, schema=pa.schema((n, pa.string()) for n in VALUE)))
    same = " and ".join(f"v.{name} is not distinct from a.{name}" for name in VALUE)
    n_approved = _approve(connection, f"exists (from chosen_values v where {same})", by, at)
    connection.unregister("chosen_values")
    return n_approved


def approve_within(connection: duckdb.DuckDBPyConnection, ask_above: int | None, at: datetime) -> None:
    """Approve what is above the limit no more, because somebody raised it or took it away (None). `at` is UTC without zone."""
    _approve(connection, "coalesce(n_people <= $limit::bigint, true)", BY_LIMIT, at, limit=ask_above)


def _approve(connection: duckdb.DuckDBPyConnection, which: str, by: str, at: datetime, **values: object) -> int:
    connection.execute(
        "create or replace temp table approved_keys as select record_type, dynamics_id, field, a.rowid as place "
        f"from state.approvals a where approved_at is null and ({which})",
        {name: list(v) if isinstance(v, Collection) else v for name, v in values.items()},
    )
    ((n_approved,),) = connection.execute("select count(*) from approved_keys").fetchall()
    if n_approved:
        connection.execute(
            "update state.approvals set approved_at = ?, approved_by = ? where rowid in (select place from approved_keys)",
            [at, by],
        )
        connection.execute(_DUE, [at])
    return int(n_approved)


# An account, and a record without a person, wait as a whole, and so without a field.
_DUE = """
update state.unsettled u set next_look_at = ?
from (
    select distinct record_type, dynamics_id, case when record_type <> 'account' then field end as field from approved_keys
) k
where k.record_type = u.record_type and k.dynamics_id = u.dynamics_id and k.field is not distinct from u.field
  and u.reason_code = 'waiting_for_approval'
"""
