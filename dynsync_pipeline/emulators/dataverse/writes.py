"""Writing one row: create, update, upsert, delete, and what the service adds of its own.

Not here: the actions that write several rows (`bulk.py`, `sales.py`), and the routing of verbs (`service.py`).
Source: docs/protocols/dataverse.md#writes, #single-writes.
"""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import replace
from typing import Any

from dynsync_pipeline.emulators.dataverse import duplicates
from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.errors import (
    DataverseError,
    already_exists,
    bad_payload,
    bad_request,
    no_such_key,
    no_such_row,
    version_mismatch,
)
from dynsync_pipeline.emulators.dataverse.keys import Address, resolve_reference, unique_violation
from dynsync_pipeline.emulators.dataverse.reads import applied, read_single
from dynsync_pipeline.emulators.dataverse.schema import Column, Table
from dynsync_pipeline.emulators.dataverse.values import stored_date, to_sql

BIND = "@odata.bind"
Values = dict[str, object]


def create(call: Call, table: Table, body: dict[str, Any], address: Address | None = None) -> str:
    """Insert a row and return its id; `address` is the URL of an upsert, whose key the row gets.

    Raises DataverseError: 400 for a body that does not fit, 403, 404 for a bind to nothing, 412 for a taken key.
    """
    call.require("Create", table)
    values = payload_values(call, table, body, creating=True)
    if address:
        # In an upsert the body's own value wins over the URL's.
        values = {**address.by_key, **values}
        if address.row_id:
            values[table.primary_id] = address.row_id
    row_id = str(values.setdefault(table.primary_id, str(uuid.uuid4())))
    duplicates.check(call, table, values, None)
    at = call.store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    backdated = values.get("overriddencreatedon")
    values.update(
        createdon=f"{backdated}T00:00:00Z" if backdated else at,
        modifiedon=at,
        createdby=call.user.user_id,
        modifiedby=call.user.user_id,
        createdonbehalfby=call.user.on_behalf_by,
        modifiedonbehalfby=call.user.on_behalf_by,
        versionnumber=call.store.next_version(),
    )
    if backdated:
        values["overriddencreatedon"] = stored_date(at[:10])
    _fill_in(call, table, values)
    _check_state(table, values, values)
    values.update(derived(table, values))
    names = ", ".join(f'"{name}"' for name in values)
    try:
        call.connection.execute(
            f'insert into "{table.name}" ({names}) values ({", ".join("?" * len(values))})', tuple(values.values())
        )
    except sqlite3.IntegrityError as error:
        raise unique_violation(table, str(error)) from None
    call.connection.execute("delete from deleted where entity = ? and id = ?", (table.name, row_id))
    return row_id


def update(call: Call, table: Table, row_id: str, body: dict[str, Any]) -> None:
    """Change the columns in `body`; also writing what is there already counts as a change (9.11).

    Raises DataverseError: 400, 403, 404 if the row or a bound row is missing, 412.
    """
    call.require("Write", table)
    values = payload_values(call, table, body, creating=False)
    row = stored_row(call, table, row_id)
    if row is None:
        raise no_such_row(table.name, row_id)
    _check_version(call, row)
    values.pop(table.primary_id, None)
    if "statecode" in values and "statuscode" not in values and values["statecode"] != row["statecode"]:
        values["statuscode"] = _default_status(table, values["statecode"])
    merged = {**row, **values}
    _check_state(table, values, merged)
    duplicates.check(call, table, merged, row_id)
    write_values(call, table, row_id, {**values, **_amounts(table, values), **derived(table, merged)})


def write_values(call: Call, table: Table, row_id: str, values: Values) -> None:
    """Store columns of an existing row, with author, time and a new version. Raises DataverseError 412."""
    values = {
        **values,
        "modifiedon": call.store.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "modifiedby": call.user.user_id,
        "modifiedonbehalfby": call.user.on_behalf_by,
        "versionnumber": call.store.next_version(),
    }
    assignments = ", ".join(f'"{name}" = ?' for name in values)
    try:
        call.connection.execute(
            f'update "{table.name}" set {assignments} where "{table.primary_id}" = ?', (*values.values(), row_id)
        )
    except sqlite3.IntegrityError as error:
        raise unique_violation(table, str(error)) from None


def delete(call: Call, table: Table, row_id: str) -> None:
    """Delete a row; lookups that pointed at it become empty, and its tasks go with it.

    Raises DataverseError: 403, 404, 412.
    """
    call.require("Delete", table)
    row = stored_row(call, table, row_id)
    if row is None:
        raise no_such_row(table.name, row_id)
    _check_version(call, row)
    for other in call.schema.tables.values():
        for column in other.columns.values():
            for target in column.targets if other.writable else ():
                if target.table == table.name:
                    _unlink(call, other, column, table, row_id, with_rows=target.is_parental)
    call.connection.execute(f'delete from "{table.name}" where "{table.primary_id}" = ?', (row_id,))
    call.connection.execute(
        "insert or replace into deleted values (?, ?, ?)", (table.name, row_id, call.store.next_version())
    )


