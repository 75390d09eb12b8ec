"""Dataverse's own query functions, `Microsoft.Dynamics.CRM.In` and its like, as SQL with bound values.

Built are those a sync or a report uses; any other name gets an error that names it, never a wrong answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from odata_query import ast

from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request
from dynsync_pipeline.emulators.dataverse.schema import Column
from dynsync_pipeline.emulators.dataverse.values import money, stored_date, stored_guid, stored_time

_ITEM = re.compile(r"""\s*("(?:[^"\\]|\\.)*+"|'(?:[^']|'')*+'|[^\s"',][^"',]*+)\s*(?:,|$)""")
UNITS = {"Minutes": timedelta(minutes=1), "Hours": timedelta(hours=1), "Days": timedelta(days=1), "Weeks": timedelta(7)}


def condition(
    name: str, column: Column, sql: str, given: dict[str, Any], user_id: str, now: datetime
) -> tuple[str, list[object]]:
    """SQL and values of the function `name` on a column; `given` are its named parameters.

    Raises DataverseError 400 for unknown functions and unfit parameters.
    """
    if name in ("In", "NotIn"):
        return _in(name, column, sql, _values(name, column, given))
    if name in ("Between", "NotBetween"):
        values = _values(name, column, given)
        if len(values) != 2:
            raise bad_request(f"Microsoft.Dynamics.CRM.{name} needs two values.")
        return f"coalesce({sql} between ? and ?, 0) = {int(name == 'Between')}", values
    if name in ("ContainValues", "DoesNotContainValues"):
        values = _values(name, column, given)
        found = " or ".join([f"instr(',' || {sql} || ',', ',' || ? || ',') > 0"] * len(values)) or "0"
        return f"coalesce({found}, 0) = {int(name == 'ContainValues')}", values
    if name in ("EqualUserId", "NotEqualUserId"):
        return f"{sql} {'is' if name == 'EqualUserId' else 'is not'} ?", [user_id]
    if column.kind in ("date", "datetime"):
        return _about_time(name, column, sql, given, now)
    raise _unknown(name)


def _in(name: str, column: Column, sql: str, values: list[object]) -> tuple[str, list[object]]:
    marks = ", ".join("?" * len(values))
    text = column.kind in ("text", "memo")
    member = f"fold({sql}) in ({', '.join(['fold(?)'] * len(values))})" if text else f"{sql} in ({marks})"
    return (member if name == "In" else f"not coalesce({member}, 0)"), values


def _values(name: str, column: Column, given: dict[str, Any]) -> list[object]:
    """The parameter PropertyValues: a list of texts in either kind of quotes, whatever the column's type."""
    node = given.get("PropertyValues")
    text = node.val.strip() if isinstance(node, ast.String) else ""
    inside = text[1:-1]
    items = list(_ITEM.finditer(inside))
    if (text[:1], text[-1:]) != ("[", "]") or "".join(item[0] for item in items) != inside:
        raise bad_request(f"Microsoft.Dynamics.CRM.{name} needs the parameter PropertyValues, a list.")
    return [stored_text(name, column, _unquoted(item[1])) for item in items]


def _unquoted(item: str) -> str:
    if item[0] == "'":
        return item[1:-1].replace("''", "'")
    try:
        return str(msgspec.json.decode(item)) if item[0] == '"' else item.strip()
    except msgspec.DecodeError:
        raise bad_request(f"The text {item[:100]} is malformed.") from None


def stored_text(name: str, column: Column, value: object) -> object:
    """The stored form of a value given as text, whatever its type. Raises DataverseError 400 if it does not fit."""
    text = str(value)
    try:
        stored = _FROM_TEXT.get(column.kind, int)(text)
    except (ValueError, ArithmeticError):
        stored = None
    if stored is None:
        raise bad_request(f"Microsoft.Dynamics.CRM.{name}: '{text[:50]}' does not fit the column '{column.name}'.")
    return stored


_FROM_TEXT: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("text", "memo", "choices"), str),
    **dict.fromkeys(("guid", "lookup"), stored_guid),
    "date": stored_date,
    "datetime": stored_time,
    "boolean": lambda text: {"true": 1, "1": 1, "false": 0, "0": 0}.get(text.lower()),
    "money": lambda text: money(Decimal(text)),
}  # all others are whole numbers


def _about_time(name: str, column: Column, sql: str, given: dict[str, Any], now: datetime) -> tuple[str, list[object]]:
    if name in DAYS:
        return f"substr({sql}, 1, 10) = ?", [(now.date() + timedelta(days=DAYS[name])).isoformat()]
    text = str(getattr(given.get("PropertyValue"), "val", ""))
    if name in DATE_OPERATORS:
        value = stored_date(text[:10])
        if value is None:
            raise bad_request(f"Microsoft.Dynamics.CRM.{name} needs the parameter PropertyValue, a date.")
        return f"substr({sql}, 1, 10) {DATE_OPERATORS[name]} ?", [value]
    for way in ("LastX", "NextX", "OlderThanX"):
        unit = UNITS.get(name.removeprefix(way)) if name.startswith(way) else None
        if unit is not None:
            edge = now + unit * _number(name, text) * (1 if way == "NextX" else -1)
            ends = [_time(column, moment) for moment in sorted((now, edge))]
            return (f"{sql} < ?", ends[:1]) if way == "OlderThanX" else (f"{sql} between ? and ?", ends)
    raise _unknown(name)


DAYS = {"Today": 0, "Yesterday": -1, "Tomorrow": 1}
DATE_OPERATORS = {"On": "is", "NotOn": "is not", "OnOrAfter": ">=", "OnOrBefore": "<="}


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 6:
        raise bad_request(f"Microsoft.Dynamics.CRM.{name} needs the parameter PropertyValue, a whole number.")
    return int(text)


def _time(column: Column, moment: datetime) -> object:
    return moment.date().isoformat() if column.kind == "date" else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _unknown(name: str) -> DataverseError:
    return bad_request(f"An unknown function with name 'Microsoft.Dynamics.CRM.{name}' was found.")
