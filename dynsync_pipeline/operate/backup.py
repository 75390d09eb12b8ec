"""Backups: working file, store of requests, field map and versions of one moment, as one ZIP file, tried before it counts.

The working file belongs to whoever holds the cycle lock, and is closed while it is copied: closing another descriptor of an
open file would give DuckDB's own lock on it away. A backup holds personal data and is its owner's alone; it holds no secret.
Not here: asking for one while a cycle runs (`wish.py`), putting one back (`restore.py`).
"""

from __future__ import annotations

import filecmp
import os
import re
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import msgspec

from dynsync_pipeline import __version__
from dynsync_pipeline.errors import StorageFailed
from dynsync_pipeline.model.field_map import map_text
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, OWNERS_FOLDER, Warehouse, scalar, storage_errors
from dynsync_pipeline.warehouse.erased import FILE as ERASURES
from dynsync_pipeline.warehouse.leftovers import BACKUP

WORKING, REQUESTS, FIELD_MAP, CONTENTS = "dynsync.duckdb", "requests.sqlite", "fields.csv", "backup.json"
NAMES = (WORKING, REQUESTS, FIELD_MAP, ERASURES)
UNFINISHED = ".new"
_NAME = re.compile(r"dynsync-\d{8}T\d{6}\.\d{3}\.zip")


class Contents(msgspec.Struct, frozen=True):
    """What a backup holds, as its `backup.json` tells; `made_at` is UTC without zone, `n_rows` by table of the working file."""

    made_at: datetime
    version: str
    schema: int
    cycle_id: int
    systems: dict[str, str]
    n_rows: dict[str, int]
    n_requests: int

    @property
    def n_people(self) -> int:
        """How many people it knows."""
        return self.n_rows["mirror.marketo_people"]


class Backup(msgspec.Struct, frozen=True):
    """One backup file and what it holds."""

    file: Path
    size_bytes: int
    contents: Contents


def make_backup(settings: Settings, at: datetime) -> Backup:
    """Make a backup, try it, and remove all but the newest of `settings.backups_kept`; `at` is UTC without zone.

    Call it with the cycle lock held and the working file closed. Raises: StorageFailed; then there is no new backup, and none
    was removed.
    """
    if not settings.working_file.exists():
        raise _nothing_there(settings)
    folder = backup_folder(settings)
    file = folder / f"dynsync-{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}.zip"
    new = file.with_name(file.name + UNFINISHED)
    with storage_errors(new), scratch(settings) as scratch_folder, scratch(settings) as tried:
        folder.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
        try:
            contents = _pack(settings, at, new, scratch_folder, tried)
            new.replace(file)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        _remove_older(folder, settings.backups_kept)
    return Backup(file, file.stat().st_size, contents)


def _nothing_there(settings: Settings) -> StorageFailed:
    """What is to be told where there is no working file: whoever has a snapshot has lost it."""
    if settings.snapshot_file.exists():
        return StorageFailed(
            f"There is nothing to back up: {settings.working_file} is gone, and the snapshot of it is still there.",
            next_step="Stop what starts cycles, or the next one begins anew, and put a backup back: docs/operate.md#restore.",
        )
    return StorageFailed(
        f"There is nothing to back up in {settings.data_dir}: no cycle has run yet.",
        next_step="Run `dynsync sync` first, or name the right folder in DYNSYNC_DATA_DIR.",
    )


def backups(settings: Settings) -> list[Path]:
    """The backups that are there, oldest first; files of other names are none."""
    return _backups_in(backup_folder(settings))


def backup_folder(settings: Settings) -> Path:
    """Where backups are."""
    return settings.backup_dir or settings.data_dir / "backups"


def _backups_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("dynsync-*.zip") if _NAME.fullmatch(file.name))


def made_at(backup: Path) -> datetime:
    """When one of these was made, by its name, to the millisecond; UTC without zone."""
    return datetime.strptime(backup.name, "dynsync-%Y%m%dT%H%M%S.%f.zip")  # noqa: DTZ007 (UTC, as everywhere here)


