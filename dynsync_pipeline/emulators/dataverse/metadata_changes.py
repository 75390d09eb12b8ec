"""`RetrieveMetadataChanges`: definitions by a query that is JSON, and which tables changed since an earlier answer.

A changed table is told whole; columns that were dropped are not remembered, so nothing is ever told as deleted.
Not here: definitions by OData options (`metadata.py`).
Source: docs/protocols/dataverse.md#metadata.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import msgspec

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.cookies import Stamp
from dynsync_pipeline.emulators.dataverse.errors import bad_request, expired_version
from dynsync_pipeline.emulators.dataverse.metadata import RELATED, table_definition

RESPONSE = "Microsoft.Dynamics.CRM.RetrieveMetadataChangesResponse"
LIFETIME = timedelta(days=90)
ALWAYS = ("@odata.type", "LogicalName", "MetadataId")
QUERIES = {
    "Attributes": "AttributeQuery", "Keys": "KeyQuery", "ManyToOneRelationships": "RelationshipQuery",
    "OneToManyRelationships": "RelationshipQuery", "ManyToManyRelationships": "RelationshipQuery",
}  # fmt: skip
MAX_LEVELS = 20
_ARGUMENT = re.compile(r"\s*(\w+)\s*=\s*(@\w+|'(?:[^']|'')*'|\{.*\}|[^,]+?)\s*(?:,|$)", re.DOTALL)


def retrieve_metadata_changes(call: Call, arguments: str) -> Answer:
    """Definitions of the tables that a query asks for; with a stamp, of those that changed since.

    Raises DataverseError 400 for a query that it cannot read, and for a stamp older than 90 days.
    """
    given = {name: call.aliases.get(value, value) for name, value in _ARGUMENT.findall(arguments)}
    query = _json(given["Query"]) if "Query" in given else {}
    tables = list(call.schema.tables.values())
    since = given.get("ClientVersionStamp", "null").strip().strip("'")
    if since not in ("", "null"):
        stamp = Stamp.decode(since)
        if call.store.now() - stamp.made_at > LIFETIME:
            raise expired_version()
        tables = [table for table in tables if table.changed_at_version > stamp.version]
    definitions = [table_definition(call.schema, table) for table in tables]
    found = [one for one in definitions if _fits(one, query.get("Criteria"))]
    answer = {
        "@odata.context": f"{call.root}$metadata#{RESPONSE}",
        "ServerVersionStamp": str(Stamp(call.store.seen_version(call.connection), call.store.now())),
        "DeletedMetadata": {"Count": 0, "IsReadOnly": False, "Keys": [], "Values": []},
        "EntityMetadata": [
            _shown(one, query, has_changed=True if since not in ("", "null") else None) for one in found
        ],
    }
    return Answer.json(answer)


def _json(text: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise bad_request("The parameter Query must be a JSON object of the type EntityQueryExpression.")
    return value


def _shown(definition: dict[str, Any], query: dict[str, Any], *, has_changed: bool | None) -> dict[str, Any]:
    """A table's definition with the properties asked for, and what belongs to it by the queries for that."""
    shown = {**_selected(definition, query.get("Properties")), "HasChanged": has_changed}
    for name in RELATED:
        if name in shown:
            inner = query.get(QUERIES[name])
            inner = inner if isinstance(inner, dict) else {}
            shown[name] = [
                {**_complex(_selected(one, inner.get("Properties"))), "HasChanged": has_changed}
                for one in definition[name]
                if _fits(one, inner.get("Criteria"))
            ]
    return shown


def _complex(item: dict[str, Any]) -> dict[str, Any]:
    """A column's definition under the name that its type has here."""
    told = item.get("@odata.type")
    return {**item, "@odata.type": told.replace(".CRM.", ".CRM.Complex")} if told else item


def _selected(item: dict[str, Any], properties: Any) -> dict[str, Any]:
    """What a MetadataPropertiesExpression asks for; without one, everything."""
    if properties is None:
        return item
    if not isinstance(properties, dict):
        raise bad_request("Properties must be a MetadataPropertiesExpression.")
    names = properties.get("PropertyNames") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise bad_request("PropertyNames must be a collection of texts.")
    if str(properties.get("AllProperties", False)).lower() == "true":
        return item
    return {name: value for name, value in item.items() if name in (*ALWAYS, *names)}


def _fits(item: dict[str, Any], criteria: Any, level: int = 0) -> bool:
    """Whether a definition satisfies a MetadataFilterExpression; none lets everything through."""
    if criteria is None:
        return True
    if not isinstance(criteria, dict) or level > MAX_LEVELS:
        raise bad_request("Criteria must be a MetadataFilterExpression.")
    conditions, filters = (criteria.get(name) or [] for name in ("Conditions", "Filters"))
    if not isinstance(conditions, list) or not isinstance(filters, list):
        raise bad_request("Conditions and Filters must be collections.")
    results = [_condition(item, condition) for condition in conditions]
    results += [_fits(item, one, level + 1) for one in filters]
    return (any if criteria.get("FilterOperator") in ("Or", 1) else all)(results) if results else True


def _condition(item: dict[str, Any], condition: Any) -> bool:
    name = condition.get("PropertyName") if isinstance(condition, dict) else None
    if not isinstance(name, str):
        raise bad_request("Every condition needs a PropertyName.")
    if name not in item:  # as with what only columns of another type have
        return False
    found = item[name]
    found = _text(found.get("Value") if isinstance(found, dict) else found)
    given = condition.get("Value")
    wanted = given.get("Value") if isinstance(given, dict) else given
    listed = re.findall(r"'([^']*)'|\"([^\"]*)\"", wanted) if isinstance(wanted, str) else []
    several = [_text(one or other) for one, other in listed] if not isinstance(wanted, list) else [*map(_text, wanted)]
    operator = str(condition.get("ConditionOperator"))
    if operator in ("Equals", "NotEquals"):
        return (found == _text(wanted)) is (operator == "Equals")
    if operator in ("In", "NotIn"):
        return (found in several) is (operator == "In")
    raise bad_request(f"The condition operator '{operator[:50]}' is not supported.")


def _text(value: object) -> str:
    """A value for comparing, as both sides spell it: `True` and `true` are one."""
    return "" if value is None else str(value).lower()
