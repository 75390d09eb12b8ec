"""DuckDB as an engine: the working file itself, in a transaction. What is only supposed goes with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb

from dynsync_pipeline.engine import Keeping
from dynsync_pipeline.sql_files import make_tables
from dynsync_pipeline.warehouse.connection import Warehouse, scalar

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def duckdb_engine(warehouse: Warehouse) -> Iterator[DuckDbEngine]:
    """An engine over a working file, whose lock the caller holds. Only what is done in `keeping` stays. Raises: StorageFailed."""
    with warehouse.reading() as connection:
        connection.begin()
        try:
            yield DuckDbEngine(connection, warehouse.now)
        finally:
            connection.rollback()


class DuckDbEngine:
    """Rule files on DuckDB, made by `duckdb_engine`; see `Engine` for what each does."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def run_steps(self, steps: Sequence[str]) -> None:
        """Make the tables of these files."""
        make_tables(self._connection, steps)

    def make(self, name: str, query: str) -> None:
        """Make a table of a query."""
        self._connection.execute(f"create or replace temp table {name} as {query}")

    def give(self, name: str, rows: pa.Table) -> None:
        """Let statements read these rows by that name."""
        self._connection.register("given", rows)
        self.make(name, "select * from given")
        self._connection.unregister("given")

    def suppose(self, table: str, made: str) -> None:
        """Put the rows into the table, until the transaction is rolled back."""
        self._connection.execute(f"insert into {table} by name from {made}")

    def count(self, table: str) -> int:
        """The number of its rows."""
        return scalar(self._connection, f"select count(*) from {table}")

    def rows(self, query: str, made: str) -> duckdb.DuckDBPyConnection:
        """What a query selects; `made` is at hand as it is."""
        return self._connection.execute(query)

    @contextmanager
    def keeping(self, made: str) -> Iterator[Keeping]:
        """The same connection; what was done until the end is committed."""
        yield Keeping(self._connection, self._now())
        self._connection.commit()
        self._connection.begin()
