"""Links of Dynamics that are refused: the table is read anew once in a day, and refused again it waits, while others go on.

Not here: when a link is refused (`clients/dynamics/`), reading a table (`dynamics.py`).
Source: docs/protocols/dataverse.md#change-tracking.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.connection import Warehouse, scalar

log = logging.getLogger(__name__)

BETWEEN_FULL_READS = timedelta(hours=24)


def was_read_anew(warehouse: Warehouse, stream: str) -> bool:
    """Whether a full read answered a refused link of this stream within the last day."""
    with warehouse.reading() as connection:
        return bool(
            scalar(
                connection,
                "select count(*) from state.refused_links where stream = ? and read_anew_at > ?",
                [stream, warehouse.now() - BETWEEN_FULL_READS],
            )
        )


def note_read_anew(connection: duckdb.DuckDBPyConnection, stream: str, at: datetime) -> None:
    """Remember that a full read answers a refused link; `at` is UTC without zone."""
    connection.execute("delete from state.refused_links where stream = ?", [stream])
    connection.execute(
        "insert into state.refused_links (stream, read_anew_at, waits_because, is_behind) values (?, ?, null, false)",
        [stream, at],
    )


def waits_no_more(connection: duckdb.DuckDBPyConnection, stream: str) -> None:
    """The stream was read to its end."""
    connection.execute("update state.refused_links set waits_because = null where stream = ?", [stream])


def leave_out(warehouse: Warehouse, record_type: RecordType, error: ApiError, *, is_behind: bool) -> int:
    """Leave this table out of the cycle, tell why, and keep its cursor; 0 records were read.

    `is_behind`: the table was never read with the columns of now, so that nothing of it can be compared until it is.

    Raises: the error itself before the table was ever read as a whole, because what is half read cannot be compared.
    """
    table = TABLES[record_type]
    stream = f"dynamics_{table.entity_set}"
    with warehouse.transaction() as connection:
        if not scalar(connection, f"select count(*) from (from {table.mirror} limit 1)"):
            raise error
        if not scalar(connection, "select count(*) from state.refused_links where stream = ?", [stream]):
            note_read_anew(connection, stream, warehouse.now())
        connection.execute(
            "update state.refused_links set waits_because = ?, is_behind = ? where stream = ?",
            [str(error), is_behind, stream],
        )
    log.error(
        "%s The %s are left out of this cycle; within a day of their last full read they are not read in full again. "
        "See `dynsync status`.",
        error,
        table.entity_set,
    )
    return 0
