"""Columns and views follow the field map: a new field adds a column, a removed one keeps its column and values.

A field that joins the map, or comes back to it, has no base yet (R103, R104).
Not here: which columns (`columns.py`), what the views show (`views.py`).
"""

from __future__ import annotations

import duckdb

from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import TABLES
from dynsync_pipeline.warehouse.columns import decimal_places, digest, mirrored_columns, quoted, with_offered
from dynsync_pipeline.warehouse.connection import insert_rows
from dynsync_pipeline.warehouse.views import macros_of, moved_base, side_by_side_query, views_of


def follow_field_map(connection: duckdb.DuckDBPyConnection, fields: FieldMap) -> None:
    """Bring columns, `reconcile.fields` and the views in line with `fields`; nothing to do if they are already."""
    wanted: dict[str, dict[str, FieldType]] = {"state.base": fields.linked_fields}
    for record_type, table in TABLES.items():
        wanted[table.mirror] = wanted[table.inbox] = mirrored_columns(fields, record_type)
    wanted["mirror.marketo_people"] = wanted["inbox.marketo_people"] = fields.read_of_people
    wanted["mirror.marketo_companies"] = wanted["inbox.marketo_companies"] = fields.company_fields
    rows = [
        (
            f.record_type,
            f.marketo_field,
            f.dynamics_column,
            f.type,
            f.direction,
            fields.is_on_company(f),
            f.collision,
            f.forbids,
        )
        for f in fields.fields
    ]
    views = views_of(fields, decimal_places(connection))
    side_by_side = side_by_side_query(fields.linked_fields)
    macros = macros_of(fields, decimal_places(connection))
    made_from = digest(wanted, rows, views, macros, moved_base(fields.linked_fields), side_by_side)
    if connection.execute("select digest from state.followed_map").fetchall() == [(made_from,)]:
        return
    existing = _add_columns(connection, wanted)
    connection.execute("delete from reconcile.fields")
    names = ("record_type", "field", "dynamics_column", "type", "direction", "is_on_company", "collision", "forbids")
    insert_rows(connection, "reconcile.fields", names, rows)
    _mark_new_fields(connection)
    # Base keeps the columns of fields that left the map, and a move keeps their values.
    in_base = sorted(name for table, name in existing if table == "state.base" and name != "person_id")
    for name, select in {**views, "state.moved_base": moved_base(in_base)}.items():
        connection.execute(f"create or replace view {name} as\n{select}")
    for name, select in macros.items():
        connection.execute(f"create or replace macro {name}(links) as table\n{select}")
    connection.execute(f"create or replace macro side_by_side(people) as table\n{side_by_side}")
    connection.execute("delete from state.followed_map")
    connection.execute("insert into state.followed_map (digest) values (?)", [made_from])


def followed_fields(connection: duckdb.DuckDBPyConnection, wanted: FieldMap) -> FieldMap:
    """The part of `wanted` that columns and views follow now, as `follow_field_map` left them."""
    rows = connection.execute("select record_type, field, dynamics_column from reconcile.fields").fetchall()
    followed = set(rows)
    kept = wanted.without(
        field
        for field in wanted.fields
        if (field.record_type.value, field.marketo_field, field.dynamics_column) not in followed
    )
    return with_offered(connection, kept)


def move_base(connection: duckdb.DuckDBPyConnection) -> None:
    """Apply `state.base_moves` to `state.base` and empty it; call it in the transaction that made the moves."""
    if not connection.execute("select 1 from state.base_moves limit 1").fetchall():
        return
    connection.execute("create or replace temp table moved as from state.moved_base")
    connection.execute("delete from state.base using moved where moved.person_id = state.base.person_id")
    connection.execute("insert into state.base by name from moved")
    connection.execute(
        "delete from state.base_missing m using state.base_moves v where v.person_id = m.person_id and v.field = m.field"
    )
    connection.execute(
        "insert into state.unpublished (published_table, person_id) select distinct 'people', person_id from state.base_moves"
    )
    connection.execute("delete from state.base_moves")


def _add_columns(
    connection: duckdb.DuckDBPyConnection, wanted: dict[str, dict[str, FieldType]]
) -> set[tuple[str, str]]:
    """Add the columns that are missing; returns all there are now: the table with its schema, and the column."""
    # DuckDB's table of all columns would plan every view, which takes thirty times as long.
    asked = (f"select '{table}', name from pragma_table_info('{table}')" for table in wanted)
    existing: set[tuple[str, str]] = set(connection.execute(" union all ".join(asked)).fetchall())
    for table, names in wanted.items():
        for name in names:
            if (table, name) not in existing:
                connection.execute(f"alter table {table} add column {quoted(name)} varchar")
                existing.add((table, name))
    return existing


def _mark_new_fields(connection: duckdb.DuckDBPyConnection) -> None:
    """A field that joins the map, or is mapped to another column, has no base on the links that exist (R42, R104)."""
    connection.execute(
        """create or replace temp table new_fields as
           select record_type, field, dynamics_column from reconcile.fields
           where record_type <> 'account'
             and (record_type, field, dynamics_column) not in (
                 select (record_type, field, dynamics_column) from state.known_fields
             )"""
    )
    connection.execute(
        "delete from state.known_fields k using new_fields n where n.record_type = k.record_type and n.field = k.field"
    )
    connection.execute("insert into state.known_fields by name from new_fields")
    connection.execute(
        """insert into state.base_missing (person_id, field)
           select l.person_id, n.field from state.links l join new_fields n using (record_type)
           where (l.person_id, n.field) not in (select (person_id, field) from state.base_missing)"""
    )
