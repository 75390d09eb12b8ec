"""What changed at the source about a mapped field since the definitions were read last: told once, and followed (R109).

A type that no longer fits parks the field (`field_types.py`); other places of a number move no value (`warehouse/places.py`).
Here it is told, in the log and in a ledger. A column that was dropped and made anew bears another id in its definition; what it
lost so is no clear.
"""

from __future__ import annotations

import logging
from datetime import datetime

import duckdb

log = logging.getLogger(__name__)


def note_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep what the systems offered until now, in `columns_before`; call it before `state.columns` is written anew."""
    connection.execute("create or replace temp table columns_before as from state.columns")


def follow_columns(connection: duckdb.DuckDBPyConnection, at: datetime) -> None:
    """Tell what changed of the synced fields' columns; call it when `state.columns` is written anew, in the same transaction,
    after `follow_labels`. `at` is UTC without zone.
    """
    connection.execute(_LEDGER, [at])
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
# At the first read nothing has changed. Of a column that is gone nothing else is told, nor of its options.
_LEDGER = """
insert into ledger.schema_changes (entry_id, seen_at, system, record_type, name, code, old_value, new_value)
with fields as (
    select record_type, field, dynamics_column from reconcile.fields
    union
    select record_type, marketo_field, dynamics_column from state.parked_fields
),
mapped as (
    select 'dynamics' as system, record_type, dynamics_column as name from fields
    union
    select 'marketo', null, field from fields
),
pairs as (
    select m.*, b, c, b.name is not null and c.name is not null as is_both
    from mapped m
    left join columns_before b on b.system = m.system and b.record_type is not distinct from m.record_type and b.name = m.name
    left join state.columns c on c.system = m.system and c.record_type is not distinct from m.record_type and c.name = m.name
    where exists (from columns_before)
),
changes as (
    select system, record_type, name, is_both, unnest([
        {code: 'column_gone', is_so: b.name is not null and c.name is null, old: b.data_type, new: null},
        {code: 'column_back', is_so: b.name is null and c.name is not null, old: null, new: c.data_type},
        {code: 'column_made_anew', is_so: is_both and b.metadata_id <> c.metadata_id,
         old: b.metadata_id, new: c.metadata_id},
        {code: 'column_retyped', is_so: is_both and b.data_type <> c.data_type, old: b.data_type, new: c.data_type},
        {code: 'column_shortened', is_so: is_both and c.max_length < coalesce(b.max_length, c.max_length + 1),
         old: b.max_length::varchar, new: c.max_length::varchar},
        {code: 'column_widened', is_so: is_both and b.max_length < coalesce(c.max_length, b.max_length + 1),
         old: b.max_length::varchar, new: c.max_length::varchar},
        {code: 'column_places', is_so: is_both and b.precision is distinct from c.precision,
         old: b.precision::varchar, new: c.precision::varchar},
        {code: 'column_times', is_so: is_both and b.time_behavior is distinct from c.time_behavior,
         old: b.time_behavior, new: c.time_behavior},
        {code: 'column_bounds',
         is_so: is_both and (b.minimum is distinct from c.minimum or b.maximum is distinct from c.maximum),
         old: concat_ws(' to ', b.minimum, b.maximum), new: concat_ws(' to ', c.minimum, c.maximum)},
        {code: 'column_required',
         is_so: is_both and (b.is_required, b.is_business_required) <> (c.is_required, c.is_business_required),
         old: case when b.is_required then 'by the system' when b.is_business_required then 'of people' end,
         new: case when c.is_required then 'by the system' when c.is_business_required then 'of people' end},
        {code: 'column_hidden', is_so: is_both and b.is_readable and not c.is_readable, old: null, new: null},
        {code: 'column_shown', is_so: is_both and c.is_readable and not b.is_readable, old: null, new: null},
        {code: 'column_closed', is_so: is_both and b.is_writable and not c.is_writable, old: null, new: null},
        {code: 'column_opened', is_so: is_both and c.is_writable and not b.is_writable, old: null, new: null},
        {code: 'column_relabelled', is_so: is_both and b.label is distinct from c.label, old: b.label, new: c.label}
    ], recursive := true)
    from pairs
    union all
    select
        'dynamics', record_type, dynamics_column, true,
        case when b.label is null then 'option_added' when n.label is null then 'option_removed' else 'option_relabelled' end,
        b.label is distinct from n.label, b.label, n.label
    from (
        from options_before where (record_type, dynamics_column) in (select (record_type, dynamics_column) from state.options)
    ) b
    full join (
        from state.options where (record_type, dynamics_column) in (select (record_type, dynamics_column) from options_before)
    ) n using (record_type, dynamics_column, option_value)
    where (record_type, dynamics_column) in (select (record_type, dynamics_column) from fields)
)
select nextval('ledger.entries'), $1, system, record_type, name, code, old, new
from (from changes where is_so order by system, record_type, name, code)
"""
_RETURNED = f"""
insert into state.returned_fields (record_type, field)
{_COLUMNS}
select f.record_type, f.field
from changed c
join reconcile.fields f on f.record_type = c.record_type and f.dynamics_column = c.name
where c.is_new and (f.record_type, f.field) not in (select (record_type, field) from state.returned_fields)
"""
