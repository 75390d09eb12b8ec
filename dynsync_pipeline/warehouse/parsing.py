"""A connection that does nothing twice. Of a statement over few rows parsing is a third, and a cycle runs hundreds of them.

Not here: the statements of the rule files, which `sql_files.py` keeps parsed by file.
"""

from __future__ import annotations

from typing import Any, cast

import duckdb

from dynsync_pipeline.sql_files import forget_left_empty, remember_left_empty

MOST_TEXTS = 2_000  # some texts name a path or a number, and a process may run cycles for months


def parsing_once(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The connection, of which `execute` remembers what DuckDB parsed of a text; in all else it is the one given.

    Which tables a run of SQL files left empty is remembered, too, until something is rolled back or a view is made anew.
    """
    once = cast(duckdb.DuckDBPyConnection, _ParsingOnce(connection))
    remember_left_empty(once)
    return once


class _ParsingOnce:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def rollback(self) -> duckdb.DuckDBPyConnection:
        """Undo the transaction; tables that it made are gone, and those that it dropped are back."""
        remember_left_empty(cast(duckdb.DuckDBPyConnection, self))
        return self._connection.rollback()

    def execute(self, query: duckdb.Statement | str, parameters: object = None) -> duckdb.DuckDBPyConnection:
        """Run what `query` says, which may be several statements. Raises: duckdb.Error."""
        found = self._parsed(query) if isinstance(query, str) else [query]
        if isinstance(query, str):
            for statement in found:
                forget_left_empty(cast(duckdb.DuckDBPyConnection, self), statement.query)
        for statement in found[:-1]:
            self._connection.execute(statement)
        return self._connection.execute(found[-1], parameters)

    def _parsed(self, text: str) -> list[duckdb.Statement]:
        found = _PARSED.pop(text, None)
        if found is None:
            found = self._connection.extract_statements(text)
            if len(_PARSED) >= MOST_TEXTS:
                _PARSED.pop(next(iter(_PARSED)), None)
        _PARSED[text] = found
        return found


_PARSED: dict[str, list[duckdb.Statement]] = {}  # whose last use is longest ago comes first
