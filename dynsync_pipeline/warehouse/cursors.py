"""Where each stream of changes is read on (R7, R11): one row per stream, moved in the transaction that lands its page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb

PEOPLE = "marketo_people"  # the stream of people


@dataclass(frozen=True)
class Cursor:
    """The stored position of a stream.

    `value` is opaque (Dataverse next or delta link, Marketo feed time); `columns` is the column list it was made for;
    `is_loaded` tells whether the last full read ended; `whole_columns` is the list of the last one that did.
    """

    value: str | None
    columns: str
    is_loaded: bool
    whole_columns: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """The column list, in no order."""
        return frozenset(self.columns.split(",")) if self.columns else frozenset()

    def is_whole(self, columns: Collection[str]) -> bool:
        """Whether all rows were read with just these columns."""
        return self.whole_columns == _canonical(columns)

    def continues(self, columns: Collection[str]) -> bool:
        """Whether a read of `columns` may go on from here; other columns need a full read, another order of them does not."""
        return self.value is not None and self.columns == _canonical(columns)


def _canonical(columns: Collection[str]) -> str:
    return ",".join(sorted(columns))


def read_cursor(connection: duckdb.DuckDBPyConnection, stream: str) -> Cursor:
    """The cursor of `stream`; an empty one before its first read."""
    rows = connection.execute(
        "select cursor, columns, is_loaded, whole_columns from state.cursors where stream = ?", [stream]
    ).fetchall()
    return Cursor(*rows[0]) if rows else Cursor(None, "", False)


def move_cursor(
    connection: duckdb.DuckDBPyConnection, stream: str, value: str | None, columns: Collection[str], *, is_loaded: bool
) -> None:
    """Store where `stream` is read on; call it in the transaction that lands what was read."""
    whole = _canonical(columns) if is_loaded else read_cursor(connection, stream).whole_columns
    connection.execute("delete from state.cursors where stream = ?", [stream])
    connection.execute(
        "insert into state.cursors (stream, cursor, columns, is_loaded, whole_columns, moved_at) "
        "values (?, ?, ?, ?, ?, now() at time zone 'UTC')",
        [stream, value, _canonical(columns), is_loaded, whole],
    )


def change_columns(connection: duckdb.DuckDBPyConnection, stream: str, columns: Collection[str]) -> None:
    """Store for which columns the position of `stream` holds from now on; the position stays."""
    connection.execute("update state.cursors set columns = ? where stream = ?", [_canonical(columns), stream])
