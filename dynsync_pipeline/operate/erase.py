"""Erasing by hashes: whoever the file of erasures tells of goes from backups, requests, working file, snapshot and Parquet files.

It goes on wherever it was cut. Not here: what only names and values find (`forget.py`).
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.operate.backup import REQUESTS, UNFINISHED, WORKING, backup_folder, backups, rewrite_backup
from dynsync_pipeline.publish.parquet import publish_parquet, remove_files
from dynsync_pipeline.publish.snapshot import publish_snapshot
from dynsync_pipeline.requests.commands import taking_in_actions
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycles import CycleEnd
from dynsync_pipeline.warehouse.erased import FILE, REFERENCES, drop_erased, keep_erasures, read_erasures
from dynsync_pipeline.warehouse.follow_map import followed_fields
from dynsync_pipeline.warehouse.leftovers import ON_SPARK, remove_leftovers
from dynsync_pipeline.warehouse.operator_actions import Action, note_action

SCHEMAS = ("inbox", "mirror", "state", "reconcile", "ledger")


def erase_by_hashes(settings: Settings, action: Action | None = None) -> dict[str, int]:
    """Remove the erased, by hashes, from backups, requests, working file and snapshot; rows by table of the data folder's own.

    `action`: the command, where the file of erasures does not tell it. Raises: StorageFailed, after which it can be given again.
    """
    for unfinished in backup_folder(settings).glob(f"*{UNFINISHED}"):  # which a kill left
        unfinished.unlink()
    for backup in backups(settings):
        rewrite_backup(settings, backup, lambda folder: _erase_backup(settings, folder))
    removed: dict[str, int] = {}
    with Warehouse(settings.working_file) as warehouse:
        remove_leftovers(settings.data_dir)
        # What commands were about, which may be the person.
        with taking_in_actions(warehouse, settings.data_dir, settings.requests_file) as connection:
            if action:
                note_action(connection, action)
        _remove_parquet(warehouse, settings)
        removed |= _erase(warehouse)
        if settings.requests_file.exists() and (n_requests := _erase_requests(warehouse, settings.requests_file)):
            removed["requests"] = n_requests
        _publish_anew(warehouse, settings)
        _write_parquet_anew(warehouse, settings)
    return removed


def _erase_backup(settings: Settings, folder: Path) -> None:
    erasures = read_erasures(settings.data_dir)
    if (folder / FILE).exists():
        erasures = read_erasures(folder).merged(erasures)
    keep_erasures(folder, erasures)
    erase_unpacked(folder)


def erase_unpacked(folder: Path) -> None:
    """Remove from an unpacked backup whoever the file of erasures in it names by hashes. Raises: StorageFailed."""
    requests = folder / REQUESTS
    with closing(sqlite3.connect(requests)) as store:
        has_requests = store.execute("select 1 from sqlite_schema where name = 'requests'").fetchone() is not None
    with Warehouse(folder / WORKING) as warehouse:
        if has_requests:
            with taking_in_actions(warehouse, folder, requests):
                pass
        _erase(warehouse)
        if has_requests:
            _erase_requests(warehouse, requests)


def _erase(warehouse: Warehouse) -> dict[str, int]:
    """Remove the erased from a working file, and write it anew."""
    with warehouse.transaction() as connection:
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() where not internal and not temporary "
            "and list_contains(?::varchar[], schema_name) order by 1",
            [list(SCHEMAS)],
        ).fetchall()
        operations = "select operation_id from reconcile.operations"
        before = {row[0] for row in connection.execute(operations).fetchall()}
        removed = drop_erased(connection, [name for (name,) in tables])
        gone = before - {row[0] for row in connection.execute(operations).fetchall()}
        if gone:
            for table in _OF_OPERATIONS:
                connection.execute(
                    f"delete from reconcile.{table} where list_contains(?::bigint[], operation_id)", [sorted(gone)]
                )
        connection.execute(_ACTIONS)
        connection.execute(_OBSERVED_REFERENCES)
        connection.execute("delete from state.publications")  # so that the snapshot is made anew
        connection.execute("delete from state.last_swap")
    warehouse.rewrite()
    return removed


# Whoever was under them in Dynamics, or became of them, tells so by their id.
_OBSERVED_REFERENCES = f"""
delete from ledger.observations
where name in ({", ".join(f"'{name}'" for name in REFERENCES)})
  and (coalesce(is_erased(lower(old_value)), false) or coalesce(is_erased(lower(new_value)), false))
"""
# What a command was about is told by ids, in a text.
_ACTIONS = r"""
update ledger.operator_actions set plan = '{"erased": true}' where entry_id in (
    select entry_id
    from (
        select entry_id, unnest(regexp_extract_all(lower(plan), '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+')) as id
        from ledger.operator_actions
    )
    where is_erased(id) or is_erased('person:' || id)
)
"""
_OF_OPERATIONS = (
    *("planned_changes", "planned_collisions", "planned_activities", "planned_account_changes", "receipts"),
    *("edited_meanwhile", "refused_fields", "failed_operations", "unsent_fields"),
)


def _erase_requests(warehouse: Warehouse, file: Path) -> int:
    with RequestStore(file) as store, warehouse.reading() as connection:
        asked = store.people()
        erased = connection.execute(
            "select id from (select unnest(?::bigint[]) as id) where is_erased('person:' || id)", [asked]
        ).fetchall()
        return store.erase([row[0] for row in erased])


def _publish_anew(warehouse: Warehouse, settings: Settings) -> None:
    """Make the snapshot anew, from nothing, as the last cycle left it."""
    if not settings.snapshot_file.exists():
        return
    (settings.data_dir / "snapshot.private.duckdb").unlink(missing_ok=True)
    with warehouse.reading() as connection:
        fields = followed_fields(connection, load_field_map(settings.field_map, settings.own_fields))
        last = connection.execute(
            "select cycle_id, coalesce(ended_at, started_at), status, message, is_whole from ledger.cycles "
            "order by cycle_id desc limit 1"
        ).fetchall()
    if last:
        publish_snapshot(warehouse, settings, fields, CycleEnd(*last[0]))


def _remove_parquet(warehouse: Warehouse, settings: Settings) -> None:
    """Remove the Parquet files, where they are and where they were, and what Spark makes of them; who reads them fails.

    Before the working file is erased: after a kill in between the next cycle writes them as a whole, from what it holds then.
    """
    for made in settings.data_dir.glob(ON_SPARK):
        shutil.rmtree(made, ignore_errors=True)
    with warehouse.reading() as connection:
        folders = {Path(name) for (name,) in connection.execute("select folder from state.parquet").fetchall()}
    if settings.parquet_dir is not None:
        folders.add(settings.parquet_dir)
    for folder in folders:
        remove_files(folder)


def _write_parquet_anew(warehouse: Warehouse, settings: Settings) -> None:
    """Write them as a whole, where a cycle has made views to write."""
    with warehouse.reading() as connection:
        is_mapped = connection.execute("select 1 from reconcile.fields limit 1").fetchall()
    if is_mapped:
        publish_parquet(warehouse, settings, is_wanted_now=True)
