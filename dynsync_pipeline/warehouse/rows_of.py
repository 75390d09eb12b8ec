"""How the wide rows of a few people or records are read: found by their key, and then fetched by their row numbers.

DuckDB reads a column 2,048 rows at a time and skips stretches of which it knows that they hold none of what is asked for. By
keys it knows that only roughly: of a hundred keys some rows in a thousand seem to be theirs, which leaves no stretch out. By row
numbers it knows it exactly. So one narrow column is read whole, and of all others the stretches where somebody is.
"""

from __future__ import annotations


def rows_of(table: str, key: str, keys: str, columns: str = "*") -> str:
    """A query of those rows of `table` whose `key` is among what the query `keys` gives."""
    return f"select {columns} from {table} where rowid in (select rowid from {table} where {key} in ({keys}))"
