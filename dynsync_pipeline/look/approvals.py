"""What waits until somebody approves it: `approvals` of the snapshot. Not here: approving (`warehouse/approvals.py`)."""

from __future__ import annotations

import duckdb

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.publish.standing import CAUSES


def read_causes(connection: duckdb.DuckDBPyConnection, table: str = "approvals") -> list[Row]:
    """One row per cause with values that nobody has approved, the one that reaches most first; of the snapshot, or of the
    working file's `table`.

    `approval_id`, `cause` (account, field or create), `cause_name`, `record_type`, `direction`, `n_people` whom it reached
    when it was asked, `n_values` that wait still, `asked_at`.
    """
    return select(connection, CAUSES.format(table=table))


def read_values(connection: duckdb.DuckDBPyConnection, approval_id: int | None = None) -> list[Row]:
    """The values of this number that nobody has approved, or of all numbers, in the columns of `approvals`."""
    return select(connection, _VALUES, [approval_id])


_VALUES = """
from approvals
where approved_at is null and approval_id = coalesce($1, approval_id)
order by approval_id, record_type, record_id_dynamics, field
"""
