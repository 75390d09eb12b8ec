"""The first load of Marketo people by bulk extract (R5): windows of creation dates, resumable at every window.

Used again after a pause longer than the feed remembers. Windows go by creation date, and `updatedAt` is asked for nowhere
(R70). Not here: fields that join the map later (`new_fields.py`).
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb

from dynsync_pipeline.clients.marketo.protocol import ExportStatus
from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.errors import AnswerUnreadable, ServerFailed
from dynsync_pipeline.extract.absence import confirm_people
from dynsync_pipeline.extract.bad_files import ask_again
from dynsync_pipeline.extract.census import forget_round
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.budget import note_export
from dynsync_pipeline.warehouse.connection import Warehouse, scalar, storage_errors
from dynsync_pipeline.warehouse.cursors import PEOPLE, move_cursor, read_cursor
from dynsync_pipeline.warehouse.first_load import Progress, is_first_load
from dynsync_pipeline.warehouse.leftovers import EXPORT
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_people
from dynsync_pipeline.warehouse.unread import note_unread_people

log = logging.getLogger(__name__)

WINDOW = timedelta(days=30)  # Marketo takes at most 31, both ends included
JOBS_AT_ONCE = 10  # the length of Marketo's queue, which other tools share
TRIES = 3
VALUES_KEPT = timedelta(days=89)  # Marketo forgets changed values after 90
WITHOUT_FILE = ("Failed", "Cancelled", "Canceled", "Missing")


class _Window(NamedTuple):
    """A span of creation times, UTC without zone, and the export that is to bring its people, if one was made."""

    starts_at: datetime
    ends_at: datetime
    export_id: str | None


def load_people(warehouse: Warehouse, client: Marketo, settings: Settings, columns: PersonColumns) -> None:
    """Land every person in the inbox, then store the feed time from which changes must be read.

    Raises: ServerFailed when an export fails several times; other ApiErrors as they come. What landed stays landed.
    """
    with warehouse.reading() as connection:
        cursor = read_cursor(connection, PEOPLE)
    if cursor.value is None or cursor.is_loaded or not cursor.names.issuperset(columns.mirror_of_own):
        server_time = client.start_of_feed(datetime.now(UTC)).server_time
        with warehouse.transaction() as connection:
            begin_load(connection, settings, columns, server_time)
    with warehouse.reading() as connection:
        is_first = is_first_load(connection)
    n_exports = len(_pending(warehouse)) if is_first else None
    progress = Progress(warehouse.path.parent, "exports of people read", n_exports)
    n_failed = 0
    while pending := _pending(warehouse):
        exports = client.export_statuses()
        has_landed = False
        for window in pending[:JOBS_AT_ONCE]:
            status = _advance(warehouse, client, columns, window, exports)
            has_landed |= status == "Completed"
            progress.add(status == "Completed")
            if status in WITHOUT_FILE:
                n_failed += 1
                _stop_after_tries(n_failed, status)
                _note_export(warehouse, window.starts_at, None)
        if not has_landed:
            time.sleep(settings.marketo_poll_s)
    with warehouse.reading() as connection:
        suspects = [row[0] for row in connection.execute(_NOT_EXPORTED).fetchall()]
    confirm_people(warehouse, client, columns, suspects)
    with warehouse.transaction() as connection:
        connection.execute("delete from state.export_windows")
        cursor = read_cursor(connection, PEOPLE)
        move_cursor(connection, PEOPLE, cursor.value, cursor.names, is_loaded=True)


def _advance(
    warehouse: Warehouse,
    client: Marketo,
    columns: PersonColumns,
    window: _Window,
    exports: Mapping[str, ExportStatus],
) -> str:
    """Do what a window's export waits for; returns Marketo's word for where it stands, or New, Missing or Unreadable."""
    if window.export_id is None:
        ends = (window.starts_at.replace(tzinfo=UTC), window.ends_at.replace(tzinfo=UTC))
        created = client.create_export(["id", *columns.names], *ends)
        _note_export(warehouse, window.starts_at, created)
        client.enqueue_export(created)
        return "New"
    export = exports.get(window.export_id)
    if export is None:
        return "Missing"
    if export.status == "Created":
        client.enqueue_export(window.export_id)
    elif export.status == "Completed":
        try:
            _land_file(warehouse, client, columns, window.starts_at, window.export_id, export)
        except AnswerUnreadable as error:
            ask_again(warehouse, window.starts_at, window.ends_at, error)
            return "Unreadable"
    return export.status


def _stop_after_tries(n_failed: int, status: str) -> None:
    if n_failed > TRIES:
        raise ServerFailed(
            f"Marketo ended {n_failed} bulk exports without a file (last status {status}).",
            system="marketo",
            request="bulk lead extract",
            next_step="The next cycle goes on where this one stopped; see the export jobs in Marketo.",
        )


# Whom the mirror holds and the export lacks may be gone since, or was created while it ran.
_NOT_EXPORTED = """
select person_id from mirror.marketo_people
where not is_deleted and person_id not in (select person_id from inbox.marketo_people)
order by person_id
"""


def begin_load(
    connection: duckdb.DuckDBPyConnection, settings: Settings, columns: PersonColumns, server_time: datetime
) -> None:
    """Divide the time since the oldest person into windows; the feed is read on from before the first export.

    Where the feed was read before it is read on from there, if it remembers that long: an export tells nothing of who was
    deleted or merged since. A round of the census need not go on, and one that reads new columns begins again afterwards.
    `server_time` is Marketo's, with a zone.
    """
    forget_round(connection, PEOPLE)
    now = server_time.astimezone(UTC)
    start = datetime.fromisoformat(settings.marketo_oldest_person).replace(tzinfo=UTC)
    windows = []
    while start < now:
        windows.append((start.replace(tzinfo=None), (start + WINDOW).replace(tzinfo=None), None, False))
        start += WINDOW
    read_until = read_cursor(connection, PEOPLE).value
    if read_until is None or now - datetime.fromisoformat(read_until) > VALUES_KEPT:
        read_until = now.isoformat()
    connection.execute("delete from state.export_windows")
    connection.executemany(
        "insert into state.export_windows (starts_at, ends_at, export_id, is_landed) values (?, ?, ?, ?)", windows
    )
    move_cursor(connection, PEOPLE, read_until, columns.read_as, is_loaded=False)


def _pending(warehouse: Warehouse) -> list[_Window]:
    with warehouse.reading() as connection:
        rows = connection.execute(
            "select starts_at, ends_at, export_id from state.export_windows where not is_landed order by starts_at"
        ).fetchall()
    return [_Window(*row) for row in rows]


def _note_export(warehouse: Warehouse, starts_at: datetime, export_id: str | None) -> None:
    with warehouse.transaction() as connection:
        connection.execute("update state.export_windows set export_id = ? where starts_at = ?", [export_id, starts_at])


def _land_file(
    warehouse: Warehouse,
    client: Marketo,
    columns: PersonColumns,
    starts_at: datetime,
    export_id: str,
    export: ExportStatus,
) -> None:
    with (
        storage_errors(warehouse.path),
        tempfile.TemporaryDirectory(dir=warehouse.path.parent, prefix=EXPORT) as folder,
    ):
        file = Path(folder) / "people.csv"
        # Of a window without people the file is of no interest, and may be empty.
        bad_lines = client.download_export(export_id, file, export) if export.n_records != 0 else []
        with warehouse.transaction() as connection:
            if export.n_records != 0:
                land_people(connection, columns, file=str(file))
            told = f"of the bulk export of people created from {starts_at:%Y-%m-%d %H:%M} on"
            note_unread_people(
                connection, [(bad.person_id, f"line {bad.number} {told}: {bad.why}") for bad in bad_lines]
            )
            note_export(connection, warehouse.now(), export.size_bytes or 0)
            connection.execute("update state.export_windows set is_landed = true where starts_at = ?", [starts_at])
            n_landed = scalar(connection, "select count(*) from inbox.marketo_people")
            n_done = scalar(connection, "select count(*) from state.export_windows where is_landed")
            n_windows = scalar(connection, "select count(*) from state.export_windows")
    log.debug(
        "Landed the people created from %s on, export %d of %d; %s so far.",
        starts_at.date(), n_done, n_windows, f"{n_landed:,}",
    )  # fmt: skip
