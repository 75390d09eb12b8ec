"""Creating a row together with rows that it leads to, in one request: objects and arrays in the body of a create.

All or nothing, for the request is one transaction. An update takes none of this.
Source: docs/protocols/dataverse.md#single-writes.
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.emulators.dataverse.call import Call
from dynsync_pipeline.emulators.dataverse.errors import bad_payload, bad_request, no_such_row
from dynsync_pipeline.emulators.dataverse.keys import resolve_reference
from dynsync_pipeline.emulators.dataverse.schema import Table
from dynsync_pipeline.emulators.dataverse.writes import BIND, create, payload_values, stored_row, write_values

MAX_LEVELS = 20


def create_with_related(call: Call, table: Table, body: dict[str, Any], level: int = 0) -> str:
    """Create a row, before it what its lookups are to point at, after it what is to point at it; returns its id.

    Raises DataverseError as `create` does.
    """
    if level > MAX_LEVELS:
        raise bad_payload(table.entity_set, "The rows are nested too deeply.")
    collections = call.schema.collections(table.name)
    own: dict[str, Any] = {}
    behind: dict[str, list[Any]] = {}
    for name, value in body.items():
        if name in table.navigations and isinstance(value, dict):
            far = call.schema.tables[table.navigations[name][1].table]
            own[f"{name}{BIND}"] = f"/{far.entity_set}({_created(call, far, value, level)})"
        elif name.removesuffix(BIND) in collections and isinstance(value, list):
            behind[name] = value
        else:
            own[name] = value
    row_id = create(call, table, own)
    for name, rows in behind.items():
        far, _, target = collections[name.removesuffix(BIND)]
        link = {f"{target.navigation}{BIND}": f"/{table.entity_set}({row_id})"}
        for row in rows:
            if name.endswith(BIND):
                _associate(call, far, row, link)
            elif isinstance(row, dict):
                _created(call, far, {**row, **link}, level)
            else:
                raise bad_payload(table.entity_set, f"The property '{name}' must be a collection of rows.")
    return row_id


def refuse_related(call: Call, table: Table, body: dict[str, Any]) -> None:
    """Raise DataverseError 400 for the body of an update, also of an upsert, that holds further rows."""
    collections = call.schema.collections(table.name)
    for name, value in body.items():
        if (name in table.navigations and isinstance(value, dict)) or (name in collections and isinstance(value, list)):
            raise bad_request("Deep update of navigation properties is not allowed.")


def _created(call: Call, far: Table, body: dict[str, Any], level: int) -> str:
    if not far.writable:
        raise bad_request(f"Rows of '{far.entity_set}' cannot be created.")
    return create_with_related(call, far, body, level + 1)


def _associate(call: Call, far: Table, reference: Any, link: dict[str, Any]) -> None:
    """Let a row that is there already point at the new one."""
    if not isinstance(reference, str):
        raise bad_payload(far.entity_set, "A reference must be a text.")
    address = resolve_reference(call, reference)
    if address.table.name != far.name:
        raise bad_payload(far.entity_set, f"Only rows of '{far.entity_set}' can be referred to here.")
    row_id = address.existing()
    if stored_row(call, far, row_id) is None:
        raise no_such_row(far.name, row_id)
    call.require("Write", far)
    write_values(call, far, row_id, payload_values(call, far, link, creating=False))
