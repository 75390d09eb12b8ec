"""What a bulk extract may ask for: fields, format, filter, date range.

Source: docs/protocols/marketo.md#bulk-extract, #checklist 21.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dynsync_pipeline.emulators.marketo.activity_types import DELETE_LEAD
from dynsync_pipeline.emulators.marketo.protocol import Call, Refused, json_number, string_option
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import BadValue, parse_moment, utc_text

OBJECTS = ("leads", "activities")
FORMATS = ("CSV", "TSV", "SSV")
RANGE_LIMIT = timedelta(days=31)
PRIMARY_LIMIT = 50
ACTIVITY_FIELDS = (
    *("marketoGUID", "leadId", "activityDate", "activityTypeId", "campaignId", "primaryAttributeValueId"),
    *("primaryAttributeValue", "attributes"),
)


def checked_request(call: Call) -> dict[str, Any]:
    """`{fields, format, header, filter}` ready for `bulk_files`. Raises: Refused 1002, 1003, 1035."""
    body = call.json()
    file_format = (string_option(body, "format", "CSV") or "CSV").upper()
    if file_format not in FORMATS:
        raise Refused("1003", f"Unsupported format '{file_format[:20]}'")
    wanted = body.get("filter")
    if not isinstance(wanted, dict) or not wanted:
        raise Refused("1002", "Missing value for the required parameter 'filter'")
    of_leads = call.match["object"] == "leads"
    fields = _fields(call.store, body, of_leads=of_leads)
    names = _header_names(body)
    return {
        "fields": fields,
        "format": file_format,
        "header": [names.get(name, name) for name in fields],
        "filter": _lead_filter(call.store, wanted) if of_leads else _activity_filter(wanted),
    }


def _header_names(body: dict[str, Any]) -> dict[str, str]:
    names = body.get("columnHeaderNames") or {}
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise Refused("1001", "Invalid value for 'columnHeaderNames'. Required of type 'object'")
    return names


def _fields(store: Store, body: dict[str, Any], *, of_leads: bool) -> list[str]:
    names = body.get("fields")
    if not names and not of_leads:
        return list(ACTIVITY_FIELDS)
    if not names:
        raise Refused("1002", "Missing value for the required parameter 'fields'")
    if not _are_texts(names):
        raise Refused("1001", "Invalid value for 'fields'. Required of type 'array'")
    for name in names:
        if not _is_known(store, name, of_leads=of_leads):
            raise Refused("1003", f"Field '{name}' is not a valid field")
    return list(dict.fromkeys(names))


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _is_known(store: Store, name: str, *, of_leads: bool) -> bool:
    return store.fields.get(name) is not None if of_leads else name in (*ACTIVITY_FIELDS, "actionResult")


def _lead_filter(store: Store, wanted: dict[str, Any]) -> dict[str, Any]:
    kinds = ("createdAt", "updatedAt", "staticListId", "staticListName", "smartListId", "smartListName")
    kind = next(iter(wanted))
    if len(wanted) != 1 or kind not in kinds:
        raise Refused("1003", f"Exactly one filter is required, one of {', '.join(kinds)}")
    if kind.startswith("smartList") or (kind == "updatedAt" and not store.behaviour.updated_at_filter):
        raise Refused("1035", f"Unsupported filter type for target subscription: {kind}")
    if kind.startswith("staticList"):
        return {"staticListId": _list_id(store, kind, wanted[kind])}
    return {kind: _range(wanted[kind], kind)}


def _activity_filter(wanted: dict[str, Any]) -> dict[str, Any]:
    if "createdAt" not in wanted:
        raise Refused("1003", "Filter 'createdAt' is required")
    checked: dict[str, Any] = {"createdAt": _range(wanted["createdAt"], "createdAt")}
    type_ids = _numbers(wanted, "activityTypeIds")
    if DELETE_LEAD in type_ids:
        raise Refused("1003", f"Activity type '{DELETE_LEAD}' cannot be exported")
    value_ids, values = _numbers(wanted, "primaryAttributeValueIds"), wanted.get("primaryAttributeValues", [])
    if not _are_texts(values):
        raise Refused("1003", "Invalid value for 'primaryAttributeValues'")
    _require_one_kind(type_ids, value_ids, values)
    return {**checked, "activityTypeIds": type_ids, "valueIds": value_ids, "values": values}


def _require_one_kind(type_ids: list[int], value_ids: list[int], values: list[str]) -> None:
    """Primary attributes are chosen by id or by value, few of them, and of one type of activity."""
    if value_ids and values:
        raise Refused("1003", "Use only one of primaryAttributeValueIds and primaryAttributeValues")
    if (value_ids or values) and len(type_ids) != 1:
        raise Refused("1003", "Primary attribute filters need exactly one activity type")
    if max(len(value_ids), len(values)) > PRIMARY_LIMIT:
        raise Refused("1003", f"The number of primary attribute values exceeds the maximum of {PRIMARY_LIMIT}")


def _numbers(wanted: dict[str, Any], name: str) -> list[int]:
    given = wanted.get(name, [])
    numbers = [json_number(value) for value in given] if isinstance(given, list) else [None]
    if None in numbers:
        raise Refused("1003", f"Invalid value for '{name}'")
    return [number for number in numbers if number is not None]


def _range(given: object, kind: str) -> list[str]:
    """First and last second of the window, both included."""
    moments: list[datetime] = []
    for end in ("startAt", "endAt"):
        text = given.get(end) if isinstance(given, dict) else None
        try:
            moments.append(parse_moment(text if isinstance(text, str) else ""))
        except BadValue:
            raise Refused("1003", f"Invalid value for '{end}' of filter '{kind}'") from None
    if moments[1] < moments[0]:
        raise Refused("1003", f"Filter '{kind}': endAt is before startAt")
    if moments[1] - moments[0] > RANGE_LIMIT:
        raise Refused("1003", f"Filter '{kind}': the date range exceeds the maximum of {RANGE_LIMIT.days} days")
    return [utc_text(moment) for moment in moments]


def _list_id(store: Store, kind: str, value: object) -> int:
    column = "id" if kind == "staticListId" else "name"
    with store.lock:
        row = store.db.execute(f"select id from lists where {column} = ?", (str(value),)).fetchone()
    if row is None:
        raise Refused("1003", f"Invalid value for '{kind}': no such list")
    return int(row[0])
