"""Opening the working file: one DuckDB connection, short transactions.

Not here: what the tables hold (`migrations/`), which columns they have (`columns.py`), storage errors (`storage.py`).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from types import TracebackType

import duckdb

from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.erased import load_erased
from dynsync_pipeline.warehouse.parsing import parsing_once
from dynsync_pipeline.warehouse.restored import require_finished
from dynsync_pipeline.warehouse.storage import OWNER_ONLY as OWNER_ONLY
from dynsync_pipeline.warehouse.storage import OWNERS_FOLDER as OWNERS_FOLDER
from dynsync_pipeline.warehouse.storage import storage_errors as storage_errors
from dynsync_pipeline.warehouse.storage import utc_now as utc_now

IN_MEMORY = Path(":memory:")  # the path of a working file that is gone when it is closed
MEMORY = "50%"  # of the machine's; DuckDB's own default, four fifths, leaves too little to the rest of a cycle
# Before a checkpoint. DuckDB's own default, 16 MB, compresses the inbox of a long read over and over before it is emptied.
LARGEST_LOG = "256MB"
# Of this file and of the snapshot: what older clients and BI tools still read. It is also the quicker one: with what compresses
# text in DuckDB since 1.3, reading a few scattered rows whole takes two to three times as long.
STORAGE_VERSION = "v1.2.0"
FIRST_VERSION, SCHEMA_VERSION = 2, 3  # of the working file; 1 was never released
CANON_CHANGED = 3  # the version from which on every line break is one, and NUL is left out (R45)
ROWS_A_STATEMENT = 100
FEWEST_BLOCKS = 256  # of 256 KiB: below 64 MB of free space it is not worth the copy


class Warehouse:
    """The working file, open for writing by this process alone; the cycle lock is taken before.

    `transaction()` serialises the threads that extract side by side: HTTP is what they wait for, not DuckDB.
    `clock` tells the time, with a zone, of whatever is written into it.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self._clock = clock
        self._turn = threading.RLock()
        self._limits: tuple[int | None, int | None, Path | None] = (None, None, None)
        with storage_errors(path):
            require_finished(path.parent)
            self._connection = _opened(path)
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

    def limit(self, memory_mb: int | None, threads: int | None, temp_dir: Path | None) -> None:
        """Let DuckDB take no more than this; what is None stays as it is. Raises: StorageFailed for a folder of no use."""
        self._limits = (memory_mb, threads, temp_dir)
        with self._turn, storage_errors(temp_dir or self.path):
            if memory_mb is not None:
                self._connection.execute(f"set memory_limit = '{memory_mb}MB'")
            if threads is not None:
                self._connection.execute(f"set threads = {threads}")
            if temp_dir is not None:
                temp_dir.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
                self._connection.execute("set temp_directory = ?", [str(temp_dir)])

    def now(self) -> datetime:
        """The time as the working file keeps it: UTC without zone."""
        return self._clock().astimezone(UTC).replace(tzinfo=None)

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Everything executed inside commits together or not at all. Raises: StorageFailed."""
        with self._turn, storage_errors(self.path):
            self._connection.begin()
            try:
                yield self._connection
                self._connection.commit()
            except BaseException:
                with suppress(duckdb.Error):  # a commit that failed has rolled back already
                    self._connection.rollback()
                raise

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection, for statements that change nothing that lasts. Raises: StorageFailed."""
        with self._turn, storage_errors(self.path):
            yield self._connection

    def tidy(self) -> None:
        """Fold the write-ahead log into the file, and write the file anew where more of it is free than used.

        Deleted rows leave free blocks behind, which DuckDB uses again but never gives back. A file of another storage version,
        which an earlier DynSync made, is written anew as well, once there is room for it twice.
        """
        with self._turn, storage_errors(self.path):
            self._connection.execute("checkpoint")
            used, free, version = self._connection.execute(
                "select used_blocks, free_blocks, tags['storage_version'] from pragma_database_size() "
                "join duckdb_databases() using (database_name) where database_name = current_database()"
            ).fetchall()[0]
            # A database in memory has no version; that of a file may name the newest DuckDB that it is meant for as well.
            is_of_another = version is not None and not version.startswith(STORAGE_VERSION)
            if free > max(used, FEWEST_BLOCKS) or (is_of_another and self._has_room()):
                self._compact()

    def rewrite(self) -> None:
        """Write the file anew: what was deleted is then nowhere in it."""
        with self._turn, storage_errors(self.path):
            self._connection.execute("checkpoint")
            self._compact()

    def _has_room(self) -> bool:
        return shutil.disk_usage(self.path.parent).free > 2 * self.path.stat().st_size

    def _compact(self) -> None:
        new = self.path.with_name(self.path.name + ".new")
        new.unlink(missing_ok=True)
        name = self._connection.execute("select current_database()").fetchall()[0][0]
        path = str(new).replace("'", "''")
        self._connection.execute(f"attach '{path}' as compacted (storage_version '{STORAGE_VERSION}')")
        try:
            self._connection.execute(f'copy from database "{name}" to compacted')
        except duckdb.Error:
            self._connection.execute("detach compacted")
            new.unlink(missing_ok=True)
            raise
        self._connection.execute("detach compacted")
        self._connection.close()
        try:
            new.replace(self.path)
        finally:
            self._connection = _opened(self.path)
            self.limit(*self._limits)

    def _migrate(self) -> None:
        self._connection.execute("create table if not exists schema_version (version integer)")
        version = scalar(self._connection, "select coalesce(max(version), 0) from schema_version")
        if version > SCHEMA_VERSION:
            raise StorageFailed(
                f"{self.path} was written by a newer DynSync (schema {version}, this one knows {SCHEMA_VERSION}).",
                next_step="Install that version again, or name another data folder in DYNSYNC_DATA_DIR.",
            )
        if 0 < version < FIRST_VERSION:
            raise StorageFailed(
                f"{self.path} was written by a DynSync from before its first release, whose files this one cannot read.",
                next_step="Name another data folder in DYNSYNC_DATA_DIR, or remove this one: people are linked again by the "
                "ids they bear in Marketo, and every link meets as for the first time.",
            )
        for step in range(max(version + 1, FIRST_VERSION), SCHEMA_VERSION + 1):
            self._connection.begin()
            self._connection.execute(_migration(step))
            if step == CANON_CHANGED and version:  # a new file holds no values yet
                _spell_anew(self._connection)
            self._connection.execute("insert into schema_version (version) values (?)", [step])
            self._connection.commit()


