"""Rows on their way out: JSON put together inside SQLite, because that serves 5,000-row pages fastest.

Contains the SQL of one row's JSON text: etag, selected columns, companions, annotations. Which rows is in `reads.py`.
Source: docs/protocols/dataverse.md#values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from dynsync_pipeline.emulators.dataverse.call import Call
from dynsync_pipeline.emulators.dataverse.errors import bad_request, no_such_property
from dynsync_pipeline.emulators.dataverse.schema import MONEY_SCALE, Column, Schema, Table

FORMATTED = "OData.Community.Display.V1.FormattedValue"
LOOKUP_TABLE = "Microsoft.Dynamics.CRM.lookuplogicalname"
LOOKUP_NAVIGATION = "Microsoft.Dynamics.CRM.associatednavigationproperty"
MAX_SQL_ARGUMENTS = 90


def selected_columns(call: Call, table: Table, select: str | None) -> list[Column]:
    """The columns a row shows: the selected ones with their companions and the key, or all.

    Raises DataverseError 400 for an unknown name.
    """
    known = {name: column for name, column in table.by_wire_name.items() if call.visible(column)}
    if select is None or select.strip() in ("", "*"):
        return list(known.values())
    names: dict[str, None] = {}
    for raw in select.split(","):
        name = raw.strip()
        if name not in known:
            raise no_such_property(name, table.name)
        names[name] = None
        names.update(dict.fromkeys(_companions(known[name], known, table)))
    names[table.key_property] = None
    names[table.primary_id] = None
    return [known[name] for name in names]


def _companions(column: Column, known: dict[str, Column], table: Table) -> Iterator[str]:
    """What the service adds unasked: the currency beside money, the composite beside an address part."""
    if column.kind == "money" and "_transactioncurrencyid_value" in known:
        yield "_transactioncurrencyid_value"
    yield from (name for name, parts in table.composites.items() if column.name in parts)


def row_sql(
    call: Call, table: Table, columns: Sequence[Column], *, alias: str = "t", extra: Iterable[tuple[str, str]] = ()
) -> str:
    """SQL that yields a row of `table` (under `alias`) as JSON text.

    `extra` are further members as (name, SQL of their JSON), for expanded rows.
    """
    patterns = call.annotations
    members: list[tuple[str, str]] = []
    for column in columns:
        value = f"{alias}.{column.sql}"
        readable = call.may_see(column)
        if patterns and readable:
            suffix = _annotations_sql(call.schema, column, alias, patterns)
            members.append(
                (column.wire_name, f"{json_sql(column, value)} || {suffix}" if suffix else json_sql(column, value))
            )
        else:
            members.append((column.wire_name, json_sql(column, value) if readable else "'null'"))
    members.extend(extra)
    pieces = []
    for start in range(0, len(members), MAX_SQL_ARGUMENTS):
        chunk = members[start : start + MAX_SQL_ARGUMENTS]
        form = ",".join(f'"{name}":%s'.replace("'", "''") for name, _ in chunk)
        pieces.append(f"printf('{form}', {', '.join(sql for _, sql in chunk)})")
    etag = f"""printf('{{"@odata.etag":"W/\\"%d\\"",', {alias}.versionnumber)"""
    return f"{etag} || {' || char(44) || '.join(pieces)} || '}}'"


def json_sql(column: Column, value: str) -> str:
    """SQL of a column's value (given as SQL) as JSON text."""
    if column.kind in ("text", "memo", "choices"):
        return f"json_quote({value})"
    if column.kind == "boolean":
        return f"case {value} when 1 then 'true' when 0 then 'false' else 'null' end"
    if column.kind == "money":
        return f"case when {value} is null then 'null' else {_money_sql(value)} end"
    if column.kind == "decimal":
        return f"case when {value} is null then 'null' else printf('%.{min(column.precision, 10)}f', {value}) end"
    if column.kind in ("guid", "lookup", "datetime", "date"):
        return f"ifnull('\"' || {value} || '\"', 'null')"
    return f"ifnull({value}, 'null')"


def _money_sql(value: str) -> str:
    sign = f"iif({value} < 0, '-', '')"
    return f"printf('%s%d.%04d', {sign}, abs({value}) / {MONEY_SCALE}, abs({value}) % {MONEY_SCALE})"


