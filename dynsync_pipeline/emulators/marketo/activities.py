"""The activity log: what writes into it and the feeds that read it.

Positions in the log are the cursor. Custom activities are in `custom_activities.py`, exports in `bulk_files.py`.
Source: docs/protocols/marketo.md#activities, #checklist 8, 9.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from dynsync_pipeline.emulators.marketo.activity_types import (
    CHANGE_DATA_VALUE,
    DELETE_LEAD,
    NEW_LEAD,
    RETENTION_DAYS,
    all_types,
)
from dynsync_pipeline.emulators.marketo.fields import Field
from dynsync_pipeline.emulators.marketo.protocol import Call, Refused, pack_token, unpack_token
from dynsync_pipeline.emulators.marketo.store import Store
from dynsync_pipeline.emulators.marketo.values import BadValue, parse_moment, utc_text

TYPES_LIMIT = 10
LEADS_LIMIT = 30
LARGE_LIST = 10_000
# A page looks at this many entries at most, so a narrow question gets short and even empty pages.
SCANNED_PER_PAGE = 1000
# Integer ids of activities are above 32 bits since the vendor's Activity Service.
FIRST_ACTIVITY_ID = 5_000_000_000


class Entry(NamedTuple):
    """One line for the log. `attributes` by name; empty ones are left out."""

    lead_id: int
    type_id: int
    at: datetime
    primary_id: int | None
    primary_value: str | None
    attributes: dict[str, Any]


def log(db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Append to the log; the caller holds a transaction."""
    db.executemany(
        "insert into activities (lead_id, type_id, at_ms, primary_id, primary_value, attributes) "
        "values (?, ?, ?, ?, ?, ?)",
        (
            (
                entry.lead_id,
                entry.type_id,
                int(entry.at.timestamp() * 1000),
                entry.primary_id,
                entry.primary_value,
                msgspec.json.encode({k: v for k, v in entry.attributes.items() if v not in (None, "")}).decode(),
            )
            for entry in entries
        ),
    )


def value_change(
    lead_id: int, at: datetime, field: Field, old: str | None, new: str | None, *, reason: str, source: str
) -> Entry:
    """A Change Data Value entry: the field by display name and describe id, values as text."""
    attributes = {"New Value": new, "Old Value": old, "Reason": reason, "Source": source}
    return Entry(lead_id, CHANGE_DATA_VALUE, at, field.id, field.display_name, attributes)


def types(call: Call) -> dict[str, Any]:
    """Every activity type, custom ones among them and not told apart."""
    return {"result": all_types(call.store)}


def paging_token(call: Call) -> dict[str, Any]:
    """A token for everything after `sinceDatetime`; an answer without `result`."""
    since = call.required("sinceDatetime")
    try:
        moment = parse_moment(since)
    except BadValue:
        raise Refused("704", f"Invalid date '{since[:40]}'") from None
    at_ms = int(moment.timestamp() * 1000)
    with call.store.lock:
        # Named because the planner would walk the log from its beginning, which takes long for a recent moment.
        first = call.store.db.execute(
            "select min(position) from activities indexed by activities_by_time where at_ms >= ?", (at_ms,)
        ).fetchone()[0]
        if first is None:
            first = call.store.db.execute("select coalesce(max(position), 0) + 1 from activities").fetchone()[0]
    return {"success": True, "nextPageToken": pack_token(at_ms, first - 1)}


def activities(call: Call) -> dict[str, Any]:
    """Entries of the asked types, fields by display name, values in `attributes`."""
    type_ids = call.integers("activityTypeIds")
    if not type_ids:
        raise Refused("1002", "Missing value for the required parameter 'activityTypeIds'")
    if len(type_ids) > TYPES_LIMIT:
        raise Refused("1003", f"The number of activityTypeIds exceeds the maximum of {TYPES_LIMIT}")
    assets = call.integers("assetIds")
    if assets and len(type_ids) > 1:
        raise Refused("1003", "assetIds may only be used with a single activity type")
    return _feed(call, type_ids, lambda row: _full(call.store, row) if not assets or row[5] in assets else None)


def lead_changes(call: Call) -> dict[str, Any]:
    """Change Data Value of the asked fields, and New Lead, fields by REST name."""
    names = set(call.texts("fields"))
    if not names:
        raise Refused("1002", "Missing value for the required parameter 'fields'")
    unknown = sorted(name for name in names if call.store.fields.get(name) is None)
    if unknown:
        raise Refused("1006", f"Field '{unknown[0]}' not found")
    by_id = {field.id: field for field in call.store.fields.all() if field.name in names}

    def shown(row: tuple[Any, ...]) -> dict[str, Any] | None:
        if row[2] != CHANGE_DATA_VALUE:
            return {**_head(call.store, row), "fields": []}
        field = by_id.get(row[5])
        if field is None:
            return None
        values = msgspec.json.decode(row[7])
        return {
            **_head(call.store, row),
            "fields": [_change(field, values)],
            "attributes": [{"name": name, "value": values[name]} for name in ("Reason", "Source") if name in values],
        }

    return _feed(call, [CHANGE_DATA_VALUE, NEW_LEAD], shown)


