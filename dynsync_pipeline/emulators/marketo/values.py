"""What a value must look like to be stored in a field of a type, and how stored values are written in answers.

Not here: which fields exist.
Source: docs/protocols/marketo.md#envelope, #writing-people, #field-types.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime

from dynsync_pipeline.emulators.marketo.fields import INTEGER_TYPES, REAL_TYPES, STRING_TYPES, TEXT_LIMIT_BYTES, Field

Stored = str | int | float | None

# Deliberately simple; what matters is ASCII only, exactly one @ and a dot in the domain.
_EMAIL = re.compile(r"[!-?A-~]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]{5,16} ?(Z|[+-][0-9]{2}:?[0-9]{2})?)?")


class BadValue(ValueError):
    """The value does not fit the field; answered as 1003."""


def stored_value(field: Field, value: object) -> Stored:
    """The form in which `value`, as it came in JSON or CSV, is kept. Raises: BadValue."""
    if value is None or value == "":
        return 0 if field.type == "boolean" else None
    if field.type in STRING_TYPES:
        return _text(field, value)
    return _READERS.get(field.type, _datetime)(value)


def shown_value(field: Field, value: Stored) -> object:
    """The JSON form of a stored value."""
    return bool(value) if field.type == "boolean" else value


def text_value(field: Field, value: Stored) -> str | None:
    """The form activities and exports use: everything is text, booleans are words."""
    if field.type == "boolean":
        return "true" if value else "false"
    return None if value is None else str(value)


def utc_text(moment: datetime) -> str:
    """`2026-01-31T08:00:00Z`: the only form in which the lead database shows times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_moment(text: str) -> datetime:
    """An ISO 8601 moment; without an offset it is UTC. Raises: BadValue."""
    text = text.strip()
    if not _DATETIME.fullmatch(text):
        raise BadValue(text)
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadValue(text) from error


def _text(field: Field, value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, str | int | float) or _is_too_long(field, text):
        raise BadValue(field.name)
    if field.type == "email" and not _EMAIL.fullmatch(text):
        raise BadValue(field.name)
    return text


def _is_too_long(field: Field, text: str) -> bool:
    if field.type == "text":
        return len(text) > TEXT_LIMIT_BYTES or len(text.encode()) > TEXT_LIMIT_BYTES
    return len(text) > (field.length or 255)


def _boolean(value: object) -> int:
    if isinstance(value, str):
        value = value.lower()
    if value in (True, "true", "1", "yes"):
        return 1
    if value in (False, "false", "0", "no"):
        return 0
    raise BadValue("boolean")


def _integer(value: object) -> int:
    if isinstance(value, str | float) and _is_whole(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise BadValue("integer")
    return value


def _is_whole(value: str | float) -> bool:
    return value.is_integer() if isinstance(value, float) else _INTEGER.fullmatch(value) is not None


def _real(value: object) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise BadValue("number")
    return float(value)


def _date(value: object) -> str:
    if not isinstance(value, str):
        raise BadValue("date")
    if not _DATE.fullmatch(value):
        return parse_moment(value).date().isoformat()
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise BadValue("date") from error


def _datetime(value: object) -> str:
    if not isinstance(value, str):
        raise BadValue("datetime")
    return utc_text(parse_moment(value))


_READERS: dict[str, Callable[[object], Stored]] = {
    **dict.fromkeys(INTEGER_TYPES, _integer),
    **dict.fromkeys(REAL_TYPES, _real),
    "boolean": _boolean,
    "date": _date,
}
