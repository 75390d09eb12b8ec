"""Reading people: describe, describe2, one by id, many by filter.

Writing them is in `lead_sync.py`; lists that hold people are in `lists.py`.
Source: docs/protocols/marketo.md#describe, #reading-people, #checklist 15.
"""

from __future__ import annotations

from typing import Any

from dynsync_pipeline.emulators.marketo.fields import DEFAULT_READ, Catalogue, Field
from dynsync_pipeline.emulators.marketo.protocol import Call, Refused, pack_token, unpack_token
from dynsync_pipeline.emulators.marketo.values import shown_value

VALUES_LIMIT = 300
MATCHES_LIMIT = 1000
FROM_PEOPLE = "from people p join companies c on c.id = p.contactCompany"


def describe(call: Call) -> dict[str, Any]:
    """Every field with its ids and names in both APIs."""
    return {"result": [_described(field) for field in call.store.fields.all()]}


def describe2(call: Call) -> dict[str, Any]:
    """The legal filters and every field, in the newer shape."""
    catalogue = call.store.fields
    described = [
        {
            "name": field.name,
            "displayName": field.display_name,
            "dataType": field.type,
            **({"length": field.length} if field.length else {}),
            "updateable": not field.is_read_only,
            "crmManaged": call.store.behaviour.native_crm and not field.is_custom,
        }
        for field in catalogue.all()
    ]
    searchable = [[name] for name in catalogue.filter_types]
    return {"result": [{"name": "API Lead", "searchableFields": searchable, "fields": described}]}


def lead_by_id(call: Call) -> dict[str, Any]:
    """One person in `result`, or none."""
    return {"result": read_people(call, asked_fields(call), "p.id = ?", [call.id()])}


def leads_by_filter(call: Call) -> dict[str, Any]:
    """People whose `filterType` field has one of `filterValues`, oldest first, in pages."""
    filter_type = call.required("filterType")
    values = call.texts("filterValues")
    if not values:
        raise Refused("1002", "Missing value for the required parameter 'filterValues'")
    if len(values) > VALUES_LIMIT:
        raise Refused("1003", f"Too many values: '{len(values)}'. The maximum is '{VALUES_LIMIT}'")
    fields = asked_fields(call)
    condition, parameters = matching(call.store.fields, filter_type, values)
    with call.store.lock:
        n_found = call.store.db.execute(
            f"select count(*) from (select 1 from people p where {condition} limit {MATCHES_LIMIT + 1})", parameters
        ).fetchone()[0]
    if n_found > MATCHES_LIMIT:
        raise Refused("1003", "Too many results match the filter")
    return page_of_people(call, fields, condition, parameters)


def matching(catalogue: Catalogue, filter_type: str, values: list[str]) -> tuple[str, list[Any]]:
    """The SQL condition on `people p` for a legal filter. Raises: Refused 1011, 1001."""
    if filter_type not in catalogue.filter_types:
        raise Refused("1011", f"Lookup field '{filter_type}' not supported")
    field = catalogue.get(filter_type)
    if field is None:
        return "false", []
    parameters: list[Any] = [*values]
    if field.type in ("integer", "reference"):
        parameters = _whole_numbers(values, filter_type)
    return f"{field.sql} in ({', '.join('?' * len(parameters))})", parameters


def _whole_numbers(values: list[str], filter_type: str) -> list[Any]:
    """The numbers; those too large for any field are left out. Raises: Refused 1001."""
    digits = [value.removeprefix("-") for value in values]
    if not all(text.isascii() and text.isdigit() for text in digits):
        raise Refused("1001", f"Invalid value for '{filter_type}'. Required of type 'integer'")
    return [int(value) for value in values if len(value) < 18]


def page_of_people(call: Call, fields: list[Field], condition: str, parameters: list[Any]) -> dict[str, Any]:
    """One page of the people under a condition; a token is given only while there is more."""
    size = call.batch_size()
    token = call.text("nextPageToken")
    after = unpack_token(token, 1)[0] if token else 0
    people = read_people(
        call, fields, f"({condition}) and p.id > ? order by p.id limit {size + 1}", [*parameters, after]
    )
    if len(people) <= size:
        return {"result": people}
    return {"result": people[:size], "nextPageToken": pack_token(people[size - 1]["id"]), "moreResult": True}


def asked_fields(call: Call) -> list[Field]:
    """The fields of the answer: `id` always, then those asked for or the default six. Raises: Refused 1006."""
    names = call.texts("fields") or list(DEFAULT_READ)
    fields = [call.store.fields["id"]]
    for name in names:
        field = call.store.fields.get(name)
        if field is None:
            raise Refused("1006", f"Field '{name}' not found")
        if field not in fields:
            fields.append(field)
    return fields


def read_people(call: Call, fields: list[Field], condition: str, parameters: list[Any]) -> list[dict[str, Any]]:
    """People with these fields, nulls explicit."""
    columns = ", ".join(field.sql for field in fields)
    needs_company = any(field.on_company for field in fields)
    with call.store.lock:
        rows = call.store.db.execute(
            f"select {columns} {FROM_PEOPLE if needs_company else 'from people p'} where {condition}", parameters
        ).fetchall()
    names = [field.name for field in fields]
    people = [dict(zip(names, row, strict=True)) for row in rows]
    for field in fields:
        if field.type == "boolean":
            _show(people, field)
    return people


def _show(people: list[dict[str, Any]], field: Field) -> None:
    for person in people:
        person[field.name] = shown_value(field, person[field.name])


def _described(field: Field) -> dict[str, Any]:
    access = {"name": field.name, "readOnly": field.is_read_only}
    soap_name = field.name if field.is_custom else field.display_name.replace(" ", "")
    soap = {"name": soap_name, "readOnly": field.is_read_only}
    length = {"length": field.length} if field.length else {}
    return {
        "id": field.id,
        "displayName": field.display_name,
        "dataType": field.type,
        **length,
        "rest": access,
        "soap": soap,
    }