def _spell_anew(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring values that an older version kept into the spelling of this one, so that none of them looks like an edit."""
    columns = connection.execute(
        "select schema_name, table_name, column_name from duckdb_columns() where data_type = 'VARCHAR' "
        "and not internal and schema_name in ('inbox', 'mirror', 'state', 'reconcile') "
        "and (schema_name, table_name) in (select (schema_name, table_name) from duckdb_tables())"
    ).fetchall()
    for schema, table, column in columns:
        name = column.replace('"', '""')
        connection.execute(
            f'update {schema}.{table} set "{name}" = canonical_text("{name}") '
            f'where contains("{name}", chr(13)) or contains("{name}", chr(0))'
        )


def _opened(path: Path) -> duckdb.DuckDBPyConnection:
    limits = {"memory_limit": MEMORY, "checkpoint_threshold": LARGEST_LOG}
    stored = {"storage_compatibility_version": STORAGE_VERSION}
    connection = duckdb.connect(path, config={"preserve_insertion_order": "false", **limits, **stored})
    connection.execute("reset storage_compatibility_version")  # or DuckDB tells parsed statements as it did then, too
    if path.exists():  # also one that an older version made; a database in memory has no file
        path.chmod(OWNER_ONLY)
    connection.execute("set TimeZone = 'UTC'")  # canonical_datetime reads zone-less text as UTC
    run_steps(connection, ("warehouse/macros", "warehouse/codes"))
    load_erased(connection, path.parent)
    return parsing_once(connection)


def scalar(
    connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] | Mapping[str, object] = ()
) -> int:
    """The one whole number that `query` selects. Fetches to the end, which DuckDB asks for before the next statement."""
    given = dict(values) if isinstance(values, Mapping) else list(values)
    return int(connection.execute(query, given).fetchall()[0][0])


def insert_rows(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Insert rows of these columns, a hundred with each statement, because a statement costs more than a row."""
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        some = rows[start : start + ROWS_A_STATEMENT]
        marks = ", ".join(["(" + ", ".join("?" * len(columns)) + ")"] * len(some))
        values = [value for row in some for value in row]
        connection.execute(f"insert into {table} ({', '.join(columns)}) values {marks}", values)


def _migration(step: int) -> str:
    return files("dynsync_pipeline.warehouse").joinpath("migrations", f"{step:04}.sql").read_text("utf-8")