def is_due(settings: Settings, at: datetime) -> bool:
    """Whether the settings ask for a backup by now, at `at` (UTC without zone). One of a later time counts for nothing."""
    if not settings.backup_hours:
        return False
    earlier = [made for made in map(made_at, backups(settings)) if made <= at]
    return not earlier or at - max(earlier) >= timedelta(hours=settings.backup_hours)


def read_contents(file: Path) -> Contents:
    """What a backup says that it holds. Raises: StorageFailed, where it is none."""
    try:
        with zipfile.ZipFile(file) as backup:
            return msgspec.json.decode(backup.read(CONTENTS), type=Contents)
    except FileNotFoundError:
        raise StorageFailed(
            f"{file} does not exist.", next_step="`dynsync backup --list` names those that are there."
        ) from None
    except OSError as error:
        raise StorageFailed(f"{file} cannot be read: {error.strerror}.") from None
    except (zipfile.BadZipFile, KeyError, msgspec.MsgspecError, NotImplementedError):
        raise StorageFailed(
            f"{file} is no backup of DynSync, or is damaged.",
            next_step="Take another one; `dynsync backup --list` names them.",
        ) from None


def unpack(file: Path, folder: Path) -> Contents:
    """Unpack a backup into `folder`, and try what came out; returns what it holds. Raises: StorageFailed, if it is not whole."""
    contents = read_contents(file)
    with storage_errors(folder):
        _try(file, contents, folder)
    return contents


@contextmanager
def scratch(settings: Settings) -> Iterator[Path]:
    """A folder for what is made on the way, on the disk of the data; the next cycle removes what a kill leaves of it."""
    with tempfile.TemporaryDirectory(prefix=BACKUP, dir=settings.data_dir) as folder:
        yield Path(folder)


def _pack(settings: Settings, at: datetime, new: Path, scratch_folder: Path, tried: Path) -> Contents:
    """Write the file, and try it in the folder `tried`; returns what it holds."""
    n_requests = _copy_requests(settings.requests_file, scratch_folder / REQUESTS)
    # Opened once, so that no write-ahead log is left that would belong to it, and an older one is of this version.
    with Warehouse(settings.working_file) as warehouse, warehouse.reading() as connection:
        contents = _contents(connection, at, n_requests)
    files = {REQUESTS: scratch_folder / REQUESTS, WORKING: settings.working_file}
    (scratch_folder / FIELD_MAP).write_text(map_text(settings.field_map), "utf-8")
    files[FIELD_MAP] = scratch_folder / FIELD_MAP
    if (settings.data_dir / ERASURES).exists():
        files[ERASURES] = settings.data_dir / ERASURES
    _write(new, contents, files, tried)
    return contents


def _write(new: Path, contents: Contents, files: Mapping[str, Path], tried: Path) -> None:
    """Write these files, by their names in it, into a backup, and see that it is on the disk and holds every byte of them.

    Numbers of rows would not tell: DuckDB knows them without reading a row. Raises: StorageFailed, where anything differs.
    """
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, OWNER_ONLY)
    # Not compressed: DuckDB does that by itself.
    with os.fdopen(descriptor, "w+b") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as backup:
            backup.writestr(CONTENTS, msgspec.json.format(msgspec.json.encode(contents)))
            for name, file in files.items():
                backup.write(file, name)
        stream.flush()
        os.fsync(stream.fileno())
    _try(new, contents, tried)
    if not all(filecmp.cmp(file, tried / name, shallow=False) for name, file in files.items()):
        raise _not_whole(new)


