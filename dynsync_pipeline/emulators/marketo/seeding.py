"""Filling a subscription with people in bulk, as if they had been there for a while. Not an API of the vendor."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from dynsync_pipeline.emulators.marketo.activities import Entry, log
from dynsync_pipeline.emulators.marketo.activity_types import NEW_LEAD
from dynsync_pipeline.emulators.marketo.fields import Field
from dynsync_pipeline.emulators.marketo.people_writes import DEFAULT_PARTITION
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import Stored, parse_moment, stored_value, utc_text

_CHUNK = 10_000


def seed(store: Store, people: Iterable[Mapping[str, object]]) -> None:
    """Insert people given by REST names; one transaction per 10,000.

    `createdAt` may be given, else it is now. People with the same `externalCompanyId` share a company, whose values are
    those of its first person. Each gets its New Lead entry. Raises: KeyError for an unknown field, values.BadValue.
    """
    rows = iter(people)
    while chunk := list(islice(rows, _CHUNK)):
        with store.transaction() as db:
            _insert_chunk(store, db, chunk)


def _insert_chunk(store: Store, db: sqlite3.Connection, chunk: list[Mapping[str, object]]) -> None:
    now = utc_text(store.now())
    first_person, first_company = (_last_id(db, table) + 1 for table in ("people", "companies"))
    given = dict.fromkeys(name for person in chunk for name in person)
    fields = {name: store.fields[name] for name in given if name not in ("createdAt", "updatedAt")}
    on_person = [field for field in fields.values() if not field.on_company]
    on_company = [field for field in fields.values() if field.on_company]
    companies: list[tuple[Any, ...]] = []
    values: list[tuple[Any, ...]] = []
    company_of_key: dict[str, int] = {}
    moments: list[str] = []
    for number, person in enumerate(chunk):
        at = str(person.get("createdAt") or now)
        key = person.get("externalCompanyId")
        company_id = _known_company(db, company_of_key, key) if key else None
        if company_id is None:
            company_id = first_company + len(companies)
            companies.append((company_id, *_values(on_company, person), at, at))
            if key:
                company_of_key[str(key).lower()] = company_id
        own = _values(on_person, person)
        values.append((first_person + number, *own, company_id, DEFAULT_PARTITION, at, at, at))
        moments.append(at)
    _insert_all(db, "companies", ["id", *_names(on_company), "createdAt", "updatedAt"], companies)
    system = ["contactCompany", "leadPartitionId", "createdAt", "updatedAt", "_changed_at"]
    _insert_all(db, "people", ["id", *_names(on_person), *system], values)
    log(
        db,
        (
            Entry(first_person + number, NEW_LEAD, parse_moment(at), None, None, {"Source Type": "List import"})
            for number, at in enumerate(moments)
        ),
    )


def _values(fields: list[Field], person: Mapping[str, object]) -> list[Stored]:
    return [stored_value(field, person.get(field.name)) for field in fields]


def _names(fields: list[Field]) -> list[str]:
    return [field.name for field in fields]


def _known_company(db: sqlite3.Connection, in_chunk: dict[str, int], key: object) -> int | None:
    found = in_chunk.get(str(key).lower())
    if found is None:
        row = db.execute("select id from companies where externalCompanyId = ?", (str(key),)).fetchone()
        found = None if row is None else int(row[0])
    return found


def _last_id(db: sqlite3.Connection, table: str) -> int:
    row = db.execute("select seq from sqlite_sequence where name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


def _insert_all(db: sqlite3.Connection, table: str, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    columns = ", ".join(f'"{name}"' for name in names)
    db.executemany(f"insert into {table} ({columns}) values ({', '.join('?' * len(names))})", rows)
