"""The snapshot: one consistent DuckDB file for analysts, swapped in whole. Nothing in the pipeline reads it back.

A private copy is brought up to date, copied, and renamed over the public one. Readers of the old file keep the old file.
Not here: how the private copy is kept (`private_copy.py`), which tables and columns there are (`tables.py`), when there is
nothing to publish (`news.py`).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.publish.news import digest_of_news, is_told, note_swap
from dynsync_pipeline.publish.private_copy import (
    attach_private,
    begin_publication,
    detach_private,
    end_publication,
    literal,
    using_private,
    write_delta,
)
from dynsync_pipeline.publish.standing import LAYOUT, standing_of_snapshot
from dynsync_pipeline.publish.status_file import as_text, mark_of
from dynsync_pipeline.publish.tables import published_tables
from dynsync_pipeline.publish.views import published_views
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse, scalar, storage_errors
from dynsync_pipeline.warehouse.copied_file import copy_file
from dynsync_pipeline.warehouse.cycles import CycleEnd

READ_ONLY = 0o444
MOST_TOLD = 500_000  # characters of how the sync stands; `status.json`, written in every cycle, has none of more


@dataclass(frozen=True)
class Published:
    """What one publication did: rows written by table, none where there was nothing to tell, and the size of the file."""

    n_rows: dict[str, int]
    n_people: int
    size_bytes: int


def publish_snapshot(warehouse: Warehouse, settings: Settings, fields: FieldMap, ending: CycleEnd) -> Published:
    """Bring the private file up to date and swap a copy of it in, where that would tell anything new.

    `ending` is the end of the cycle that ends with this: the snapshot tells so already.
    Raises: StorageFailed; the old snapshot stays.
    """
    tables = published_tables(fields)
    with storage_errors(settings.snapshot_file), warehouse.reading() as connection:
        news = digest_of_news(connection, tables, ending)
        if is_told(connection, settings.snapshot_file, news, ending.at):
            n_people = scalar(connection, "select count(*) from mirror.marketo_people where not is_deleted")
            return Published({}, n_people, settings.snapshot_file.stat().st_size)
    private = settings.data_dir / "snapshot.private.duckdb"
    publication = begin_publication(warehouse)
    with storage_errors(private), warehouse.reading() as connection:
        try:
            attach_private(connection, private, tables, published_views(fields))
            n_rows = write_delta(connection, tables, publication)
            n_people = scalar(connection, "select count(*) from published.people")
            connection.execute(
                "update published.cycles set status = ?, failure_code = ?, message = ?, is_whole = ?, ended_at = ? "
                "where cycle_id = ?",
                [ending.status, ending.failure_code, ending.message, ending.is_whole, ending.at, ending.cycle_id],
            )
            connection.execute("checkpoint published")
            with using_private(connection):
                at = warehouse.now()
                standing = standing_of_snapshot(connection, at)
        finally:
            detach_private(connection)
    end_publication(warehouse, publication)
    with storage_errors(settings.snapshot_file):
        _swap(private, settings.snapshot_file)
        told = {"layout": LAYOUT, "snapshot": mark_of(settings.snapshot_file), "selected_at": at, **standing}
    text = json.dumps(told, default=as_text)
    note_swap(warehouse, ending, news, text if len(text) <= MOST_TOLD else None)
    return Published(n_rows, n_people, settings.snapshot_file.stat().st_size)


def count_people(warehouse: Warehouse, snapshot_file: Path) -> tuple[int, int]:
    """People in the mirror who are not deleted, and people in the snapshot as readers see it.

    The second number comes from the public file itself, not from the copy it was made of. Raises: StorageFailed.
    """
    with storage_errors(snapshot_file), warehouse.reading() as connection:
        in_mirror = scalar(connection, "select count(*) from mirror.marketo_people where not is_deleted")
        connection.execute(f"attach {literal(snapshot_file)} as read_snapshot (read_only)")
        try:
            return in_mirror, scalar(connection, "select count(*) from read_snapshot.people")
        finally:
            connection.execute("detach read_snapshot")


def _swap(private: Path, public: Path) -> None:
    new = public.with_name(public.name + ".new")
    new.unlink(missing_ok=True)
    copy_file(private, new)
    descriptor = os.open(new, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.chmod(READ_ONLY)
    # A client that died in a read-write session leaves a .wal of the old file; with it nobody could open the new one.
    public.with_name(public.name + ".wal").unlink(missing_ok=True)
    new.replace(public)
