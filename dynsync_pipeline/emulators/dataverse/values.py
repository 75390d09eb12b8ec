"""Values on their way in: from JSON, or a `$filter` literal, to what SQLite stores.

Stored: money as whole ten-thousandths, booleans 0/1, GUIDs lower-case, times `YYYY-MM-DDThh:mm:ssZ`. Not here: the way
out (`rows.py`).
Source: docs/protocols/dataverse.md#values, #errors.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_payload
from dynsync_pipeline.emulators.dataverse.schema import EDM_TYPES, MONEY_SCALE, Column, Table

OLDEST = "1753-01-01"
INT32 = 2**31
_GUID = re.compile(r"\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\}?")


def to_sql(table: Table, column: Column, value: Any) -> object:
    """The stored form of a JSON value. Raises DataverseError 400 with the vendor's code for what is wrong with it."""
    if value is None:
        return None
    if column.kind in _READERS:
        return _READERS[column.kind](table, column, value)
    if not isinstance(value, str):
        raise _not_a(table, column, value)
    stored = _STORED.get(column.kind, stored_time)(value)
    if stored is None:
        raise _not_a(table, column, value)
    if column.kind in ("date", "datetime") and stored < OLDEST:
        raise DataverseError(
            400,
            "0x80040203",
            f"DateTime is less than minimum value supported by CrmDateTime. Actual value: {stored}, Minimum value "
            "supported: 01/01/1753 00:00:00",
        )
    return stored


def stored_guid(text: str) -> str | None:
    """A GUID in lower case, None if it is none."""
    match = _GUID.fullmatch(text.strip())
    return str(uuid.UUID(match[1])) if match else None


def stored_date(text: str) -> str | None:
    """A calendar date, None if it is none."""
    try:
        return date.fromisoformat(text).isoformat() if len(text) == 10 else None
    except ValueError:
        return None


def stored_time(text: str) -> str | None:
    """A time in whole seconds UTC; without an offset it counts as UTC. None if it is no time."""
    if len(text) < 10 or text[4:5] != "-":
        return None
    # More than six digits of a second are legal in OData and not in Python.
    cut = re.sub(r"(\.\d{1,6})\d*", r"\1", text)
    try:
        at = datetime.fromisoformat(cut)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{at.year:04d}-{at:%m-%dT%H:%M:%SZ}"


def money(value: Decimal) -> int:
    """An amount as whole ten-thousandths."""
    return int(value * MONEY_SCALE)


def _text(table: Table, column: Column, value: Any) -> str | None:
    if not isinstance(value, str):
        raise _not_a(table, column, value)
    # The database counts UTF-16 units: an emoji takes two.
    if len(value.encode("utf-16-le", "surrogatepass")) // 2 > column.max_length:
        raise DataverseError(
            400,
            "0x80044331",
            f"A validation error occurred.  The length of the '{column.name}' attribute of the '{table.name}' entity "
            f"exceeded the maximum allowed length of '{column.max_length}'.",
        )
    return value or None


def _integer(table: Table, column: Column, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _not_a(table, column, value)
    if column.kind != "bigint" and not -INT32 <= value < INT32:
        raise _not_a(table, column, value)
    return value


def _in_range(table: Table, column: Column, value: int) -> int:
    if not column.minimum <= value <= column.maximum and column.kind != "bigint":
        raise _out_of_range(table, column, value)
    return value


def _out_of_range(table: Table, column: Column, value: object) -> DataverseError:
    return DataverseError(
        400,
        "0x80044330",
        f"A validation error occurred. The value {value} of '{column.name}' on record of type '{table.name}' is "
        f"outside the valid range. Accepted Values: {column.minimum:.0f} to {column.maximum:.0f}",
    )


def _option(table: Table, column: Column, value: int) -> int:
    if column.label(value) is None:
        accepted = ",".join(str(option.value) for option in column.options)
        raise DataverseError(
            400,
            "0x8004431a",
            f"A validation error occurred. The value {value} of '{column.name}' on record of type '{table.name}' is "
            f"outside the valid range. Accepted Values: {accepted}",
        )
    return value


def _options(table: Table, column: Column, value: Any) -> str | None:
    if not isinstance(value, str):
        raise _not_a(table, column, value)
    try:
        chosen = sorted({int(part) for part in value.split(",") if part.strip()})
    except ValueError:
        raise _not_a(table, column, value) from None
    return ",".join(str(_option(table, column, one)) for one in chosen) or None


def _number(table: Table, column: Column, value: Any) -> object:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _not_a(table, column, value)
    try:
        number = Decimal(value)
        rounded = number.quantize(Decimal(1).scaleb(-column.precision), ROUND_HALF_UP)
    except InvalidOperation:
        raise _not_a(table, column, value) from None
    if not Decimal(column.minimum) <= rounded <= Decimal(column.maximum):
        raise _out_of_range(table, column, number)
    return money(rounded) if column.kind == "money" else float(rounded)


def _not_a(table: Table, column: Column, value: Any) -> DataverseError:
    literal = "..." if isinstance(value, dict | list) else str(value)[:100]
    if isinstance(value, bool):
        literal = literal.lower()
    return bad_payload(
        table.entity_set, f"Cannot convert the literal '{literal}' to the expected type '{EDM_TYPES[column.kind]}'."
    )


def _boolean(table: Table, column: Column, value: Any) -> int:
    if not isinstance(value, bool):
        raise _not_a(table, column, value)
    return int(value)


def _one_option(table: Table, column: Column, value: Any) -> object:
    return _option(table, column, _integer(table, column, value))


def _whole_number(table: Table, column: Column, value: Any) -> object:
    return _in_range(table, column, _integer(table, column, value))


_READERS: dict[str, Callable[[Table, Column, Any], object]] = {
    **dict.fromkeys(("text", "memo"), _text),
    **dict.fromkeys(("choice", "state", "status"), _one_option),
    **dict.fromkeys(("integer", "bigint"), _whole_number),
    **dict.fromkeys(("money", "decimal"), _number),
    "boolean": _boolean,
    "choices": _options,
}
_STORED: dict[str, Callable[[str], str | None]] = {"guid": stored_guid, "date": stored_date}  # all others are times
