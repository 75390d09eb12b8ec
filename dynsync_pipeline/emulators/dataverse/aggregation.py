"""`$apply`: rows grouped, counted, added up.

What the service understands of it: `filter(…)`, `groupby((…))`, `groupby((…),aggregate(…))`, `aggregate(…)`, one after
the other by a slash. Not here: aggregates in `?sql=` (`sql_query.py`).
Source: docs/protocols/dataverse.md#aggregates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request
from dynsync_pipeline.emulators.dataverse.expand import split_outside
from dynsync_pipeline.emulators.dataverse.filters import Condition, filter_sql, known_column, path_sql
from dynsync_pipeline.emulators.dataverse.reads import applied, page_body, where_sql
from dynsync_pipeline.emulators.dataverse.rows import FORMATS, FORMATTED, formatted_sql, json_sql, wanted
from dynsync_pipeline.emulators.dataverse.schema import MONEY_SCALE, Column, Table

MAX_ROWS = 50_000
FUNCTIONS = {"sum": "sum", "average": "avg", "min": "min", "max": "max"}
NUMBERS = ("integer", "bigint", "decimal", "money")
TIMES = ("datetime", "date")
_TRANSFORMATION = re.compile(r"\s*(filter|groupby|aggregate)\s*\((.*)\)\s*", re.DOTALL)
_GROUPS = re.compile(r"\s*\(([^()]*)\)\s*(?:,\s*aggregate\s*\((.*)\)\s*)?", re.DOTALL)
_COUNT = re.compile(r"\s*\$count\s+as\s+(\w+)\s*")
_MEASURE = re.compile(r"\s*(\w+)\s+with\s+(\w+)\s+as\s+(\w+)\s*")


@dataclass(frozen=True)
class _Member:
    """One member of a result: its name, SQL of its value, of its JSON, and of its formatted value where it has one."""

    name: str
    value: str
    json: str
    formatted: str | None


def read(call: Call, table: Table, within: Condition | None = None) -> Answer:
    """Answer `GET accounts?$apply=…`; `within` limits the rows as in `reads.read_collection`.

    Raises DataverseError 400 for what it cannot read, and for more than 50,000 rows.
    """
    call.require("Read", table)
    text = call.options["$apply"]
    conditions = [within] if within else []
    conditions += [filter_sql(call, table, call.options["$filter"])] if call.options.get("$filter") else []
    steps = [_TRANSFORMATION.fullmatch(step) for step in split_outside(text, "/")]
    if not steps or not all(steps) or {"$select", "$expand"} & set(call.options):
        raise _unknown(text)
    *before, last = [(step[1], step[2]) for step in steps if step]
    if last[0] == "filter" or any(name != "filter" for name, _ in before):
        raise _unknown(text)
    conditions += [filter_sql(call, table, condition) for _, condition in before]
    groups, measures = (
        ([], _measures(call, table, last[1])) if last[0] == "aggregate" else _grouped(call, table, last[1])
    )
    rows = _rows(call, table, conditions, groups, measures)
    body = page_body(call, table, rows, {}, len(rows) if call.options.get("$count") == "true" else None, "")
    return Answer.json(body, headers=applied(call, "odata.include-annotations"))


def _rows(
    call: Call, table: Table, conditions: list[Condition], groups: list[_Member], measures: list[_Member]
) -> list[str]:
    where, values = where_sql(conditions)
    source = f'from "{table.name}" t {where}'
    limited = f"select count(*) from (select 1 {source} limit {MAX_ROWS + 1})"
    if call.connection.execute(limited, values).fetchone()[0] > MAX_ROWS:
        raise DataverseError(400, "0x8004e023", "AggregateQueryRecordLimit exceeded. Cannot perform this operation.")
    annotated = wanted(FORMATTED, call.annotations)
    members = " || ".join(_json_member(member, annotated=annotated) for member in (*groups, *measures))
    by = f" group by {', '.join(group.value for group in groups)}" if groups else ""
    rows = call.connection.execute(f"select {members} {source}{by}{_ordering(call, groups)}", values).fetchall()
    top = call.options.get("$top", "5000")
    if not top.isascii() or not top.isdigit() or len(top) > 9:
        raise bad_request(f"Invalid value '{top[:20]}' for $top query option found.")
    return [f"{{{row[0].removesuffix(',')}}}" for row in rows[: int(top)]]


def _json_member(member: _Member, *, annotated: bool) -> str:
    """SQL of a member as JSON text with a comma behind it; of nothing where the value is null."""
    formatted = (
        f"""'"{member.name}@{FORMATTED}":' || json_quote({member.formatted}) || ',' || """
        if annotated and member.formatted
        else ""
    )
    return f"""iif({member.value} is null, '', {formatted}'"{member.name}":' || {member.json} || ',')"""


def _grouped(call: Call, table: Table, text: str) -> tuple[list[_Member], list[_Member]]:
    found = _GROUPS.fullmatch(text)
    if not found:
        raise _unknown(text)
    groups = [_group(call, table, path.strip()) for path in found[1].split(",")]
    return groups, _measures(call, table, found[2]) if found[2] else []


def _group(call: Call, table: Table, path: str) -> _Member:
    column, far, sql = path_sql(call, table, path)
    if column.kind in TIMES:
        raise bad_request("Grouping by a date and time value is not supported.")
    value = f"{sql}{_collation(column)}"
    if "/" in path:
        return _Member(f"{far.name}_{column.name}", value, json_sql(column, sql), None)
    return _Member(column.wire_name, value, json_sql(column, sql), formatted_sql(call.schema, column, "t"))


def _measures(call: Call, table: Table, text: str) -> list[_Member]:
    measures = [_measure(call, table, part) for part in split_outside(text, ",")]
    if not measures or len({measure.name for measure in measures}) < len(measures):
        raise _unknown(text)
    return measures


def _measure(call: Call, table: Table, text: str) -> _Member:
    if count := _COUNT.fullmatch(text):
        return _Member(count[1], "count(*)", "count(*)", FORMATS["integer"]("count(*)"))
    found = _MEASURE.fullmatch(text)
    if not found or found[2] not in (*FUNCTIONS, "countdistinct"):
        raise _unknown(text)
    column, method, alias = known_column(call, table, found[1]), found[2], found[3]
    value = f"t.{column.sql}"
    if method == "countdistinct":
        sql = f"count(distinct {value}{_collation(column)})"
        return _Member(alias, sql, sql, FORMATS["integer"](sql))
    if column.kind not in (NUMBERS if method in ("sum", "average") else (*NUMBERS, *TIMES)):
        raise bad_request(f"The aggregate '{method}' is not supported for the column '{column.name}'.")
    sql = f"{FUNCTIONS[method]}({value})"
    is_shown = column.kind in FORMATS and (method != "average" or column.kind == "money")
    formatted = FORMATS[column.kind](sql) if is_shown else None
    return _Member(alias, sql, _measure_json(column, method, sql), formatted)


def _measure_json(column: Column, method: str, sql: str) -> str:
    """SQL of an aggregate as JSON: an average has places of its own, everything else those of its column."""
    if method != "average":
        return json_sql(column, sql)
    return f"printf('%.9f', {sql} / {MONEY_SCALE if column.kind == 'money' else 1}.0)"


def _collation(column: Column) -> str:
    return " collate nocase" if column.kind in ("text", "memo") else ""


def _ordering(call: Call, groups: list[_Member]) -> str:
    """By what is asked for, which must be a group, then by the groups."""
    by_name = {group.name: group.value for group in groups}
    parts = []
    for part in filter(None, call.options.get("$orderby", "").split(",")):
        name, _, direction = part.strip().partition(" ")
        if name not in by_name or direction.strip() not in ("", "asc", "desc"):
            raise bad_request("The query node SingleValueOpenPropertyAccess is not supported.")
        parts.append(f"{by_name[name]} {direction}")
    return f" order by {', '.join([*parts, *by_name.values()])}" if groups else ""


def _unknown(text: str) -> DataverseError:
    return bad_request(f"The $apply expression '{text[:200]}' is not supported.")
