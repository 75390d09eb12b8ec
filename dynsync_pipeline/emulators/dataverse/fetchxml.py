"""Simple FetchXML reads: one entity, its attributes, filters, order, pages.

Joins and aggregates are refused with an error that names them, never answered wrongly.
Source: docs/protocols/dataverse.md#microsofts-sdk.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import msgspec
from odata_query import ast

from dynsync_pipeline.emulators.dataverse import fetch_paging, filter_functions
from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.errors import DataverseError
from dynsync_pipeline.emulators.dataverse.filters import Condition, known_column
from dynsync_pipeline.emulators.dataverse.reads import (
    MAX_PAGE,
    Order,
    after,
    applied,
    ordering,
    page_body,
    where_sql,
)
from dynsync_pipeline.emulators.dataverse.rows import row_sql, selected_columns, wanted
from dynsync_pipeline.emulators.dataverse.schema import Column, Table

MAX_LEVELS = 30
ANNOTATION = "Microsoft.Dynamics.CRM"
PATTERNS: dict[str, tuple[bool, Callable[[str], str]]] = {
    "like": (False, lambda text: text),
    "not-like": (True, lambda text: text),
    "begins-with": (False, lambda text: f"{text}%"),
    "not-begin-with": (True, lambda text: f"{text}%"),
    "ends-with": (False, lambda text: f"%{text}"),
    "not-end-with": (True, lambda text: f"%{text}"),
}
COMPARISONS = {
    "eq": "is", "ne": "is not", "neq": "is not", "gt": ">", "ge": ">=", "lt": "<", "le": "<=",
}  # fmt: skip
FUNCTIONS = {
    "in": "In", "not-in": "NotIn", "between": "Between", "not-between": "NotBetween", "on": "On",
    "on-or-after": "OnOrAfter", "on-or-before": "OnOrBefore", "today": "Today", "yesterday": "Yesterday",
    "last-x-hours": "LastXHours", "last-x-days": "LastXDays", "last-x-weeks": "LastXWeeks",
    "next-x-days": "NextXDays", "olderthan-x-days": "OlderThanXDays", "olderthan-x-hours": "OlderThanXHours",
    "eq-userid": "EqualUserId", "ne-userid": "NotEqualUserId", "contain-values": "ContainValues",
    "not-contain-values": "DoesNotContainValues",
}  # fmt: skip


def read(call: Call, table: Table, text: str) -> Answer:
    """Answer `GET contacts?fetchXml=…`. Raises DataverseError 400 for what it cannot read or does not do."""
    call.require("Read", table)
    root, entity = _parse(text, table)
    columns = selected_columns(call, table, _selection(call, table, entity))
    conditions = [_filter(call, table, element, 0) for element in entity.findall("filter")]
    orders = [_order(call, table, element) for element in entity.findall("order")]
    orders.append(Order(table.columns[table.primary_id]))
    top = _number(root, "top", 0)
    size = min(top or _number(root, "count", MAX_PAGE), MAX_PAGE)
    page = _number(root, "page", 1)
    n_all = None
    if root.get("returntotalrecordcount") == "true":
        where, values = where_sql(conditions)
        n_all = call.connection.execute(f'select count(*) from "{table.name}" t {where}', values).fetchone()[0]
    cookie = root.get("paging-cookie")
    if cookie:
        conditions.append(after(orders, fetch_paging.decoded(cookie, orders)))
    where, values = where_sql(conditions)
    keys = ", ".join(f"t.{order.column.sql}" for order in orders)
    rows = call.connection.execute(
        f'select {row_sql(call, table, columns)}, {keys} from "{table.name}" t {where} order by {ordering(orders)} '
        "limit ? offset ?",
        (*values, size + 1, 0 if cookie else (page - 1) * size),
    ).fetchall()
    body = page_body(call, table, [row[0] for row in rows[:size]], {}, n_all, "")
    if len(rows) > size and not top:
        body = body[:-1] + _more(call, fetch_paging.encoded(page, orders, rows[0][1:], rows[size - 1][1:])) + b"}"
    return Answer.json(body, headers=applied(call, "odata.include-annotations"))


def _more(call: Call, cookie: str | None) -> bytes:
    """The annotations of a page that is not the last, as far as they are asked for."""
    told = {"fetchxmlpagingcookie": cookie, "morerecords": True}
    return b"".join(
        f',"@{ANNOTATION}.{name}":'.encode() + msgspec.json.encode(value)
        for name, value in told.items()
        if value is not None and wanted(f"{ANNOTATION}.{name}", call.annotations)
    )


def _order(call: Call, table: Table, element: ElementTree.Element) -> Order:
    return Order(_column(call, table, element.get("attribute")), element.get("descending") == "true")


def _parse(text: str, table: Table) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The fetch and entity elements. Raises DataverseError 400."""
    if "<!" in text:
        raise _invalid("declarations are not allowed")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 declarations, the only danger, are refused above
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise _invalid(str(error)) from None
    return root, _entity(root, table)


