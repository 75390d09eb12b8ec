"""Companies: describe, read, sync, delete; their values show on every linked person.

Companies without a key stand behind people who were written without one; they are read here like the others.
Source: docs/protocols/marketo.md#companies, #native-sync, #checklist 16.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from dynsync_pipeline.emulators.marketo.activities import log, value_change
from dynsync_pipeline.emulators.marketo.fields import COMPANY_FIELDS, Field
from dynsync_pipeline.emulators.marketo.leads import VALUES_LIMIT
from dynsync_pipeline.emulators.marketo.people_writes import RecordRefused
from dynsync_pipeline.emulators.marketo.protocol import (
    Call,
    Refused,
    pack_token,
    skipped,
    string_option,
    unpack_token,
    whole_number,
)
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import BadValue, Stored, stored_value, text_value, utc_text

KEY = "externalCompanyId"
# With more people than this a change is silent: values move, nobody's log or clock does.
LOGGED_UP_TO = 5_000
_ID = Field(0, "id", "Id", "integer", is_read_only=True)
_TIMES = (
    Field(0, "createdAt", "Created At", "datetime", is_read_only=True),
    Field(0, "updatedAt", "Updated At", "datetime", is_read_only=True),
)
_FIELDS = {field.name: field for field in (_ID, *COMPANY_FIELDS, *_TIMES)}
_DEFAULT_READ = ("id", KEY, "updatedAt", "createdAt")
_SEARCHABLE = (KEY, "id", "company")


def describe(call: Call) -> dict[str, Any]:
    """Keys, legal filters and fields of companies."""
    fields = [
        {
            "name": field.name,
            "displayName": field.display_name,
            "dataType": field.type,
            **({"length": field.length} if field.length else {}),
            "updateable": not field.is_read_only,
        }
        for field in _FIELDS.values()
    ]
    described = {
        "name": "Company",
        "displayName": "Company",
        "description": "Company record",
        "createdAt": "2020-01-01T00:00:00Z",
        "updatedAt": "2020-01-01T00:00:00Z",
        "idField": "id",
        "dedupeFields": [KEY],
        "searchableFields": [[name] for name in _SEARCHABLE],
        "fields": fields,
    }
    return {"result": [described]}


def companies_by_filter(call: Call) -> dict[str, Any]:
    """Companies whose `filterType` field has one of `filterValues`, in pages; each with its `seq`."""
    field = _filter_field(call.required("filterType"))
    values = _filter_values(call, field)
    names = _asked_names(call)
    size = call.batch_size()
    token = call.text("nextPageToken")
    after = unpack_token(token, 1)[0] if token else 0
    columns = ", ".join(f'"{name}"' for name in names)
    with call.store.lock:
        rows = call.store.db.execute(
            f'select {columns} from companies where "{field.name}" in ({", ".join("?" * len(values))}) and id > ? '
            f"order by id limit {size + 1}",
            [*values, after],
        ).fetchall()
    found = [{"seq": seq, **dict(zip(names, row, strict=True))} for seq, row in enumerate(rows[:size])]
    if len(rows) <= size:
        return {"result": found}
    return {"result": found, "nextPageToken": pack_token(found[-1]["id"]), "moreResult": True}


def _filter_field(filter_type: str) -> Field:
    field = _FIELDS.get({"idField": "id", "dedupeFields": KEY}.get(filter_type, filter_type))
    if field is None or field.name not in _SEARCHABLE:
        raise Refused("1003", f"Invalid value for 'filterType': '{filter_type[:40]}'")
    return field


def _filter_values(call: Call, field: Field) -> list[Any]:
    values: list[Any] = call.texts("filterValues")
    if not values:
        raise Refused("1002", "Missing value for the required parameter 'filterValues'")
    if len(values) > VALUES_LIMIT:
        raise Refused("1003", f"Too many values: '{len(values)}'. The maximum is '{VALUES_LIMIT}'")
    return [whole_number(value, "filterValues") for value in values] if field.name == "id" else values


def _asked_names(call: Call) -> list[str]:
    names = ["id", *(name for name in call.texts("fields") or _DEFAULT_READ if name != "id")]
    for name in names:
        if name not in _FIELDS:
            raise Refused("1006", f"Field '{name}' not found")
    return names


def sync_companies(call: Call) -> dict[str, Any]:
    """Create and update up to 300 companies by key or id. Refused 1018 while a native CRM sync is on."""
    body = call.json()
    records = call.records(body)
    _refuse_native(call.store)
    action = string_option(body, "action", "createOrUpdate") or ""
    if action not in ("createOnly", "updateOnly", "createOrUpdate"):
        raise Refused("1003", f"Invalid value for 'action': '{action[:40]}'")
    by = _by(string_option(body, "dedupeBy"))
    if by == "id" and action == "createOnly":
        raise Refused("1003", "dedupeBy 'idField' cannot be used with action 'createOnly'")
    seen: set[Stored] = set()
    results = []
    with call.store.transaction() as db:
        for seq, record in enumerate(records):
            try:
                results.append({"seq": seq, **_sync_one(call, db, record, action, by, seen)})
            except RecordRefused as error:
                results.append({"seq": seq, **skipped(error.code, error.message)})
    return {"result": results}


def delete_companies(call: Call) -> dict[str, Any]:
    """Delete companies by key or id; one that people belong to is in use."""
    body = call.json()
    records = call.records(body)
    _refuse_native(call.store)
    by = _by(string_option(body, "deleteBy"))
    results: list[dict[str, Any]] = []
    with call.store.transaction() as db:
        for seq, record in enumerate(records):
            try:
                value = _key(record, by)
                row = db.execute(f'select id from companies where "{by}" = ?', (value,)).fetchone()
                if row is None:
                    raise RecordRefused("1013", "Object not found")
                if db.execute("select 1 from people where contactCompany = ? limit 1", row).fetchone():
                    raise RecordRefused("1022", "Object in use")
                db.execute("delete from companies where id = ?", row)
                results.append({"seq": seq, "id": row[0], "status": "deleted"})
            except RecordRefused as error:
                results.append({"seq": seq, **skipped(error.code, error.message)})
    return {"result": results}


def _refuse_native(store: Store) -> None:
    if store.behaviour.native_crm:
        raise Refused("1018", "CRM Enabled")


def _by(name: str | None) -> str:
    choices = {None: KEY, "dedupeFields": KEY, "idField": "id"}
    if name not in choices:
        raise Refused("1003", f"Invalid value '{name[:40] if name else ''}'. Use dedupeFields or idField")
    return choices[name]


def _key(record: Mapping[str, object], by: str) -> Stored:
    try:
        value = stored_value(_FIELDS[by], record.get(by))
    except BadValue:
        raise RecordRefused("1003", f"Invalid value for field '{by}'") from None
    if value is None:
        raise RecordRefused("1003", f"Value for required field '{by}' not specified")
    return value


def _sync_one(
    call: Call, db: sqlite3.Connection, record: Mapping[str, object], action: str, by: str, seen: set[Stored]
) -> dict[str, Any]:
    """Write one company and answer for it without `seq`. Raises: RecordRefused."""
    key = _key(record, by)
    folded = key.lower() if isinstance(key, str) else key
    if folded in seen:
        raise RecordRefused("1036", "Duplicate object found in input")
    seen.add(folded)
    values = _accepted(record, by)
    row = db.execute(f'select id from companies where "{by}" = ?', (key,)).fetchone()
    if row is None:
        if action == "updateOnly" or by == "id":
            raise RecordRefused("1013", "Object not found")
        return {"id": _insert(call, db, values), "status": "created"}
    if action == "createOnly":
        raise RecordRefused("1005", "Company already exists")
    if by == "id" and KEY in values:
        _require_free_key(db, values[KEY], row[0])
    _update(call, db, int(row[0]), values)
    return {"id": row[0], "status": "updated"}


def _insert(call: Call, db: sqlite3.Connection, values: dict[str, Stored]) -> int | None:
    now = utc_text(call.store.now())
    columns = {**values, "createdAt": now, "updatedAt": now}
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" * len(columns))
    return db.execute(f"insert into companies ({names}) values ({marks})", tuple(columns.values())).lastrowid


def _require_free_key(db: sqlite3.Connection, key: Stored, company_id: int) -> None:
    """A key can be changed to one that no other company has, and not be taken away."""
    if key is None:
        raise RecordRefused("1003", f"Invalid value for field '{KEY}'")
    if db.execute(f"select 1 from companies where {KEY} = ? and id <> ?", (key, company_id)).fetchone():
        raise RecordRefused("1005", "Company already exists")


def _accepted(record: Mapping[str, object], by: str) -> dict[str, Stored]:
    values: dict[str, Stored] = {}
    for name, value in record.items():
        if name == "id" and by == "id":
            continue
        field = _FIELDS.get(name)
        if field is None:
            raise RecordRefused("1006", f"Field '{name}' not found")
        if field.is_read_only:
            raise RecordRefused("1003", f"Invalid value for field '{name}'")
        try:
            values[name] = stored_value(field, value)
        except BadValue:
            raise RecordRefused("1003", f"Invalid value for field '{name}'") from None
    return values


def _update(call: Call, db: sqlite3.Connection, company_id: int, values: dict[str, Stored]) -> None:
    """Write what differs, and log it for each person of a company that is not too large."""
    names = ["id", *values]
    columns = ", ".join(f'"{name}"' for name in names)
    before = dict(
        zip(names, db.execute(f"select {columns} from companies where id = ?", (company_id,)).fetchone(), strict=True)
    )
    changed = [_FIELDS[name] for name in values if values[name] != before[name]]
    if not changed:
        return
    at = call.store.now()
    assignments = ", ".join(f'"{field.name}" = ?' for field in changed)
    db.execute(
        f"update companies set {assignments}, updatedAt = ? where id = ?",
        (*(values[field.name] for field in changed), utc_text(at), company_id),
    )
    people = db.execute(
        f"select id from people where contactCompany = ? limit {LOGGED_UP_TO + 1}", (company_id,)
    ).fetchall()
    if len(people) > LOGGED_UP_TO:
        return
    db.execute(
        "update people set updatedAt = ?, _changed_at = ? where contactCompany = ?",
        (utc_text(at), utc_text(at), company_id),
    )
    log(
        db,
        (
            value_change(
                person_id,
                at,
                field,
                text_value(field, before[field.name]),
                text_value(field, values[field.name]),
                reason="REST API: Sync Companies",
                source=f"Web service API: {call.api_user}",
            )
            for (person_id,) in people
            for field in changed
        ),
    )
