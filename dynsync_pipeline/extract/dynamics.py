"""Dynamics tables by change tracking: page by page into the inbox, then into the mirror. Next: `reconcile`.

Not here: which columns exist (`schema.py`), what a change means (`reconcile/`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import ApiError, ColumnUnknown, CursorExpired, LinkRefused, RequestRefused
from dynsync_pipeline.extract.absence import confirm_records, due_suspects, suspect
from dynsync_pipeline.extract.unread import reread_unread_records
from dynsync_pipeline.extract.untold import note_forgotten, withdraw_told_records
from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns, zones_of_days
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import land_dynamics, take_in_dynamics

log = logging.getLogger(__name__)

BETWEEN_FULL_READS = timedelta(hours=24)  # of a table whose links are refused again and again


def extract_records(
    warehouse: Warehouse,
    client: Dynamics,
    fields: FieldMap,
    record_type: RecordType,
    *,
    refused: ApiError | None = None,
) -> int:
    """Bring one Dynamics table's mirror up to date; returns the number of records that were read or found deleted.

    A page and its cursor commit together (R13), so a cut read goes on where it stopped. Another column list leads to a
    full read, in which absence is no deletion (R86).
    Raises: ApiError, among them ColumnUnknown when the field map names a column that is gone, and CursorExpired. Both may
    mean that the table's definition changed: learn the schema again first, because a column that was secured reads null,
    and that is no clear (R49). Then come again with the error as `refused`, which leads to a full read.
    Where that read, or the links it gave, are refused within a day, the table waits and the cycle goes on without it.
    """
    table = TABLES[record_type]
    kinds = dynamics_columns(fields, record_type)
    columns = [Column(name, kind) for name, kind in kinds.items()]
    stream = f"dynamics_{table.entity_set}"
    with warehouse.reading() as connection:
        names = _read_as(connection, record_type, kinds)
        cursor = read_cursor(connection, stream)
    is_link_at_fault = isinstance(refused, LinkRefused) or (
        isinstance(refused, ColumnUnknown)
        and cursor.continues(names)  # the definition is as it was when the link was made
    )
    if is_link_at_fault and refused is not None and _was_read_anew(warehouse, stream):
        return _wait(warehouse, record_type, stream, refused)
    start = cursor.value if cursor.continues(names) and refused is None else None
    is_full = start is None or not cursor.is_loaded
    try:
        _land_pages(
            warehouse,
            client,
            fields,
            record_type,
            columns,
            names,
            start,
            is_loaded=not is_full,
            is_refused=is_link_at_fault,
        )
    except LinkRefused as error:
        if refused is not None or _was_read_anew(warehouse, stream):
            return _wait(warehouse, record_type, stream, error)
        log.warning("%s The whole table is read again.", error)
        raise
    except RequestRefused as error:
        if not is_link_at_fault or isinstance(error, ColumnUnknown):
            raise
        return _wait(warehouse, record_type, stream, error)  # the full read that was to answer the refused link
    except CursorExpired:
        log.warning(
            "The change-tracking cursor of %s expired or is of another address: the whole table is read again.",
            table.entity_set,
        )
        with warehouse.transaction() as connection:
            note_forgotten(connection, record_type, warehouse.now())
        raise
    with warehouse.transaction() as connection:
        if is_full:  # what is missing is remembered together with the end of the read, so that no cut loses it
            suspect(connection, warehouse, record_type, _missing(connection, record_type))
            move_cursor(connection, stream, read_cursor(connection, stream).value, names, is_loaded=True)
        connection.execute("update state.refused_links set waits_because = null where stream = ?", [stream])
        withdraw_told_records(connection, record_type)
        n_read = take_in_dynamics(connection, record_type)
    is_reread = reread_unread_records(warehouse, client, fields, record_type)
    suspects = due_suspects(warehouse, record_type)
    if suspects:
        confirm_records(warehouse, client, fields, record_type, suspects)
    elif not is_reread:
        return n_read
    with warehouse.transaction() as connection:
        return n_read + take_in_dynamics(connection, record_type)


def _read_as(
    connection: duckdb.DuckDBPyConnection, record_type: RecordType, columns: Mapping[str, FieldType]
) -> list[str]:
    """What a cursor goes on for: what is another type now, a day in another time zone, or another column of that name, is read
    anew (R109).
    """
    zones = zones_of_days(connection, record_type, columns)
    ids = dict(
        connection.execute(
            "select name, metadata_id from state.columns where system = 'dynamics' and record_type = ?", [record_type]
        ).fetchall()
    )
    return [" ".join(filter(None, (name, kind, zones.get(name), ids.get(name)))) for name, kind in columns.items()]


def _missing(connection: duckdb.DuckDBPyConnection, record_type: RecordType) -> list[str]:
    """Ids of the records that the mirror holds and a full read did not show: suspects, for absence alone proves nothing."""
    table = TABLES[record_type]
    rows = connection.execute(
        f"select {table.id_column} from {table.mirror} "
        f"where not is_deleted and {table.id_column} not in (select {table.id_column} from {table.inbox}) order by 1"
    ).fetchall()
    return [row[0] for row in rows]


def _land_pages(
    warehouse: Warehouse,
    client: Dynamics,
    fields: FieldMap,
    record_type: RecordType,
    columns: list[Column],
    names: list[str],
    start: str | None,
    *,
    is_loaded: bool,
    is_refused: bool,
) -> None:
    table = TABLES[record_type]
    stream = f"dynamics_{table.entity_set}"
    is_anew = start is None
    for page in client.changes(table, columns, start):
        with warehouse.transaction() as connection:
            if is_anew:  # what an earlier read landed may be gone by now, which this cursor will not tell
                connection.execute(f"delete from {table.inbox}")
                if is_refused:
                    _note_read_anew(connection, stream, warehouse.now())
                is_anew = False
            land_dynamics(connection, fields, table, page.rows, page.deleted_ids)
            move_cursor(connection, stream, page.cursor, names, is_loaded=is_loaded)


def _was_read_anew(warehouse: Warehouse, stream: str) -> bool:
    """Whether a full read answered a refused link of this stream within the last day."""
    with warehouse.reading() as connection:
        return bool(
            scalar(
                connection,
                "select count(*) from state.refused_links where stream = ? and read_anew_at > ?",
                [stream, warehouse.now() - BETWEEN_FULL_READS],
            )
        )


def _note_read_anew(connection: duckdb.DuckDBPyConnection, stream: str, at: datetime) -> None:
    connection.execute("delete from state.refused_links where stream = ?", [stream])
    connection.execute(
        "insert into state.refused_links (stream, read_anew_at, waits_because) values (?, ?, null)", [stream, at]
    )


def _wait(warehouse: Warehouse, record_type: RecordType, stream: str, error: ApiError) -> int:
    """Leave this table out of the cycle, tell why, and keep its cursor; 0 records were read.

    Raises: the error itself before the table was ever read as a whole, because what is half read cannot be compared.
    """
    table = TABLES[record_type]
    with warehouse.transaction() as connection:
        if not scalar(connection, f"select count(*) from (from {table.mirror} limit 1)"):
            raise error
        if not scalar(connection, "select count(*) from state.refused_links where stream = ?", [stream]):
            _note_read_anew(connection, stream, warehouse.now())
        connection.execute("update state.refused_links set waits_because = ? where stream = ?", [str(error), stream])
    log.error(
        "%s The %s are left out of this cycle; within a day of their last full read they are not read in full again. "
        "See `dynsync status`.",
        error,
        table.entity_set,
    )
    return 0
