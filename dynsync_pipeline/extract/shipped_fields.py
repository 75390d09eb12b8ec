"""The field map of the package on an installation that is older than one of its lines: what is new in it is off.

Nobody should find values of years written to the other side because DynSync was upgraded. A field map of one's own says
itself what is on. Not here: the map (`model/field_map.py`), fields that a system does not offer (`schema.py`).
"""

from __future__ import annotations

import duckdb

from dynsync_pipeline.extract.new_fields import Parked
from dynsync_pipeline.model.field_map import FieldMap

_NEW = (
    "It is new in the field map of the package, and off where DynSync synced before it came. To sync it, copy the map and "
    "name your copy in DYNSYNC_FIELD_MAP (docs/field-map.md)."
)


def set_new_lines_apart(connection: duckdb.DuckDBPyConnection, wanted: FieldMap, *, is_own_map: bool) -> Parked:
    """The fields of `wanted` that the package brought after this installation began, each with code and sentence.

    Where none is known the installation begins, or comes from a map of its own: then it takes all of them as they are.
    """
    if is_own_map:
        connection.execute("delete from state.shipped_fields")
        return {}
    lines = {(f.record_type.value, f.marketo_field, f.dynamics_column): f for f in wanted.fields}
    known = set(
        connection.execute("select record_type, marketo_field, dynamics_column from state.shipped_fields").fetchall()
    )
    if not known:
        connection.executemany(
            "insert into state.shipped_fields (record_type, marketo_field, dynamics_column) values (?, ?, ?)",
            list(lines),
        )
        return {}
    return {field: ("new_in_package", _NEW) for line, field in lines.items() if line not in known}