def rewrite_backup(settings: Settings, file: Path, change: Callable[[Path], None]) -> None:
    """Write a backup anew after `change` was made to what it holds, in a folder of its own. Raises: StorageFailed."""
    new = file.with_name(file.name + UNFINISHED)
    with storage_errors(new), scratch(settings) as folder, scratch(settings) as tried:
        before = unpack(file, folder)
        change(folder)
        with closing(duckdb.connect(folder / WORKING, read_only=True)) as connection:
            n_rows = _n_rows(connection)
        with closing(sqlite3.connect(folder / REQUESTS)) as store:
            contents = msgspec.structs.replace(before, n_rows=n_rows, n_requests=_n_requests(store))
        try:
            _write(new, contents, {each.name: each for each in sorted(folder.iterdir()) if each.name in NAMES}, tried)
            new.replace(file)
        finally:
            new.unlink(missing_ok=True)


def _copy_requests(source: Path, target: Path) -> int:
    """Copy the store of requests, whoever writes to it meanwhile; returns how many there are. Without one, an empty file."""
    if not source.exists():
        target.touch(OWNER_ONLY)
        return 0
    address = f"{source.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as store, closing(sqlite3.connect(target)) as copy:
            store.backup(copy)
            return _n_requests(copy)
    except sqlite3.Error as error:
        raise StorageFailed(
            f"The store of requests, {source}, cannot be copied: {error}.",
            next_step="Check the data folder and the disk. If the file is damaged, move it away: what was asked for and not "
            "served is lost then, and nothing else.",
        ) from None


def _n_requests(store: sqlite3.Connection) -> int:
    has_table = store.execute("select count(*) from sqlite_schema where name = 'requests'").fetchone()[0]
    return int(store.execute("select count(*) from requests").fetchone()[0]) if has_table else 0


def _contents(connection: duckdb.DuckDBPyConnection, at: datetime, n_requests: int) -> Contents:
    return Contents(
        made_at=at,
        version=__version__,
        schema=scalar(connection, "select max(version) from schema_version"),
        cycle_id=scalar(connection, "select coalesce(max(cycle_id), 0) from ledger.cycles"),
        systems=dict(connection.execute("select system, host from state.systems order by system").fetchall()),
        n_rows=_n_rows(connection),
        n_requests=n_requests,
    )


def _n_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The rows of every table, by schema and name."""
    names = connection.execute(
        "select schema_name, table_name from duckdb_tables() "
        "where database_name = current_database() and not temporary order by all"
    ).fetchall()
    counts = [f"""select '{schema}.{name}', count(*) from "{schema}"."{name}" """ for schema, name in names]
    return dict(connection.execute(" union all ".join(counts)).fetchall())


def _try(file: Path, contents: Contents, folder: Path) -> None:
    """Unpack a backup into `folder`, open what came out, and count. Raises: StorageFailed, if anything is missing."""
    try:
        with zipfile.ZipFile(file) as backup:
            for name in NAMES:
                if name != ERASURES or name in backup.namelist():
                    backup.extract(name, folder)  # compares checksums
                    (folder / name).chmod(OWNER_ONLY)
        with closing(duckdb.connect(folder / WORKING, read_only=True)) as connection:
            n_rows: Mapping[str, int] = _n_rows(connection)
        with closing(sqlite3.connect(folder / REQUESTS)) as store:
            is_whole = store.execute("pragma integrity_check").fetchone() == ("ok",)
            n_requests = _n_requests(store)
    except (zipfile.BadZipFile, KeyError, EOFError, sqlite3.Error, duckdb.Error) as error:
        if isinstance(error, duckdb.OutOfMemoryException):
            raise
        raise _not_whole(file) from None
    if n_rows != contents.n_rows or not is_whole or n_requests != contents.n_requests:
        raise _not_whole(file)


def _not_whole(file: Path) -> StorageFailed:
    return StorageFailed(
        f"{file.name.removesuffix(UNFINISHED)} is not whole: what was read back is not what it is to hold.",
        next_step="Check the disk of that folder; an older backup may be whole.",
    )


def _remove_older(folder: Path, n_kept: int) -> None:
    for old in [*_backups_in(folder)[:-n_kept], *folder.glob(f"dynsync-*.zip{UNFINISHED}")]:
        old.unlink(missing_ok=True)


def utc_now() -> datetime:
    """The time by which backups are named: UTC without zone."""
    return datetime.now(UTC).replace(tzinfo=None)
