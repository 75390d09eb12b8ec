"""When a field was edited on either side, as far as that can be seen; kept for fields that the newest edit decides.

Dynamics tells when a record was changed and not which of its fields: one was edited between the last sighting with the old
value and the first with the new one. Marketo's feed tells each. Not here: which edit wins (`reconcile/sql/field_outcomes.sql`).
"""

from __future__ import annotations

import duckdb

from dynsync_pipeline.model.field_map import Collision
from dynsync_pipeline.model.records import Table
from dynsync_pipeline.warehouse.columns import quoted


def note_dynamics_edits(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Note between which times such fields of linked records changed; call it before `newest` replaces rows of the mirror."""
    rows = connection.execute(
        "select field, dynamics_column from reconcile.fields where record_type = ? and collision = ?",
        [table.record_type, Collision.NEWEST],
    ).fetchall()
    for field, column in rows:
        connection.execute(
            "create or replace temp table edited as "
            f"select l.record_type, l.dynamics_id, try_cast(m.modifiedon as timestamp) as after_at, "
            "try_cast(n.modifiedon as timestamp) as until_at "
            f"from newest n join {table.mirror} m using ({table.id_column}) "
            f"join state.links l on l.record_type = '{table.record_type}' and l.dynamics_id = n.{table.id_column} "
            f"where not n.is_deleted and n.{quoted(column)} is distinct from m.{quoted(column)}"
        )
        connection.execute(
            "delete from state.dynamics_edits d using edited e "
            "where d.record_type = e.record_type and d.dynamics_id = e.dynamics_id and d.field = ?",
            [field],
        )
        connection.execute(
            "insert into state.dynamics_edits (record_type, dynamics_id, field, after_at, until_at) "
            "select record_type, dynamics_id, ?, after_at, until_at from edited",
            [field],
        )


def follows_edits(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether any field is decided by the newest edit."""
    query = "select 1 from reconcile.fields where collision = ? limit 1"
    return bool(connection.execute(query, [Collision.NEWEST]).fetchall())
