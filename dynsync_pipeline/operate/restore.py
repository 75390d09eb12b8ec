"""Putting a backup back (docs/operate.md#restore). Its working file is older than the world, and says so from then on.

Everything is made ready beside what is there; only then is it swapped in, under a mark that stops whoever comes in between.
Not here: backups themselves (`backup.py`), what the first cycle makes of it (`../reconcile/sql/restored_links.sql`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from dynsync_pipeline.errors import FieldMapWrong, SettingsWrong, StorageFailed
from dynsync_pipeline.model.field_map import map_text
from dynsync_pipeline.operate.backup import FIELD_MAP, REQUESTS, WORKING, Contents, scratch, unpack
from dynsync_pipeline.operate.erase import erase_unpacked
from dynsync_pipeline.publish.private_copy import LEDGERS, literal
from dynsync_pipeline.publish.status_file import read_status_file, status_file
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, Warehouse, scalar, storage_errors
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.erased import FILE, Erasures, keep_erasures, read_erasures
from dynsync_pipeline.warehouse.operator_actions import Action, note_action
from dynsync_pipeline.warehouse.restored import mark_unfinished
from dynsync_pipeline.warehouse.systems import other_system

PUTTING_BACK = ("operate/put_back",)
NUMBERED = (
    *LEDGERS,
    "sync_errors",
    "merge_proposals",
)  # published tables whose first column is from the sequence of the ledgers
REPLACED = ".replaced"


class Restored(NamedTuple):
    """What was put back, how many requests wait for a word, and where the backup's field map is, if it is another one."""

    contents: Contents
    n_asking: int
    other_field_map: Path | None


def restore(settings: Settings, file: Path, at: datetime) -> Restored:
    """Put a backup in the place of what the data folder holds; `at` is UTC without zone.

    The working file that was there stays beside it as `dynsync.duckdb.replaced`. A store of requests that can be read is newer
    than the backup's and stays; what is unfinished in it waits for somebody's word. Raises: CycleRunning, StorageFailed,
    SettingsWrong where the backup is of other systems; then nothing has changed.
    """
    with CycleLock(settings.lock_file, is_cycle=False), scratch(settings) as folder:
        contents = unpack(file, folder)
        _require_same_systems(settings, file, contents)
        erasures = _erasures(settings, folder)
        with Warehouse(folder / WORKING) as warehouse:
            _put_back(warehouse, settings, contents, at)
            with warehouse.transaction() as connection:
                note_action(connection, Action.of("restore", {"backup": file.name}))
        erase_unpacked(folder)
        requests = _newer_requests(settings, folder)
        with RequestStore(requests) as store:
            n_asking = store.ask_first()
        with storage_errors(settings.working_file):
            keep_erasures(settings.data_dir, erasures)
            mark = mark_unfinished(settings.data_dir, file.absolute())
            _set_aside(settings.working_file)
            if requests != settings.requests_file:
                _set_aside(settings.requests_file)
                requests.replace(settings.requests_file)
            (folder / WORKING).replace(settings.working_file)
            mark.unlink()
        return Restored(contents, n_asking, _other_field_map(settings, folder))


def _require_same_systems(settings: Settings, file: Path, contents: Contents) -> None:
    """Refuse a backup of other systems, such as that of another pair (R111). Raises: SettingsWrong."""
    if other := other_system(contents.systems, settings):
        raise SettingsWrong(
            f"{file} is a backup of other systems: it was made with {other.known}, and the settings name {other.named}.",
            next_step="Take one of these two systems; `dynsync backup --list` names them. "
            f"Where the address alone has changed, set DYNSYNC_{other.system.upper()}_URL back first.",
        )


def _put_back(warehouse: Warehouse, settings: Settings, contents: Contents, at: datetime) -> None:
    """Make of the working file of a backup one that says that it is one; its numbers go on above those of the snapshot."""
    with warehouse.reading() as connection, _snapshot(connection, settings.snapshot_file) as has_snapshot:
        own = scalar(
            connection, "select coalesce(max(last_value), 0) from duckdb_sequences() where sequence_name = 'entries'"
        )
        newest_entry = max(own, _newest_entry(connection) if has_snapshot else 0)
        newest_cycle = max(contents.cycle_id, _newest_cycle(connection, settings, has_snapshot=has_snapshot))
        connection.execute("create temp table later_tombstones as " + (_TOMBSTONES if has_snapshot else _NO_TOMBSTONES))
        connection.execute(
            "create temp table later_changes as " + (_CHANGES if has_snapshot else _NO_CHANGES),
            {"own": own} if has_snapshot else {},
        )
    with warehouse.transaction() as connection:
        connection.execute(
            "create temp table putting_back as select ?::timestamp as restored_at, ?::timestamp as made_at, "
            "?::bigint as newest_entry, ?::bigint as newest_cycle",
            [at, contents.made_at, newest_entry, newest_cycle],
        )
        connection.execute(f"create or replace sequence ledger.entries start with {newest_entry + 1}")
        run_steps(connection, PUTTING_BACK)


