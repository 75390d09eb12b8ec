"""Definitions: tables, columns with casts, keys, relationships.

Definitions are made as JSON objects and then selected, filtered and expanded like any data; there is no paging.
Source: docs/protocols/dataverse.md#metadata, #checklist 29.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.errors import (
    DataverseError,
    bad_request,
    no_such_property,
    no_such_segment,
)
from dynsync_pipeline.emulators.dataverse.expand import options_of, split_outside
from dynsync_pipeline.emulators.dataverse.keys import split_segment
from dynsync_pipeline.emulators.dataverse.metadata_filter import matches
from dynsync_pipeline.emulators.dataverse.schema import ATTRIBUTE_TYPES, Column, Option, Schema, Table
from dynsync_pipeline.emulators.dataverse.values import stored_guid

SEGMENTS = ("EntityDefinitions", "RelationshipDefinitions", "GlobalOptionSetDefinitions")
PREFIX = "Microsoft.Dynamics.CRM."
TYPE_NAMES = {
    "text": "StringType", "memo": "MemoType", "integer": "IntegerType", "bigint": "BigIntType", "decimal":
    "DecimalType", "money": "MoneyType", "boolean": "BooleanType", "choice": "PicklistType", "choices":
    "MultiSelectPicklistType", "state": "StateType", "status": "StatusType", "datetime": "DateTimeType",
    "date": "DateTimeType", "lookup": "LookupType", "guid": "UniqueidentifierType",
}  # fmt: skip
CASTS = {
    "text": "String", "memo": "Memo", "integer": "Integer", "bigint": "BigInt", "decimal": "Decimal", "money": "Money",
    "boolean": "Boolean", "choice": "Picklist", "choices": "MultiSelectPicklist", "state": "State", "status": "Status",
    "datetime": "DateTime", "date": "DateTime", "lookup": "Lookup", "guid": "UniqueIdentifier",
}  # fmt: skip
EMPTY_CASTS = ("Double", "Image", "File", "EntityName", "ManagedProperty")
"""Types that exist and that no column here has."""
COMMON = frozenset({"@odata.type", "MetadataId", "LogicalName", "SchemaName", "AttributeType", "AttributeTypeName",
    "EntityLogicalName", "IsValidForRead", "IsValidForCreate", "IsValidForUpdate", "IsSecured", "CanBeSecuredForRead",
    "CanBeSecuredForCreate", "CanBeSecuredForUpdate", "RequiredLevel", "IsPrimaryId", "IsPrimaryName",
    "IsCustomAttribute", "IsLogical", "AttributeOf", "DisplayName", "Description", "IsValidODataAttribute",
    "ColumnNumber", "IsCustomizable"})  # fmt: skip
NAVIGATIONS = ("OptionSet", "GlobalOptionSet")
RELATED = ("Attributes", "Keys", "ManyToOneRelationships", "OneToManyRelationships", "ManyToManyRelationships")


def answer(call: Call) -> Answer:
    """Answer a read of definitions. Raises DataverseError 400 or 404."""
    name, key = split_segment(call.segments[0])
    rest = call.segments[1:]
    if name == "RelationshipDefinitions":
        return _relationships(call, key, rest)
    if name == "GlobalOptionSetDefinitions":
        if key is not None or rest:
            raise DataverseError(404, "0x80060888", "Could not find a global option set with that key.")
        return _list(call, name, [])
    if key is None:
        if rest:
            raise no_such_segment(rest[0][:100])
        definitions = [table_definition(call.schema, table) for table in call.schema.tables.values()]
        return _list(call, "EntityDefinitions", definitions)
    table = _table(call, key)
    if not rest:
        return _one(call, "EntityDefinitions", table_definition(call.schema, table))
    context = f"EntityDefinitions('{table.name}')/{rest[0]}"
    if rest[0].startswith("Attributes"):
        return _attributes(call, table, context, rest)
    if rest[0] in RELATED and len(rest) == 1:
        return _list(call, context, _related(call.schema, table, rest[0]))
    raise no_such_segment(rest[0][:100])


def table_definition(schema: Schema, table: Table) -> dict[str, Any]:
    """EntityMetadata of a table."""
    return {
        "MetadataId": table.metadata_id,
        "LogicalName": table.name,
        "SchemaName": table.name.capitalize(),
        "EntitySetName": table.entity_set,
        "LogicalCollectionName": table.entity_set,
        "CollectionSchemaName": table.entity_set.capitalize(),
        "PrimaryIdAttribute": table.primary_id,
        "PrimaryNameAttribute": table.primary_name,
        "PrimaryImageAttribute": None,
        "ObjectTypeCode": table.type_code,
        "ChangeTrackingEnabled": table.change_tracking,
        "CanChangeTrackingBeEnabled": _managed(table.writable, "canchangetrackingbeenabled"),
        "IsOptimisticConcurrencyEnabled": table.writable,
        "IsPrivate": False,
        "IsCustomEntity": False,
        "IsIntersect": False,
        "IsActivity": False,
        "HasActivities": False,
        "HasNotes": False,
        "IsValidForAdvancedFind": True,
        "OwnershipType": "UserOwned" if "ownerid" in table.columns and table.writable else "OrganizationOwned",
        "TableType": "Standard",
        "DisplayName": _label(table.name.capitalize()),
        "DisplayCollectionName": _label(table.entity_set.capitalize()),
        "Description": _label(f"Rows of {table.entity_set}."),
        "Attributes": [attribute(table, column) for column in table.columns.values()],
        **{name: _related(schema, table, name) for name in RELATED[1:]},
    }


def attribute(table: Table, column: Column) -> dict[str, Any]:
    """AttributeMetadata of a column, the parts of its own type included."""
    is_custom = "_" in column.name and column.name.split("_")[0] in ("mkt", "new")
    found: dict[str, Any] = {
        "@odata.type": f"#{PREFIX}{CASTS[column.kind]}AttributeMetadata",
        "MetadataId": _column_id(table, column),
        "EntityLogicalName": table.name,
        "LogicalName": column.name,
        "SchemaName": column.name.capitalize(),
        "AttributeType": _attribute_type(column),
        "AttributeTypeName": {"Value": _type_name(column)},
        "AttributeOf": None,
        "ColumnNumber": list(table.columns).index(column.name) + 1,
        "IsValidForRead": True,
        "IsValidForCreate": column.valid_for_create,
        "IsValidForUpdate": column.valid_for_update,
        "IsValidODataAttribute": True,
        "IsSecured": column.secured,
        "CanBeSecuredForRead": column.kind not in ("guid", "lookup", "bigint"),
        "CanBeSecuredForCreate": column.valid_for_create,
        "CanBeSecuredForUpdate": column.valid_for_update,
        "RequiredLevel": {
            "Value": column.required,
            "CanBeChanged": column.required != "SystemRequired",
            "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings",
        },
        "IsPrimaryId": column.name == table.primary_id,
        "IsPrimaryName": column.name == table.primary_name,
        "IsCustomAttribute": is_custom,
        "IsLogical": False,
        "IsCustomizable": _managed(True, "iscustomizable"),
        "DisplayName": _label(column.name),
        "Description": _label(""),
    }
    return {**found, **_specific(table, column)}


def _column_id(table: Table, column: Column) -> str:
    made = f" {column.made_at_version}" if column.made_at_version else ""
    return str(uuid.uuid5(uuid.UUID(table.metadata_id), f"{column.name}{made}"))


def _specific(table: Table, column: Column) -> dict[str, Any]:
    kind = column.kind
    if kind in ("text", "memo"):
        return {"MaxLength": column.max_length, "FormatName": {"Value": "Text" if kind == "text" else "TextArea"}}
    if kind in ("integer", "bigint"):
        return {"MinValue": int(column.minimum), "MaxValue": int(column.maximum), "Format": "None"}
    if kind in ("decimal", "money"):
        limits = {"MinValue": column.minimum, "MaxValue": column.maximum, "Precision": column.precision}
        return limits | ({"PrecisionSource": 0} if kind == "money" else {})
    if kind == "lookup":
        return {"Targets": [target.table for target in column.targets]}
    if kind == "date":
        return {"DateTimeBehavior": {"Value": "DateOnly"}, "Format": "DateOnly"}
    if kind == "datetime":
        return {"DateTimeBehavior": {"Value": column.time_behavior}, "Format": "DateAndTime"}
    return _specific_options(table, column)


def _specific_options(table: Table, column: Column) -> dict[str, Any]:
    if not column.options:
        return {}
    shared = _option_set(table, column)
    if column.kind == "boolean":
        no, yes = map(_option, column.options)
        return {
            "DefaultValue": bool(column.default),
            "OptionSet": {**shared, "FalseOption": no, "TrueOption": yes},
            "GlobalOptionSet": None,
        }
    return {
        "OptionSet": {**shared, "Options": [_option(option) for option in column.options]},
        "GlobalOptionSet": None,
        "DefaultFormValue": None,
    }


def _option_set(table: Table, column: Column) -> dict[str, Any]:
    name = f"{table.name}_{column.name}"
    kinds = {"boolean": "Boolean", "state": "State", "status": "Status"}
    return {
        "MetadataId": str(uuid.uuid5(uuid.UUID(table.metadata_id), f"options of {column.name}")),
        "Name": name,
        "IsGlobal": False,
        "IsCustomOptionSet": False,
        "OptionSetType": kinds.get(column.kind, "Picklist"),
        "DisplayName": _label(column.name),
    }


def _option(option: Option) -> dict[str, Any]:
    found: dict[str, Any] = {"Value": option.value, "Label": _label(option.label), "Description": _label("")}
    if option.state is not None:
        found["State"] = option.state
    return found


def _related(schema: Schema, table: Table, name: str) -> list[dict[str, Any]]:
    if name == "Attributes":
        return [attribute(table, column) for column in table.columns.values()]
    if name == "Keys":
        return [_key(table, key, columns) for key, columns in table.keys.items()]
    if name == "ManyToOneRelationships":
        return [_relationship(schema, table, column, n) for column in table.columns.values() for n in _targets(column)]
    return _one_to_many(schema, table) if name == "OneToManyRelationships" else []


def _key(table: Table, key: str, columns: Iterable[str]) -> dict[str, Any]:
    return {
        "MetadataId": str(uuid.uuid5(uuid.UUID(table.metadata_id), f"key {key}")),
        "SchemaName": key,
        "LogicalName": key.lower(),
        "EntityLogicalName": table.name,
        "KeyAttributes": list(columns),
        "EntityKeyIndexStatus": "Active",
        "DisplayName": _label(key),
    }


def _one_to_many(schema: Schema, table: Table) -> list[dict[str, Any]]:
    return [
        _relationship(schema, other, column, n)
        for other in schema.tables.values()
        for column in other.columns.values()
        for n, target in enumerate(column.targets)
        if target.table == table.name
    ]


def _relationships(call: Call, key: str | None, rest: list[str]) -> Answer:
    casts = ("OneToManyRelationshipMetadata", "ManyToManyRelationshipMetadata")
    cast = rest[0].removeprefix(PREFIX) if rest else None
    if len(rest) > 1 or (cast and cast not in casts):
        raise no_such_segment(rest[-1][:100])
    tables = () if cast == casts[1] else call.schema.tables.values()
    found = [one for table in tables for one in _related(call.schema, table, RELATED[2])]
    if key is None:
        return _list(call, "RelationshipDefinitions", found)
    return _one(call, "RelationshipDefinitions", _relationship_of(key, found))


def _relationship_of(key: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = re.fullmatch(r"(?:SchemaName='(\w+)'|([0-9a-fA-F-]{36}))", key.strip())
    for one in found:
        if wanted and (one["SchemaName"] == wanted[1] or one["MetadataId"] == (wanted[2] or "").lower()):
            return one
    raise DataverseError(404, "0x80060888", f"Could not find a relationship with '{key[:100]}'.")


def _targets(column: Column) -> range:
    return range(len(column.targets))


def _relationship(schema: Schema, table: Table, column: Column, n_target: int) -> dict[str, Any]:
    target = column.targets[n_target]
    name = target.collection or f"{target.table}_{table.name}_{column.name}"
    return {
        "@odata.type": f"#{PREFIX}OneToManyRelationshipMetadata",
        "MetadataId": str(uuid.uuid5(uuid.UUID(table.metadata_id), f"relationship {name}")),
        "SchemaName": name,
        "RelationshipType": "OneToManyRelationship",
        "ReferencingEntity": table.name,
        "ReferencingAttribute": column.name,
        "ReferencedEntity": target.table,
        "ReferencedAttribute": schema.tables[target.table].primary_id,
        "ReferencingEntityNavigationPropertyName": target.navigation,
        "ReferencedEntityNavigationPropertyName": target.collection or name,
    }


def _attributes(call: Call, table: Table, context: str, rest: list[str]) -> Answer:
    _, key = split_segment(rest[0])
    cast = rest[1].removeprefix(PREFIX).removesuffix("AttributeMetadata") if len(rest) > 1 else None
    if len(rest) > 2 or (cast is not None and cast not in (*CASTS.values(), *EMPTY_CASTS)):
        raise no_such_segment(rest[-1][:100])
    found = _attributes_of(table, cast)
    context += f"/{rest[1]}" if cast is not None else ""
    if key is None:
        return _list(call, context, found)
    name = _logical_name(key)
    for one in found:
        if name in (one["LogicalName"], one["MetadataId"]):
            return _one(call, context, one)
    raise DataverseError(404, "0x80060888", f"Could not find an attribute with '{name[:100]}' on '{table.name}'.")


def _attributes_of(table: Table, cast: str | None) -> list[dict[str, Any]]:
    if cast is not None:
        return [attribute(table, column) for column in table.columns.values() if CASTS[column.kind] == cast]
    # What only one type has shows only after a cast (9.29).
    found = [attribute(table, column) for column in table.columns.values()]
    return [{name: value for name, value in one.items() if name in COMMON} for one in found]


def _list(call: Call, context: str, items: list[dict[str, Any]]) -> Answer:
    for option in call.options:
        if option not in ("$select", "$filter", "$expand", "$count"):
            raise bad_request(f"The query parameter '{option}' is not supported for metadata.")
    kept = _kept(call.options.get("$filter"), call.aliases, items)
    body: dict[str, Any] = {"@odata.context": f"{call.root}$metadata#{context}"}
    if call.options.get("$count") == "true":
        body["@odata.count"] = len(kept)
    return Answer.json({**body, "value": [_shaped(call.options, item, items) for item in kept]})


def _one(call: Call, context: str, item: dict[str, Any]) -> Answer:
    shaped = _shaped(call.options, item, [item])
    return Answer.json({"@odata.context": f"{call.root}$metadata#{context}/$entity", **shaped})


def _shaped(options: dict[str, str], item: dict[str, Any], items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Apply `$select` and `$expand`; what is reached by navigation shows only when expanded."""
    shaped = _selected(options.get("$select"), item, items)
    for part in split_outside(options.get("$expand", ""), ","):
        name, _, rest = part.strip().partition("(")
        if name not in HIDDEN or not any(name in one for one in items):
            raise no_such_property(name[:100], "EntityMetadata or AttributeMetadata")
        if name in item:
            shaped[name] = _expanded(options_of(rest.rpartition(")")[0]), item[name])
    return shaped