def upsert(call: Call, table: Table, address: Address, body: dict[str, Any]) -> tuple[str, bool]:
    """Answer a PATCH on an address: (row id, whether it was created). Conditions decide what may happen (9.1).

    Raises DataverseError as `create` and `update` do.
    """
    if_match, if_none_match = call.condition
    exists = address.row_id is not None and stored_row(call, table, address.row_id) is not None
    if exists and address.row_id:
        if if_none_match == "*":
            raise already_exists()
        update(call, table, address.row_id, {k: v for k, v in body.items() if k not in address.by_key})
        return address.row_id, False
    if if_match:
        raise no_such_row(table.name, address.row_id) if address.row_id else no_such_key(table.name)
    return create(call, table, body, address), True


def written(call: Call, table: Table, row_id: str, *, created: bool, path: str | None = None) -> Answer:
    """The answer to a write: 204 with the row's URL, or the row itself where the client asked for it (9.3)."""
    if call.wants_representation:
        answer = read_single(call, table, row_id)
        answer.status = 201 if created else 200
        answer.headers.update(applied(call, "return", "odata.include-annotations"))
        return answer
    url = f"{call.root}{path or f'{table.entity_set}({row_id})'}"
    return Answer(204, headers={"OData-EntityId": url, "Location": url})


def stored_row(call: Call, table: Table, row_id: str) -> Values | None:
    """A row as stored, None if there is none."""
    cursor = call.connection.execute(f'select * from "{table.name}" where "{table.primary_id}" = ?', (row_id,))
    row = cursor.fetchone()
    return dict(zip((item[0] for item in cursor.description), row, strict=True)) if row else None


def payload_values(call: Call, table: Table, body: dict[str, Any], *, creating: bool) -> Values:
    """The stored values a JSON body stands for; binds resolved, values not valid for the operation dropped (9.15).

    Raises DataverseError 400, 403, 404.
    """
    values: Values = {}
    bound: dict[str, str] = {}
    for name, value in body.items():
        navigation = name.removesuffix(BIND)
        if navigation in table.navigations and (name.endswith(BIND) or value is None):
            values.update(_bound(call, table, name, value, bound, creating=creating))
        elif "@" in name:
            _refuse_undeclared(table, name)
        else:
            column = _declared(call, table, name)
            stored = to_sql(table, column, value) if column.valid_for_create or column.valid_for_update else None
            if _may_write(call, table, column, creating=creating):
                _refuse_empty(table, column, stored)
                values[column.name] = stored
    return values


def _bound(call: Call, table: Table, name: str, value: Any, bound: dict[str, str], *, creating: bool) -> Values:
    """What a navigation property sets; `bound` remembers by which one each lookup was set."""
    navigation = name.removesuffix(BIND)
    column, target = table.navigations[navigation]
    if value is None and column.name in bound:
        return {}
    if value is not None and bound.setdefault(column.name, navigation) != navigation:
        raise bad_payload(table.entity_set, f"Only one of the targets of '{column.name}' can be set.")
    linked = _linked(call, table, column, target.table, name, value)
    if column.name == "ownerid" and linked[column.name] != call.user.user_id:
        call.require("Assign", table)
    if not _may_write(call, table, column, creating=creating):
        return {}
    _refuse_empty(table, column, linked[column.name])
    return linked


def _refuse_undeclared(table: Table, name: str) -> None:
    if name.endswith(BIND):
        raise bad_payload(
            table.entity_set,
            f"An undeclared property '{name.removesuffix(BIND)}' which only has property annotations in the payload "
            "but no property value was found in the payload. In OData, only declared navigation properties and "
            "declared named streams can be represented as properties without values.",
        )


def _declared(call: Call, table: Table, name: str) -> Column:
    column = table.by_wire_name.get(name)
    if column is None or not call.visible(column):
        raise bad_payload(
            table.entity_set,
            f"The property '{name[:100]}' does not exist on type 'Microsoft.Dynamics.CRM.{table.name}'. Make sure "
            "to only use property names that are defined by the type.",
        )
    if column.kind == "lookup":
        raise bad_request(
            "CRM do not support direct update of Entity Reference properties, Use Navigation properties instead."
        )
    return column


def derived(table: Table, row: Values) -> Values:
    """Values the service works out: the full name and the composite addresses."""
    found: Values = {}
    if "fullname" in table.columns:
        parts = ("firstname", "middlename", "lastname") if table.writable else ("firstname", "lastname")
        found["fullname"] = " ".join(str(row[part]) for part in parts if row.get(part)) or None
    for composite, parts_of in table.composites.items():
        found[composite] = _composed({name.split("_", 1)[1]: row[name] for name in parts_of if row.get(name)})
    return found


