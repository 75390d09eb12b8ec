"""Emulators in which each record stands many times, under other ids and with other texts: as many as nobody wants to seed.

Equal on both sides stays equal. The copies of a person were made earlier, on `DAYS` days, as people are that came over a year:
Marketo's bulk exports are divided by them. All are read in one day, which Marketo would not let anybody do.
Not here: what is measured (`first_load.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta

from dynsync_pipeline_tests.bench.equal_sides import CREATED_AT, FIELDS
from dynsync_pipeline_tests.bench.whole_commands import texts
from dynsync_pipeline_tests.worlds.http import HttpWorld

DAYS = 300  # until `equal_sides.CREATED_AT`
EXPORT_BYTES = 1_000_000_000_000  # a day, where Marketo allows 500 MB, a million people


def multiply_systems(world: HttpWorld, n_copies: int) -> None:
    """Make so many of each account, contact, person and company; DynSync must not have read any yet.

    Raises: ValueError for more copies than there are beginnings of an id.
    """
    if not 0 < n_copies <= 1 << 16:
        raise ValueError(f"{n_copies} copies: 1 to 65,536 can be made.")
    columns, names = texts(FIELDS)
    dataverse, marketo = world.emulators.dataverse, world.emulators.marketo
    with dataverse.write() as db:
        for table in ("account", "contact"):
            ids = {f"{table}id": _other_id(f"{table}id"), "versionnumber": f"versionnumber + n * {dataverse.version}"}
            varied = {"parentcustomerid": _other_id("parentcustomerid")} | {name: _other_text(name) for name in columns}
            _multiply(db, table, n_copies, ids | (varied if table == "contact" else {}), key=f"{table}id")
        dataverse.version *= n_copies
    dataverse.checkpoint()
    oldest = datetime.fromisoformat(CREATED_AT).date() - timedelta(days=DAYS)
    world.environment["DYNSYNC_MARKETO_OLDEST_PERSON"] = oldest.isoformat()
    world.control("marketo", "behaviour", {"export_bytes_per_day": EXPORT_BYTES})
    with marketo.transaction() as db:
        n_rows = {table: _largest_id(db, table) for table in ("people", "companies")}
        company = {"id": f"id + n * {n_rows['companies']}", "externalCompanyId": _other_id("externalCompanyId")}
        moment = f"strftime('%Y-%m-%dT%H:%M:%SZ', '{CREATED_AT}', '-' || (n * {DAYS} / {n_copies}) || ' days')"
        person = {
            "id": f"id + n * {n_rows['people']}",
            "contactCompany": f"contactCompany + n * {n_rows['companies']}",
            "dynamicsContactId": _other_id("dynamicsContactId"),
            **dict.fromkeys(("createdAt", "updatedAt", "_changed_at"), moment),
        }
        _multiply(db, "companies", n_copies, company)
        _multiply(db, "people", n_copies, person | {name: _other_text(name) for name in names})


def _multiply(
    db: sqlite3.Connection, table: str, n_copies: int, changed: Mapping[str, str], *, key: str | None = None
) -> None:
    """Replace each row by its copies, numbered `n` from 0 on; indexes are made anew afterwards.

    In the order of `key`, by which the table is clustered; without one the copies are in the order of their ids anyway.
    """
    columns = [row[1] for row in db.execute(f'pragma table_info("{table}")')]
    indexes = db.execute(
        "select name, sql from sqlite_master where type = 'index' and tbl_name = ? and sql is not null", (table,)
    ).fetchall()
    for name, _ in indexes:
        db.execute(f'drop index "{name}"')
    db.execute(f'create temp table few as select * from "{table}"')
    db.execute(f'delete from "{table}"')
    db.execute(
        f'insert into "{table}" ({", ".join(map(_quoted, columns))}) '
        "with recursive copies(n) as (select 0 union all select n + 1 from copies where n + 1 < ?) "
        f"select {', '.join(changed.get(name, _quoted(name)) for name in columns)} from copies cross join few "
        + (f"order by {changed[key]}" if key else ""),
        (n_copies,),
    )
    db.execute("drop table temp.few")
    for _, statement in indexes:
        db.execute(statement)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _largest_id(db: sqlite3.Connection, table: str) -> int:
    return int(db.execute(f"select max(id) from {table}").fetchone()[0])


def _other_id(column: str) -> str:
    """The GUID with other digits at its beginning, for no two copies the same and in no order."""
    return f"printf('%04x', n * 40503 % 65536) || substr({column}, 5)"


def _other_text(column: str) -> str:
    return f"n || {column}"
