"""Table and column definitions: which queries to send, and what their answers add up to. No I/O.

Source: docs/protocols/dataverse.md#metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from dynsync_pipeline.clients.dynamics.protocol import ColumnMetadata, TableMetadata
from dynsync_pipeline.clients.pieces import FAULTS, members, sorted_out, told_once
from dynsync_pipeline.clients.rows import Unreadable

_CAST = "Attributes/Microsoft.Dynamics.CRM."
# Lengths, bounds, precisions, time behaviour and options are only shown by the column's own kind, so each kind is one more query.
_OF_KIND = {
    "StringAttributeMetadata": "MaxLength",
    "MemoAttributeMetadata": "MaxLength",
    "IntegerAttributeMetadata": "MinValue,MaxValue",
    "DecimalAttributeMetadata": "MinValue,MaxValue,Precision",
    "DoubleAttributeMetadata": "MinValue,MaxValue,Precision",
    "MoneyAttributeMetadata": "MinValue,MaxValue,Precision,PrecisionSource",
    "DateTimeAttributeMetadata": "DateTimeBehavior",
}
MONEY_PLACES = 4  # the most, where a column takes its precision from the organisation or the row's currency
_WITH_OPTIONS = (
    *("PicklistAttributeMetadata", "MultiSelectPicklistAttributeMetadata"),
    *("StateAttributeMetadata", "StatusAttributeMetadata"),
)
_LOOKUPS = frozenset({"Lookup", "Customer", "Owner"})


class _Label(msgspec.Struct):
    text: str | None = msgspec.field(default=None, name="Label")


class _Labels(msgspec.Struct):
    of_user: _Label | None = msgspec.field(default=None, name="UserLocalizedLabel")
    all: list[_Label] = msgspec.field(default_factory=list, name="LocalizedLabels")


class _Option(msgspec.Struct):
    value: int = msgspec.field(name="Value")
    label: _Labels = msgspec.field(name="Label")


class _OptionSet(msgspec.Struct):
    options: list[_Option] = msgspec.field(default_factory=list, name="Options")


class _Value(msgspec.Struct):
    value: str | None = msgspec.field(default=None, name="Value")


class _Attribute(msgspec.Struct):
    name: str = msgspec.field(name="LogicalName")
    kind: str = msgspec.field(default="", name="AttributeType")
    kind_of_virtual: _Value | None = msgspec.field(default=None, name="AttributeTypeName")
    metadata_id: str | None = msgspec.field(default=None, name="MetadataId")
    is_readable: bool = msgspec.field(default=False, name="IsValidForRead")
    is_updatable: bool = msgspec.field(default=False, name="IsValidForUpdate")
    is_creatable: bool = msgspec.field(default=False, name="IsValidForCreate")
    is_secured: bool = msgspec.field(default=False, name="IsSecured")
    max_length: int | None = msgspec.field(default=None, name="MaxLength")
    minimum: float | None = msgspec.field(default=None, name="MinValue")
    maximum: float | None = msgspec.field(default=None, name="MaxValue")
    required: _Value | None = msgspec.field(default=None, name="RequiredLevel")
    precision: int | None = msgspec.field(default=None, name="Precision")
    precision_source: int | None = msgspec.field(default=None, name="PrecisionSource")
    time_behavior: _Value | None = msgspec.field(default=None, name="DateTimeBehavior")
    option_set: _OptionSet | None = msgspec.field(default=None, name="OptionSet")
    global_option_set: _OptionSet | None = msgspec.field(default=None, name="GlobalOptionSet")


class _Attributes(msgspec.Struct):
    value: list[_Attribute]


class _Table(msgspec.Struct):
    entity_set: str = msgspec.field(name="EntitySetName")
    is_change_tracked: bool = msgspec.field(name="ChangeTrackingEnabled")


class _Counts(msgspec.Struct):
    keys: list[str] = msgspec.field(name="Keys")
    values: list[int] = msgspec.field(name="Values")


class _CountsAnswer(msgspec.Struct):
    collection: _Counts = msgspec.field(name="EntityRecordCountCollection")


_counts = msgspec.json.Decoder(_CountsAnswer)
_table = msgspec.json.Decoder(_Table)
_attributes = msgspec.json.Decoder(_Attributes)
_attribute = msgspec.json.Decoder(_Attribute)


def table_query(logical_name: str) -> str:
    """Path and query of the table's own definition."""
    return (
        f"EntityDefinitions(LogicalName='{logical_name}')"
        "?$select=LogicalName,EntitySetName,PrimaryIdAttribute,ChangeTrackingEnabled"
    )


