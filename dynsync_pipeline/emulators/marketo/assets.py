"""The asset API as far as list members and other tools' start-up checks need it; its envelope and dates differ.

There are no programs and no campaigns here, and the answers say so in the vendor's way.
Source: docs/protocols/marketo.md#envelope.
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.emulators.marketo.protocol import Call, Refused, whole_number
from dynsync_pipeline.emulators.marketo.values import utc_text

NOTHING_FOUND = "No assets found for the given search criteria."
MAX_RETURN = 200


def programs(call: Call) -> dict[str, Any]:
    """No programs."""
    return _answer([])


def campaigns(call: Call) -> dict[str, Any]:
    """No campaigns; this one is a call of the lead database."""
    return {"result": []}


def static_lists(call: Call) -> dict[str, Any]:
    """Static lists by `offset` and `maxReturn` (20 by default, 200 at most)."""
    offset = whole_number(call.text("offset") or "0", "offset")
    n_most = whole_number(call.text("maxReturn") or "20", "maxReturn")
    if offset < 0 or not 0 < n_most <= MAX_RETURN:
        raise Refused("1003", f"Invalid value for 'offset' or 'maxReturn'. The maximum is {MAX_RETURN}")
    return _answer(_lists(call, "true order by id limit ? offset ?", n_most, offset))


def static_list(call: Call) -> dict[str, Any]:
    """One static list by id."""
    return _answer(_lists(call, "id = ?", call.id()))


def static_list_by_name(call: Call) -> dict[str, Any]:
    """One static list by its name."""
    return _answer(_lists(call, "name = ?", call.required("name")))


def create_static_list(call: Call) -> dict[str, Any]:
    """A new, empty list from the form members `name` and `folder`."""
    name = call.required("name")
    call.required("folder")
    now = utc_text(call.store.now())
    with call.store.transaction() as db:
        _refuse_taken(call, name, 0)
        cursor = db.execute(
            "insert into lists (name, description, createdAt, updatedAt) values (?, ?, ?, ?)",
            (name, call.text("description"), now, now),
        )
        return _answer(_lists(call, "id = ?", cursor.lastrowid))


def update_static_list(call: Call) -> dict[str, Any]:
    """Change the name or the description of a list."""
    with call.store.transaction() as db:
        _existing(call)
        if name := call.text("name"):
            _refuse_taken(call, name, call.id())
        db.execute(
            "update lists set name = coalesce(?, name), description = coalesce(?, description), updatedAt = ? "
            "where id = ?",
            (call.text("name"), call.text("description"), utc_text(call.store.now()), call.id()),
        )
        return _answer(_lists(call, "id = ?", call.id()))


def delete_static_list(call: Call) -> dict[str, Any]:
    """Delete a list; its people stay."""
    with call.store.transaction() as db:
        _existing(call)
        db.execute("delete from list_members where list_id = ?", (call.id(),))
        db.execute("delete from lists where id = ?", (call.id(),))
    return _answer([{"id": call.id()}])


def _existing(call: Call) -> None:
    if not _lists(call, "id = ?", call.id()):
        raise Refused("702", NOTHING_FOUND)


def _refuse_taken(call: Call, name: str, own_id: int) -> None:
    if _lists(call, "name = ? and id <> ?", name, own_id):
        raise Refused("709", "A list of this name exists in this folder")


def _lists(call: Call, condition: str, *parameters: object) -> list[dict[str, Any]]:
    with call.store.lock:
        rows = call.store.db.execute(
            f"select id, name, description, createdAt, updatedAt from lists where {condition}", parameters
        ).fetchall()
    return [
        {
            "id": list_id,
            "name": name,
            "description": description or "",
            "createdAt": f"{created}+0000",
            "updatedAt": f"{updated}+0000",
            "folder": {"id": 1, "type": "Folder"},
            "workspace": "Default",
        }
        for list_id, name, description, created, updated in rows
    ]


def _answer(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The asset envelope: empty arrays are sent, and nothing found is a warning without `result`."""
    answer: dict[str, Any] = {"success": True, "errors": [], "warnings": []}
    return {**answer, "result": found} if found else {**answer, "warnings": [NOTHING_FOUND]}
