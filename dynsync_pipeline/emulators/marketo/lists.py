"""Static lists: reading them and their members, adding and removing people.

Creating lists is an asset call, in `assets.py`.
Source: docs/protocols/marketo.md#reading-people, #writing-people, #checklist 6.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from dynsync_pipeline.emulators.marketo.activities import Entry, log
from dynsync_pipeline.emulators.marketo.activity_types import ADD_TO_LIST, REMOVE_FROM_LIST
from dynsync_pipeline.emulators.marketo.leads import asked_fields, page_of_people
from dynsync_pipeline.emulators.marketo.protocol import (
    BATCH_LIMIT,
    Call,
    Refused,
    json_number,
    pack_token,
    skipped,
    unpack_token,
)

_COLUMNS = ("id", "name", "createdAt", "updatedAt")


def lists(call: Call) -> dict[str, Any]:
    """Static lists, all or those of some ids or names, in pages."""
    token = call.text("nextPageToken")
    conditions = ["id > ?"]
    values: list[Any] = [unpack_token(token, 1)[0] if token else 0]
    for column, wanted in (("id", call.integers("id")), ("name", call.texts("name"))):
        if wanted:
            conditions.append(f"{column} in ({', '.join('?' * len(wanted))})")
            values += wanted
    size = call.batch_size()
    with call.store.lock:
        rows = call.store.db.execute(
            f"select id, name, createdAt, updatedAt from lists where {' and '.join(conditions)} "
            f"order by id limit {size + 1}",
            values,
        ).fetchall()
    found = [_shown(row) for row in rows[:size]]
    if len(rows) <= size:
        return {"result": found}
    return {"result": found, "nextPageToken": pack_token(found[-1]["id"]), "moreResult": True}


def list_by_id(call: Call) -> dict[str, Any]:
    """One static list in `result`. Refused 1013 for none."""
    return {"result": [_shown(_list(call))]}


def members(call: Call) -> dict[str, Any]:
    """The people on a list, in pages; any number of them."""
    list_id = _list(call)[0]
    condition = "p.id in (select lead_id from list_members where list_id = ?)"
    return page_of_people(call, asked_fields(call), condition, [list_id])


def add_members(call: Call) -> dict[str, Any]:
    """Put people on a list; neither their clocks nor their values move."""
    return _change(call, "added", ADD_TO_LIST, "insert or ignore into list_members values (?, ?)")


def remove_members(call: Call) -> dict[str, Any]:
    """Take people off a list."""
    return _change(call, "removed", REMOVE_FROM_LIST, "delete from list_members where list_id = ? and lead_id = ?")


def is_member(call: Call) -> dict[str, Any]:
    """For each id, `memberof` or `notmemberof`."""
    list_id = _list(call)[0]
    results = []
    for person_id in _asked_ids(call):
        with call.store.lock:
            on_list = _on_list(call.store.db, list_id, person_id)
        results.append({"id": person_id, "status": "memberof" if on_list else "notmemberof"})
    return {"result": results}


def _change(call: Call, status: str, activity_type: int, statement: str) -> dict[str, Any]:
    ids = _asked_ids(call)
    results: list[dict[str, Any]] = []
    with call.store.transaction() as db:
        list_id, name, *_ = _list(call)
        at = call.store.now()
        entries = []
        for person_id in ids:
            if not db.execute("select 1 from people where id = ?", (person_id,)).fetchone():
                results.append({"id": person_id, **skipped("1004", f"Lead '{person_id}' not found")})
            elif status == "removed" and not _on_list(db, list_id, person_id):
                results.append({"id": person_id, **skipped("1015", f"Lead '{person_id}' is not in the list")})
            else:
                if db.execute(statement, (list_id, person_id)).rowcount:
                    source = {"Source": f"Web service API: {call.api_user}"}
                    entries.append(Entry(person_id, activity_type, at, list_id, name, source))
                results.append({"id": person_id, "status": status})
        log(db, entries)
    return {"result": results}


def _asked_ids(call: Call) -> list[int]:
    """Ids from the parameter `id` or from `input`. Raises: Refused 1001, 1003."""
    ids = call.integers("id")
    if not ids:
        for record in call.records(call.json()):
            person_id = json_number(record.get("id"))
            if person_id is None:
                raise Refused("1001", "Invalid value for 'id'. Required of type 'integer'")
            ids.append(person_id)
    if len(ids) > BATCH_LIMIT:
        raise Refused("1003", f"The number of records exceeds the maximum of {BATCH_LIMIT}")
    return ids


def _list(call: Call) -> tuple[Any, ...]:
    with call.store.lock:
        row = call.store.db.execute(
            "select id, name, createdAt, updatedAt from lists where id = ?", (call.id(),)
        ).fetchone()
    if row is None:
        raise Refused("1013", "List not found")
    return tuple(row)


def _on_list(db: sqlite3.Connection, list_id: int, person_id: int) -> bool:
    row = db.execute("select 1 from list_members where list_id = ? and lead_id = ?", (list_id, person_id)).fetchone()
    return row is not None


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    return {**dict(zip(_COLUMNS, row, strict=True)), "workspaceName": "Default"}
