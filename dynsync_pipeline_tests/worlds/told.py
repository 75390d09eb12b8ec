"""A connection that keeps the texts of what it ran."""

from __future__ import annotations

from typing import Any, cast

import duckdb


def telling(connection: duckdb.DuckDBPyConnection) -> tuple[duckdb.DuckDBPyConnection, list[str]]:
    """The connection, and the texts of all that is executed on it from now on."""
    told = _Told(connection)
    return cast(duckdb.DuckDBPyConnection, told), told.texts


class _Told:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.texts: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: duckdb.Statement | str, parameters: object = None) -> duckdb.DuckDBPyConnection:
        self.texts.append(query if isinstance(query, str) else query.query)
        return self._connection.execute(query, parameters)
