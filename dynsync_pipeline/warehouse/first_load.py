"""Long work while it runs: of a first load how many rows are expected, how far it is, and that it has ended (R4); of later
cycles how far their writes are, where these take long.

The first load lasts until a whole cycle has succeeded. What is told here goes to a logger of its own, which `dynsync sync`
prints, and into a file beside the working file, which the cycle keeps to itself, for `dynsync status`.
Not here: what it will cost (`extract/first_load.py`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dynsync_pipeline.model.records import RecordType

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger("dynsync_pipeline.first_load")

GAP_S = 60.0  # between two lines about one stream
NOTE_S = 1.0  # between two looks of the file at one stream
LONG_S = 5.0  # from which on the work of a later cycle is long
FILE = "first_load.json"
_noting = threading.Lock()


def is_first_load(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether no whole cycle has succeeded yet."""
    from dynsync_pipeline.warehouse.connection import scalar  # who only looks on opens no database

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


def end_first_load(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Tell that the first load has ended, where the vendor sends an e-mail; call it where `is_first_load` was true."""
    from dynsync_pipeline.warehouse.connection import scalar

    connection.execute("delete from state.expected_rows")
    with suppress(OSError):
        (folder / FILE).unlink(missing_ok=True)
    n_links = scalar(connection, "select count(*) from state.links")
    n_errors = scalar(connection, "select count(*) from ledger.sync_errors where state <> 'resolved'")
    log.info(
        "The first load has ended: %s people are linked, %s errors are open (`dynsync errors`).",
        f"{n_links:,}",
        f"{n_errors:,}",
    )


def forget_progress(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Forget how far a cycle was, now that it ends; a first load that was cut goes on."""
    if (folder / FILE).exists() and not is_first_load(connection):
        with suppress(OSError):
            (folder / FILE).unlink(missing_ok=True)


def note_progress(folder: Path, what: str, told: str) -> None:
    """Keep for whoever looks on how far one part of the first load is; a file that cannot be written holds nothing up."""
    file = folder / FILE
    with _noting, suppress(OSError):
        parts = progress(folder) | {what: told}
        private = file.with_suffix(".tmp")
        private.write_text(json.dumps(parts), "utf-8")
        private.replace(file)


def progress(folder: Path) -> dict[str, str]:
    """How far the parts are of a first load that runs, or was cut, or of a long cycle; empty before and after."""
    try:
        found = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(what): str(told) for what, told in found.items()} if isinstance(found, dict) else {}


class Progress:
    """Tells how far one part of a cycle is, a line a minute at most; nothing where no number is expected.

    `folder` is that of the working file. Of a later cycle than the `is_first` load nothing is told that is done in seconds.
    """

    def __init__(self, folder: Path, what: str, n_expected: int | None, *, is_first: bool = True) -> None:
        self._folder = folder
        self._what = what
        self._n_expected = n_expected
        self._prefix, self._quiet_s = ("First load: ", 0.0) if is_first else ("", LONG_S)
        self._n = 0
        self._began_at_s = self._told_at_s = time.monotonic()
        self._noted_at_s = -NOTE_S

    def add(self, n: int) -> None:
        """So many more are done."""
        self._n += n
        if self._n_expected is None:
            return
        at_s = time.monotonic()
        if at_s - self._began_at_s < self._quiet_s:
            return
        told = f"{self._n:,} of about {self._n_expected:,} {self._what}{self._pace(at_s)}"
        if at_s - self._noted_at_s >= NOTE_S or self._n >= self._n_expected:
            self._noted_at_s = at_s
            note_progress(self._folder, self._what, told)
        if at_s - self._told_at_s >= GAP_S:
            self._told_at_s = at_s
            log.info("%s%s.", self._prefix, told)

    def _pace(self, at_s: float) -> str:
        """How many a second since the beginning, and how long the rest takes at that pace; nothing in the first second."""
        elapsed_s, n_left = at_s - self._began_at_s, (self._n_expected or 0) - self._n
        if elapsed_s < 1 or n_left <= 0 or not self._n:
            return ""
        a_second = self._n / elapsed_s
        pace = f"{a_second:,.0f} a second" if a_second >= 1 else f"{a_second * 60:,.1f} a minute"
        return f", {pace}, {_rough(n_left / a_second)} left"


def _rough(seconds: float) -> str:
    """How long something takes, as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
