"""Decimal places of a column that changed in Dynamics: what agreed as it was rounded then, agrees until somebody edits it (R45).

With more places, digits that Marketo always held come into sight; with fewer, some go. Neither is an edit by anybody.
Not here: reading the places (`extract/schema.py`), comparing in them (`views.py`).
"""

from __future__ import annotations

import duckdb

from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import quoted


def follow_places(connection: duckdb.DuckDBPyConnection) -> None:
    """Accept what came into sight as a standing difference; call it when `state.columns` is written anew, in the same
    transaction, with what it held before in `columns_before`. Costs a look at everybody, for a field whose column has other
    places now.
    """
    changed = connection.execute(
        "select f.record_type, f.field, f.dynamics_column, b.precision, c.precision from reconcile.fields f "
        "join columns_before b on b.system = 'dynamics' and b.record_type = f.record_type and b.name = f.dynamics_column "
        "join state.columns c on c.system = 'dynamics' and c.record_type = f.record_type and c.name = f.dynamics_column "
        "where f.type = 'decimal' and f.record_type <> 'account' and not f.is_on_company and c.precision <> b.precision"
    ).fetchall()
    for record_type, field, column, before, after in changed:
        table = TABLES[RecordType(record_type)]
        connection.execute(
            "create or replace temp table seen_anew as "
            f"select l.person_id, rounded(d.{quoted(column)}, {after}) as dynamics_value, "
            f"rounded(m.{quoted(field)}, {after}) as marketo_value, "
            f"rounded(d.{quoted(column)}, {before}) as dynamics_before, rounded(m.{quoted(field)}, {before}) as marketo_before "
            f"from state.links l join {table.mirror} d on d.{table.id_column} = l.dynamics_id "
            f"join mirror.marketo_people m using (person_id) where l.record_type = '{record_type}'"
        )
        connection.execute(_MOVED, [field])
        connection.execute(_ACCEPTED, [field])


_MOVED = """
update state.standing_differences s
set dynamics_value = n.dynamics_value, marketo_value = n.marketo_value
from seen_anew n
where s.person_id = n.person_id and s.field = ?
  and s.dynamics_value is not distinct from n.dynamics_before and s.marketo_value is not distinct from n.marketo_before
"""
_ACCEPTED = """
insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select n.person_id, f.field, n.dynamics_value, n.marketo_value, 'kept_by_dynamics', now() at time zone 'UTC'
from seen_anew n, (select ? as field) f
where n.dynamics_before = n.marketo_before and n.dynamics_value <> n.marketo_value
  and (n.person_id, f.field) not in (select (person_id, field) from state.standing_differences)
  and (n.person_id, f.field) not in (select (person_id, field) from state.base_missing)
"""
