"""Dynamics tables by change tracking: page by page into the inbox, then into the mirror. Next: `reconcile`.

Not here: which columns exist (`schema.py`), what a change means (`reconcile/`).
"""

from __future__ import annotations

import logging

from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import CursorExpired
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import land_dynamics, take_in_dynamics

log = logging.getLogger(__name__)


def extract_records(
    warehouse: Warehouse,
    client: Dynamics,
    fields: FieldMap,
    record_type: RecordType,
    *,
    is_full: bool = False,
) -> int:
    """Bring one Dynamics table's mirror up to date; returns the number of records that were read or found deleted.

    A page and its cursor commit together (R13), so a cut read goes on where it stopped. Another column list leads to a
    full read, in which absence is no deletion (R86).
    Raises: ApiError, among them ColumnUnknown when the field map names a column that is gone, and CursorExpired, which
    `is_full` answers. Both may mean that the table's definition changed: learn the schema again first, because a column
    that was secured reads null, and that is no clear (R49).
    """
    table = TABLES[record_type]
    columns = [Column(name, kind) for name, kind in dynamics_columns(fields, record_type).items()]
    names = [column.name for column in columns]
    stream = f"dynamics_{table.entity_set}"
    with warehouse.reading() as connection:
        cursor = read_cursor(connection, stream)
    start = cursor.value if cursor.continues(names) and not is_full else None
    is_full = start is None or not cursor.is_loaded
    try:
        _land_pages(warehouse, client, fields, record_type, columns, start, is_loaded=not is_full)
    except CursorExpired:
        log.warning(
            "The change-tracking cursor of %s expired or is of another address: the whole table is read again.",
            table.entity_set,
        )
        raise
    if is_full:
        _land_confirmed_deletions(warehouse, client, fields, record_type, columns)
    with warehouse.transaction() as connection:
        if is_full:  # only now: cut before this, the next cycle asks again for the ids that are missing
            move_cursor(connection, stream, read_cursor(connection, stream).value, names, is_loaded=True)
        return take_in_dynamics(connection, record_type)


def _land_confirmed_deletions(
    warehouse: Warehouse, client: Dynamics, fields: FieldMap, record_type: RecordType, columns: list[Column]
) -> None:
    """After a full read, ask for every record that is in the mirror and was not read: absence alone proves nothing."""
    table = TABLES[record_type]
    with warehouse.reading() as connection:
        rows = connection.execute(
            f"select {table.id_column} from {table.mirror} "
            f"where not is_deleted and {table.id_column} not in (select {table.id_column} from {table.inbox})"
        ).fetchall()
    missing = [row[0] for row in rows]
    if not missing:
        return
    found = client.records(table, columns, missing)
    gone = sorted(set(missing) - {str(key).lower() for key in found.column("id").to_pylist()})
    with warehouse.transaction() as connection:
        land_dynamics(connection, fields, table, found, gone)


def _land_pages(
    warehouse: Warehouse,
    client: Dynamics,
    fields: FieldMap,
    record_type: RecordType,
    columns: list[Column],
    start: str | None,
    *,
    is_loaded: bool,
) -> None:
    table = TABLES[record_type]
    names = [column.name for column in columns]
    is_anew = start is None
    for page in client.changes(table, columns, start):
        with warehouse.transaction() as connection:
            if is_anew:  # what an earlier read landed may be gone by now, which this cursor will not tell
                connection.execute(f"delete from {table.inbox}")
                is_anew = False
            land_dynamics(connection, fields, table, page.rows, page.deleted_ids)
            move_cursor(connection, f"dynamics_{table.entity_set}", page.cursor, names, is_loaded=is_loaded)
