"""How a row is addressed: `contacts(<guid>)`, `contacts(new_extid='A1')`.

Source: docs/protocols/dataverse.md#single-rows, #single-writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dynsync_pipeline.emulators.dataverse.call import Call
from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request, no_such_key, no_such_segment
from dynsync_pipeline.emulators.dataverse.filters import literal, parse_filter
from dynsync_pipeline.emulators.dataverse.schema import Column, Table
from dynsync_pipeline.emulators.dataverse.values import stored_guid

_SEGMENT = re.compile(r"([A-Za-z_][\w.]*)\((.*)\)", re.DOTALL)
_PAIR = re.compile(r"\s*(\w+)\s*=\s*('(?:[^']|'')*'|[^,']+?)\s*(?:,|$)")


@dataclass(frozen=True)
class Address:
    """A row's address: `row_id` None means that no row has the key values; `by_key` holds them as stored."""

    table: Table
    row_id: str | None
    by_key: dict[str, object] = field(default_factory=dict)

    def existing(self) -> str:
        """The row's id. Raises DataverseError 404 if no row has the key."""
        if self.row_id is None:
            raise no_such_key(self.table.name)
        return self.row_id


def split_segment(segment: str) -> tuple[str, str | None]:
    """`contacts(x)` as (`contacts`, `x`); without parentheses the second is None."""
    match = _SEGMENT.fullmatch(segment)
    return (match[1], match[2]) if match else (segment, None)


def resolve(call: Call, table: Table, key: str) -> Address:
    """The row that the text in parentheses stands for. Raises DataverseError 400 for a key that is not declared."""
    row_id = stored_guid(key)
    if row_id:
        return Address(table, row_id)
    pairs = _pairs(key)
    names = {_column_name(wire): wire for wire in pairs}
    if list(names) == [table.key_property] and (value := stored_guid(next(iter(pairs.values())))):
        return Address(table, value)
    if not pairs or not any(set(names) == set(columns) for columns in table.keys.values()):
        raise _no_key(table)
    values = {name: _value(call, table.columns[name], pairs[wire]) for name, wire in names.items()}
    return Address(table, _found(call, table, values), values)


def _no_key(table: Table) -> DataverseError:
    return bad_request(
        f"The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.{table.name}'. Ensure that "
        "the names and number of key properties match the declared key or alternate key properties for the "
        f"resource 'Microsoft.Dynamics.CRM.{table.name}'.",
        "0x80060888",
    )


def _found(call: Call, table: Table, values: dict[str, object]) -> str | None:
    """The id of the row with these values."""
    where = " and ".join(f'"{name}" is ? collate nocase' for name in values)
    row = call.connection.execute(
        f'select "{table.primary_id}" from "{table.name}" where {where}', tuple(values.values())
    ).fetchone()
    return row[0] if row else None


def resolve_reference(call: Call, text: str) -> Address:
    """The row a URL in a bind names: relative with or without slash, or absolute. Raises DataverseError 400 or 404."""
    path = text.removeprefix(call.root)
    if "://" in path:
        path = path.partition("/api/data/")[2].partition("/")[2]
    path = path.lstrip("/")
    if path.startswith("api/data/"):
        path = path.split("/", 3)[-1]
    name, key = split_segment(path)
    table = call.schema.by_set.get(name)
    if table is None or key is None:
        raise no_such_segment(name[:100])
    return resolve(call, table, key)


def unique_violation(table: Table, text: str) -> DataverseError:
    """The error for a broken unique index; `text` is SQLite's message."""
    for name, columns in table.keys.items():
        if all(f"{table.name}.{column}" in text for column in columns) or f"_key_{name}" in text:
            return DataverseError(
                412,
                "0x80060892",
                f"Entity Key {name} violated. A record with the same value for {', '.join(columns)} already exists. A "
                "duplicate record cannot be created. Select one or more unique values and try again.",
            )
    return DataverseError(412, "0x80040237", "A record with matching key values already exists.")


def _pairs(key: str) -> dict[str, str]:
    """`name=value,name=value` by name; empty where the text is something else."""
    whole = "".join(match.group(0) for match in _PAIR.finditer(key))
    return dict(_PAIR.findall(key)) if whole == key else {}


def _column_name(wire: str) -> str:
    """A lookup's column, from its name on the wire."""
    return wire.removeprefix("_").removesuffix("_value") if wire[:1] == "_" else wire


def _value(call: Call, column: Column, text: str) -> object:
    return literal(column, parse_filter(text, call.aliases), "Equal")
