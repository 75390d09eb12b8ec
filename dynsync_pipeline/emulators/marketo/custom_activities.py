"""Adding activities of custom types: write-once, an answer for each, `errors` instead of `reasons`.

Source: docs/protocols/marketo.md#activities, #checklist 10.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from dynsync_pipeline.emulators.marketo.activities import FIRST_ACTIVITY_ID, Entry, log, marketo_guid
from dynsync_pipeline.emulators.marketo.custom_types import Definition, approved_types
from dynsync_pipeline.emulators.marketo.fields import Field
from dynsync_pipeline.emulators.marketo.people_writes import RecordRefused
from dynsync_pipeline.emulators.marketo.protocol import Call, json_number
from dynsync_pipeline.emulators.marketo.values import BadValue, parse_moment, stored_value, text_value

ATTRIBUTES_LIMIT_BYTES = 65_536


def add_activities(call: Call) -> dict[str, Any]:
    """Log up to 300 activities of approved custom types."""
    records = call.records(call.json())
    types = approved_types(call.store)
    results: list[dict[str, Any]] = []
    with call.store.transaction() as db:
        for record in records:
            try:
                log(db, [_entry(call, types, record)])
            except RecordRefused as error:
                results.append({"status": "skipped", "errors": [{"code": error.code, "message": error.message}]})
                continue
            (position,) = db.execute("select last_insert_rowid()").fetchone()
            guid = marketo_guid(call.store, position)
            results.append({"id": FIRST_ACTIVITY_ID + position, "marketoGUID": guid, "status": "added"})
    return {"result": results}


def _entry(call: Call, types: dict[int, Definition], record: dict[str, Any]) -> Entry:
    """The log entry of one record. Raises: RecordRefused 1002, 1003, 1004, 1006, 1049."""
    _require_all(record)
    number, lead_id = json_number(record["activityTypeId"]), json_number(record["leadId"])
    if number is None or number not in types:
        raise RecordRefused("1003", "Invalid value for field 'activityTypeId'")
    if lead_id is None:
        raise RecordRefused("1003", "Invalid value for field 'leadId'")
    at = _moment(record["activityDate"])
    definition = types[number]
    primary = _value(definition["primaryAttribute"], record["primaryAttributeValue"])
    attributes = _attributes(definition, record.get("attributes") or [])
    if not call.store.db.execute("select 1 from people where id = ?", (lead_id,)).fetchone():
        raise RecordRefused("1004", f"Lead '{lead_id}' not found")
    return Entry(lead_id, number, at, None, primary, attributes)


def _require_all(record: dict[str, Any]) -> None:
    for name in ("leadId", "activityDate", "activityTypeId", "primaryAttributeValue"):
        if record.get(name) in (None, ""):
            raise RecordRefused("1002", f"Missing value for the required parameter '{name}'")


def _moment(value: object) -> datetime:
    try:
        return parse_moment(value if isinstance(value, str) else "")
    except BadValue:
        raise RecordRefused("1003", "Invalid value for field 'activityDate'") from None


def _attributes(definition: Definition, given: object) -> dict[str, str | None]:
    if not isinstance(given, list) or set(map(type, given)) - {dict}:
        raise RecordRefused("1003", "Invalid value for field 'attributes'")
    if len(msgspec.json.encode(given)) > ATTRIBUTES_LIMIT_BYTES:
        raise RecordRefused("1049", f"Attributes exceed the maximum of {ATTRIBUTES_LIMIT_BYTES} bytes")
    by_name = {attribute[key]: attribute for attribute in definition["attributes"] for key in ("apiName", "name")}
    values = {}
    for attribute in given:
        name = attribute.get("apiName") or attribute.get("name")
        known = by_name.get(name) if isinstance(name, str) else None
        if known is None:
            raise RecordRefused("1006", f"Field '{str(name)[:100]}' not found")
        values[known["name"]] = _value(known, attribute.get("value"))
    return values


def _value(attribute: dict[str, Any], value: object) -> str | None:
    field = Field(0, attribute["apiName"], attribute["name"], attribute["dataType"])
    try:
        return text_value(field, stored_value(field, value))
    except BadValue:
        raise RecordRefused("1003", f"Invalid value for field '{attribute['apiName']}'") from None