def _composed(value: Values) -> str | None:
    """An address in several lines, from the parts that there are."""
    town = ", ".join(str(value[part]) for part in ("city", "stateorprovince") if part in value)
    town = f"{town} {value.get('postalcode', '')}".strip()
    lines = (value.get("line1"), value.get("line2"), value.get("line3"), town, value.get("country"))
    return "\r\n".join(str(line) for line in lines if line) or None


def _may_write(call: Call, table: Table, column: Column, *, creating: bool) -> bool:
    """Whether a sent value is stored. Raises DataverseError 403 for a secured column (9.18)."""
    if not call.may_see(column):
        what, code = ("create", "0x8004f502") if creating else ("update", "0x8004f507")
        raise DataverseError(
            403,
            code,
            f"Caller user with Id {call.user.user_id} does not have {what} permissions to a {column.name} secured "
            f"field on entity {table.name}.",
        )
    return column.valid_for_create if creating else column.valid_for_update


def _refuse_empty(table: Table, column: Column, stored: object) -> None:
    if stored is None and column.required == "SystemRequired":
        raise bad_request(f"The column '{column.name}' of '{table.name}' cannot be empty.", "0x80040203")


def _linked(call: Call, table: Table, column: Column, target: str, name: str, value: Any) -> Values:
    """The stored form of a bind; null clears it."""
    found: Values = {column.name: None}
    if value is not None:
        if not isinstance(value, str):
            raise bad_payload(table.entity_set, f"The value of '{name}' must be a text.")
        address = resolve_reference(call, value)
        if address.table.name != target:
            raise bad_payload(
                table.entity_set, f"'{name}' cannot refer to a row of '{address.table.entity_set}', only of '{target}'."
            )
        row_id = address.existing()
        if stored_row(call, address.table, row_id) is None:
            # The message names the referenced table, so that a 404 does not prove that this row is gone (9.17).
            raise no_such_row(target.capitalize(), row_id)
        found[column.name] = row_id
    if column.polymorphic:
        found[f"{column.name}@type"] = target if value is not None else None
    return found


def _check_version(call: Call, row: Values) -> None:
    if_match = call.condition[0]
    if if_match and if_match != "*" and if_match != f'W/"{row["versionnumber"]}"':
        raise version_mismatch()


def _fill_in(call: Call, table: Table, values: Values) -> None:
    """Values of a new row that nobody sent: owner, currency, state, and the default of every yes/no column."""
    if "ownerid" in table.columns:
        owner = values.setdefault("ownerid", call.user.user_id)
        values.update(
            owninguser=owner, owningbusinessunit=call.store.business_unit_id, exchangerate=1.0,
        )  # fmt: skip
        values.setdefault("transactioncurrencyid", call.store.currency_id)
    values.update(_amounts(table, values))
    for column in table.columns.values():
        if column.kind == "boolean" and values.get(column.name) is None:
            values[column.name] = column.default
    if "statecode" in table.columns:
        # Rows are born active; another state in a create is stored only where its status fits.
        state = values.setdefault("statecode", 0)
        values.setdefault("statuscode", _default_status(table, state))


def _default_status(table: Table, state: object) -> int | None:
    return next((option.value for option in table.columns["statuscode"].options if option.state == state), None)


def _check_state(table: Table, sent: Values, merged: Values) -> None:
    if "statuscode" not in sent and "statecode" not in sent:
        return
    state, status = merged["statecode"], merged["statuscode"]
    if not any(o.value == status and o.state == state for o in table.columns["statuscode"].options):
        raise DataverseError(
            400,
            "0x80048408",
            f"{status} is not a valid status code for state code "
            f"{table.name.capitalize()}State.{table.columns['statecode'].label(int(str(state)))} on {table.name}.",
        )


def _amounts(table: Table, values: Values) -> Values:
    """The base-currency twins of money columns; the emulator knows one currency, so they are equal."""
    return {f"{name}_base": values[name] for name in list(values) if f"{name}_base" in table.columns}


def _unlink(call: Call, other: Table, column: Column, table: Table, row_id: str, *, with_rows: bool) -> None:
    where = f"{column.sql} = ?" + (f" and {column.type_sql} = '{table.name}'" if column.polymorphic else "")
    ids = call.connection.execute(
        f'select "{other.primary_id}" from "{other.name}" where {where}', (row_id,)
    ).fetchall()
    for (other_id,) in ids:
        if with_rows:
            delete(replace(call, headers={}), other, other_id)
            continue
        cleared: Values = {column.name: None}
        if column.polymorphic:
            cleared[f"{column.name}@type"] = None
        write_values(call, other, other_id, cleared)
