"""Opening the working file: one DuckDB connection, short transactions, storage errors as sentences.

Not here: what the tables hold (`migrations/`), which columns they have (`columns.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import TracebackType

import duckdb

from dynsync_pipeline.errors import StorageFailed

SCHEMA_VERSION = 1


class Warehouse:
    """The working file, open for writing by this process alone; the cycle lock is taken before.

    `transaction()` serialises the threads that extract side by side: HTTP is what they wait for, not DuckDB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.RLock()
        with storage_errors(path):
            self._connection = duckdb.connect(path, config={"preserve_insertion_order": "false"})
            self._connection.execute("set TimeZone = 'UTC'")  # canonical_datetime reads zone-less text as UTC
            self._migrate()

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Checkpoint and close."""
        with storage_errors(self.path):
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Everything executed inside commits together or not at all. Raises: StorageFailed."""
        with self._turn, storage_errors(self.path):
            self._connection.begin()
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection, for statements that change nothing that lasts. Raises: StorageFailed."""
        with self._turn, storage_errors(self.path):
            yield self._connection

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file."""
        with self.reading() as connection:
            connection.execute("checkpoint")

    def _migrate(self) -> None:
        self._connection.execute("create table if not exists schema_version (version integer)")
        version = scalar(self._connection, "select coalesce(max(version), 0) from schema_version")
        if version > SCHEMA_VERSION:
            raise StorageFailed(
                f"{self.path} was written by a newer DynSync (schema {version}, this one knows {SCHEMA_VERSION}).",
                next_step="Install that version again, or name another data folder in DYNSYNC_DATA_DIR.",
            )
        for step in range(version + 1, SCHEMA_VERSION + 1):
            self._connection.begin()
            self._connection.execute(_migration(step))
            self._connection.execute("insert into schema_version values (?)", [step])
            self._connection.commit()


def scalar(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] = ()) -> int:
    """The one whole number that `query` selects. Fetches to the end, which DuckDB asks for before the next statement."""
    return int(connection.execute(query, list(values)).fetchall()[0][0])


def _migration(step: int) -> str:
    return files("dynsync_pipeline.warehouse").joinpath("migrations", f"{step:04}.sql").read_text("utf-8")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what DuckDB and the file system say about storage into `StorageFailed`; other errors pass."""
    try:
        yield
    except (duckdb.IOException, duckdb.FatalException, OSError) as error:
        text = str(error)
        if "Could not set lock" in text or "Conflicting lock" in text:
            raise StorageFailed(
                f"{path} is open in another program.",
                next_step="Close it there: analysts read snapshot.duckdb, never the working file.",
            ) from None
        if "No space left" in text or "Disk quota" in text or "not enough disk space" in text.lower():
            raise StorageFailed(
                f"The disk of {path.parent} is full.",
                next_step="Free space and start the next cycle; what was committed is kept.",
            ) from None
        raise StorageFailed(
            f"{path} cannot be read or written: {text.splitlines()[0].rstrip('.')}.",
            next_step="Check the data folder and the disk.",
        ) from None
