"""Parquet files of the working file's tables, for engines that read everything (docs/spark.md). The setting names their folder.

Kept by delta: rows that moved since a table was written as a whole stand in one small file beside it, so that the cost of a day
follows its changes. Files are never written twice: new ones are written beside the old, and then the manifest is swapped, so
that whoever reads it sees one state. Not here: which tables there are and how they are read (`parquet_files.py`).
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import msgspec

from dynsync_pipeline.publish.parquet_files import (
    KEYS,
    MANIFEST,
    OURS,
    RESULTS,
    TABLES,
    Manifest,
    Moved,
    ParquetTable,
    Part,
    Table,
    read_manifest,
)
from dynsync_pipeline.publish.private_copy import literal
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import digest
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, OWNERS_FOLDER, Warehouse, scalar, storage_errors
from dynsync_pipeline.warehouse.leftovers import remove_unused
from dynsync_pipeline.warehouse.moved_rows import note_moved

EVERY = timedelta(hours=1)  # at most so often; a command that reads them has them brought up to date
READERS_HAVE = timedelta(days=1)  # until the files of an older state are removed
WHOLE_FROM = 8  # once a table's moved rows are more than one in so many, it is written as a whole


def publish_parquet(warehouse: Warehouse, settings: Settings, *, is_wanted_now: bool = False) -> Manifest | None:
    """Bring the files up to date, where the setting names a folder, once an hour or if wanted now; returns their state.

    Where the setting names no folder, or another than before, the files of before are removed. Raises: StorageFailed; the
    state of before stays.
    """
    with warehouse.reading() as connection:
        known = connection.execute("select publication, folder, made_at from state.parquet").fetchall()
    folder = settings.parquet_dir.absolute() if settings.parquet_dir else None
    for _, other, _ in known:
        if Path(other) != folder:
            remove_files(Path(other))
            _forget_state(warehouse)
    if folder is None:
        return None
    old = read_manifest(folder)
    is_known = old is not None and [(old.publication, str(folder))] == [row[:2] for row in known]
    if is_known and not is_wanted_now and warehouse.now() < known[0][2] + EVERY:
        return old
    with warehouse.transaction() as connection:
        note_moved(connection)
    return _write_state(warehouse, folder, old if is_known else None, old)


def remove_files(folder: Path) -> None:
    """Remove all that was ever published into the folder. Raises: StorageFailed."""
    with storage_errors(folder):
        (folder / MANIFEST).unlink(missing_ok=True)
        for file in folder.glob(OURS):
            file.unlink()
        for results in folder.glob(RESULTS):
            shutil.rmtree(results, ignore_errors=True)


def _forget_state(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute("delete from state.parquet")
        connection.execute("delete from state.parquet_moved")


def _write_state(warehouse: Warehouse, folder: Path, known: Manifest | None, old: Manifest | None) -> Manifest:
    """Write what is new, swap the manifest, and note its state; a cut before that makes all of it anew next time."""
    at, publication = warehouse.now(), str(uuid.uuid4())
    with storage_errors(folder):
        folder.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
    with warehouse.reading() as connection, storage_errors(folder):
        writer = _Writer(connection, folder, publication)
        layout = _layout(connection)
        same = known if known is not None and known.layout == layout else None
        is_whole = same is None or _is_much_moved(connection)
        settled = None if is_whole else same
        moved = {} if settled is None else writer.moved_keys()
        tables = {table.name: writer.table(table, settled, same) for table in TABLES}
        manifest = Manifest(publication, at.isoformat(), layout, tables, moved, {})
        manifest = msgspec.structs.replace(manifest, retired=_retired(old, manifest, at))
        _swap(folder, manifest)
    with warehouse.transaction() as connection:
        connection.execute("delete from state.parquet")
        connection.execute(
            "insert into state.parquet (publication, folder, made_at) values (?, ?, ?)", [publication, str(folder), at]
        )
        if is_whole:
            connection.execute("delete from state.parquet_moved")
    with storage_errors(folder):
        _sweep(folder, {*manifest.files, *manifest.retired})
    return manifest


def _layout(connection: duckdb.DuckDBPyConnection) -> str:
    """What is another one once the columns of a table are, or what all values of a side are compared by."""
    columns = [connection.execute(f"describe {table.select}").fetchall() for table in TABLES]
    views = connection.execute(
        "select view_name, sql from duckdb_views() where schema_name = 'state' "
        "and view_name in ('base_values', 'dynamics_records', 'marketo_values') order by 1"
    ).fetchall()
    options = connection.execute("select count(*), sum(hash(o)) from state.options_by_label o").fetchall()
    return digest(TABLES, columns, views, options)


def _is_much_moved(connection: duckdb.DuckDBPyConnection) -> bool:
    n_moved = scalar(connection, "select count(*) from state.parquet_moved")
    n_rows = scalar(
        connection, "select (select count(*) from mirror.marketo_people) + (select count(*) from mirror.person_records)"
    )
    return n_moved * WHOLE_FROM > n_rows


class _Writer:
    """Writes files of one publication, whose names nobody has read yet."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, publication: str) -> None:
        self._connection = connection
        self._folder = folder
        self._prefix = f"dynsync-{publication[:13]}"

    def moved_keys(self) -> dict[Moved, str]:
        """The files of moved keys; leaves these as temporary tables, `moved_people` and `moved_records`."""
        files = {}
        for moved, keys in KEYS.items():
            self._connection.execute(
                f"create or replace temp table moved_{moved} as select distinct {', '.join(keys)} from state.parquet_moved "
                f"where {keys[0]} is not null"
            )
            files[moved] = self._write(f"select * from moved_{moved}", f"moved-{moved}")
        return files

    def table(self, table: ParquetTable, settled: Manifest | None, same: Manifest | None) -> Table:
        """Write what moved of a table that `settled` has, else all of it; of a ledger the months that differ from `same`."""
        if table.month:
            return Table(tuple(self._months(table, same)))
        if settled is not None and table.moved is not None:
            keys = ", ".join(KEYS[table.moved])
            moved = self._write(f"{table.select} semi join moved_{table.moved} using ({keys})", f"{table.name}-moved")
            return Table(settled.tables[table.name].parts, moved, table.moved)
        return Table((Part(self._write(table.select, table.name)),))

    def _months(self, table: ParquetTable, same: Manifest | None) -> Iterable[Part]:
        before = {part.month: part for part in same.tables[table.name].parts} if same else {}
        months = self._connection.execute(
            f"select strftime({table.month}, '%Y-%m') as month, count(*), min({table.number}), max({table.number}) "
            f"from {table.name} group by 1 order by 1"
        ).fetchall()
        for month, *counted in months or [
            ("", 0, 0, 0)
        ]:  # a table without a row has a file, too, which tells its columns
            part = before.get(month)
            if part is None or [part.n_rows, part.lowest, part.highest] != counted:
                chosen = f"{table.select} where strftime({table.month}, '%Y-%m') = '{month}'"
                part = Part(self._write(chosen, f"{table.name}-{month}"), month, *counted)
            yield part

    def _write(self, query: str, name: str) -> str:
        file = self._folder / f"{self._prefix}-{name}.parquet"
        self._connection.execute(f"copy ({query}) to {literal(file)} (format parquet, compression zstd)")
        file.chmod(OWNER_ONLY)
        _sync(file)
        return file.name


def _retired(old: Manifest | None, new: Manifest, at: datetime) -> dict[str, str]:
    """The files of older states that readers may still have in use, and since when they are."""
    if old is None:
        return {}
    since = {**dict.fromkeys(old.files, at.isoformat()), **old.retired}
    named = set(new.files)
    return {
        file: moment
        for file, moment in since.items()
        if file not in named and datetime.fromisoformat(moment) > at - READERS_HAVE
    }


def _swap(folder: Path, manifest: Manifest) -> None:
    new = folder / f"{MANIFEST}.new"
    new.touch(mode=OWNER_ONLY)
    new.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    _sync(new)
    new.replace(folder / MANIFEST)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path, kept: set[str]) -> None:
    for file in folder.glob(OURS):
        if file.name not in kept:
            file.unlink()
    remove_unused(folder, RESULTS)
