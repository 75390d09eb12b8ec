"""Reading the snapshot as anyone may, at any moment. Not here: what is asked of it (`status`, `sync_errors`, `explain`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.publish.status_file import read_status_file, status_file

Row = dict[str, Any]
_IN_USE = ("lock", ".wal", "write-ahead")  # what DuckDB says of a file that somebody writes, or left half written


@contextmanager
def reading_snapshot(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the snapshot, which stays whole while cycles go on.

    Raises: StorageFailed when there is none yet, when it cannot be opened, or when another version made it.
    """
    try:
        is_there = path.exists()
    except PermissionError:
        raise StorageFailed(
            f"You may not read the folder {path.parent}.",
            next_step="Ask its owner to share it (docs/operate.md#working-file-and-snapshot).",
        ) from None
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be read: {error.strerror}.", next_step="Name a folder in DYNSYNC_DATA_DIR."
        ) from None
    if not is_there:
        raise StorageFailed(
            f"There is no snapshot at {path} yet.",
            next_step="Run `dynsync sync` (DYNSYNC_DATA_DIR names the folder), or `dynsync demo` to see one made.",
        )
    if not path.is_file():  # of a pipe DuckDB would wait for a writer
        raise _damaged(path)
    try:
        with duckdb.connect(path, read_only=True) as connection:
            go_on(connection, status_file(path))
            yield connection
    except duckdb.IOException as error:
        said = str(error).replace(str(path), "").lower()
        if not any(sign in said for sign in _IN_USE):
            raise _damaged(path) from None
        raise StorageFailed(
            f"{path} cannot be opened: another program has it open for writing, or left {path.name}.wal beside it.",
            next_step="Close that program; the next cycle swaps in a new snapshot and removes what it left.",
        ) from None
    except (duckdb.CatalogException, duckdb.BinderException):
        raise StorageFailed(
            f"{path} was made by another version of DynSync.", next_step="Run `dynsync sync`, which makes it anew."
        ) from None


def _damaged(path: Path) -> StorageFailed:
    return StorageFailed(
        f"{path} is damaged, or no snapshot at all.",
        next_step="Remove it; the next cycle makes it anew (`dynsync sync`).",
    )


def go_on(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Let the snapshot, whose tables are at hand, tell what cycles without a swap left in `status.json` since.

    Temporary tables stand before those of the snapshot; where the file goes on from another one, there are none.
    """
    told = read_status_file(file)
    if connection.execute("select publication from main.layout").fetchall() != [(told.get("publication"),)]:
        return
    for name, key in _GOING_ON.items():
        rows = told.get(name, [])
        connection.execute(f"create temp table {name} as from main.{name}")
        connection.execute(f"delete from temp.{name} where {key} >= ?", [min((row[key] for row in rows), default=None)])
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"insert into temp.{name} ({', '.join(row)}) values ({marks})", list(row.values()))


# By which column their rows go on; streams are few, and all of them are told.
_GOING_ON = {
    "cycles": "cycle_id",
    "cursors": "stream",
    "backlog_hours": "hour_at",
    "calls_between": "called_at",
    "budget_days": "ends_at",
}


def select(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] = ()) -> list[Row]:
    """The rows that `query` selects, by column name."""
    return rows_of(connection.execute(query, list(values)))


def rows_of(found: duckdb.DuckDBPyConnection) -> list[Row]:
    """All rows that a query found, by column name."""
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
