"""Reads Parquet files as any reader does, by their manifest, and holds them against the working file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from dynsync_pipeline.publish.parquet_files import TABLES, Manifest, read_manifest, reading_query
from dynsync_pipeline.publish.private_copy import literal
from dynsync_pipeline.warehouse.connection import Warehouse

Told = dict[str, list[tuple[object, ...]]]


def scan_in(folder: Path) -> Callable[[list[str]], str]:
    """How DuckDB reads files of this folder as one relation."""
    return lambda names: f"read_parquet([{', '.join(literal(folder / name) for name in names)}])"


def state_in(folder: Path) -> Manifest:
    """The state in the folder."""
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


def told_in(folder: Path) -> Told:
    """All rows of the state in the folder, by table."""
    manifest, scan = state_in(folder), scan_in(folder)
    queries = {table.name: reading_query(manifest.tables[table.name], manifest, scan) for table in TABLES}
    with duckdb.connect() as connection:
        return {name: connection.execute(f"from ({query}) order by all").fetchall() for name, query in queries.items()}


def require_true(warehouse: Warehouse, folder: Path) -> None:
    """The state in the folder is that of the working file, row by row, both ways."""
    manifest, scan = state_in(folder), scan_in(folder)
    with warehouse.reading() as connection:
        for table in TABLES:
            told = reading_query(manifest.tables[table.name], manifest, scan)
            for one, other in ((table.select, told), (told, table.select)):
                rows = connection.execute(f"from ({one}) except all from ({other})").fetchall()
                assert rows == [], table.name
