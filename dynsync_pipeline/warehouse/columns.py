"""Which columns the tables have by the field map, and what Dynamics tells of them.

Not here: adding them (`follow_map.py`), the views over them (`views.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import duckdb

from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import FILTER_COLUMN, TABLES, RecordType, logical_name


def quoted(name: str) -> str:
    """`name` as an SQL identifier; field names are checked when the field map is read."""
    return '"' + name.replace('"', '""') + '"'


def dynamics_columns(fields: FieldMap, record_type: RecordType) -> dict[str, FieldType]:
    """The columns read of one Dynamics table, the id left out: those the sync itself needs, then the mapped ones."""
    mapped = {field.dynamics_column for field in fields.of(record_type)}
    return {
        name: kind
        for name, kind in mirrored_columns(fields, record_type).items()
        if name in mapped or name not in TABLES[record_type].offered_columns or (record_type, name) in fields.offered
    }


def mirrored_columns(fields: FieldMap, record_type: RecordType) -> dict[str, FieldType]:
    """The columns that the mirror of one Dynamics table has for these fields, also those that Dynamics does not offer."""
    table = TABLES[record_type]
    columns = {name: _SYSTEM_TYPES[name] for name in (*table.system_columns, *table.offered_columns)}
    columns.update({field.dynamics_column: field.type for field in fields.of(record_type)})
    return columns


_SYSTEM_TYPES = {
    "createdon": FieldType.DATETIME,
    "modifiedon": FieldType.DATETIME,
    "_modifiedby_value": FieldType.TEXT,
    "statecode": FieldType.CHOICE,
    "_ownerid_value": FieldType.TEXT,
    "_parentcustomerid_value": FieldType.TEXT,
    "merged": FieldType.BOOLEAN,
    "_masterid_value": FieldType.TEXT,
    "_originatingleadid_value": FieldType.TEXT,
    "_parentcontactid_value": FieldType.TEXT,
    FILTER_COLUMN: FieldType.BOOLEAN,
}


def with_offered(connection: duckdb.DuckDBPyConnection, fields: FieldMap, running: FieldMap | None = None) -> FieldMap:
    """`fields` with what Dynamics offers of the columns that not every Dynamics has, as its definitions were last read.

    `running`: the fields of a cycle that has begun to read, which only loses some, but for a filter: a table whose definition
    changed is read anew, and what is new in it is not to go to Marketo first (R87).
    """
    wanted = {(record_type, name) for record_type, table in TABLES.items() for name in table.offered_columns}
    if running is not None:
        wanted = {each for each in wanted if each in running.offered or each[1] == FILTER_COLUMN}
    names = {name: logical_name(name) for _, name in wanted}
    yes_or_no = [name for name in names if _SYSTEM_TYPES[name] is FieldType.BOOLEAN]
    rows = set(connection.execute(_OFFERED, [sorted(names.values()), yes_or_no]).fetchall())
    return replace(fields, offered=frozenset(each for each in wanted if (each[0], names[each[1]]) in rows))


# One of the same name and another type is another column.
_OFFERED = """
select record_type, name from state.columns
where system = 'dynamics' and is_readable and name in (select unnest(?::varchar[]))
  and (lower(data_type) = 'boolean' or name not in (select unnest(?::varchar[])))
  and (record_type, name) not in (select (record_type, name) from state.refused_fields where system = 'dynamics')
"""


Places = Mapping[tuple[str, str], int]  # of the decimal columns in Dynamics, by record type and column


def decimal_places(connection: duckdb.DuckDBPyConnection) -> Places:
    """How many decimal places the columns in Dynamics have, where it tells."""
    rows = connection.execute(
        "select record_type, name, precision from state.columns where system = 'dynamics' and precision is not null"
    ).fetchall()
    return {(row[0], row[1]): row[2] for row in rows}


def zones_of_days(
    connection: duckdb.DuckDBPyConnection, record_type: RecordType, columns: Mapping[str, FieldType]
) -> dict[str, str]:
    """Those of `columns` that keep a date as an instant, each with the time zone whose day it is (R45)."""
    rows = connection.execute(
        "select c.name, z.zone from state.columns c, state.user_zone z "
        "where c.system = 'dynamics' and c.record_type = ? and c.time_behavior = 'UserLocal'",
        [record_type],
    ).fetchall()
    return {name: zone for name, zone in rows if columns.get(name) is FieldType.DATE}


def digest(*made_from: object) -> str:
    """A short text that is another one where anything of `made_from` is, such as the text of this version's views."""
    return hashlib.sha256(repr(made_from).encode()).hexdigest()