def _annotations_sql(schema: Schema, column: Column, alias: str, patterns: list[str]) -> str:
    """SQL of the annotation members that follow a column's value; empty text for a null."""
    value = f"{alias}.{column.sql}"
    parts = []
    formatted = formatted_sql(schema, column, alias)
    if formatted and wanted(FORMATTED, patterns):
        parts.append(_member(column, FORMATTED, f"json_quote({formatted})"))
    if column.kind == "lookup":
        target = f"{alias}.{column.type_sql}" if column.polymorphic else column.type_sql
        # The real service leaves this one out for lookups that nobody can write.
        if column.valid_for_update and wanted(LOOKUP_NAVIGATION, patterns):
            cases = " ".join(f"when '{to.table}' then '{to.navigation}'" for to in column.targets)
            parts.append(_member(column, LOOKUP_NAVIGATION, f"json_quote(case {target} {cases} end)"))
        if wanted(LOOKUP_TABLE, patterns):
            parts.append(_member(column, LOOKUP_TABLE, f"json_quote({target})"))
    return f"iif({value} is null, '', {' || '.join(parts)})" if parts else ""


def _member(column: Column, annotation: str, sql: str) -> str:
    return f"""',"{column.wire_name}@{annotation}":' || {sql}"""


def wanted(annotation: str, patterns: list[str]) -> bool:
    """Whether one of the patterns that a request named covers an annotation."""
    return any(fnmatchcase(annotation, pattern) for pattern in patterns)


def formatted_sql(schema: Schema, column: Column, alias: str) -> str:
    """SQL of the text people see for a value; empty where there is none."""
    value = f"{alias}.{column.sql}"
    if column.kind == "choices":
        return _labels_sql(column, value)
    if column.options:
        labels = " ".join(f"when {option.value} then '{_doubled(option.label)}'" for option in column.options)
        return f"case {value} {labels} end"
    if column.kind == "lookup":
        return _target_name_sql(schema, column, alias)
    if column.kind == "decimal":
        return f"printf('%.{min(column.precision, 10)}f', {value})"
    return FORMATS[column.kind](value) if column.kind in FORMATS else ""


def _doubled(text: str) -> str:
    """A text inside SQL's quotes."""
    return text.replace("'", "''")


def _labels_sql(column: Column, value: str) -> str:
    sql = f"',' || {value} || ','"
    for option in column.options:
        sql = f"replace({sql}, ',{option.value},', ',,{_doubled(option.label)},,')"
    return f"replace(trim({sql}, ','), ',,,,', '; ')"


def _us_number(value: str) -> str:
    return f"printf('%,d', {value})"


def _us_money(value: str) -> str:
    cents = f"abs({value}) % {MONEY_SCALE} / 100"
    return f"printf('%s$%,d.%02d', iif({value} < 0, '-', ''), abs({value}) / {MONEY_SCALE}, {cents})"


def _us_time(value: str) -> str:
    hour = f"cast(strftime('%H', {value}) as integer)"
    return (
        f"printf('%s %d:%s %s', {_us_date(value)}, ({hour} + 11) % 12 + 1, strftime('%M', {value}), "
        f"iif({hour} < 12, 'AM', 'PM'))"
    )


def _us_date(value: str) -> str:
    return (
        f"printf('%d/%d/%s', cast(substr({value}, 6, 2) as integer), cast(substr({value}, 9, 2) as integer), "
        f"substr({value}, 1, 4))"
    )


FORMATS = {
    "integer": _us_number, "bigint": _us_number, "money": _us_money, "date": _us_date, "datetime": _us_time,
}  # fmt: skip
"""By kind: SQL of the text people see for a value, given as SQL."""


def _target_name_sql(schema: Schema, column: Column, alias: str) -> str:
    names = []
    for to in column.targets:
        target = schema.tables[to.table]
        names.append(
            f'(select n."{target.primary_name}" from "{target.name}" n '
            f'where n."{target.primary_id}" = {alias}.{column.sql})'
        )
    return f"coalesce({', '.join(names)}, '')"


def page_size(call: Call) -> int | None:
    """Rows per page asked for with `odata.maxpagesize`, None if not asked; more than 5,000 cannot be had.

    Raises DataverseError 400 for anything but a positive number.
    """
    text = call.preferences.get("odata.maxpagesize")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise bad_request(f"The value '{text[:20]}' of the preference odata.maxpagesize is not a positive number.")
    return min(int(text), 5000)
