"""Writes what the statements of the rule files draw from, one a line:
`python -m dynsync_pipeline_tests.sources_file > dynsync_pipeline/sql_sources.json`.

Not here: how that is read off (`dynsync_pipeline/sql_trees.py`), and whether it is true (`test_sql_sources.py`).
"""

from __future__ import annotations

import json

import duckdb

from dynsync_pipeline.sql_files import sql_file, statements
from dynsync_pipeline.sql_sources import digest
from dynsync_pipeline.sql_trees import read_off
from dynsync_pipeline_tests.docs.sql_relations import all_steps


def sources_file() -> str:
    """What `dynsync_pipeline/sql_sources.json` must be."""
    every = {each.sql for step in all_steps() for each in statements(sql_file(step)) if each.target}
    lines = sorted(f'"{digest(sql)}": {json.dumps(found)}' for sql, found in read_off(duckdb.connect(), every).items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    print(sources_file(), end="")
