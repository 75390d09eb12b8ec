"""What the sync filter does, or would do by another condition (R87): selects over the snapshot. Shown by `cli/filter.py`.

A condition is SQL that somebody types, so it is read before it is run: DuckDB's own parser says what it is made of, and only
columns of one table, constants, operators and harmless functions pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.model.records import FILTER_COLUMN, TABLES, RecordType
from dynsync_pipeline.warehouse.columns import quoted

OUTCOMES = ("starts", "goes_stale", "stops", "stale", "kept_out")
_SUBQUERY_ADVICE = (
    "Write a condition over the columns of one table, such as: statecode = 0 and emailaddress1 is not null."
)


@dataclass(frozen=True)
class FilterEffect:
    """What a filter does to the living records of one type.

    n_in, n_out: how many it lets in and keeps out. n_by_outcome: starts (out now, in then), goes_stale and stops (in now, out
    then; with a person, and without one); without a condition stale and kept_out, which are as they are. n_new_people: of the
    starts, those without a person. rows: `outcome`, both ids, and the columns of the condition, by outcome and id.
    """

    record_type: RecordType
    n_in: int
    n_out: int
    n_by_outcome: dict[str, int]
    n_new_people: int
    rows: list[Row]


def columns_of(connection: duckdb.DuckDBPyConnection, record_type: RecordType) -> list[str]:
    """The columns of a record type in the snapshot, by the names that a condition may use."""
    return connection.table(TABLES[record_type].entity_set).columns


def filter_effect(
    connection: duckdb.DuckDBPyConnection, record_type: RecordType, condition: str | None, most: int | None = None
) -> FilterEffect:
    """What `condition` would do if it were the filter, or what the filter does now; at most `most` rows.

    A record of which it is neither true nor false would be kept out. Raises: ValueError with why, where it is no condition, or
    cannot be answered for some record; values are not told.
    """
    used = columns_used(connection, condition) if condition is not None else []
    if missing := sorted(set(used).difference(columns_of(connection, record_type))):
        known = ", ".join(columns_of(connection, record_type))
        raise ValueError(f"{record_type}s have no column {missing[0]}; there are {known}")
    table = TABLES[record_type]
    query = _EFFECT.format(
        lets_in=f"coalesce(({condition}\n)::boolean, false)" if condition is not None else "_is_in",
        table=table.entity_set,
        key=table.id_column,
        column=FILTER_COLUMN,
        shown="".join(f", {quoted(name)}" for name in used),
        stays_out=f"case when {'true' if condition is None else 'false'} and not _is_in then "
        "if(_person_id is null, 'kept_out', 'stale') end",
    )
    try:
        connection.execute(f"create or replace temp table effect as {query}", {"record_type": record_type.value})
    except duckdb.BinderException as error:
        if condition is None:
            raise
        raise ValueError(str(error).partition("\n")[0].partition(": ")[2]) from None
    except duckdb.Error:  # which may quote a value
        raise ValueError(
            "it cannot be answered for some record: a value does not fit what it is compared with"
        ) from None
    counts = {
        row["outcome"]: row["n"] for row in select(connection, "select outcome, count(*) as n from effect group by 1")
    }
    totals = select(connection, _TOTALS)[0]
    chosen = "from effect where outcome is not null order by outcome, record_id_dynamics limit ?"
    return FilterEffect(
        record_type,
        n_by_outcome={outcome: counts[outcome] for outcome in OUTCOMES if outcome in counts},
        rows=select(connection, f"select * exclude (is_let_in) {chosen}", [2**62 if most is None else most]),
        **totals,
    )


# Names that begin so are no column's.
_EFFECT = """
select
    case
        when not _is_in and _lets_in then 'starts'
        when _is_in and not _lets_in then if(_person_id is null, 'stops', 'goes_stale')
        else {stays_out}
    end as outcome,
    {key} as record_id_dynamics, _person_id as person_id_marketo, _lets_in as is_let_in{shown}
