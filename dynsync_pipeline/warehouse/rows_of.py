"""How the wide rows of a few people or records are read: found by their key, and then fetched by their row numbers.

DuckDB reads a column 2,048 rows at a time and skips stretches of which it knows that they hold none of what is asked for. By
keys it knows that only roughly: of a hundred keys some rows in a thousand seem to be theirs, which leaves no stretch out. By row
numbers it knows it exactly. So one narrow column is read whole, and of all others the stretches where somebody is.
"""

from __future__ import annotations

# The first number of what a transaction inserted itself (DuckDB's MAX_ROW_ID). DuckDB 2.0 loses rows, or crashes, where these are
# asked for together with others of a table that has gaps; so the two are never asked for together.
FIRST_OWN = 36_028_797_018_960_000
PLACE = '"(place)"'  # a row's number beside its columns, of which none can be called so
_SIDES = (f"place < {FIRST_OWN}", f"place >= {FIRST_OWN}")


def rows_of(table: str, key: str, keys: str, columns: str = "*") -> str:
    """A query of those rows of `table` whose `key` is among what the query `keys` gives."""
    found = f"{key} in ({keys})"
    return (
        f"select {columns} from {table} where rowid in (select rowid from {table} where {found} and rowid < {FIRST_OWN}) "
        f"union all select {columns} from {table} where {found} and rowid >= {FIRST_OWN}"
    )


def rows_at(table: str, places: str, columns: str) -> str:
    """A query of the rows of `table` whose numbers the query `places` gives."""
    parts = (f"select {columns} from {table} where rowid in (select place from places where {side})" for side in _SIDES)
    return f"with places(place) as materialized ({places}) {' union all '.join(parts)}"


def deleting(table: str, places: str) -> tuple[str, ...]:
    """Statements that delete the rows of `table` whose numbers stand in the column `PLACE` of the table `places`."""
    of_sides = (f"select place from (select {PLACE} as place from {places}) where {side}" for side in _SIDES)
    return tuple(f"delete from {table} where rowid in ({numbers})" for numbers in of_sides)
