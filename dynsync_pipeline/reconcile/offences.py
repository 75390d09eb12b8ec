"""Looks for what must never be, on the keys the last cycle touched: each file in `sql/offences/` selects offending rows.

Rows are told by id and never by value. Not here: what follows from an offence (`defs/checks.py`), the daily comparison
of everything (`audit.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from dynsync_pipeline.sql_files import run_steps

MOST_SHOWN = 20


@dataclass(frozen=True)
class Offences:
    """How many rows break a rule, and the first of them as `offence: id`."""

    n_rows: int
    shown: list[str]


def find_offences(connection: duckdb.DuckDBPyConnection, name: str) -> Offences:
    """Run the step `reconcile/offences/{name}` on the working file; nothing that lasts is changed."""
    run_steps(connection, (f"reconcile/offences/{name}",))
    rows = connection.execute(f"select offence, id from temp.{name} order by all").fetchall()
    return Offences(len(rows), [f"{offence}: {id_}" for offence, id_ in rows[:MOST_SHOWN]])
