"""Custom activity types: drafts, attributes, approval.

Adding activities of such a type is in `custom_activities.py`.
Source: docs/protocols/marketo.md#activities.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from dynsync_pipeline.emulators.marketo.protocol import Call, Refused
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import utc_text

FIRST_ID = 100_001
TYPES_LIMIT = 10
ATTRIBUTES_LIMIT = 20
DATA_TYPES = ("string", "boolean", "integer", "float", "currency", "date", "datetime", "email", "phone", "text", "url")
_NAMES = ("name", "triggerName", "filterName")

Definition = dict[str, Any]


def custom_types(call: Call) -> dict[str, Any]:
    """Every custom type, with its state."""
    with call.store.lock:
        rows = call.store.db.execute("select id, draft, approved from custom_types order by id").fetchall()
    return {"result": [_shown(*row) for row in rows]}


def describe_type(call: Call) -> dict[str, Any]:
    """One custom type as approved, or with `draft=true` as drafted."""
    number, draft, approved = _row(call)
    if (call.text("draft") or "").lower() == "true" and draft:
        return {"result": [_shown(number, draft, None)]}
    return {"result": [_shown(number, draft, approved)]}


def create_type(call: Call) -> dict[str, Any]:
    """A new type in state draft. Refused 1027 above ten."""
    body = call.json()
    api_name = body.get("apiName")
    if not isinstance(api_name, str) or not api_name.isidentifier():
        raise Refused("1003", "Invalid value for field 'apiName'")
    primary = body.get("primaryAttribute")
    if not isinstance(primary, dict):
        raise Refused("1002", "Missing value for the required parameter 'primaryAttribute'")
    now = utc_text(call.store.now())
    definition: Definition = {
        "apiName": api_name,
        **{name: _text(body, name) for name in _NAMES},
        "description": body.get("description"),
        "primaryAttribute": _attribute(primary),
        "attributes": [],
        "createdAt": now,
        "updatedAt": now,
    }
    with call.store.transaction() as db:
        (n_types,) = db.execute("select count(*) from custom_types").fetchone()
        if n_types >= TYPES_LIMIT:
            raise Refused("1027", f"The maximum of {TYPES_LIMIT} custom activity types is reached")
        if db.execute("select 1 from custom_types where api_name = ?", (api_name,)).fetchone():
            raise Refused("1005", f"Activity type '{api_name}' already exists")
        number = FIRST_ID + call.store.next_number("custom type") - 1
        db.execute("insert into custom_types values (?, ?, ?, null)", (number, api_name, _text_of(definition)))
    return {"result": [_shown(number, _text_of(definition), None)]}


def update_type(call: Call) -> dict[str, Any]:
    """Change names and descriptions in the draft."""
    body = call.json()

    def change(draft: Definition) -> None:
        draft.update({name: _text(body, name) for name in _NAMES if name in body})
        if "description" in body:
            draft["description"] = body["description"]
        if isinstance(body.get("primaryAttribute"), dict):
            draft["primaryAttribute"] = _attribute({**draft["primaryAttribute"], **body["primaryAttribute"]})

    return _redraft(call, change)


def create_attributes(call: Call) -> dict[str, Any]:
    """Add secondary attributes to the draft. Refused 1028 above twenty."""
    added = [_attribute(attribute) for attribute in _attributes(call.json())]

    def change(draft: Definition) -> None:
        known = {attribute["apiName"] for attribute in draft["attributes"]}
        for attribute in added:
            if attribute["apiName"] in known:
                raise Refused("1005", f"Attribute '{attribute['apiName']}' already exists")
            known.add(attribute["apiName"])
        draft["attributes"] = [*draft["attributes"], *added]
        if len(draft["attributes"]) > ATTRIBUTES_LIMIT:
            raise Refused("1028", f"The maximum of {ATTRIBUTES_LIMIT} attributes is reached")

    return _redraft(call, change)


def update_attributes(call: Call) -> dict[str, Any]:
    """Change secondary attributes in the draft, by their API names."""
    changed = {str(attribute.get("apiName")): attribute for attribute in _attributes(call.json())}

    def change(draft: Definition) -> None:
        _require_known(draft, list(changed))
        draft["attributes"] = [
            _attribute({**attribute, **changed.get(attribute["apiName"], {})}) for attribute in draft["attributes"]
        ]

    return _redraft(call, change)


def delete_attributes(call: Call) -> dict[str, Any]:
    """Remove secondary attributes from the draft, by their API names."""
    gone = [str(attribute.get("apiName")) for attribute in _attributes(call.json())]

    def change(draft: Definition) -> None:
        _require_known(draft, gone)
        draft["attributes"] = [attribute for attribute in draft["attributes"] if attribute["apiName"] not in gone]

    return _redraft(call, change)


def approve_type(call: Call) -> dict[str, Any]:
    """Make the draft the version in force."""
    with call.store.transaction() as db:
        number, draft, _ = _row(call)
        if draft is None:
            raise Refused("1003", "There is no draft to approve")
        db.execute("update custom_types set approved = draft, draft = null where id = ?", (number,))
    return {"result": [_shown(number, None, draft)]}


def discard_draft(call: Call) -> dict[str, Any]:
    """Forget the draft of a type that is approved."""
    with call.store.transaction() as db:
        number, draft, approved = _row(call)
        if draft is None or approved is None:
            raise Refused("1003", "There is no draft to discard")
        db.execute("update custom_types set draft = null where id = ?", (number,))
    return {"result": [_shown(number, None, approved)]}


def delete_type(call: Call) -> dict[str, Any]:
    """Delete a type; its activities stay in the log."""
    with call.store.transaction() as db:
        number, draft, approved = _row(call)
        db.execute("delete from custom_types where id = ?", (number,))
    return {"result": [{**_shown(number, draft, approved), "status": "deleted"}]}


def approved_types(store: Store) -> dict[int, Definition]:
    """The definitions in force, by activity type id."""
    with store.lock:
        rows = store.db.execute(
            "select id, approved from custom_types where approved is not null order by id"
        ).fetchall()
    return {number: msgspec.json.decode(text) for number, text in rows}


def _redraft(call: Call, change: Any) -> dict[str, Any]:
    with call.store.transaction() as db:
        number, draft, approved = _row(call)
        definition: Definition = msgspec.json.decode(draft or approved or "{}")
        change(definition)
        definition["updatedAt"] = utc_text(call.store.now())
        db.execute("update custom_types set draft = ? where id = ?", (_text_of(definition), number))
    return {"result": [_shown(number, _text_of(definition), approved, shows_draft=True)]}


def _row(call: Call) -> tuple[int, str | None, str | None]:
    db: sqlite3.Connection = call.store.db
    with call.store.lock:
        row = db.execute(
            "select id, draft, approved from custom_types where api_name = ?", (call.match["api_name"],)
        ).fetchone()
    if row is None:
        raise Refused("1013", "Activity type not found")
    return int(row[0]), row[1], row[2]


def _shown(number: int, draft: str | None, approved: str | None, *, shows_draft: bool = False) -> Definition:
    definition: Definition = msgspec.json.decode((draft if shows_draft else approved or draft) or "{}")
    status = "draft" if approved is None else "approved" if draft is None else "approved with draft"
    return {"id": number, "status": status, **definition}


def _attributes(body: dict[str, Any]) -> list[dict[str, Any]]:
    attributes = body.get("attributes")
    if not isinstance(attributes, list) or not attributes or not all(isinstance(item, dict) for item in attributes):
        raise Refused("1002", "Missing value for the required parameter 'attributes'")
    return attributes


def _attribute(given: dict[str, Any]) -> dict[str, Any]:
    kind = given.get("dataType") or "string"
    if kind not in DATA_TYPES:
        raise Refused("1003", "Invalid value for field 'dataType'")
    names = {"apiName": _text(given, "apiName"), "name": _text(given, "name")}
    return {**names, "description": given.get("description"), "dataType": kind}


def _require_known(draft: Definition, names: list[str]) -> None:
    known = {attribute["apiName"] for attribute in draft["attributes"]}
    for name in names:
        if name not in known:
            raise Refused("1013", f"Attribute '{name[:100]}' not found")


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Refused("1003", f"Invalid value for field '{name}'")
    return value


def _text_of(definition: Definition) -> str:
    return msgspec.json.encode(definition).decode()
