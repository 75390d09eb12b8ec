"""Which tables of Dynamics have a filter column that is read, `new_synctomkto`, and which lost theirs (R87, R88).

It is looked for in the definitions of columns, and needs no line of the field map: it counts as soon as the sync's user may
read it. Not here: what a record's filter decides (`reconcile/sql/sync_filter.sql`), what stops a cycle over it
(`reconcile/guards.py`).
"""

from __future__ import annotations

import logging

import duckdb

from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import FILTER_COLUMN, RecordType
from dynsync_pipeline.warehouse.connection import scalar

log = logging.getLogger(__name__)

MISSING, UNREADABLE = "missing", "unreadable"


def follow_filters(connection: duckdb.DuckDBPyConnection, fields: FieldMap, running: FieldMap | None) -> None:
    """Keep in `state.lost_filters` which tables lost theirs; `fields` says which have one that is read from now on.

    A filter that is gone is no loss where it keeps nobody out. One that cannot be read always is: nobody knows who is out.
    `running`: the fields of a cycle that has begun to read, in which no lost one comes back: records may have been read
    without it.
    """
    unreadable = {row[0] for row in connection.execute(_UNREADABLE, [FILTER_COLUMN]).fetchall()}
    known = {row[0]: row[1:] for row in connection.execute("from state.lost_filters").fetchall()}
    keeping = {row[0] for row in connection.execute("select distinct record_type from state.filtered_out").fetchall()}
    for record_type in RecordType:
        column = (record_type, FILTER_COLUMN)
        before, is_given_up = known.get(record_type, (None, False))
        if running is not None and before is not None:
            continue
        connection.execute("delete from state.lost_filters where record_type = ?", [record_type])
        if column in fields.offered or record_type not in unreadable | keeping:
            continue
        fault = UNREADABLE if record_type in unreadable else MISSING
        if fault != before:
            log.warning("The filter column %s of %ss is %s.", FILTER_COLUMN, record_type, fault)
        connection.execute(
            "insert into state.lost_filters (record_type, fault_code, is_given_up) values (?, ?, ?)",
            [record_type, fault, is_given_up and fault == before],
        )


def has_emptied_filters(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the filter of a record that was just read, and that it kept out until now, is empty."""
    return scalar(connection, _EMPTIED) > 0


_UNREADABLE = """
select c.record_type
from state.columns c
left join state.refused_fields r on r.system = c.system and r.record_type = c.record_type and r.name = c.name
where c.system = 'dynamics' and c.name = ? and lower(c.data_type) = 'boolean' and (r.name is not null or not c.is_readable)
"""
_EMPTIED = """
select count(*)
from inbox.touched t
join state.filtered_out f using (record_type, dynamics_id)
join mirror.sync_filters s using (record_type, dynamics_id)
where s.sync_filter is null and not s.is_deleted
"""
