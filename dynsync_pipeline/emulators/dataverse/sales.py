"""Actions that touch several rows: QualifyLead, Merge, BulkDelete.

Source: docs/protocols/dataverse.md#actions, #microsofts-sdk, #checklist 22.
"""

from __future__ import annotations

import uuid
from typing import Any

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_payload, bad_request, no_such_row
from dynsync_pipeline.emulators.dataverse.filter_functions import stored_text
from dynsync_pipeline.emulators.dataverse.filters import Condition, known_column
from dynsync_pipeline.emulators.dataverse.reads import where_sql
from dynsync_pipeline.emulators.dataverse.schema import Column, Table
from dynsync_pipeline.emulators.dataverse.values import stored_guid
from dynsync_pipeline.emulators.dataverse.writes import Values, create, delete, stored_row, update, write_values

QUALIFIED, QUALIFIED_STATUS = 1, 3
INACTIVE = {"account": (1, 2), "contact": (1, 2), "lead": (2, 7)}
"""State and status of a row that lost a merge."""
LIST_OPERATORS = {"In": "in", "NotIn": "not in"}
NULL_OPERATORS = {"Null": "null", "NotNull": "not null"}
OPERATORS = {
    "Equal": "is", "NotEqual": "is not", "GreaterThan": ">", "GreaterEqual": ">=", "LessThan": "<",
    "LessEqual": "<=", "OnOrBefore": "<=", "OnOrAfter": ">=",
}  # fmt: skip
PERSONAL = (
    "firstname", "middlename", "lastname", "salutation", "jobtitle", "emailaddress1", "emailaddress2", "emailaddress3",
    "telephone1", "telephone2", "telephone3", "mobilephone", "fax", "websiteurl", "description", "donotemail",
    "donotfax", "donotphone", "donotpostalmail", "donotbulkemail", "donotsendmm", "preferredcontactmethodcode",
    "address1_line1", "address1_line2", "address1_line3", "address1_city", "address1_stateorprovince",
    "address1_postalcode", "address1_country",
)  # fmt: skip
COMPANY = (
    "telephone1", "fax", "websiteurl", "sic", "numberofemployees", "industrycode", "address1_line1", "address1_line2",
    "address1_line3", "address1_city", "address1_stateorprovince", "address1_postalcode", "address1_country",
)  # fmt: skip


def qualify_lead(call: Call, row_id: str) -> Answer:
    """Close a lead as qualified and create the account and contact asked for; answers what was created.

    Raises DataverseError: 400 for a closed lead, a status that is not Qualified's, or an opportunity, which this
    emulator has no table for; 403; 404.
    """
    table = call.schema.tables["lead"]
    body = call.json_object()
    lead = stored_row(call, table, row_id)
    if lead is None:
        raise no_such_row("lead", row_id)
    _require_qualifiable(body, lead)
    status = QUALIFIED_STATUS if body["Status"] == -1 else body["Status"]
    created: list[dict[str, str]] = []
    links: Values = {}
    account_id = contact_id = None
    if body["CreateAccount"]:
        account_id = _from_lead(call, "account", lead, COMPANY, {"name": lead["companyname"] or lead["fullname"]})
        links["parentaccountid"] = account_id
        created.append(_created(call, "account", account_id))
    if body["CreateContact"]:
        contact_id = _from_lead(call, "contact", lead, PERSONAL, {})
        links["parentcontactid"] = contact_id
        created.append(_created(call, "contact", contact_id))
    if account_id and contact_id:
        parent: Values = {"parentcustomerid": account_id, "parentcustomerid@type": "account"}
        write_values(call, call.schema.tables["contact"], contact_id, parent)
    update(call, table, row_id, {"statecode": QUALIFIED, "statuscode": status})
    if links:
        write_values(call, table, row_id, links)
    context = f"{call.root}$metadata#Collection(Microsoft.Dynamics.CRM.crmbaseentity)"
    return Answer.json({"@odata.context": context, "value": created})


def _require_qualifiable(body: dict[str, Any], lead: Values) -> None:
    for name in ("CreateAccount", "CreateContact", "CreateOpportunity", "Status"):
        if name not in body:
            raise bad_payload("leads", f"The parameter '{name}' of QualifyLead is missing.")
    if body["CreateOpportunity"]:
        raise bad_request("The entity with a name = 'opportunity' was not found.", "0x80041102")
    if lead["statecode"] != 0:
        raise bad_request("The lead is already closed.", "0x80040203")


def merge(call: Call) -> Answer:
    """Merge a subordinate into a target of the same table: its children move, it is deactivated, not deleted.

    Raises DataverseError: 400 for rows of two tables or the same row twice, 403, 404.
    """
    body = call.json_object()
    table, target_id = _merge_row(call, body, "Target")
    other, subordinate_id = _merge_row(call, body, "Subordinate")
    if table.name != other.name or target_id == subordinate_id:
        raise bad_request("Target and Subordinate must be two rows of the same table.", "0x80040203")
    content = body.get("UpdateContent") or {}
    if not isinstance(content, dict):
        raise bad_payload(table.entity_set, "The parameter 'UpdateContent' must be an object.")
    update(call, table, target_id, {name: value for name, value in content.items() if name != table.primary_id})
    _move_children(call, table, subordinate_id, target_id)
    state, status = INACTIVE[table.name]
    lost: Values = {"merged": 1, "masterid": target_id, "statecode": state, "statuscode": status}
    write_values(call, table, subordinate_id, lost)
    return Answer(204)


