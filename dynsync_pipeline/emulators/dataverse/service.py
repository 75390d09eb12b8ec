"""What each address under `/api/data/v9.2/` does: the path is read here, the work is done elsewhere.

One function answers one request, whether it came alone or as a part of a `$batch`.
"""

from __future__ import annotations

from urllib.parse import quote

from dynsync_pipeline.emulators.dataverse import (
    actions,
    aggregation,
    csdl,
    fetchxml,
    functions,
    metadata,
    sql_query,
    tracking,
)
from dynsync_pipeline.emulators.dataverse.call import MAX_BATCH_URL_BYTES, Answer, Call
from dynsync_pipeline.emulators.dataverse.deep_insert import create_with_related, refuse_related
from dynsync_pipeline.emulators.dataverse.errors import (
    DataverseError,
    bad_payload,
    bad_request,
    no_such_property,
    no_such_row,
    no_such_segment,
    wrong_verb,
)
from dynsync_pipeline.emulators.dataverse.filters import Condition
from dynsync_pipeline.emulators.dataverse.formats import shaped
from dynsync_pipeline.emulators.dataverse.keys import Address, resolve, resolve_reference, split_segment
from dynsync_pipeline.emulators.dataverse.reads import count_rows, read_collection, read_property, read_single
from dynsync_pipeline.emulators.dataverse.schema import Table
from dynsync_pipeline.emulators.dataverse.writes import (
    BIND,
    delete,
    payload_values,
    stored_row,
    update,
    upsert,
    write_values,
    written,
)

ON_COLLECTIONS = {"$filter", "$orderby", "$count", "$top", "$skiptoken", "$deltatoken", "$apply"}
PREFIX = "Microsoft.Dynamics.CRM."


def answer(call: Call) -> Answer:
    """The answer to one request, as its header Accept wants it. Raises DataverseError for every refusal."""
    return shaped(call, _answer(call))


def _answer(call: Call) -> Answer:
    if len(call.query) > MAX_BATCH_URL_BYTES:
        raise DataverseError(414, "0x80060888", "The request URI is too long.")
    if not call.segments:
        _only(call, "GET")
        sets = [{"name": t.entity_set, "kind": "EntitySet", "url": t.entity_set} for t in call.schema.tables.values()]
        return Answer.json({"@odata.context": f"{call.root}$metadata", "value": sets})
    name, key = split_segment(call.segments[0])
    if name == "$metadata" and len(call.segments) == 1:
        _only(call, "GET")
        return Answer(200, csdl.document(call), {"Content-Type": "application/xml"})
    if name in metadata.SEGMENTS:
        _only(call, "GET")
        return metadata.answer(call)
    table = call.schema.by_set.get(name)
    if table is not None:
        return _collection(call, table) if key is None else _row(call, table, resolve(call, table, key))
    if len(call.segments) == 1 and name in functions.UNBOUND:
        _only(call, "GET")
        return functions.UNBOUND[name](call, key or "")
    if len(call.segments) == 1 and name in actions.UNBOUND:
        _only(call, "POST")
        return actions.UNBOUND[name](call)
    raise no_such_segment(name[:100])


def _collection(call: Call, table: Table) -> Answer:
    if len(call.segments) == 1:
        if call.method == "POST":
            _writable(call, table)
            return written(call, table, create_with_related(call, table, call.json_object()), created=True)
        return _read(call, table)
    if len(call.segments) > 2:
        raise no_such_segment(call.segments[2][:100])
    segment = call.segments[1]
    if segment == "$count":
        _only(call, "GET")
        return tracking.count_changes(call, table) if "$deltatoken" in call.options else count_rows(call, table)
    name = segment.removeprefix(PREFIX)
    if segment.startswith(PREFIX) and name in actions.ON_COLLECTION:
        _only(call, "POST")
        _writable(call, table)
        return actions.ON_COLLECTION[name](call, table)
    raise no_such_segment(segment[:100])


def _read(call: Call, table: Table) -> Answer:
    _only(call, "GET")
    if "fetchXml" in call.custom:
        return fetchxml.read(call, table, call.custom["fetchXml"])
    if "sql" in call.custom:
        return sql_query.read(call, call.custom["sql"])
    if tracking.is_tracked(call):
        return tracking.read_tracked(call, table)
    return aggregation.read(call, table) if "$apply" in call.options else read_collection(call, table)


def _row(call: Call, table: Table, address: Address) -> Answer:
    if len(call.segments) == 1:
        return _whole_row(call, table, address)
    row_id = address.existing()
    segment, inner_key = split_segment(call.segments[1])
    if segment.startswith(PREFIX) and len(call.segments) == 2:
        return _bound(call, table, row_id, segment, inner_key)
    if segment in table.navigations:
        return _single_navigation(call, table, row_id, segment)
    if segment in call.schema.collections(table.name):
        return _collection_navigation(call, table, row_id, segment, inner_key)
    return _property(call, table, row_id, segment)


