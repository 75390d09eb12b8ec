"""`$expand`: rows within rows, as further members of a row's JSON.

A single-valued navigation gives an object with its own etag or null; a collection gives an array and, as in captured
answers, a `<name>@odata.nextLink` beside it.
Source: docs/protocols/dataverse.md#query-options.
"""

from __future__ import annotations

from itertools import zip_longest

from dynsync_pipeline.emulators.dataverse.call import Call
from dynsync_pipeline.emulators.dataverse.errors import bad_request, no_such_property
from dynsync_pipeline.emulators.dataverse.filters import Condition, filter_sql, order_sql
from dynsync_pipeline.emulators.dataverse.rows import row_sql, selected_columns
from dynsync_pipeline.emulators.dataverse.schema import Table

MAX_LEVELS = 3


def members(call: Call, table: Table, text: str, alias: str = "t", level: int = 1) -> list[tuple[str, str]]:
    """The members `$expand` adds, as (name, SQL of its JSON). Raises DataverseError 400."""
    if level > MAX_LEVELS:
        raise bad_request("Expansion is nested too deeply.")
    collections = call.schema.collections(table.name)
    found: list[tuple[str, str]] = []
    for item in split_outside(text, ","):
        name, _, rest = item.partition("(")
        name = name.strip()
        options = options_of(rest.rpartition(")")[0])
        inner = f"e{level}"
        if name in table.navigations:
            found.append((name, _single(call, table, alias, inner, level, name, options)))
        elif name in collections:
            found.extend(_collection(call, table, alias, inner, level, name, options))
        else:
            raise no_such_property(name, table.name)
    return found


def _single(call: Call, table: Table, alias: str, inner: str, level: int, name: str, options: dict[str, str]) -> str:
    lookup, target = table.navigations[name]
    far = call.schema.tables[target.table]
    columns = selected_columns(call, far, options.get("$select"))
    extra = members(call, far, options["$expand"], inner, level + 1) if "$expand" in options else []
    row = row_sql(call, far, columns, alias=inner, extra=extra)
    joined = f'{inner}."{far.primary_id}" = {alias}.{lookup.sql}'
    if lookup.polymorphic:
        joined += f" and {alias}.{lookup.type_sql} = '{far.name}'"
    return f"""ifnull((select {row} from "{far.name}" {inner} where {joined}), 'null')"""


def _collection(
    call: Call, table: Table, alias: str, inner: str, level: int, name: str, options: dict[str, str]
) -> list[tuple[str, str]]:
    far, lookup, _ = call.schema.collections(table.name)[name]
    columns = selected_columns(call, far, options.get("$select"))
    extra = members(call, far, options["$expand"], inner, level + 1) if "$expand" in options else []
    row = row_sql(call, far, columns, alias=inner, extra=extra)
    where = f'{inner}.{lookup.sql} = {alias}."{table.primary_id}"'
    if lookup.polymorphic:
        where += f" and {inner}.{lookup.type_sql} = '{table.name}'"
    if "$filter" in options:
        where += " and " + _literally(filter_sql(call, far, options["$filter"], inner))
    order = [*_order(call, far, inner, options.get("$orderby")), f'{inner}."{far.primary_id}"']
    top = options.get("$top", "5000")
    if not top.isascii() or not top.isdigit() or len(top) > 9:
        raise bad_request("Invalid value for $top query option found.")
    rows = f'select {row} as j from "{far.name}" {inner} where {where} order by {", ".join(order)} limit {top}'
    link = (
        f"""'"{call.root}{table.entity_set}(' || {alias}."{table.primary_id}" || ')/{name}"'"""
        if not options
        else f"""json_quote('{call.root}{table.entity_set}(' || {alias}."{table.primary_id}" || ')/{name}?' || """
        f"""{_sql_literal("&".join(f"{key}={value}" for key, value in options.items()))})"""
    )
    return [
        (name, f"'[' || ifnull((select group_concat(j) from ({rows})), '') || ']'"),
        (f"{name}@odata.nextLink", link),
    ]


def _literally(condition: Condition) -> str:
    """A condition with its values written out: inside an expansion they cannot be bound in order."""
    pieces = condition.sql.split("?")
    literals = map(_sql_literal, condition.values)
    return "".join(piece + literal for piece, literal in zip_longest(pieces, literals, fillvalue=""))


def _order(call: Call, table: Table, alias: str, text: str | None) -> list[str]:
    if text is None:
        return []
    return [f"{alias}.{column.sql}{' desc' if down else ''}" for column, down in order_sql(call, table, text)]


def options_of(text: str) -> dict[str, str]:
    """The options inside the parentheses of an expansion. Raises DataverseError 400."""
    options: dict[str, str] = {}
    for part in split_outside(text, ";"):
        name, _, value = part.strip().partition("=")
        if name not in ("$select", "$filter", "$orderby", "$top", "$expand"):
            raise bad_request(f"The query option '{name}' is not supported inside $expand.")
        options[name] = value
    return options


def split_outside(text: str, separator: str) -> list[str]:
    """Cut at a separator that stands outside parentheses and quotes."""
    parts, depth, quoted = [""], 0, False
    for char in text:
        if char == "'":
            quoted = not quoted
        depth += 0 if quoted else (char == "(") - (char == ")")
        if char == separator and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    if depth or quoted:
        raise bad_request(f"Syntax error in '{text[:200]}'.")
    return [part for part in parts if part.strip()]


def _sql_literal(value: object) -> str:
    if isinstance(value, str):
        if "\0" in value:
            raise bad_request("A null character cannot be part of a value.")
        return "'" + value.replace("'", "''") + "'"
    return "null" if value is None else repr(value)