HIDDEN = frozenset((*NAVIGATIONS, *RELATED))


def _selected(select: str | None, item: dict[str, Any], items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    if not select:
        return {name: value for name, value in item.items() if name not in HIDDEN}
    names = [name.strip() for name in select.split(",")]
    known = {name for one in items for name in one}
    for name in names:
        if name not in known:
            raise no_such_property(name[:100], "EntityMetadata or AttributeMetadata")
    return {name: item[name] for name in ("@odata.type", "MetadataId", *names) if name in item}


def _expanded(options: dict[str, str], value: Any) -> Any:
    if not isinstance(value, list):
        return _shaped(options, value, [value]) if value else None
    return [_shaped(options, one, value) for one in _kept(options.get("$filter"), {}, value)]


def _kept(text: str | None, aliases: dict[str, str], items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The definitions that a filter lets through."""
    return items if text is None else [item for item in items if matches(text, aliases, item)]


def _table(call: Call, key: str) -> Table:
    name = _logical_name(key)
    for table in call.schema.tables.values():
        if name in (table.name, table.metadata_id):
            return table
    raise DataverseError(404, "0x80060888", f"Could not find an entity with specified entity name: '{name[:100]}'")


def _logical_name(key: str) -> str:
    match = re.fullmatch(r"LogicalName\s*=\s*'([\w]+)'", key.strip())
    name = match[1] if match else stored_guid(key) or stored_guid(key.partition("=")[2])
    if name is None:
        raise bad_request("The key in the request URI is not valid for a metadata resource.")
    return name


def _attribute_type(column: Column) -> str:
    if column.name == "ownerid" and column.kind == "lookup":
        return "Owner"
    return "Customer" if column.name in ("parentcustomerid", "customerid") else ATTRIBUTE_TYPES[column.kind]


def _type_name(column: Column) -> str:
    special = _attribute_type(column)
    return f"{special}Type" if special in ("Owner", "Customer") else TYPE_NAMES[column.kind]


def _managed(value: bool, name: str) -> dict[str, Any]:
    return {"Value": value, "CanBeChanged": value, "ManagedPropertyLogicalName": name}


def _label(text: str) -> dict[str, Any]:
    if not text:
        return {"LocalizedLabels": [], "UserLocalizedLabel": None}
    one = {
        "Label": text,
        "LanguageCode": 1033,
        "IsManaged": True,
        "MetadataId": str(uuid.uuid5(uuid.NAMESPACE_OID, text)),
    }
    return {"LocalizedLabels": [one], "UserLocalizedLabel": one}