def _whole_row(call: Call, table: Table, address: Address) -> Answer:
    if call.method == "GET":
        if not ON_COLLECTIONS.isdisjoint(call.options):
            raise bad_request(
                "The query specified in the URI is not valid. The requested resource is not a collection. Query "
                "options $filter, $orderby, $count, $skip, and $top can be applied only on collections."
            )
        return read_single(call, table, address.existing())
    _writable(call, table)
    if call.method == "PATCH":
        body = call.json_object()
        refuse_related(call, table, body)
        row_id, created = upsert(call, table, address, body)
        # An upsert by key answers with the key's URL, not with the id (9.4).
        path = quote(call.segments[0], safe="()'=,-") if address.by_key else None
        return written(call, table, row_id, created=created, path=path)
    _only(call, "DELETE")
    delete(call, table, address.existing())
    return Answer(204)


def _bound(call: Call, table: Table, row_id: str, segment: str, inner_key: str | None) -> Answer:
    """An action or function of one row."""
    name = segment.removeprefix(PREFIX)
    if (table.name, name) in actions.ON_ROW:
        _only(call, "POST")
        return actions.ON_ROW[table.name, name](call, row_id)
    if (table.name, name) in functions.ON_ROW:
        _only(call, "GET")
        return functions.ON_ROW[table.name, name](call, row_id, inner_key or "")
    raise no_such_segment(segment[:100])


def _property(call: Call, table: Table, row_id: str, name: str) -> Answer:
    """`contacts(id)/jobtitle`: read, also bare as `…/jobtitle/$value`, set with PUT, clear with DELETE."""
    is_bare = call.segments[2:] == ["$value"]
    if len(call.segments) > 2 and not is_bare:
        raise no_such_segment(call.segments[2][:100])
    if name not in table.by_wire_name:
        raise no_such_property(name[:100], table.name)
    if is_bare:
        _only(call, "GET")
    if call.method == "GET":
        return read_property(call, table, row_id, name, is_bare=is_bare)
    _writable(call, table)
    if call.method == "DELETE":
        value = None
    else:
        _only(call, "PUT")
        body = call.json_object()
        if "value" not in body:
            raise bad_payload(table.entity_set, "The property 'value' was expected in the payload.")
        value = body["value"]
    update(call, table, row_id, {name: value})
    return Answer(204)


def _single_navigation(call: Call, table: Table, row_id: str, name: str) -> Answer:
    """`contacts(id)/parentcustomerid_account`, and `$ref` under it to set or clear the lookup."""
    row = stored_row(call, table, row_id)
    if row is None:
        raise no_such_row(table.name, row_id)
    column, target = table.navigations[name]
    far = call.schema.tables[target.table]
    points_here = row[column.name] if not column.polymorphic or row[f"{column.name}@type"] == far.name else None
    if len(call.segments) == 2:
        _only(call, "GET")
        return read_single(call, far, str(points_here)) if points_here else Answer(204)
    _ref(call)
    if call.method == "GET":
        if not points_here:
            return Answer(204)
        context = f"{call.root}$metadata#$ref"
        return Answer.json({"@odata.context": context, "@odata.id": f"{call.root}{far.entity_set}({points_here})"})
    _writable(call, table)
    if call.method == "DELETE":
        update(call, table, row_id, {f"{name}{BIND}": None} if points_here else {})
    else:
        _only(call, "PUT")
        update(call, table, row_id, {f"{name}{BIND}": _odata_id(call, table)})
    return Answer(204)


def _collection_navigation(call: Call, table: Table, row_id: str, name: str, key: str | None) -> Answer:
    """`accounts(id)/contact_customer_accounts`, and `$ref` under it to add or remove a row."""
    if stored_row(call, table, row_id) is None:
        raise no_such_row(table.name, row_id)
    far, lookup, target = call.schema.collections(table.name)[name]
    if key is None and call.segments[2:] in ([], ["$count"]):
        _only(call, "GET")
        sql = f"t.{lookup.sql} = ?" + (f" and t.{lookup.type_sql} = '{table.name}'" if lookup.polymorphic else "")
        within = Condition(f"({sql})", [row_id])
        if call.segments[2:]:
            return count_rows(call, far, within)
        return (aggregation.read if "$apply" in call.options else read_collection)(call, far, within)
    _ref(call)
    _writable(call, far)
    if call.method == "DELETE":
        text = f"{far.entity_set}({key})" if key else _query_id(call)
        other = resolve_reference(call, text)
        value = None
    else:
        _only(call, "POST")
        other = resolve_reference(call, _odata_id(call, far))
        value = f"/{table.entity_set}({row_id})"
    if other.table.name != far.name:
        raise bad_payload(far.entity_set, f"'{name}' holds rows of '{far.entity_set}' only.")
    other_id = other.existing()
    if stored_row(call, far, other_id) is None:
        raise no_such_row(far.name, other_id)
    values = payload_values(call, far, {f"{target.navigation}{BIND}": value}, creating=False)
    write_values(call, far, other_id, values)
    return Answer(204)


def _ref(call: Call) -> None:
    if len(call.segments) != 3 or call.segments[2] != "$ref":
        raise no_such_segment(call.segments[-1][:100])


def _odata_id(call: Call, table: Table) -> str:
    value = call.json_object().get("@odata.id")
    if not isinstance(value, str):
        raise bad_payload(table.entity_set, "The property '@odata.id' was expected in the payload.")
    return value


def _query_id(call: Call) -> str:
    if "$id" not in call.options:
        raise no_such_segment("$ref")
    return call.options["$id"]


def _writable(call: Call, table: Table) -> None:
    if not table.writable:
        raise wrong_verb(call.method)


def _only(call: Call, method: str) -> None:
    if call.method != method:
        raise wrong_verb(call.method)
