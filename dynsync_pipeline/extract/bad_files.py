"""A file of a bulk export that cannot be read as a whole: asked for again, then its window is split, then it is reported.

Not here: single bad lines (`clients/marketo/export_lines.py`), the windows themselves (`bulk_load.py`).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from dynsync_pipeline.errors import AnswerUnreadable
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.unread import note_unread_people

log = logging.getLogger(__name__)

TRIES = 2  # of a window before it is split
SMALLEST = timedelta(days=1)
MOST_BAD = 50  # files of one load, after which the fault is in no window


def ask_again(warehouse: Warehouse, starts_at: datetime, ends_at: datetime, error: AnswerUnreadable) -> None:
    """Note that the file of a window cannot be read, and what is to be done about it.

    A window that is as small as may be is told in `sync_errors` and left out, and the load goes on. Raises: the error, where
    so many files are bad that no window is at fault.
    """
    with warehouse.transaction() as connection:
        connection.execute(
            "update state.export_windows set n_bad_files = n_bad_files + 1, export_id = null where starts_at = ?",
            [starts_at],
        )
        n_all = scalar(connection, "select sum(n_bad_files)::bigint from state.export_windows")
        n_bad = scalar(connection, "select max(n_bad_files) from state.export_windows where starts_at = ?", [starts_at])
        middle = starts_at + timedelta(seconds=(ends_at - starts_at).total_seconds() // 2)
        if n_bad >= TRIES and ends_at - starts_at > SMALLEST:
            connection.execute(
                "update state.export_windows set ends_at = ?, n_bad_files = ? where starts_at = ?",
                [middle, TRIES - 1, starts_at],
            )
            connection.execute(
                "insert into state.export_windows (starts_at, ends_at, export_id, is_landed, n_bad_files) "
                "values (?, ?, null, false, ?)",
                [middle, ends_at, TRIES - 1],
            )
        elif n_bad >= TRIES:
            connection.execute("update state.export_windows set is_landed = true where starts_at = ?", [starts_at])
            where = f"the bulk export of people created from {starts_at:%Y-%m-%d %H:%M} to {ends_at:%Y-%m-%d %H:%M}"
            note_unread_people(connection, [(None, f"{where}: {error.message}")])
    log.warning("People created from %s to %s: %s They are asked for again.", starts_at, ends_at, error.message)
    if n_all > MOST_BAD:
        raise error
