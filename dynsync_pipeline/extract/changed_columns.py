"""What changed at the source about a mapped field since the definitions were read last: told once, and followed (R109).

A type that no longer fits parks the field (`field_types.py`); other places of a number move no value (`warehouse/places.py`).
Here it is told. A column that was dropped and made anew bears another id in its definition; what it lost so is no clear.
"""

from __future__ import annotations

import logging

import duckdb

log = logging.getLogger(__name__)


def note_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep what the systems offered until now, in `columns_before`; call it before `state.columns` is written anew."""
    connection.execute("create or replace temp table columns_before as from state.columns")


def follow_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Tell what changed of the synced fields' columns; call it when `state.columns` is written anew, in the same transaction."""
    for system, owner, name, before, after, is_new in connection.execute(_CHANGED).fetchall():
        told = (
            "was dropped and made anew: what it held is filled from Marketo"
            if is_new
            else f"is {after}, and was {before}"
        )
        log.warning(
            "%s of %s in %s %s. What is refused now is reported; what was refused before is tried again.",
            name, owner, system.capitalize(), told,
        )  # fmt: skip
    connection.execute(_RETURNED)


_COLUMNS = """
with mapped as (
    select distinct 'dynamics' as system, record_type, dynamics_column as name from reconcile.fields
    union
    select 'marketo', null, field from reconcile.fields
),
changed as (
    select
        c.system, c.record_type, c.name,
        concat_ws(', ', b.data_type, 'of ' || b.max_length || ' characters', b.precision || ' places', b.time_behavior) as before,
        concat_ws(', ', c.data_type, 'of ' || c.max_length || ' characters', c.precision || ' places', c.time_behavior) as after,
        coalesce(b.metadata_id <> c.metadata_id, false) as is_new
    from mapped m
    join state.columns c on c.system = m.system and c.record_type is not distinct from m.record_type and c.name = m.name
    join columns_before b on b.system = c.system and b.record_type is not distinct from c.record_type and b.name = c.name
)
"""
_CHANGED = f"""
{_COLUMNS}
select system, coalesce(record_type || 's', 'people'), name, before, after, is_new
from changed where is_new or before <> after order by all
"""
_RETURNED = f"""
insert into state.returned_fields (record_type, field)
{_COLUMNS}
select f.record_type, f.field
from changed c
join reconcile.fields f on f.record_type = c.record_type and f.dynamics_column = c.name
where c.is_new and (f.record_type, f.field) not in (select (record_type, field) from state.returned_fields)
"""
