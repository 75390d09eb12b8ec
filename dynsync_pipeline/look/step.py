"""One temporary table of the plan, as its SQL file left it: why a person is stuck, without writing Python.

Not here: which files make the plan (`reconcile/plan.py`), on which copy it is made (`cli/plan.py`).
"""

from __future__ import annotations

import duckdb

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.reconcile.plan import STEPS
from dynsync_pipeline.sql_files import sql_file


def step_tables() -> dict[str, str]:
    """Every table that a step of the plan makes, in order, with what a row of it is."""
    return {table: grain for step in STEPS for table, grain in sql_file(step).makes.items()}


def read_step(connection: duckdb.DuckDBPyConnection, table: str, person_id: int | None = None) -> list[Row]:
    """All rows of a table of `step_tables`, or those about one person, the record linked to it, and the account of that.

    A record without a person, and a whole account's row of `company_writes`, show among all rows only; a table about
    nobody shows all its rows.

    Call it on the connection that has made the plan.
    """
    columns = {row["column_name"] for row in select(connection, f"describe temp.{table}")}
    conditions = [condition for keys, condition in _ABOUT.items() if columns.issuperset(keys)]
    if person_id is None or not conditions:
        return select(connection, f"from temp.{table} order by all", [])
    return select(connection, f"from temp.{table} where {' or '.join(conditions)} order by all", [person_id])


_ABOUT = {
    ("person_id",): "person_id = $1",
    ("record_type", "dynamics_id"): "(record_type, dynamics_id) in "
    "(select (record_type, dynamics_id) from state.links where person_id = $1)",
    ("account_id",): "account_id in (select r.parent_id from state.links l "
    "join mirror.person_records r using (record_type, dynamics_id) where l.person_id = $1)",
}
