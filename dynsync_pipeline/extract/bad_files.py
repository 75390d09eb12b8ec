"""A file of a bulk export that cannot be read as a whole: asked for again, then its window is split, then it is reported.

Not here: single bad lines (`clients/marketo/export_lines.py`), the windows themselves (`bulk_load.py`).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.errors import AnswerUnreadable
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.unread import note_unread_people

log = logging.getLogger(__name__)

TRIES = 2  # of a window before it is split
SMALLEST = timedelta(days=1)
MOST_BAD = 12  # files of one load, after which no window is split any more: the fault is in no person


def ask_again(warehouse: Warehouse, starts_at: datetime, ends_at: datetime, error: AnswerUnreadable) -> None:
    """Note that the file of a window cannot be read, and what is to be done about it.

    A window that was tried and is split no more is told in `sync_errors` and left out, and the load goes on.
    """
    told = f"people created from {starts_at:%Y-%m-%d %H:%M} to {ends_at:%Y-%m-%d %H:%M}"
    with warehouse.transaction() as connection:
        connection.execute(
            "update state.export_windows set n_bad_files = n_bad_files + 1, export_id = null where starts_at = ?",
            [starts_at],
        )
        n_bad, n_all = connection.execute(
            "select max(n_bad_files) filter (where starts_at = ?), sum(n_bad_files) from state.export_windows",
            [starts_at],
        ).fetchall()[0]
        if n_bad < TRIES:
            what = "They are asked for again."
        elif ends_at - starts_at > SMALLEST and n_all <= MOST_BAD:
            what = "They are asked for again in two halves."
            _split(connection, starts_at, ends_at)
        else:
            what = "They are left out; see `dynsync errors`."
            connection.execute("update state.export_windows set is_landed = true where starts_at = ?", [starts_at])
            note_unread_people(connection, [(None, f"the bulk export of {told}: {error.message.rstrip('.')}")])
    log.warning("The bulk export of %s: %s %s", told, error.message, what)


def _split(connection: duckdb.DuckDBPyConnection, starts_at: datetime, ends_at: datetime) -> None:
    middle = starts_at + timedelta(seconds=(ends_at - starts_at).total_seconds() // 2)
    connection.execute("delete from state.export_windows where starts_at = ?", [starts_at])
    connection.executemany(
        "insert into state.export_windows (starts_at, ends_at, export_id, is_landed, n_bad_files) "
        "values (?, ?, null, false, ?)",
        [[starts_at, middle, TRIES - 1], [middle, ends_at, TRIES - 1]],
    )