def column_queries(logical_name: str) -> tuple[str, ...]:
    """Path and query of each answer that `table_metadata` needs about the columns."""
    base = f"EntityDefinitions(LogicalName='{logical_name}')/"
    return (
        base + "Attributes?$select=LogicalName,AttributeType,AttributeTypeName,IsSecured,"
        "IsValidForRead,IsValidForCreate,IsValidForUpdate,RequiredLevel",
        *(base + f"{_CAST}{kind}?$select=LogicalName,{names}" for kind, names in _OF_KIND.items()),
        *(
            base + f"{_CAST}{kind}?$select=LogicalName&$expand=OptionSet($select=Options)"
            + (",GlobalOptionSet($select=Options)" if "Picklist" in kind else "")
            for kind in _WITH_OPTIONS
        ),
    )  # fmt: skip


def counts_query(logical_names: Sequence[str]) -> str:
    """Path and query that ask for the number of rows of these tables, which may be a day old."""
    names = quote("[" + ",".join(f'"{name}"' for name in logical_names) + "]")
    return f"RetrieveTotalRecordCount(EntityNames=@p)?@p={names}"


def record_counts(body: bytes) -> dict[str, int]:
    """The answer to `counts_query`, by logical name. Raises: msgspec.DecodeError."""
    counts = _counts.decode(body).collection
    return dict(zip(counts.keys, counts.values, strict=True))


def table_metadata(table: bytes, columns: tuple[bytes, ...]) -> TableMetadata:
    """The answers to `table_query` and `column_queries` put together; a column any part of whose definition cannot be read,
    such as one label, is left out. Raises: what `pieces.FAULTS` holds.
    """
    definition = _table.decode(table)
    (plain, unread), *detailed = (_read_attributes(body) for body in columns)
    details: dict[str, _Attribute] = {}
    for attributes, names in detailed:
        details |= {attribute.name: attribute for attribute in attributes}
        unread |= names
    found: dict[str, ColumnMetadata] = {}
    for attribute in plain:
        if attribute.name in unread:
            continue
        more = details.get(attribute.name, attribute)
        column = ColumnMetadata(
            name=attribute.name,
            attribute_type=_kind(attribute),
            metadata_id=attribute.metadata_id,
            is_readable=attribute.is_readable,
            is_updatable=attribute.is_updatable,
            is_creatable=attribute.is_creatable,
            is_secured=attribute.is_secured,
            max_length=more.max_length,
            minimum=more.minimum,
            maximum=more.maximum,
            is_required=_level(attribute) == "SystemRequired",
            is_business_required=_level(attribute) == "ApplicationRequired",
            precision=MONEY_PLACES if more.precision_source else more.precision,
            time_behavior=more.time_behavior.value if more.time_behavior else None,
            options=_options(more),
        )
        found[attribute.name] = column
        if attribute.kind in _LOOKUPS:
            found[f"_{attribute.name}_value"] = column
    return TableMetadata(definition.entity_set, definition.is_change_tracked, found)


def _read_attributes(body: bytes) -> tuple[list[_Attribute], set[str]]:
    """The columns of an answer, and the names of those that cannot be read. Raises: what `pieces.FAULTS` holds."""
    try:
        return _attributes.decode(body).value, set()
    except FAULTS:
        found, bad = sorted_out(members(body).get("value", b""), _attribute.decode)
    names = [told_once(piece, "LogicalName", r"\w+") for piece in bad]
    told = {name for name in names if name is not None}
    if len(told) < len(names):
        raise Unreadable("it holds a column that cannot be read and tells no name")
    return found, told


def _kind(attribute: _Attribute) -> str:
    """The older name of the type, which knows what came later as Virtual only, such as options of which several are chosen."""
    if attribute.kind == "Virtual" and attribute.kind_of_virtual is not None:
        return (attribute.kind_of_virtual.value or "").removesuffix("Type") or attribute.kind
    return attribute.kind


def _level(attribute: _Attribute) -> str | None:
    return None if attribute.required is None else attribute.required.value


def _options(attribute: _Attribute) -> Mapping[int, str]:
    sets = (attribute.option_set, attribute.global_option_set)
    options = next((each.options for each in sets if each is not None and each.options), [])
    return {option.value: _label(option) for option in options}


def _label(option: _Option) -> str:
    """The label in the user's language, else the first one, else the number."""
    candidates = (option.label.of_user, *option.label.all)
    return next((each.text for each in candidates if each is not None and each.text), str(option.value))
