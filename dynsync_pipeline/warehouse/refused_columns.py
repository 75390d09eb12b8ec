"""Columns that a system offers and refuses to read or write all the same: in `state.refused_fields`, and parked so (R107).

Not here: parking, and until when a column counts as refused (`extract/schema.py`).
"""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from dynsync_pipeline.errors import ColumnUnknown
from dynsync_pipeline.model.records import RecordType


def note_refused_column(
    connection: duckdb.DuckDBPyConnection, error: ColumnUnknown, record_types: Collection[RecordType]
) -> None:
    """Keep that a system refuses the column that the error names, of records of these types, if it offers it."""
    connection.execute(
        "insert into state.refused_fields (system, record_type, name, data_type, said) "
        "select c.system, r.record_type, c.name, c.data_type, $said from state.columns c "
        "join (select unnest($record_types::varchar[]) as record_type) r "
        "on coalesce(c.record_type, r.record_type) = r.record_type "
        "where c.system = $system and c.name = $name "
        "and (c.system, r.record_type, c.name) not in (select (system, record_type, name) from state.refused_fields)",
        {"system": error.system, "name": error.field, "said": error.message, "record_types": sorted(record_types)},
    )
