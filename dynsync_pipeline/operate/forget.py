"""Forgetting a person: out of every file of the installation, with a proof, and for good (docs/personal-data.md).

What may be found by hand is removed first, the working file next to last: until then a cut leaves the person to be found, and the
erasure is given again. What is left of it goes by hashes alone (`erase.py`), which a later call finishes.
Not here: who it is (`identify.py`), looking for what is left (`scan.py`).
"""

from __future__ import annotations

import csv
import io
import os
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb

from dynsync_pipeline.errors import ErasureRefused, StorageFailed
from dynsync_pipeline.operate.backup import backup_folder, scratch
from dynsync_pipeline.operate.erase import erase_by_hashes
from dynsync_pipeline.operate.identify import Person, identify
from dynsync_pipeline.operate.scan import find, in_postgres, storage_of_dagster
from dynsync_pipeline.publish.private_copy import literal
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, Warehouse, storage_errors
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.erased import FILE, Erasure, Erasures, keep_erasures, read_erasures
from dynsync_pipeline.warehouse.operator_actions import Action, operator

LEFT_OUT = ("emulator", "demo")  # folders of the data folder that stand for the systems themselves


@dataclass(frozen=True)
class Forgotten:
    """What an erasure did: rows removed by place, and the places that held the person before and after; the latter are none."""

    n_removed: dict[str, int]
    found_before: list[str]
    found_after: list[str]


def forget(settings: Settings, key: str, at: datetime, *, blocks: bool) -> Forgotten:
    """Erase whoever `key` names, a Marketo id, a Dynamics id or an e-mail address; `at` is UTC without zone.

    `blocks`: also somebody who lives in a synced system, and who is kept out from then on. Raises: ErasureRefused, with nothing
    changed; CycleRunning; StorageFailed, after which the same call goes on.
    """
    with CycleLock(settings.lock_file, is_cycle=False):
        _require_working_file(settings)
        erasures = read_erasures(settings.data_dir)
        with Warehouse(settings.working_file) as warehouse, warehouse.reading() as connection:
            person = identify(connection, key, is_cut=erasures.is_cut)
        if person.lives_as and not blocks:
            raise ErasureRefused(
                f"{person.told} lives as {', '.join(person.lives_as)}, and would be read again.",
                next_step="Delete there first, and let a cycle see that; or add --block, and the sync keeps them out for good.",
            )
        before = _find(settings, person)
        hashes = [erasures.hash(name) for name in person.names]
        erasure = Erasure(at.isoformat(), hashes, by=operator(), blocks=blocks)
        _note(settings, erasures, erasure)
        removed = _from_text_files(settings, person)
        removed |= erase_by_hashes(settings)
        after = _find(settings, person)
        _note(settings, erasures, replace(erasure, is_finished=not after, n_removed=removed))
        return Forgotten(removed, before, after)


def finish(settings: Settings) -> dict[str, int]:
    """Go on with what was cut, by hashes; returns what was removed. What was in text files is not told by hashes."""
    with CycleLock(settings.lock_file, is_cycle=False):
        _require_working_file(settings)
        removed = erase_by_hashes(settings, Action.of("forget --finish", {}))
        erasures = read_erasures(settings.data_dir)
        for some in erasures.by_key.values():
            for erasure in some:
                if not erasure.is_finished:
                    _note(settings, erasures, replace(erasure, is_finished=True))
        return removed


def _require_working_file(settings: Settings) -> None:
    if not settings.working_file.exists():
        raise StorageFailed(
            f"There is no working file in {settings.data_dir}.",
            next_step="Name the right folder in DYNSYNC_DATA_DIR, or restore a backup first: they are erased along with it.",
        )


def _find(settings: Settings, person: Person) -> list[str]:
    folders = {settings.data_dir.resolve(), backup_folder(settings).resolve()}
    if settings.parquet_dir is not None:
        folders.add(settings.parquet_dir.resolve())
    left_out = [settings.data_dir.resolve() / name for name in LEFT_OUT]
    with scratch(settings) as room:
        found = find(sorted(folders), person.values, room, left_out)
    if address := storage_of_dagster(settings.data_dir):
        found += in_postgres(person.values, address)
    return found


def _note(settings: Settings, erasures: Erasures, erasure: Erasure) -> None:
    """Keep this erasure among the others."""
    with storage_errors(settings.data_dir / FILE):
        key = next(iter(erasures.by_key))
        others = [each for each in erasures.by_key[key] if each.erased_at != erasure.erased_at]
        erasures.by_key[key] = [*others, erasure]
        keep_erasures(settings.data_dir, erasures)


def _from_text_files(settings: Settings, person: Person) -> dict[str, int]:
    """Lines of CSV files in the data folder that hold the person, and files that a restore replaced or a kill left unfinished."""
    removed: dict[str, int] = {}
    wanted = [value.lower() for value in (*person.cells, *map(str, person.person_ids))]
    with storage_errors(settings.data_dir):
        for pattern, name in _NOBODYS.items():
            for file in settings.data_dir.glob(pattern):
                file.unlink()
                removed[name] = removed.get(name, 0) + 1
        for file in settings.data_dir.glob("*.csv"):
            n_lines = _without_lines(file, set(wanted))
            if n_lines:
                removed[file.name] = n_lines
        for file in settings.data_dir.glob("*.parquet"):
            n_rows = _without_rows(file, person)
            if n_rows:
                removed[file.name] = n_rows
    return removed


# Files of which nobody reads a line any more.
_NOBODYS = {
    "*.replaced": "files that a restore replaced",
    "*.csv.new": "files that a kill left unfinished",
    "*.parquet.new": "files that a kill left unfinished",
}


def _without_lines(file: Path, wanted: set[str]) -> int:
    """Write a CSV anew without the rows of which a cell is one of these; returns how many."""
    text = file.read_text("utf-8-sig", errors="surrogateescape")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    kept = [row for row in rows if not wanted & {cell.strip().lower() for cell in row}]
    if len(kept) < len(rows):
        new = file.with_name(file.name + ".new")
        with os.fdopen(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY),
            "w",
            encoding="utf-8",
            errors="surrogateescape",
            newline="",
        ) as out:
            csv.writer(out).writerows(kept)
        new.replace(file)
    return len(rows) - len(kept)


def _without_rows(file: Path, person: Person) -> int:
    """Write a Parquet file anew without the rows that hold the person; returns how many."""
    source = f"(select *, lower(concat_ws(chr(1), *columns(*))) as searched from read_parquet({literal(file)}))"
    test = "len(list_filter(?::varchar[], lambda wanted: contains(searched, wanted))) > 0"
    wanted = [value.lower() for value in person.values]
    with closing(duckdb.connect()) as connection:
        ((n_rows,),) = connection.execute(f"select count(*) from {source} where {test}", [wanted]).fetchall()
        if n_rows:
            new = file.with_name(file.name + ".new")
            kept = f"select * exclude (searched) from {source} where not ({test})"
            connection.execute(f"create table kept as {kept}", [wanted])
            connection.execute(f"copy kept to {literal(new)} (format parquet)")
            new.chmod(OWNER_ONLY)
            new.replace(file)
    return int(n_rows)
