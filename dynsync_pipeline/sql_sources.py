"""From which tables a statement draws its rows. Where these are empty it does nothing, and need not be run.

Planning a statement costs DuckDB as much for no rows as for a thousand, and most rules have nothing to do in most cycles:
nobody was merged, nothing was refused, no account changed.
Not here: what a statement draws from (`sql_known.py`, `sql_trees.py`), which tables are empty just now (`sql_files.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

HasRows = Callable[[str], bool]  # whether the table of that name may have rows
# When a statement, or a part of one, may have rows. True: always; a name: where that table has; `["every", …]`: where every
# part that follows may; `["some", …]`: where one of them may.
Sources: TypeAlias = "bool | str | list[Sources]"


def may_draw(sources: Sources, has_rows: HasRows) -> bool:
    """Whether a statement with these sources may make, insert, update or delete a row while those tables have rows."""
    if isinstance(sources, list):
        kind, *parts = sources
        return (all if kind == "every" else any)(may_draw(part, has_rows) for part in parts)
    return has_rows(sources) if isinstance(sources, str) else sources


def tables_in(sources: Sources) -> Iterator[str]:
    """The names of the tables, as they stand in the statement; some perhaps several times."""
    if isinstance(sources, list):
        for part in sources[1:]:
            yield from tables_in(part)
    elif isinstance(sources, str):
        yield sources
