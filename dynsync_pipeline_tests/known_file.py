"""Writes what is known of the statements of the rule files beforehand, a statement a line:
`python -m dynsync_pipeline_tests.known_file > dynsync_pipeline/sql_known.json`.

Not here: what it is for (`dynsync_pipeline/sql_known.py`), and whether it is true (`test_sql_known.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import duckdb

from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.sql_files import Statement, columns_of, sql_file, statements
from dynsync_pipeline.sql_known import digest, made_from
from dynsync_pipeline.sql_trees import read_off
from dynsync_pipeline.warehouse.connection import IN_MEMORY, Warehouse
from dynsync_pipeline_tests.docs.sql_relations import CHAINS, all_steps
from dynsync_pipeline_tests.worlds.rule_rows import MADE_AROUND, follow, make

# A field of each type on each kind of record, against none at all.
_MANY_FIELDS = [
    f"{record_type} field{number} column{number} {kind.value} both"
    for record_type in ("lead", "contact", "account")
    for number, kind in enumerate(FieldType)
]


def known_file() -> str:
    """What `dynsync_pipeline/sql_known.json` must be."""
    with Warehouse(IN_MEMORY) as warehouse, warehouse.reading() as connection:
        every = [each.sql for step in all_steps() for each in statements(sql_file(step)) if each.target]
        follow(connection)
        columns = _columns(connection)
        follow(connection, *_MANY_FIELDS)
        with_fields = _columns(connection)
        known = {
            digest(sql): [sources, columns[sql] if sql in columns and columns[sql] == with_fields[sql] else None]
            for sql, sources in read_off(connection, every).items()
        }
    lines = [f'"made_from": "{made_from()}"', *(f'"{name}": {json.dumps(known[name])}' for name in sorted(known))]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """The columns that each statement makes, as far as the code around the rule files has no part in it."""
    make(connection, MADE_AROUND)
    found = {}
    for statement in _making_tables():
        found[statement.sql] = columns_of(connection, statement)
        columns = ", ".join(f'"{name}" {kind}' for name, kind in found[statement.sql].items())
        connection.execute(f"create or replace temp table {statement.makes} ({columns})")
    return found


def _making_tables() -> Iterator[Statement]:
    for chain in CHAINS[1:]:  # what the first makes is there with the working file
        if set(chain.given) <= set(MADE_AROUND):
            for step in chain.steps:
                yield from (each for each in statements(sql_file(step)) if each.makes)


if __name__ == "__main__":
    print(known_file(), end="")