_TOMBSTONES = """
select person_id_marketo as person_id, record_type, record_id_dynamics as dynamics_id, side, ended_at
from read_snapshot.tombstones
"""
_NO_TOMBSTONES = "from state.tombstones limit 0"
# What the sync wrote, and what was seen to move: equal edits of both sides stand in no other ledger.
_CHANGES = """
select person_id_marketo as person_id, field from read_snapshot.changes where change_id > $own and person_id_marketo is not null
union
select coalesce(o.person_id_marketo, l.person_id_marketo), o.field
from read_snapshot.observations o
left join read_snapshot.links l on l.record_type = o.object and l.record_id_dynamics = o.record_id_dynamics
where o.observation_id > $own and o.field is not null
  and coalesce(o.person_id_marketo, l.person_id_marketo) is not null
"""
_NO_CHANGES = "from state.changed_after_backup limit 0"


@contextmanager
def _snapshot(connection: duckdb.DuckDBPyConnection, snapshot: Path) -> Iterator[bool]:
    """Attach the snapshot that is there as `read_snapshot`; yields whether there is one that can be read."""
    try:
        connection.execute(f"attach {literal(snapshot)} as read_snapshot (read_only)")
    except duckdb.Error:
        yield False
        return
    yield True
    connection.execute("detach read_snapshot")


def _newest_entry(connection: duckdb.DuckDBPyConnection) -> int:
    columns = connection.execute(
        "select table_name, column_name from duckdb_columns() where database_name = 'read_snapshot' and column_index = 1"
    ).fetchall()
    newest = [f"select max({column}) as n from read_snapshot.{table}" for table, column in columns if table in NUMBERED]
    return scalar(connection, f"select coalesce(max(n), 0) from ({' union all '.join(newest)})") if newest else 0


def _newest_cycle(connection: duckdb.DuckDBPyConnection, settings: Settings, *, has_snapshot: bool) -> int:
    told = read_status_file(status_file(settings.snapshot_file)).get("cycles", [])
    newest = max((int(cycle["cycle_id"]) for cycle in told), default=0)
    if has_snapshot:
        newest = max(newest, scalar(connection, "select coalesce(max(cycle_id), 0) from read_snapshot.cycles"))
    return newest


def _erasures(settings: Settings, folder: Path) -> Erasures:
    """All erasures that either knows, kept in the folder of the backup too: nobody comes back by it."""
    known = [read_erasures(each) for each in (settings.data_dir, folder) if (each / FILE).exists()]
    erasures = known[0] if known else read_erasures(folder)
    for others in known[1:]:
        erasures = erasures.merged(others)
    keep_erasures(folder, erasures)
    return erasures


def _newer_requests(settings: Settings, folder: Path) -> Path:
    """The store of requests that is to be used: the one that is there, if it can be read, else the backup's."""
    with suppress(StorageFailed):
        if settings.requests_file.exists():
            with RequestStore(settings.requests_file) as store:
                store.unfinished()
            return settings.requests_file
    return folder / REQUESTS


def _set_aside(file: Path) -> None:
    """Keep a file that is replaced beside it, whatever state it is in; what belongs to it goes."""
    if file.exists():
        kept = file.with_name(file.name + REPLACED)
        kept.unlink(missing_ok=True)
        os.link(file, kept)
    for suffix in (".wal", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _other_field_map(settings: Settings, folder: Path) -> Path | None:
    """Keep the field map of the backup where the one of now is another."""
    with suppress(FieldMapWrong):
        if map_text(settings.field_map) == (folder / FIELD_MAP).read_text("utf-8"):
            return None
    kept = settings.data_dir / "fields.restored.csv"
    shutil.copyfile(folder / FIELD_MAP, kept)
    kept.chmod(OWNER_ONLY)
    return kept