def _move_children(call: Call, table: Table, from_id: str, to_id: str) -> None:
    for far, lookup, _ in call.schema.collections(table.name).values():
        if lookup.name == "masterid":
            continue
        where = f"{lookup.sql} = ?" + (f" and {lookup.type_sql} = '{table.name}'" if lookup.polymorphic else "")
        sql = f'select "{far.primary_id}" from "{far.name}" where {where}'
        for (child_id,) in call.connection.execute(sql, (from_id,)).fetchall():
            write_values(call, far, child_id, {lookup.name: to_id})


def bulk_delete(call: Call) -> Answer:
    """Delete what the queries find and answer a job's id; the emulator's job is done at once, the real one's later.

    Raises DataverseError 400 for a query it cannot read.
    """
    queries = call.json_object().get("QuerySet")
    if not isinstance(queries, list) or not queries:
        raise bad_request("BulkDelete needs the parameter QuerySet.", "0x80048d19")
    for query in queries:
        table = call.schema.tables.get(str(query.get("EntityName"))) if isinstance(query, dict) else None
        if table is None or not table.writable:
            raise bad_request("A query of BulkDelete names no table that can be deleted from.", "0x80048d19")
        where, values = where_sql([_criteria(call, table, query.get("Criteria") or {})])
        sql = f'select t."{table.primary_id}" from "{table.name}" t {where}'
        for (row_id,) in call.connection.execute(sql, values).fetchall():
            delete(call, table, row_id)
    context = f"{call.root}$metadata#Microsoft.Dynamics.CRM.BulkDeleteResponse"
    return Answer.json({"@odata.context": context, "JobId": str(uuid.uuid4())})


def _from_lead(call: Call, name: str, lead: Values, columns: tuple[str, ...], more: Values) -> str:
    """Create a row from a lead's columns; the lead is where it came from."""
    table = call.schema.tables[name]
    row_id = create(call, table, {})
    shared = {column: lead[column] for column in columns if column in table.columns and column in lead}
    write_values(call, table, row_id, {**shared, **more, "originatingleadid": lead["leadid"]})
    update(call, table, row_id, {})
    return row_id


def _created(call: Call, name: str, row_id: str) -> dict[str, str]:
    table = call.schema.tables[name]
    return {
        "@odata.type": f"#Microsoft.Dynamics.CRM.{name}",
        "@odata.id": f"{call.root}{table.entity_set}({row_id})",
        table.primary_id: row_id,
    }


def _merge_row(call: Call, body: dict[str, Any], name: str) -> tuple[Table, str]:
    """The table and id of a row that a parameter of Merge names by type and key."""
    value = body.get(name)
    kind = str(value.get("@odata.type", "")).removeprefix("#") if isinstance(value, dict) else ""
    table = call.schema.tables.get(kind.removeprefix("Microsoft.Dynamics.CRM."))
    row_id = stored_guid(str(value.get(table.primary_id, ""))) if isinstance(value, dict) and table else None
    if table is None or table.name not in INACTIVE or row_id is None:
        raise bad_request(f"The parameter '{name}' of Merge needs '@odata.type' and the primary key.", "0x80048d19")
    if stored_row(call, table, row_id) is None:
        raise no_such_row(table.name, row_id)
    return table, row_id


def _criteria(call: Call, table: Table, criteria: Any) -> Condition:
    """The SQL of a FilterExpression: conditions and nested filters."""
    if not isinstance(criteria, dict):
        raise bad_request("The criteria of a query must be an object.", "0x80048d19")
    parts = [_condition(call, table, condition) for condition in criteria.get("Conditions") or []]
    parts += [_criteria(call, table, inner) for inner in criteria.get("Filters") or []]
    word = " or " if criteria.get("FilterOperator") in ("Or", 1) else " and "
    sql = word.join(part.sql for part in parts) or "1"
    return Condition(f"({sql})", [value for part in parts for value in part.values])


def _condition(call: Call, table: Table, condition: Any) -> Condition:
    if not isinstance(condition, dict):
        raise bad_request("A condition must be an object.", "0x80048d19")
    column = _known(call, table, str(condition.get("AttributeName")))
    operator = str(condition.get("Operator"))
    given = [v.get("Value") if isinstance(v, dict) else v for v in condition.get("Values") or []]
    values = [stored_text(operator, column, value) for value in given]
    sql = f"t.{column.sql}"
    if operator in LIST_OPERATORS:
        marks = ", ".join("?" * len(values))
        return Condition(f"({sql} {LIST_OPERATORS[operator]} ({marks}))", values)
    if operator in NULL_OPERATORS:
        return Condition(f"({sql} is {NULL_OPERATORS[operator]})")
    if operator in OPERATORS and len(values) == 1:
        return Condition(f"({sql} {OPERATORS[operator]} ?)", values)
    raise bad_request(f"The condition operator '{operator}' is not supported.", "0x80048d19")


def _known(call: Call, table: Table, name: str) -> Column:
    column = table.columns.get(name)
    if column is None:
        raise DataverseError(
            400, "0x80041103", f"'{table.name}' entity doesn't contain attribute with Name = '{name}'."
        )
    return known_column(call, table, column.wire_name)