from (
    select *, {lets_in} as _lets_in
    from (select *, coalesce({column}, true) as _is_in from {table} where not is_deleted)
)
left join (
    select record_id_dynamics as _record_id, person_id_marketo as _person_id from links where record_type = $record_type
) on _record_id = {key}
"""
_TOTALS = """
select
    count(*) filter (where is_let_in) as n_in, count(*) filter (where not is_let_in) as n_out,
    count(*) filter (where outcome = 'starts' and person_id_marketo is null) as n_new_people
from effect
"""


def columns_used(connection: duckdb.DuckDBPyConnection, condition: str) -> list[str]:
    """The columns that `condition` names, each once, in lower case. Raises: ValueError with why, where it is no condition."""
    node = _node(connection, condition)
    where = node.pop("where_clause", None)
    bare = _node(connection, "true")
    bare.pop("where_clause")
    if where is None or node != bare:
        raise ValueError(f"it is more than a condition. {_SUBQUERY_ADVICE}")
    return list(dict.fromkeys(_columns(where)))


def _node(connection: duckdb.DuckDBPyConnection, condition: str) -> dict[str, Any]:
    """The syntax tree of a query with this condition, without the places in its text."""
    ((told,),) = connection.execute("select json_serialize_sql(?)", [f"select true where {condition}\n"]).fetchall()
    tree = json.loads(
        told, object_hook=lambda part: {k: v for k, v in part.items() if not k.startswith("query_location")}
    )
    if tree["error"] or len(tree["statements"]) != 1:
        raise ValueError(f"it cannot be read as SQL: {tree.get('error_message', 'it is several statements')}")
    return dict(tree["statements"][0]["node"])


def _columns(part: object) -> Iterator[str]:
    """The columns in a part of the tree. Raises: ValueError at anything that is not harmless."""
    if isinstance(part, dict):
        kind = part.get("class")
        if kind is not None and kind not in _HARMLESS_PARTS:
            raise ValueError(f"it has what may not stand in it ({kind.lower().replace('_', ' ')}). {_SUBQUERY_ADVICE}")
        if kind == "COLUMN_REF":
            yield from _column(part["column_names"])
        if kind == "FUNCTION":
            _require_harmless(part)
        for each in part.values():
            yield from _columns(each)
    elif isinstance(part, list):
        for each in part:
            yield from _columns(each)


def _column(names: Sequence[str]) -> Iterator[str]:
    if len(names) > 1:
        raise ValueError(f"it names {'.'.join(names)}: write the column alone, of the table that you name")
    if names[0].lower() not in _MOMENTS:
        yield names[0].lower()


def _require_harmless(function: dict[str, Any]) -> None:
    name = function["function_name"].lower()
    if name not in _HARMLESS_FUNCTIONS or function.get("schema") or function.get("catalog"):
        allowed = ", ".join(sorted(each for each in _HARMLESS_FUNCTIONS if each.isidentifier()))
        raise ValueError(f"it calls {name}; there are {allowed}, and operators")


_MOMENTS = frozenset({"current_date", "current_timestamp"})
_HARMLESS_PARTS = frozenset(
    {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN", "CASE", "CAST", "TYPE", "FUNCTION"}
)
_HARMLESS_FUNCTIONS = frozenset(
    {"~~", "!~~", "~~*", "!~~*", "~~~", "||", "+", "-", "*", "/", "//", "%"}
    | {"like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape", "regexp_matches", "regexp_full_match"}
    | {
        "lower",
        "upper",
        "trim",
        "ltrim",
        "rtrim",
        "length",
        "left",
        "right",
        "substring",
        "substr",
        "replace",
        "concat",
    }
    | {"contains", "starts_with", "ends_with", "prefix", "suffix", "split_part", "strip_accents"}
    | {"abs", "round", "floor", "ceil", "greatest", "least", "ifnull", "nullif", "if"}
    | {"year", "month", "day", "hour", "date_part", "date_trunc", "date_diff", "date_add", "age", "now", "today"}
    | {"to_years", "to_months", "to_weeks", "to_days", "to_hours", "to_minutes"}
)
