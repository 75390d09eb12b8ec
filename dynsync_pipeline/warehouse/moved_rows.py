"""Who moved since the Parquet files were last written as a whole. Not here: these files (`publish/parquet.py`)."""

from __future__ import annotations

import duckdb


def note_moved(connection: duckdb.DuckDBPyConnection) -> None:
    """Note the keys of `state.unpublished`; the caller owns the transaction.

    Whose text in Marketo holds a former label counts as well: it is compared by what the label means, which may end unnoticed.
    """
    connection.execute(_MOVED)


def has_parquet(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether Parquet files are published."""
    return bool(connection.execute("select 1 from state.parquet").fetchall())


_MOVED = """
insert into state.parquet_moved (person_id, record_type, dynamics_id)
select person_id, null, null from (
    select person_id from state.unpublished where person_id is not null
    union
    select l.person_id
    from state.unpublished u
    join state.links l on l.dynamics_id = u.dynamics_id and u.published_table = l.record_type || 's'
    union
    select l.person_id
    from state.unpublished u
    join state.links l on u.published_table = 'companies' and u.dynamics_id = l.record_type || ':' || l.dynamics_id
    union
    select person_id from state.old_labels
) k
anti join state.parquet_moved m using (person_id)
union all
select null, k.record_type, k.dynamics_id from (
    select distinct rtrim(published_table, 's') as record_type, dynamics_id
    from state.unpublished where published_table in ('contacts', 'leads')
) k
anti join state.parquet_moved m using (record_type, dynamics_id)
"""
