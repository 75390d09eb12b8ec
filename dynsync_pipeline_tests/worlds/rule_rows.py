"""Rows that a rule file reads, put where it reads them: a test of one statement by the rows it is about, in no time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

Row = dict[str, Any]


def make(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> None:
    """Make these temporary tables, empty; of each its columns with their types."""
    for name, columns in tables.items():
        connection.execute(f"create or replace temp table {name} ({columns})")


def put(connection: duckdb.DuckDBPyConnection, rows: Iterable[tuple[str, Row]]) -> None:
    """Put rows, each with the name of its table, into tables that are there; what a row does not tell is null."""
    tables: dict[str, list[Row]] = {}
    for table, row in rows:
        tables.setdefault(table, []).append(row)
    for table, those in tables.items():
        insert(connection, table, those)


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    """Put these rows into one table."""
    names = sorted({name for row in rows for name in row})
    connection.register("new_rows", pa.Table.from_pylist([{n: row.get(n) for n in names} for row in rows]))
    connection.execute(f"insert into {table} ({', '.join(names)}) select {', '.join(names)} from new_rows")
    connection.unregister("new_rows")


def put_options(
    connection: duckdb.DuckDBPyConnection, record_type: str, column: str, labels: Mapping[str, str]
) -> None:
    """Let a column have these options, label by number."""
    numbers, texts = list(labels), list(labels.values())
    connection.execute(
        "insert into state.option_maps (record_type, dynamics_column, numbers, listed_numbers, labels) "
        "values (?, ?, map(?, ?), map(?, ?), map(?, ?))",
        [record_type, column, texts, numbers, texts, numbers, numbers, texts],
    )


def parked(record_type: str, field: str) -> tuple[str, Row]:
    """A field that is not synced just now, as a row with its table."""
    why = {"reason": "Dynamics does not offer it", "reason_code": "not_offered", "was_gone": True}
    return "state.parked_fields", {"record_type": record_type, "marketo_field": field, "dynamics_column": "c"} | why
