"""Changing people, whoever asks: what is kept, what is logged, which clocks move.

The rules of single calls (actions, lookups, answers) are in `lead_sync.py`, `bulk_import.py` and `merging.py`.
Source: docs/protocols/marketo.md#writing-people, #field-types, #companies, #bulk-extract, #activities,
#checklist 13 to 17.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from dynsync_pipeline.emulators.marketo.activities import Entry, log, value_change
from dynsync_pipeline.emulators.marketo.activity_types import CHANGE_SCORE, DELETE_LEAD, NEW_LEAD
from dynsync_pipeline.emulators.marketo.fields import COMPANY_FIELDS, Field
from dynsync_pipeline.emulators.marketo.leads import FROM_PEOPLE
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import BadValue, Stored, stored_value, text_value, utc_text

DEFAULT_PARTITION = 1
_SQL_VARIABLES = 30_000


class RecordRefused(Exception):
    """One record is refused as a whole; nothing of it is written."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PeopleWrites:
    """The writes of one call, inside one transaction of `store`.

    `reason` and `source` go into the log with every changed value. Log entries are kept back until `flush`.
    """

    def __init__(self, store: Store, *, reason: str, source: str) -> None:
        self._store = store
        self._db: sqlite3.Connection = store.db
        self._fields = store.fields
        self._reason = reason
        self._source = source
        self._at = store.now()
        self._now = utc_text(self._at)
        self._loaded = [
            field for field in self._fields.by_name.values() if field.is_stored_on_person or field.on_company
        ]
        self._rows: dict[int, dict[str, Any]] = {}
        self.entries: list[Entry] = []

    def load(self, ids: Iterable[int]) -> None:
        """Read these people as they are, in few statements."""
        wanted = sorted(set(ids) - self._rows.keys())
        columns = ", ".join(field.sql for field in self._loaded)
        names = [field.name for field in self._loaded]
        for start in range(0, len(wanted), _SQL_VARIABLES):
            part = wanted[start : start + _SQL_VARIABLES]
            sql = f"select {columns} {FROM_PEOPLE} where p.id in ({', '.join('?' * len(part))})"
            for row in self._db.execute(sql, part):
                person = dict(zip(names, row, strict=True))
                self._rows[person["id"]] = person

    def person(self, person_id: int) -> dict[str, Any] | None:
        """A loaded person, with the company's values, or None when there is none of this id."""
        return self._rows.get(person_id)

    def accepted(self, record: Mapping[str, object]) -> dict[str, Stored]:
        """The record's values as they are stored. Raises: RecordRefused 1006, 1003."""
        values: dict[str, Stored] = {}
        for name, value in record.items():
            field = self._fields.get(name)
            if field is None:
                raise RecordRefused("1006", f"Field '{name}' not found")
            if field.is_read_only or name in ("id", "leadPartitionId"):
                raise RecordRefused("1003", f"Invalid value for field '{name}'")
            try:
                values[name] = stored_value(field, value)
            except BadValue:
                raise RecordRefused("1003", f"Invalid value for field '{name}'") from None
        return values

    def create(self, values: dict[str, Stored], partition_id: int = DEFAULT_PARTITION) -> int:
        """A new person with a company of its own or the one named by key; the new id. Raises: RecordRefused."""
        own, company_values, key = self._split(values)
        if key is not None and company_values:
            raise RecordRefused("1021", "Company update not allowed")
        company_id = self._company_id(key) if key is not None else self._new_company(company_values)
        columns = {
            **own,
            "contactCompany": company_id,
            "leadPartitionId": partition_id,
            "createdAt": self._now,
            "updatedAt": self._now,
            "_changed_at": self._now,
        }
        person_id = self._insert("people", columns)
        if person_id % 7 == 3:  # seen at the vendor: updatedAt one second before createdAt
            earlier = utc_text(self._at - timedelta(seconds=1))
            self._db.execute("update people set updatedAt = ? where id = ?", (earlier, person_id))
        self.entries.append(Entry(person_id, NEW_LEAD, self._at, None, None, {"Source Type": self._source}))
        return person_id

    def update(self, person_id: int, values: dict[str, Stored]) -> bool:
        """Write what differs on a loaded person; false when nothing did. Raises: RecordRefused."""
        before = self._rows[person_id]
        own, company_values, key = self._split(values)
        has_key = before["externalCompanyId"] is not None
        if "externalCompanyId" in values and key is None and has_key:
            raise RecordRefused("1003", "Invalid value for field 'externalCompanyId'")  # moved, never detached
        if company_values and (has_key or key is not None):
            raise RecordRefused("1021", "Company update not allowed")
        after = {**before, **own, **self._of_company(before, company_values, key)}
        changed = [field for field in self._loaded if after[field.name] != before[field.name]]
        if not changed:
            return False
        self._save(person_id, before, after, changed)
        self.entries += self._changes(person_id, before, after, changed)
        self._rows[person_id] = after
        return True

    def _of_company(self, before: Mapping[str, Any], given: Mapping[str, Stored], key: Stored) -> Mapping[str, Any]:
        """What the person shows of a company: that of the one it moves to, else what was given for its own."""
        if key is None or str(key).lower() == str(before["externalCompanyId"]).lower():
            return given
        return self._company(self._company_id(key))

    def delete(self, person_id: int, *, is_logged: bool = True) -> None:
        """Remove a loaded person at once, also from lists; the log keeps the name."""
        person = self._rows.pop(person_id)
        self._db.execute("delete from people where id = ?", (person_id,))
        self._db.execute("delete from list_members where lead_id = ?", (person_id,))
        self._drop_own_company(person["contactCompany"])
        if is_logged:
            name = " ".join(part for part in (person["firstName"], person["lastName"]) if part) or None
            entry = Entry(person_id, DELETE_LEAD, self._at, person_id, name, {"Source": self._source})
            self.entries.append(entry)

    def flush(self) -> None:
        """Append the kept-back entries to the activity log."""
        log(self._db, self.entries)
        self.entries = []

    def _split(self, values: dict[str, Stored]) -> tuple[dict[str, Stored], dict[str, Stored], Stored]:
        own: dict[str, Stored] = {}
        company: dict[str, Stored] = {}
        for name, value in values.items():
            (company if self._fields[name].on_company else own)[name] = value
        key = company.pop("externalCompanyId", None)
        return own, company, key

    def _changes(
        self, person_id: int, before: Mapping[str, Any], after: Mapping[str, Any], changed: Iterable[Field]
    ) -> list[Entry]:
        return [
            value_change(
                person_id,
                self._at,
                field,
                text_value(field, before[field.name]),
                text_value(field, after[field.name]),
                reason=self._reason,
                source=self._source,
            )
            for field in changed
            if field.name != "contactCompany"
        ]

    def _save(
        self, person_id: int, before: Mapping[str, Any], after: Mapping[str, Any], changed: Sequence[Field]
    ) -> None:
        moved = after["contactCompany"] != before["contactCompany"]
        on_company = {} if moved else {field.name: after[field.name] for field in changed if field.on_company}
        if on_company:
            self._update("companies", before["contactCompany"], {**on_company, "updatedAt": self._now})
        columns = {field.name: after[field.name] for field in changed if not field.on_company}
        if any(not field.is_custom for field in changed):  # custom fields leave the visible clock alone
            columns["updatedAt"] = self._now
        self._update("people", person_id, {**columns, "_changed_at": self._now})
        if moved:
            self._drop_own_company(before["contactCompany"])

    def _drop_own_company(self, company_id: int) -> None:
        """Remove the company record that stood behind one person alone, once that person has left it."""
        self._db.execute(
            "delete from companies where id = ? and externalCompanyId is null "
            "and not exists (select 1 from people where contactCompany = companies.id)",
            (company_id,),
        )

    def _company_id(self, key: Stored) -> int:
        row = self._db.execute("select id from companies where externalCompanyId = ? collate nocase", (key,)).fetchone()
        if row is None:
            raise RecordRefused("1003", "Invalid value for field 'externalCompanyId'")
        return int(row[0])

    def _company(self, company_id: int) -> dict[str, Any]:
        names = [field.name for field in COMPANY_FIELDS]
        columns = ", ".join(f'"{name}"' for name in names)
        row = self._db.execute(f"select {columns} from companies where id = ?", (company_id,)).fetchone()
        return {**dict(zip(names, row, strict=True)), "contactCompany": company_id}

    def _new_company(self, values: dict[str, Stored]) -> int:
        return self._insert("companies", {**values, "createdAt": self._now, "updatedAt": self._now})

    def _insert(self, table: str, columns: Mapping[str, Stored]) -> int:
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        cursor = self._db.execute(f"insert into {table} ({names}) values ({marks})", tuple(columns.values()))
        return int(cursor.lastrowid or 0)

    def _update(self, table: str, row_id: int, columns: Mapping[str, Stored]) -> None:
        assignments = ", ".join(f'"{name}" = ?' for name in columns)
        self._db.execute(f"update {table} set {assignments} where id = ?", (*columns.values(), row_id))


def score_change(store: Store, person_id: int, field_name: str, change: int, reason: str) -> None:
    """A flow step that moves a score: logged as Change Score, not as Change Data Value. Raises: ValueError."""
    field = store.fields.get(field_name)
    if field is None or field.type not in ("integer", "score"):
        raise ValueError("No score field of this name.")
    with store.transaction() as db:
        now = store.now()
        row = db.execute(f'select "{field_name}" from people where id = ?', (person_id,)).fetchone()
        if row is None:
            raise ValueError("No person with this id.")
        new = (row[0] or 0) + change
        db.execute(
            f'update people set "{field_name}" = ?, updatedAt = ?, _changed_at = ? where id = ?',
            (new, utc_text(now), utc_text(now), person_id),
        )
        attributes = {"Change Value": str(change), "New Value": str(new), "Old Value": str(row[0] or 0)}
        entry = Entry(person_id, CHANGE_SCORE, now, field.id, field.display_name, {**attributes, "Reason": reason})
        log(db, [entry])
