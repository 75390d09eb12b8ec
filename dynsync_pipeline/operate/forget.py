"""Forgetting a person: out of every file of the installation, with a proof, and for good (docs/personal-data.md).

What may be found by hand is removed first, the working file next to last: until then a cut leaves the person to be found, and the
erasure is given again. What is left of it goes by hashes alone (`../warehouse/erased.py`), which a later call finishes.
Not here: looking for what is left (`scan.py`).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb

from dynsync_pipeline.errors import ErasureRefused, StorageFailed
from dynsync_pipeline.look.explain import GUID, PERSON_ID
from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.operate.backup import (
    REQUESTS,
    UNFINISHED,
    WORKING,
    backup_folder,
    backups,
    rewrite_backup,
    scratch,
)
from dynsync_pipeline.operate.scan import find, in_postgres, storage_of_dagster
from dynsync_pipeline.publish.parquet import publish_parquet, remove_files
from dynsync_pipeline.publish.private_copy import literal
from dynsync_pipeline.publish.snapshot import publish_snapshot
from dynsync_pipeline.requests.commands import taking_in_actions
from dynsync_pipeline.requests.store import RequestStore
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.columns import followed_fields, quoted
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, Warehouse, storage_errors
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline.warehouse.cycles import CycleEnd
from dynsync_pipeline.warehouse.erased import (
    FILE,
    REFERENCES,
    Erasure,
    Erasures,
    drop_erased,
    keep_erasures,
    person_name,
    read_erasures,
    rows_of_others,
)
from dynsync_pipeline.warehouse.leftovers import ON_SPARK, remove_leftovers
from dynsync_pipeline.warehouse.operator_actions import Action, note_action, operator

SCHEMAS = ("inbox", "mirror", "state", "reconcile", "ledger")
SHORTEST = 6  # characters of a value that is looked for: shorter ones stand by chance in other values
LEFT_OUT = ("emulator", "demo")  # folders of the data folder that stand for the systems themselves


@dataclass(frozen=True)
class Person:
    """Somebody by all ids that the working file knows, and where they live still.

    `values`: ids of records and texts that stand nowhere else; `cells`: these, and addresses that are a part of another's.
    """

    person_ids: tuple[int, ...]
    record_ids: tuple[str, ...]
    lives_as: tuple[str, ...]
    values: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """What is hashed."""
        return [*map(person_name, self.person_ids), *self.record_ids]


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
                f"{_told(person)} lives as {', '.join(person.lives_as)}, and would be read again.",
                next_step="Delete there first, and let a cycle see that; or add --block, and the sync keeps them out for good.",
            )
        before = _find(settings, person)
        hashes = [erasures.hash(name) for name in person.names]
        erasure = Erasure(at.isoformat(), hashes, by=operator(), blocks=blocks)
        _note(settings, erasures, erasure)
        removed = _from_text_files(settings, person)
        removed |= _finish(settings)
        after = _find(settings, person)
        _note(settings, erasures, replace(erasure, is_finished=not after, n_removed=removed))
        return Forgotten(removed, before, after)


def finish(settings: Settings) -> dict[str, int]:
    """Go on with what was cut, by hashes; returns what was removed. What was in text files is not told by hashes."""
    with CycleLock(settings.lock_file, is_cycle=False):
        _require_working_file(settings)
        removed = _finish(settings, Action.of("forget --finish", {}))
        erasures = read_erasures(settings.data_dir)
        for some in erasures.by_key.values():
            for erasure in some:
                if not erasure.is_finished:
                    _note(settings, erasures, replace(erasure, is_finished=True))
        return removed


def identify(connection: duckdb.DuckDBPyConnection, key: str, *, is_cut: bool = False) -> Person:
    """Whoever `key` names, with all ids that ever were theirs. Raises: ErasureRefused, where it names nobody, or several.

    `is_cut`: whether an erasure was cut, maybe of this person, of whom the working file then knows nothing any more.
    """
    key = key.strip()
    if PERSON_ID.fullmatch(key):
        names = [person_name(int(key))]
    elif guid := GUID.fullmatch(key):
        names = [guid[1].lower()]
    elif "@" in key:
        names = _by_email(connection, key.lower())
    else:
        raise ErasureRefused("That is neither a Marketo id, nor a Dynamics id, nor an e-mail address.")
    if len(names) > 1:
        raise ErasureRefused(
            f"{len(names)} people and records bear that address.", next_step="Name one of them by its id."
        )
    pairs = connection.execute(_SAME_PERSON).fetchall()
    theirs, n_before = set(names), 0
    while len(theirs) > n_before:
        n_before = len(theirs)
        theirs |= {name for pair in pairs if theirs & set(pair) for name in pair}
    person_ids = tuple(sorted(int(name.partition(":")[2]) for name in theirs if ":" in name))
    record_ids = tuple(sorted(name for name in theirs if ":" not in name))
    living = connection.execute(_LIVING, [list(person_ids), list(record_ids)]).fetchall()
    known = connection.execute(_KNOWN, [list(person_ids), list(record_ids)]).fetchall()
    if not known:
        raise ErasureRefused(
            "Nobody is known by that name.",
            next_step="An erasure was cut: `dynsync forget --finish` ends it."
            if is_cut
            else "`dynsync explain` shows who is.",
        )
    values, addresses = _values(connection, theirs)
    return Person(
        person_ids,
        record_ids,
        tuple(row[0] for row in living),
        (*record_ids, *values),
        (*record_ids, *values, *addresses),
    )


# Each pair is of one natural person: a link, now or before, a request, a lead and the contact it became, a record merged.
_SAME_PERSON = """
select 'person:' || person_id, dynamics_id from state.links
union select 'person:' || person_id, dynamics_id from state.tombstones
union select 'person:' || person_id, dynamics_id from state.requested
union select 'person:' || person_id, dynamics_id from ledger.changes where person_id is not null and record_type <> 'account'
union select 'person:' || person_id, dynamics_contact_id from mirror.marketo_people where dynamics_contact_id is not null
union select 'person:' || person_id, dynamics_lead_id from mirror.marketo_people where dynamics_lead_id is not null
union select lead_id, contact_id from mirror.conversions
union select dynamics_id, master_id from mirror.merged_records
union select 'person:' || winner_person_id, 'person:' || loser_person_id from ledger.merge_proposals where state = 'merged'
"""
_LIVING = """
select 'person ' || person_id || ' in Marketo' from mirror.marketo_people
where not is_deleted and list_contains($1::bigint[], person_id)
union all
select record_type || ' ' || dynamics_id || ' in Dynamics' from mirror.person_records
where not is_deleted and list_contains($2::varchar[], dynamics_id)
order by 1
"""
_KNOWN = """
select 1 from mirror.marketo_people where list_contains($1::bigint[], person_id)
union all select 1 from mirror.person_records where list_contains($2::varchar[], dynamics_id)
union all select 1 from ledger.changes where list_contains($1::bigint[], person_id) or list_contains($2::varchar[], dynamics_id)
union all select 1 from state.tombstones where list_contains($1::bigint[], person_id) or list_contains($2::varchar[], dynamics_id)
limit 1
"""


def _by_email(connection: duckdb.DuckDBPyConnection, email: str) -> list[str]:
    names = set()
    for table, id_column, columns in _sources(connection, "email"):
        test = " or ".join(f"lower({quoted(column)}) = ?" for column in columns)
        name = "'person:' || person_id" if id_column == "person_id" else id_column
        if test:
            names |= {
                row[0]
                for row in connection.execute(
                    f"select {name} from {table} where {test}", [email] * len(columns)
                ).fetchall()
            }
    pairs = connection.execute(_SAME_PERSON).fetchall()
    # A person and the record they are linked to are one.
    return sorted(names - {pair[1] for pair in pairs if {*pair} <= names})


def _sources(connection: duckdb.DuckDBPyConnection, field: str | None = None) -> list[tuple[str, str, list[str]]]:
    """The mirrors of people and their records: table, id, and the columns of one mapped text, or of all."""
    rows = connection.execute(
        "select distinct field, dynamics_column from reconcile.fields "
        "where record_type <> 'account' and type = 'text' and field = coalesce(?, field)",
        [field],
    ).fetchall()
    found = []
    for table, id_column, place in (
        ("mirror.marketo_people", "person_id", 0),
        ("mirror.dynamics_contacts", "contactid", 1),
        ("mirror.dynamics_leads", "leadid", 1),
    ):
        offered = connection.table(table).columns
        found.append((table, id_column, sorted({row[place] for row in rows} & set(offered))))
    return found


def _values(connection: duckdb.DuckDBPyConnection, names: Collection[str]) -> tuple[list[str], list[str]]:
    """The texts of the person that stand nowhere with anybody else, as a part neither; and all their e-mail addresses.

    `names`: as `Person.names`. A search for a text that others have as well, or that is a word of the sync's own, proves nothing.
    """
    person_ids = [int(name.partition(":")[2]) for name in names if ":" in name]
    record_ids = [name for name in names if ":" not in name]
    texts = set()
    for table, id_column, columns in _sources(connection):
        ids: list[int] | list[str] = person_ids if id_column == "person_id" else record_ids
        for name in map(quoted, columns):
            query = f"select distinct {name} from {table} where list_contains($1, {id_column}) and len({name}) >= {SHORTEST}"
            texts |= {row[0] for row in connection.execute(query, [ids]).fetchall()}
    connection.execute("create or replace temp table theirs as select unnest(?::varchar[]) as id", [list(names)])
    own = {text for text in texts if "@" in text}
    for rows in rows_of_others(connection, "theirs"):
        texts -= set(_held(connection, rows, texts))
    return sorted(texts), sorted(own)


def _held(connection: duckdb.DuckDBPyConnection, rows: str, texts: Collection[str]) -> list[str]:
    """Those of the texts that any of these rows holds, in any case of letters."""
    query = (
        "select distinct unnest(list_filter($1::varchar[], lambda wanted: contains(text, lower(wanted)))) "
        f"from (select lower(concat_ws(chr(1), *columns(*))) as text from {rows})"
    )
    return [row[0] for row in connection.execute(query, [sorted(texts)]).fetchall()] if texts else []


def _told(person: Person) -> str:
    return " and ".join(
        [*(f"person {each}" for each in person.person_ids), *(f"record {each}" for each in person.record_ids)]
    ).capitalize()


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


def _finish(settings: Settings, action: Action | None = None) -> dict[str, int]:
    """Remove the erased, by hashes, from backups, requests, working file and snapshot; rows by table of the data folder's own.

    `action`: the command, where the file of erasures does not tell it.
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