def deleted_leads(call: Call) -> dict[str, Any]:
    """Delete Lead entries of the last 14 days: the id that went and the person's name."""
    return _feed(call, [DELETE_LEAD], lambda row: _full(call.store, row))


def retained(now: datetime) -> str:
    """The SQL condition on `activities` that leaves out what the vendor has pruned by now."""
    horizons: dict[int, list[int]] = {}
    for type_id, days in RETENTION_DAYS.items():
        horizons.setdefault(days, []).append(type_id)
    return " and ".join(
        f"not (type_id in ({', '.join(map(str, ids))}) "
        f"and at_ms < {int((now - timedelta(days=days)).timestamp() * 1000)})"
        for days, ids in horizons.items()
    )


def marketo_guid(store: Store, position: int) -> str:
    """The unique key of an entry, derived from its position."""
    return f"{store.client_id[:8]}-{position:012d}"


def _change(field: Field, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": field.id,
        "name": field.name,
        "newValue": values.get("New Value"),
        "oldValue": values.get("Old Value"),
    }


def _feed(call: Call, type_ids: list[int], shown: Any) -> dict[str, Any]:
    """One page: always a token, `moreResult` always, `result` only when something is in it."""
    since_ms, position = unpack_token(call.required("nextPageToken"), 2)
    size = call.batch_size()
    lead_ids = call.integers("leadIds")
    if len(lead_ids) > LEADS_LIMIT:
        raise Refused("1003", f"The number of leadIds exceeds the maximum of {LEADS_LIMIT}")
    conditions = [f"type_id in ({', '.join(map(str, type_ids))})", "position > ?", "at_ms >= ?"]
    visible_until = call.store.now() - timedelta(seconds=call.store.behaviour.feed_delay_s)
    conditions.append(f"at_ms <= {int(visible_until.timestamp() * 1000)}")
    if lead_ids:
        conditions.append(f"lead_id in ({', '.join(map(str, lead_ids))})")
    if call.text("listId"):
        list_id = call.integers("listId")[0]
        conditions.append(f"lead_id in (select lead_id from list_members where list_id = {list_id})")
        _refuse_large_list(call.store, list_id)
    with call.store.lock:
        rows = call.store.db.execute(
            "select position, lead_id, type_id, at_ms, campaign_id, primary_id, primary_value, attributes "
            f"from activities where {' and '.join(conditions)} and {retained(call.store.now())} "
            f"order by position limit {SCANNED_PER_PAGE + 1}",
            (position, since_ms),
        ).fetchall()
    found, n_seen = _first(size, rows[:SCANNED_PER_PAGE], shown)
    page = {"result": found} if found else {}
    position = rows[n_seen - 1][0] if n_seen else position
    return {**page, "nextPageToken": pack_token(since_ms, position), "moreResult": n_seen < len(rows)}


def _first(size: int, rows: list[Any], shown: Any) -> tuple[list[dict[str, Any]], int]:
    """Up to `size` rows that show, and how many rows were looked at."""
    found: list[dict[str, Any]] = []
    for n_seen, row in enumerate(rows):
        if len(found) == size:
            return found, n_seen
        entry = shown(row)
        if entry is not None:
            found.append(entry)
    return found, len(rows)


def _refuse_large_list(store: Store, list_id: int) -> None:
    if store.behaviour.refuse_large_lists:
        with store.lock:
            (n_members,) = store.db.execute(
                "select count(*) from list_members where list_id = ?", (list_id,)
            ).fetchone()
        if n_members >= LARGE_LIST:
            raise Refused("1003", f"List '{list_id}' has {LARGE_LIST} members or more")


def _head(store: Store, row: tuple[Any, ...]) -> dict[str, Any]:
    position, lead_id, type_id, at_ms, campaign_id = row[:5]
    head = {
        "id": FIRST_ACTIVITY_ID + position,
        "marketoGUID": marketo_guid(store, position),
        "leadId": lead_id,
        "activityDate": utc_text(from_ms(at_ms)),
        "activityTypeId": type_id,
    }
    if campaign_id is not None:
        head["campaignId"] = campaign_id
    return head


def _full(store: Store, row: tuple[Any, ...]) -> dict[str, Any]:
    entry = _head(store, row)
    if row[5] is not None:
        entry["primaryAttributeValueId"] = row[5]
    if row[6] is not None:
        entry["primaryAttributeValue"] = row[6]
    values = msgspec.json.decode(row[7])
    entry["attributes"] = [{"name": name, "value": value} for name, value in values.items()]
    return entry


def from_ms(at_ms: int) -> datetime:
    """A moment kept as milliseconds since the epoch."""
    return parse_moment("1970-01-01") + timedelta(milliseconds=at_ms)
