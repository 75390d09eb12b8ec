"""Whether there is anything to publish that the snapshot does not tell already: a quiet cycle swaps nothing in (R3).

What moves in every cycle is told by `status.json` (`status_file.py`), and by the snapshot an hour later at most.
Not here: how the snapshot is made (`snapshot.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from dynsync_pipeline.publish.private_copy import LEDGERS, SMALL
from dynsync_pipeline.publish.status_file import MOVING, publication_of, status_file
from dynsync_pipeline.publish.table import PublishedTable
from dynsync_pipeline.warehouse.columns import digest
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.cycles import CycleEnd

LONGEST_WITHOUT_SWAP = timedelta(hours=1)


def digest_of_news(connection: duckdb.DuckDBPyConnection, tables: tuple[PublishedTable, ...], ending: CycleEnd) -> str:
    """A text that is another one once something is to be told beside the rows of `state.unpublished`.

    That is another column, a new row of a ledger, another content of a small table, another end of a cycle than that of the
    one before.
    """
    looks = []
    for table in tables:
        if table.name in LEDGERS:
            looks.append(f"(select max({table.key}) from {table.table})")
        elif table.name in SMALL and table.name not in MOVING:
            looks.append(f"(select (count(*), sum(hash(t))) from {table.table} t)")
    seen = connection.execute(f"select {', '.join(looks)}").fetchall()
    return digest(tables, seen, ending.status, ending.message, ending.is_whole)


def is_told(connection: duckdb.DuckDBPyConnection, snapshot: Path, news: str, at: datetime) -> bool:
    """Whether this very snapshot was swapped in with `news` less than an hour before `at`, and no row is to be published.

    `at` is UTC without zone. A working file that came back from a backup knows another publication than the snapshot's.
    """
    is_known = scalar(
        connection,
        "select count(*) from state.last_swap where news = ? and swapped_at between ? and ? "
        "and not exists (from state.unpublished) and ? in (from state.publications)",
        [news, at - LONGEST_WITHOUT_SWAP, at, publication_of(status_file(snapshot))],
    )
    return bool(is_known) and snapshot.exists()


def note_swap(warehouse: Warehouse, ending: CycleEnd, news: str, standing: str | None) -> None:
    """Note that the snapshot was swapped in at the end of this cycle, and how the sync stands by it, as JSON; None: too much."""
    with warehouse.transaction() as connection:
        connection.execute(
            "insert into state.last_swap (swapped_at, cycle_id, news, standing) values (?, ?, ?, ?)",
            [ending.at, ending.cycle_id, news, standing],
        )
