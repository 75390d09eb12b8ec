"""Reading rows: collections page by page, single rows, one property, `/$count`.

Pages are live: each starts after the last row of the one before (9.12). Not here: change tracking (`tracking.py`).
Source: docs/protocols/dataverse.md#reads, #query-options, #single-rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from dynsync_pipeline.emulators.dataverse import expand
from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.cookies import Cookie
from dynsync_pipeline.emulators.dataverse.errors import bad_request, no_such_property, no_such_row
from dynsync_pipeline.emulators.dataverse.filters import Condition, filter_sql, order_sql
from dynsync_pipeline.emulators.dataverse.rows import page_size, row_sql, selected_columns
from dynsync_pipeline.emulators.dataverse.schema import Column, Table

MAX_PAGE = 5_000
MAX_COUNT = 5_000
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Order:
    """One sort key; nulls come first, as in SQL Server."""

    column: Column
    descends: bool = False

    @property
    def sql(self) -> str:
        """The expression sorted by: text without regard to case."""
        collation = " collate nocase" if self.column.kind in ("text", "memo") else ""
        return f"t.{self.column.sql}{collation}"


def read_collection(call: Call, table: Table, within: Condition | None = None) -> Answer:
    """Answer `GET contacts?…`; `within` limits the rows to those a navigation property leads to.

    Raises DataverseError 400 for options that cannot be served.
    """
    call.require("Read", table)
    options = call.options
    columns = selected_columns(call, table, options.get("$select"))
    expanded = expand.members(call, table, options["$expand"]) if options.get("$expand") else []
    conditions = [within] if within else []
    if options.get("$filter") is not None:
        conditions.append(filter_sql(call, table, options["$filter"]))
    orders = _orders(call, table)
    top, n_wanted = _wanted(call)
    n_all = _count(call, table, conditions) if _wants_count(options) else None

    cookie = Cookie.decode(options["$skiptoken"]) if "$skiptoken" in options else None
    if cookie:
        conditions.append(after(orders, cookie.state))
    select = [row_sql(call, table, columns, extra=expanded), *(f"t.{order.column.sql}" for order in orders)]
    where, values = where_sql(conditions)
    rows = call.connection.execute(
        f'select {", ".join(select)} from "{table.name}" t {where} order by {ordering(orders)} limit ?',
        (*values, n_wanted + 1 if top is None else n_wanted),
    ).fetchall()
    page = rows[:n_wanted]
    is_more = top is None and len(rows) > n_wanted
    links = {"@odata.nextLink": _next_link(call, cookie, page[-1][1:])} if is_more else {}
    body = page_body(call, table, [row[0] for row in page], links, n_all, context_suffix(options))
    return Answer.json(body, headers=applied(call, "odata.maxpagesize", "odata.include-annotations"))


def _orders(call: Call, table: Table) -> list[Order]:
    """The sort keys asked for, then the primary key, so that every row has its own place."""
    text = call.options.get("$orderby")
    asked = [Order(column, down) for column, down in order_sql(call, table, text)] if text else []
    return [*asked, Order(table.columns[table.primary_id])]


def ordering(orders: Sequence[Order]) -> str:
    """SQL behind `order by`."""
    return ", ".join(f"{order.sql}{' desc' if order.descends else ''}" for order in orders)


def _wanted(call: Call) -> tuple[int | None, int]:
    """The number after `$top`, None without; and how many rows to give at most."""
    size = page_size(call)
    # Dataverse ignores $top where a page size is asked for.
    if "$top" not in call.options or size is not None:
        return None, size or MAX_PAGE
    top = _whole_number("$top", call.options["$top"])
    return top, min(top, MAX_PAGE)


def _next_link(call: Call, cookie: Cookie | None, last: Sequence[object]) -> str:
    next_cookie = Cookie((cookie.page if cookie else 1) + 1, list(last))
    return f"{call.url}?{query_without(call.query, '$skiptoken')}$skiptoken={next_cookie.encode()}"


def page_body(
    call: Call, table: Table, rows: Sequence[str], links: dict[str, str], n_all: int | None, suffix: str
) -> bytes:
    """The JSON of a page; `rows` are JSON texts, `links` stand behind them."""
    head = [f'"@odata.context":"{call.root}$metadata#{table.entity_set}{suffix}"']
    if n_all is not None:
        head.append(f'"@odata.count":{min(n_all, MAX_COUNT)}')
    if call.annotations:
        head += _totals(n_all)
    tail = "".join(f',"{name}":"{link}"' for name, link in links.items())
    return f'{{{",".join(head)},"value":[{",".join(rows)}]{tail}}}'.encode()


def context_suffix(options: dict[str, str]) -> str:
    """The part of `@odata.context` that repeats the selection."""
    select = options.get("$select")
    return f"({quote(select.replace(' ', ''), safe=',_@')})" if select else ""


def read_single(call: Call, table: Table, row_id: str) -> Answer:
    """Answer `GET contacts(<guid>)`. Raises DataverseError 404 if the row is missing."""
    call.require("Read", table)
    columns = selected_columns(call, table, call.options.get("$select"))
    expanded = expand.members(call, table, call.options["$expand"]) if call.options.get("$expand") else []
    row = call.connection.execute(
        f'select t.versionnumber, {row_sql(call, table, columns, extra=expanded)} from "{table.name}" t '
        f'where t."{table.primary_id}" = ?',
        (row_id,),
    ).fetchone()
    if row is None:
        raise no_such_row(table.name, row_id)
    etag = f'W/"{row[0]}"'
    # The service answers 304 only where neither expansion nor annotations are asked for.
    if call.condition[1] == etag and not expanded and not call.annotations:
        return Answer(304, headers={"ETag": etag})
    context = f"{call.root}$metadata#{table.entity_set}{context_suffix(call.options)}/$entity"
    body = f'{{"@odata.context":"{context}",{row[1][1:]}'.encode()
    return Answer.json(body, headers={"ETag": etag, **applied(call, "odata.include-annotations")})


def read_property(call: Call, table: Table, row_id: str, name: str, *, is_bare: bool = False) -> Answer:
    """Answer `GET contacts(<guid>)/firstname`: 204 for a null; `is_bare` as text and no JSON.

    Raises DataverseError 400 or 404.
    """
    call.require("Read", table)
    column = table.by_wire_name.get(name)
    if column is None or not call.visible(column):
        raise no_such_property(name, table.name)
    row = call.connection.execute(
        f'select {row_sql(call, table, [column])} from "{table.name}" t where t."{table.primary_id}" = ?', (row_id,)
    ).fetchone()
    if row is None:
        raise no_such_row(table.name, row_id)
    value = row[0].partition(f'"{name}":')[2][:-1]
    if value == "null":
        return Answer(204)
    if is_bare:
        text = str(msgspec.json.decode(value)) if value.startswith('"') else value
        return Answer(200, text.encode(), {"Content-Type": "text/plain"})
    context = f"{call.root}$metadata#{table.entity_set}({row_id})/{name}"
    return Answer.json(f'{{"@odata.context":"{context}","value":{value}}}'.encode())


def count_rows(call: Call, table: Table, within: Condition | None = None) -> Answer:
    """Answer `GET contacts/$count`: plain text that starts with a byte order mark."""
    call.require("Read", table)
    conditions = [within] if within else []
    if call.options.get("$filter") is not None:
        conditions.append(filter_sql(call, table, call.options["$filter"]))
    n = _count(call, table, conditions)
    return Answer(200, BOM + str(min(n, MAX_COUNT)).encode(), {"Content-Type": "text/plain"})


def where_sql(conditions: Sequence[Condition]) -> tuple[str, list[object]]:
    """A where clause and its values."""
    values = [value for condition in conditions for value in condition.values]
    return ("where " + " and ".join(c.sql for c in conditions) if conditions else ""), values


def applied(call: Call, *names: str) -> dict[str, str]:
    """The Preference-Applied header for those preferences that were sent."""
    parts = []
    for name in names:
        value = call.preferences.get(name)
        if value is not None:
            quoted = f'"{value}"' if name.endswith("annotations") else value
            parts.append(f"{name}={quoted}" if value else name)
    return {"Preference-Applied": ",".join(parts)} if parts else {}


def after(orders: Sequence[Order], last: Sequence[object]) -> Condition:
    """Rows that come after the row with these sort values."""
    _require_fit(orders, last)
    ways: list[str] = []
    values: list[object] = []
    for i, order in enumerate(orders):
        equal = "".join(f"{earlier.sql} is ? and " for earlier in orders[:i])
        ways.append(f"({equal}{_beyond(order, is_null=last[i] is None)})")
        values.extend(last[:i] if last[i] is None else last[: i + 1])
    return Condition(f"({' or '.join(ways)})", values)


def _require_fit(orders: Sequence[Order], last: Sequence[object]) -> None:
    if len(last) != len(orders) or not all(isinstance(value, str | int | float | None) for value in last):
        raise bad_request("The paging cookie does not fit the query.", "0x80040203")


def _beyond(order: Order, *, is_null: bool) -> str:
    """SQL of coming after one value of a sort key; nulls come first."""
    if is_null:
        return "0" if order.descends else f"{order.sql} is not null"
    return f"({order.sql} < ? or {order.sql} is null)" if order.descends else f"{order.sql} > ?"


def _count(call: Call, table: Table, conditions: Sequence[Condition]) -> int:
    where, values = where_sql(conditions)
    # Never counts further than the cap plus one: the answer would be the same.
    sql = f'select count(*) from (select 1 from "{table.name}" t {where} limit {MAX_COUNT + 1})'
    return int(call.connection.execute(sql, values).fetchone()[0])


def _wants_count(options: dict[str, str]) -> bool:
    text = options.get("$count", "false")
    if text not in ("true", "false"):
        raise bad_request(f"Invalid value '{text[:20]}' for $count query option found. Valid values are true or false.")
    return text == "true"


def _whole_number(option: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise bad_request(f"Invalid value '{text[:20]}' for {option} query option found.")
    return int(text)


def query_without(query: str, option: str) -> str:
    """The query as it was sent, without one option, ready for another to follow."""
    encoded = option.replace("$", "%24")
    kept = [part for part in query.split("&") if part and not part.startswith((f"{option}=", f"{encoded}="))]
    return "".join(f"{part}&" for part in kept)


def _totals(n_all: int | None) -> list[str]:
    """The annotations of a counted page; -1 where nobody counted."""
    total, exceeded = (-1, False) if n_all is None else (min(n_all, MAX_COUNT), n_all > MAX_COUNT)
    return [
        f'"@Microsoft.Dynamics.CRM.totalrecordcount":{total}',
        f'"@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded":{str(exceeded).lower()}',
    ]
