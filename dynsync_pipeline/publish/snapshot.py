"""The snapshot: one consistent DuckDB file for analysts, swapped in whole. Nothing in the pipeline reads it back.

A private file is kept by delta, so that the cost follows the changes (R3); it is copied and renamed over the public one.
Readers of the old file keep the old file. Not here: which tables and columns there are (`tables.py`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.publish.state_tables import PER_PERSON, REWRITTEN
from dynsync_pipeline.publish.table import PublishedTable
from dynsync_pipeline.publish.tables import published_tables
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import quoted
from dynsync_pipeline.warehouse.connection import Warehouse, scalar, storage_errors
from dynsync_pipeline.warehouse.cycles import CycleEnd

STORAGE_VERSION = "v1.2.0"  # what older clients and BI tools still read
READ_ONLY = 0o444
LEDGERS = ("changes", "collisions", "activities", "account_changes", "audit_findings")  # rows are only ever added
SMALL = ("sync_errors", "cycles", *REWRITTEN)  # rows change; few enough to be written again


@dataclass(frozen=True)
class Published:
    """What one publication did: rows written by table, and the size of the file."""

    n_rows: dict[str, int]
    n_people: int
    size_bytes: int


def publish_snapshot(
    warehouse: Warehouse, settings: Settings, fields: FieldMap, *, ending: CycleEnd | None = None
) -> Published:
    """Bring the private file up to date and swap a copy of it in. Raises: StorageFailed; the old snapshot stays.

    `ending` is the end of the cycle that ends well with this swap: the snapshot tells so already.
    """
    tables = published_tables(fields)
    private = settings.data_dir / "snapshot.private.duckdb"
    with storage_errors(private), warehouse.reading() as connection:
        try:
            _attach(connection, private, tables)
            n_rows = _write_delta(connection, tables)
            n_people = scalar(connection, "select count(*) from published.people")
            if ending is not None:
                connection.execute(
                    "update published.cycles set status = ?, message = ?, is_whole = ?, ended_at = ? where cycle_id = ?",
                    [ending.status, ending.message, ending.is_whole, ending.at, ending.cycle_id],
                )
            connection.execute("checkpoint published")
        finally:
            _detach(connection)
    with warehouse.transaction() as connection:
        connection.execute("delete from state.unpublished")
    with storage_errors(settings.snapshot_file):
        _swap(private, settings.snapshot_file)
    return Published(n_rows, n_people, settings.snapshot_file.stat().st_size)


def count_people(warehouse: Warehouse, snapshot_file: Path) -> tuple[int, int]:
    """People in the mirror who are not deleted, and people in the snapshot as readers see it.

    The second number comes from the public file itself, not from the copy it was made of. Raises: StorageFailed.
    """
    with storage_errors(snapshot_file), warehouse.reading() as connection:
        in_mirror = scalar(connection, "select count(*) from mirror.marketo_people where not is_deleted")
        connection.execute(f"attach {_literal(snapshot_file)} as read_snapshot (read_only)")
        try:
            return in_mirror, scalar(connection, "select count(*) from read_snapshot.people")
        finally:
            connection.execute("detach read_snapshot")


def _attach(connection: duckdb.DuckDBPyConnection, private: Path, tables: tuple[PublishedTable, ...]) -> None:
    layout = hashlib.sha256(repr(tables).encode()).hexdigest()
    if private.exists():
        try:
            connection.execute(f"attach {_literal(private)} as published")
            if connection.execute("select layout from published.main.layout").fetchall() == [(layout,)]:
                return
        except duckdb.Error:
            pass  # cut while it was made, or of another kind: it is made anew from the working file
        _detach(connection)
    for stale in (private, private.with_name(private.name + ".wal")):
        stale.unlink(missing_ok=True)
    connection.execute(f"attach {_literal(private)} as published (storage_version '{STORAGE_VERSION}')")
    _fill(connection, tables, layout)


def _fill(connection: duckdb.DuckDBPyConnection, tables: tuple[PublishedTable, ...], layout: str) -> None:
    """Make all tables with their comments and rows in the empty file, in one transaction."""
    connection.begin()
    for table in tables:
        columns = ", ".join(f"{quoted(column.name)} {column.type}" for column in table.columns)
        connection.execute(f"create table published.{table.name} ({columns})")
        connection.execute(f"comment on table published.{table.name} is {_text(table.grain)}")
        for column in table.columns:
            connection.execute(
                f"comment on column published.{table.name}.{quoted(column.name)} is {_text(column.comment)}"
            )
        connection.execute(f"insert into published.{table.name} by name {table.select} where not {_gone(table)}")
    connection.execute("create table published.layout (layout varchar)")
    connection.execute(
        "comment on table published.layout is 'Which columns this file was made with; for DynSync itself.'"
    )
    connection.execute("comment on column published.layout.layout is 'Digest of all tables, columns and comments.'")
    connection.execute("insert into published.layout (layout) values (?)", [layout])
    connection.commit()


def _write_delta(connection: duckdb.DuckDBPyConnection, tables: tuple[PublishedTable, ...]) -> dict[str, int]:
    """Rows written by table. Repeating it after a cut is harmless: keys are deleted before they are inserted."""
    n_rows: dict[str, int] = {}
    connection.execute(
        """create or replace temp table published_keys as
           select distinct published_table, coalesce(dynamics_id, person_id::varchar) as key from state.unpublished
           union
           select 'people', l.person_id::varchar from state.unpublished u
           join state.links l on l.dynamics_id = u.dynamics_id and u.published_table = l.record_type || 's'"""
    )
    changed = {row[0] for row in connection.execute("select distinct published_table from published_keys").fetchall()}
    connection.begin()
    for table in tables:
        target = f"published.{table.name}"
        if table.name in LEDGERS:
            key = quoted(table.columns[0].name)
            newest = scalar(connection, f"select coalesce(max({key}), 0) from {target}")
            chosen = f"{table.key} > {newest}"
        elif table.name in SMALL:
            connection.execute(f"delete from {target}")
            chosen = "true"
        else:
            key = quoted(table.columns[0].name)
            is_of_people = table.name == "people" or table.name in PER_PERSON
            marked = "people" if is_of_people else table.name
            if marked not in changed:
                n_rows[table.name] = 0
                continue
            keys = f"(select key from published_keys where published_table = '{marked}')"
            if is_of_people:
                keys = keys.replace("select key", "select key::bigint")
            connection.execute(f"delete from {target} where {key} in {keys}")
            chosen = f"{table.key} in {keys} and not {_gone(table)}"
        n_rows[table.name] = scalar(connection, f"insert into {target} by name {table.select} where {chosen}")
    connection.commit()
    return n_rows


def _gone(table: PublishedTable) -> str:
    return "m.is_deleted" if table.name == "people" else "false"


def _swap(private: Path, public: Path) -> None:
    new = public.with_name(public.name + ".new")
    new.unlink(missing_ok=True)
    shutil.copyfile(private, new)
    descriptor = os.open(new, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.chmod(READ_ONLY)
    # A client that died in a read-write session leaves a .wal of the old file; with it nobody could open the new one.
    public.with_name(public.name + ".wal").unlink(missing_ok=True)
    new.replace(public)


def _detach(connection: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.Error):  # after a failure there may be nothing to roll back, or nothing attached
        connection.rollback()
    with suppress(duckdb.Error):
        connection.execute("detach database if exists published")


def _literal(path: Path) -> str:
    return _text(str(path))


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
