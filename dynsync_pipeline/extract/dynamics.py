"""Dynamics tables by change tracking: page by page into the inbox, then into the mirror. Next: `reconcile`.

Not here: which columns exist (`schema.py`), links that are refused again and again (`refused_links.py`), what a change means
(`reconcile/`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import ApiError, ColumnUnknown, CursorExpired, LinkRefused, RequestRefused
from dynsync_pipeline.extract.absence import confirm_records, due_suspects, suspect
from dynsync_pipeline.extract.read_ahead import in_groups, landings, read_ahead
from dynsync_pipeline.extract.refused_links import leave_out, note_read_anew, waits_no_more, was_read_anew
from dynsync_pipeline.extract.unread import reread_unread_records
from dynsync_pipeline.extract.untold import note_forgotten, withdraw_told_records
from dynsync_pipeline.model.field_map import FieldMap, FieldType
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns, zones_of_days
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.first_load import Progress, expected_rows
from dynsync_pipeline.warehouse.mirrors import land_dynamics, take_in_dynamics

log = logging.getLogger(__name__)


def extract_records(
    warehouse: Warehouse,
    client: Dynamics,
    fields: FieldMap,
    record_type: RecordType,
    *,
    refused: ApiError | None = None,
) -> int:
    """Bring one Dynamics table's mirror up to date; returns the number of records that were read or found deleted.

    Pages and the cursor behind them commit together (R13), so a cut read goes on where it stopped. Another column list leads to a
    full read, in which absence is no deletion (R86).
    Raises: ApiError, among them ColumnUnknown when the field map names a column that is gone, and CursorExpired. Both may
    mean that the table's definition changed: learn the schema again first, because a column that was secured reads null,
    and that is no clear (R49). Then come again with the error as `refused`, which leads to a full read.
    Where that read, or the links it gave, are refused within a day, the table waits and the cycle goes on without it.
    """
    read = _TableRead(warehouse, client, fields, record_type)
    is_link_at_fault = refused is not None and read.is_link_at_fault(refused)
    if refused is not None and is_link_at_fault and was_read_anew(warehouse, read.stream):
        return leave_out(warehouse, record_type, refused, is_behind=read.is_behind)
    start = read.cursor.value if read.cursor.continues(read.names) and refused is None else None
    is_full = start is None or not read.cursor.is_loaded
    try:
        read.land_pages(start, is_loaded=not is_full, is_refused=is_link_at_fault)
    except LinkRefused as error:
        if refused is not None or was_read_anew(warehouse, read.stream):
            return leave_out(warehouse, record_type, error, is_behind=read.is_behind)
        log.warning("%s The whole table is read again.", error)
        raise
    except RequestRefused as error:
        if not is_link_at_fault or isinstance(error, ColumnUnknown):
            raise
        # It was the full read that was to answer the refused link.
        return leave_out(warehouse, record_type, error, is_behind=read.is_behind)
    except CursorExpired:
        read.note_expired()
        raise
    return read.take_in(is_full=is_full) + read.look_again()


class _TableRead:
    """One table of Dynamics while it is read: its columns, and the cursor that the read begins at."""

    def __init__(self, warehouse: Warehouse, client: Dynamics, fields: FieldMap, record_type: RecordType) -> None:
        self._warehouse = warehouse
        self._client = client
        self._fields = fields
        self._record_type = record_type
        self._table = TABLES[record_type]
        self._kinds = dynamics_columns(fields, record_type)
        self.stream = f"dynamics_{self._table.entity_set}"
        with warehouse.reading() as connection:
            self.names = _read_as(connection, record_type, self._kinds)
            self.cursor = read_cursor(connection, self.stream)

    @property
    def is_behind(self) -> bool:
        """Whether a column of now was never read of the whole table."""
        return not self.cursor.is_whole(self.names)

    def is_link_at_fault(self, refused: ApiError) -> bool:
        """Whether it was no column that was refused: the definition is as it was when the link was made."""
        is_unchanged = isinstance(refused, ColumnUnknown) and self.cursor.continues(self.names)
        return isinstance(refused, LinkRefused) or is_unchanged

    def land_pages(self, start: str | None, *, is_loaded: bool, is_refused: bool) -> None:
        """Page by page into the inbox, a few with each cursor; from the beginning where `start` is None. Raises: ApiError."""
        is_anew = start is None
        columns = [Column(name, kind) for name, kind in self._kinds.items()]
        with self._warehouse.reading() as connection:
            progress = Progress(
                self._warehouse.path.parent,
                f"{self._table.entity_set} read",
                expected_rows(connection, self._record_type),
            )
        for pages in in_groups(read_ahead(self._client.changes(self._table, columns, start))):
            with self._warehouse.transaction() as connection:
                if is_anew:  # what an earlier read landed may be gone by now, which this cursor will not tell
                    connection.execute(f"delete from {self._table.inbox}")
                    if is_refused:
                        note_read_anew(connection, self.stream, self._warehouse.now())
                    is_anew = False
                for rows, deleted_ids in landings(pages):
                    land_dynamics(connection, self._fields, self._table, rows, deleted_ids)
                move_cursor(connection, self.stream, pages[-1].cursor, self.names, is_loaded=is_loaded)
            progress.add(sum(page.n_rows for page in pages))

    def note_expired(self) -> None:
        """Tell, and remember as a finding, that the feed forgot where this read was to begin."""
        log.warning(
            "The change-tracking cursor of %s expired or is of another address: the whole table is read again.",
            self._table.entity_set,
        )
        with self._warehouse.transaction() as connection:
            note_forgotten(connection, self._record_type, self._warehouse.now())

    def take_in(self, *, is_full: bool) -> int:
        """From the inbox into the mirror; returns the number of records."""
        with self._warehouse.transaction() as connection:
            if is_full:  # what is missing is remembered together with the end of the read, so that no cut loses it
                suspect(connection, self._warehouse, self._record_type, _missing(connection, self._record_type))
                last = read_cursor(connection, self.stream).value
                move_cursor(connection, self.stream, last, self.names, is_loaded=True)
            waits_no_more(connection, self.stream)
            withdraw_told_records(connection, self._record_type)
            return take_in_dynamics(connection, self._warehouse.now(), self._record_type)

    def look_again(self) -> int:
        """Read by id what could not be read before, and what may be gone; returns the number of records. Raises: ApiError."""
        is_reread = reread_unread_records(self._warehouse, self._client, self._fields, self._record_type)
        suspects = due_suspects(self._warehouse, self._record_type)
        if suspects:
            confirm_records(self._warehouse, self._client, self._fields, self._record_type, suspects)
        elif not is_reread:
            return 0
        with self._warehouse.transaction() as connection:
            return take_in_dynamics(connection, self._warehouse.now(), self._record_type)


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
