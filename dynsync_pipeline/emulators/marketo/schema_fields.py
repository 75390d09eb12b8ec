"""Fields as data: listing them with their flags, creating and changing custom person fields.

Source: docs/protocols/marketo.md#describe, #companies.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from dynsync_pipeline.emulators.marketo.fields import COMPANY_FIELDS, CREATABLE_TYPES, FIRST_CUSTOM_ID, LENGTHS, Field
from dynsync_pipeline.emulators.marketo.people_writes import RecordRefused
from dynsync_pipeline.emulators.marketo.protocol import Call, Refused, pack_token, skipped, unpack_token

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def lead_fields(call: Call) -> dict[str, Any]:
    """All person fields, in pages of 300."""
    return _page(call, call.store.fields.all())


def lead_field(call: Call) -> dict[str, Any]:
    """One person field by REST name."""
    field = call.store.fields.get(call.match["name"])
    if field is None:
        raise Refused("1006", f"Field '{call.match['name'][:100]}' not found")
    return {"result": [_shown(field)]}


def company_fields(call: Call) -> dict[str, Any]:
    """All company fields, in pages of 300."""
    return _page(call, list(COMPANY_FIELDS))


def company_field(call: Call) -> dict[str, Any]:
    """One company field by REST name."""
    for field in COMPANY_FIELDS:
        if field.name == call.match["name"]:
            return {"result": [_shown(field)]}
    raise Refused("1006", f"Field '{call.match['name'][:100]}' not found")


def create_lead_fields(call: Call) -> dict[str, Any]:
    """Create custom person fields; an answer for each."""
    results = []
    for record in call.records(call.json()):
        try:
            field = _new_field(call, record)
            with call.store.transaction():
                call.store.add_field(field)
            results.append({"name": field.name, "status": "created"})
        except RecordRefused as error:
            results.append(skipped(error.code, error.message))
    return {"result": results}


def update_lead_field(call: Call) -> dict[str, Any]:
    """Change the label, the description or the flags of a custom field; its name and type stay."""
    body = call.json()
    field = call.store.fields.get(call.match["name"])
    if field is None:
        raise Refused("1006", f"Field '{call.match['name'][:100]}' not found")
    if not field.is_custom:
        raise Refused("1003", f"Field '{field.name}' cannot be changed")
    try:
        changed = msgspec.structs.replace(field, **_flags(body))
    except RecordRefused as error:
        raise Refused(error.code, error.message) from None
    with call.store.transaction():
        call.store.replace_field(changed)
    return {"result": [{"name": field.name, "status": "updated"}]}


def _new_field(call: Call, record: dict[str, Any]) -> Field:
    name, kind = record.get("name"), record.get("dataType")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecordRefused("1003", "Invalid value for field 'name'")
    if not isinstance(record.get("displayName"), str) or not record["displayName"].strip():
        raise RecordRefused("1003", "Invalid value for field 'displayName'")
    if kind not in CREATABLE_TYPES:
        raise RecordRefused("1003", "Invalid value for field 'dataType'")
    if any(name.lower() == known.lower() for known in call.store.fields.by_name):
        raise RecordRefused("1005", f"Field '{name}' already exists")
    with call.store.lock:
        highest = call.store.db.execute("select max(id) from fields").fetchone()[0] or FIRST_CUSTOM_ID
    field = Field(highest + 1, name, "", kind, LENGTHS.get(kind), is_custom=True, is_api_created=True)
    return msgspec.structs.replace(field, **_flags(record))


def _flags(record: dict[str, Any]) -> dict[str, Any]:
    """The members a record may set, under their names in `Field`. Raises: RecordRefused 1003."""
    members = {
        "displayName": ("display_name", str),
        "description": ("description", str),
        "isHidden": ("is_hidden", bool),
        "isSensitive": ("is_sensitive", bool),
    }
    flags = {}
    for member, (name, kind) in members.items():
        if record.get(member) is not None:
            if not isinstance(record[member], kind):
                raise RecordRefused("1003", f"Invalid value for field '{member}'")
            flags[name] = record[member]
    return flags


def _page(call: Call, fields: list[Field]) -> dict[str, Any]:
    size, token = call.batch_size(), call.text("nextPageToken")
    start = max(0, unpack_token(token, 1)[0]) if token else 0
    page: dict[str, Any] = {"result": [_shown(field) for field in fields[start : start + size]]}
    if len(fields) > start + size:
        page.update(nextPageToken=pack_token(start + size), moreResult=True)
    return page


def _shown(field: Field) -> dict[str, Any]:
    return {
        "displayName": field.display_name,
        "name": field.name,
        "description": field.description or None,
        "dataType": field.type,
        **({"length": field.length} if field.length else {}),
        "isHidden": field.is_hidden,
        "isHtmlEncodingInEmail": True,
        "isSensitive": field.is_sensitive,
        "isCustom": field.is_custom,
        "isApiCreated": field.is_api_created,
    }
