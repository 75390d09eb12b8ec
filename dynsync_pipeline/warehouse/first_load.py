"""The first load while it runs: how many rows are expected, how far it is, and that it has ended (R4).

It lasts until a whole cycle has succeeded. What is told here goes to a logger of its own, which `dynsync sync` prints.
Not here: what it will cost (`extract/first_load.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import duckdb

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import scalar

log = logging.getLogger("dynsync_pipeline.first_load")

GAP_S = 60.0  # between two lines about one stream


def is_first_load(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether no whole cycle has succeeded yet."""
    return not scalar(connection, "select count(*) from (select 1 from ledger.cycles where is_whole limit 1)")


def expect_rows(connection: duckdb.DuckDBPyConnection, n_rows: Mapping[RecordType, int]) -> None:
    """Note how many rows the tables of Dynamics have, by record type."""
    connection.execute("delete from state.expected_rows")
    connection.execute(
        "insert into state.expected_rows (record_type, n_rows) select unnest(?::varchar[]), unnest(?::bigint[])",
        [list(n_rows), list(n_rows.values())],
    )


def expected_rows(connection: duckdb.DuckDBPyConnection, record_type: RecordType) -> int | None:
    """How many rows of a table are expected; None where nobody told, and once the first load has ended."""
    rows = connection.execute("select n_rows from state.expected_rows where record_type = ?", [record_type]).fetchall()
    return int(rows[0][0]) if rows else None


def end_first_load(connection: duckdb.DuckDBPyConnection) -> None:
    """Tell that the first load has ended, where the vendor sends an e-mail; call it where `is_first_load` was true."""
    connection.execute("delete from state.expected_rows")
    n_links = scalar(connection, "select count(*) from state.links")
    n_errors = scalar(connection, "select count(*) from ledger.sync_errors where state <> 'resolved'")
    log.info(
        "The first load has ended: %s people are linked, %s errors are open (`dynsync errors`).",
        f"{n_links:,}",
        f"{n_errors:,}",
    )


class Progress:
    """Tells how far one stream of the first load is, a line a minute at most; nothing where no number is expected."""

    def __init__(self, what: str, n_expected: int | None) -> None:
        self._what = what
        self._n_expected = n_expected
        self._n = 0
        self._told_at_s = time.monotonic()

    def add(self, n: int) -> None:
        """So many more are done."""
        self._n += n
        if self._n_expected is not None and time.monotonic() - self._told_at_s >= GAP_S:
            self._told_at_s = time.monotonic()
            log.info("First load: %s of about %s %s.", f"{self._n:,}", f"{self._n_expected:,}", self._what)
