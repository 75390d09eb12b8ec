"""Writes `docs/dbt/sources.yml` from the published tables: `python -m dynsync_pipeline_tests.docs.dbt_sources`.

Not here: the page for people (`snapshot_page.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.publish.tables import published_tables
from dynsync_pipeline.publish.views import published_views

OPENING = """# The tables and views of snapshot.duckdb for dbt, with the default field map; generated, like docs/snapshot.md.
version: 2
sources:
  - name: dynsync
    database: dynsync
    schema: main
    tables:
"""


def dbt_sources() -> str:
    """What `docs/dbt/sources.yml` must be."""
    fields = load_field_map()
    tables = [
        _described(t.name, t.grain, [(c.name, c.type, c.comment) for c in t.columns]) for t in published_tables(fields)
    ]
    views = [
        _described(v.name, v.grain, [(name, None, comment) for name, comment in v.columns.items()])
        for v in published_views(fields)
        if not v.parameters
    ]
    return OPENING + "".join((*tables, *views))


def _described(name: str, grain: str, columns: Iterable[tuple[str, str | None, str]]) -> str:
    lines = [f"      - name: {name}", f"        description: {_text(grain)}", "        columns:"]
    for column, kind, comment in columns:
        lines += [f"          - name: {_text(column)}", f"            description: {_text(comment)}"]
        if kind is not None:
            lines.append(f"            data_type: {_text(kind)}")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # which is YAML too


if __name__ == "__main__":
    print(dbt_sources(), end="")
