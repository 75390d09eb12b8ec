"""The first load of Marketo people by bulk extract (R5): windows of creation dates, resumable at every window.

Used again when the list of fields changes, because the feed only tells values that change from then on (R100).
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.errors import ServerFailed
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cursors import move_cursor, read_cursor
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_people

log = logging.getLogger(__name__)

STREAM = "marketo_people"
WINDOW = timedelta(days=30)  # Marketo takes at most 31, both ends included
JOBS_AT_ONCE = 10  # the length of Marketo's queue, which other tools share
TRIES = 3


def load_people(warehouse: Warehouse, client: Marketo, settings: Settings, columns: PersonColumns) -> None:
    """Land every person in the inbox, then store the feed time from which changes must be read.

    Raises: ServerFailed when an export fails several times; other ApiErrors as they come. What landed stays landed.
    """
    names = columns.names
    with warehouse.reading() as connection:
        is_resumed = read_cursor(connection, STREAM).continues(names)
    if not is_resumed:
        _begin(warehouse, client, settings, names)
    n_failed = 0
    while pending := _pending(warehouse):
        statuses = client.export_statuses()
        moved = False
        for starts_at, ends_at, export_id in pending[:JOBS_AT_ONCE]:
            if export_id is None:
                created = client.create_export(
                    ["id", *names], starts_at.replace(tzinfo=UTC), ends_at.replace(tzinfo=UTC)
                )
                _note_export(warehouse, starts_at, created)
                client.enqueue_export(created)
                continue
            status = statuses[export_id].status if export_id in statuses else "Missing"
            if status == "Created":
                client.enqueue_export(export_id)
            elif status == "Completed":
                _land_file(warehouse, client, columns, starts_at, export_id, statuses[export_id].checksum or "")
                moved = True
            elif status in ("Failed", "Cancelled", "Canceled", "Missing"):
                n_failed += 1
                if n_failed > TRIES:
                    raise ServerFailed(
                        f"Marketo ended {n_failed} bulk exports without a file (last status {status}).",
                        system="marketo",
                        request="bulk lead extract",
                        next_step="The next cycle goes on where this one stopped; see the export jobs in Marketo.",
                    )
                _note_export(warehouse, starts_at, None)
        if not moved:
            time.sleep(settings.marketo_poll_s)
    with warehouse.transaction() as connection:
        connection.execute("delete from state.export_windows")
        move_cursor(connection, STREAM, read_cursor(connection, STREAM).value, names, is_loaded=True)


def _begin(warehouse: Warehouse, client: Marketo, settings: Settings, names: Sequence[str]) -> None:
    """Divide the time since the oldest person into windows; the feed is read on from before the first export."""
    now = client.start_of_feed(datetime.now(UTC)).server_time.astimezone(UTC)
    start = datetime.fromisoformat(settings.marketo_oldest_person).replace(tzinfo=UTC)
    windows = []
    while start < now:
        windows.append((start.replace(tzinfo=None), (start + WINDOW).replace(tzinfo=None), None, False))
        start += WINDOW
    with warehouse.transaction() as connection:
        connection.execute("delete from state.export_windows")
        connection.executemany("insert into state.export_windows values (?, ?, ?, ?)", windows)
        move_cursor(connection, STREAM, now.isoformat(), names, is_loaded=False)


def _pending(warehouse: Warehouse) -> list[tuple[datetime, datetime, str | None]]:
    with warehouse.reading() as connection:
        return connection.execute(
            "select starts_at, ends_at, export_id from state.export_windows where not is_landed order by starts_at"
        ).fetchall()


def _note_export(warehouse: Warehouse, starts_at: datetime, export_id: str | None) -> None:
    with warehouse.transaction() as connection:
        connection.execute("update state.export_windows set export_id = ? where starts_at = ?", [export_id, starts_at])


def _land_file(
    warehouse: Warehouse,
    client: Marketo,
    columns: PersonColumns,
    starts_at: datetime,
    export_id: str,
    checksum: str,
) -> None:
    with tempfile.TemporaryDirectory(dir=warehouse.path.parent, prefix="export-") as folder:
        file = Path(folder) / "people.csv"
        client.download_export(export_id, file, checksum)
        with warehouse.transaction() as connection:
            land_people(connection, columns, file=str(file))
            connection.execute("update state.export_windows set is_landed = true where starts_at = ?", [starts_at])
            n_landed = scalar(connection, "select count(*) from inbox.marketo_people")
    log.info("Landed the people created from %s on; %s so far.", starts_at.date(), f"{n_landed:,}")