def _entity(root: ElementTree.Element, table: Table) -> ElementTree.Element:
    entities = root.findall("entity")
    if root.tag != "fetch" or len(entities) != 1:
        raise _invalid("a fetch element with one entity was expected")
    if entities[0].get("name") != table.name:
        raise _invalid(f"the entity must be '{table.name}'")
    if entities[0].find(".//link-entity") is not None:
        raise _invalid("'link-entity' is not supported by this emulator")
    if root.get("aggregate") == "true" or root.get("distinct") == "true":
        raise _invalid("aggregates and distinct are not supported by this emulator")
    return entities[0]


def _selection(call: Call, table: Table, entity: ElementTree.Element) -> str | None:
    names = [_column(call, table, element.get("name")).wire_name for element in entity.findall("attribute")]
    return ",".join(names) if names else None


def _filter(call: Call, table: Table, element: ElementTree.Element, level: int) -> Condition:
    if level > MAX_LEVELS:
        raise _invalid("filters are nested too deeply")
    parts = []
    for child in element:
        if child.tag == "filter":
            parts.append(_filter(call, table, child, level + 1))
        elif child.tag == "condition":
            parts.append(_condition(call, table, child))
        else:
            raise _invalid(f"'{child.tag}' inside a filter")
    word = " or " if element.get("type") == "or" else " and "
    return Condition(f"({word.join(part.sql for part in parts) or '1'})", [v for part in parts for v in part.values])


def _condition(call: Call, table: Table, element: ElementTree.Element) -> Condition:
    column = _column(call, table, element.get("attribute"))
    operator = element.get("operator", "")
    sql = f"t.{column.sql}"
    value = element.get("value", "")
    if operator in ("null", "not-null"):
        return Condition(f"({sql} is {operator.replace('-', ' ')})")
    if operator in PATTERNS:
        negated, pattern = PATTERNS[operator]
        return Condition(f"({'not ' if negated else ''}coalesce(dv_like({sql}, ?), 0))", [pattern(value)])
    if operator in COMPARISONS:
        stored = filter_functions.stored_text(operator, column, value)
        if column.kind in ("text", "memo"):
            return Condition(f"(fold({sql}) {COMPARISONS[operator]} fold(?))", [stored])
        return Condition(f"({sql} {COMPARISONS[operator]} ?)", [stored])
    if operator in FUNCTIONS:
        listed = [child.text or "" for child in element.findall("value")]
        given = {
            "PropertyValues": ast.String(msgspec.json.encode(listed).decode()),
            "PropertyValue": ast.String(value),
        }
        sql, values = filter_functions.condition(
            FUNCTIONS[operator], column, sql, given, call.user.user_id, call.store.now()
        )
        return Condition(f"({sql})", values)
    raise _invalid(f"the operator '{operator[:50]}' is not supported")


def _column(call: Call, table: Table, name: str | None) -> Column:
    column = table.columns.get(name or "")
    if column is None or not call.visible(column):
        raise DataverseError(
            400, "0x80041103", f"'{table.name}' entity doesn't contain attribute with Name = '{(name or '')[:100]}'."
        )
    return known_column(call, table, column.wire_name)


def _number(root: ElementTree.Element, name: str, default: int) -> int:
    text = root.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 8 or int(text) == 0:
        raise _invalid(f"'{name}' must be a positive number")
    return int(text)


def _invalid(reason: str) -> DataverseError:
    return DataverseError(400, "0x80041102", f"Invalid XML in the fetch: {reason}.")
