"""From which tables a statement draws its rows. Where these are empty it does nothing, and need not be run.

Planning a statement costs DuckDB as much for no rows as for a thousand, and most rules have nothing to do in most cycles:
nobody was merged, nothing was refused, no account changed.
What the statements of the rule files draw from is read off their syntax trees beforehand and stands in `sql_sources.json`,
because that took a new process a quarter of a second. A statement that is not in there is read off when it is asked for.
Not here: how it is read off, and what it looks like (`sql_trees.py`), which tables are empty just now (`sql_files.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from dynsync_pipeline.sql_trees import Sources

HasRows = Callable[[str], bool]  # whether the table of that name may have rows


def sources_of(connection: duckdb.DuckDBPyConnection, statements: Collection[str]) -> dict[str, Sources]:
    """By statement, of which tables it may make, insert, update or delete a row, by the names that stand in it.

    `connection` parses those that nobody read off before.
    """
    unknown = [sql for sql in statements if sql not in _KNOWN]
    stored = {sql: _stored().get(digest(sql)) for sql in unknown}
    if unread := [sql for sql, found in stored.items() if found is None]:
        from dynsync_pipeline.sql_trees import read_off  # which most processes do without

        _KNOWN.update(read_off(connection, unread))
    _KNOWN.update({sql: found for sql, found in stored.items() if found is not None})
    return {sql: _KNOWN[sql] for sql in statements}


_KNOWN: dict[str, Sources] = {}


def may_draw(sources: Sources, has_rows: HasRows) -> bool:
    """Whether a statement with these sources may do anything while those tables have rows."""
    if isinstance(sources, list):
        kind, *parts = sources
        return (all if kind == "every" else any)(may_draw(part, has_rows) for part in parts)
    return has_rows(sources) if isinstance(sources, str) else sources


def tables_in(sources: Sources) -> Iterator[str]:
    """The names of the tables, some perhaps several times."""
    if isinstance(sources, list):
        for part in sources[1:]:
            yield from tables_in(part)
    elif isinstance(sources, str):
        yield sources


def digest(sql: str) -> str:
    """What a statement is called in `sql_sources.json`."""
    return blake2b(sql.encode(), digest_size=8).hexdigest()


@cache
def _stored() -> dict[str, Sources]:
    found: dict[str, Sources] = json.loads(files("dynsync_pipeline").joinpath("sql_sources.json").read_text("utf-8"))
    return found
