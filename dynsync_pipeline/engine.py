"""What a question about everything asks of an engine, whichever it is. Not here: the two that there are (`engines/`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

import duckdb

if TYPE_CHECKING:
    import pyarrow as pa


class Keeping(NamedTuple):
    """The working file, in a transaction under the cycle lock, and the time, UTC without zone."""

    connection: duckdb.DuckDBPyConnection
    at: datetime


class Engine(Protocol):
    """Runs rule files over one state of the tables of the working file. It makes tables, and changes none that stays.

    Queries are in DuckDB's words. Each may raise: EngineFailed, StorageFailed; SqlFileFailed, naming the file.
    """

    def run_steps(self, steps: Sequence[str]) -> None:
        """Make the tables of these rule files, in order; statements that change a table are left out."""

    def make(self, name: str, query: str) -> None:
        """Make a table of a query, in place of one of that name."""

    def give(self, name: str, rows: pa.Table) -> None:
        """Let statements read these rows by that name."""

    def suppose(self, table: str, made: str) -> None:
        """Let statements find the rows of a table that was made, which has the same columns, in this one too."""

    def count(self, table: str) -> int:
        """The number of its rows."""

    def rows(self, query: str, made: str) -> duckdb.DuckDBPyConnection:
        """What a query, which reads `codes` and this table that was made, selects; to be fetched before the next call."""

    def keeping(self, made: str) -> AbstractContextManager[Keeping]:
        """The working file, with this table that was made as a temporary one; what is done there stays. Raises: CycleRunning."""
