"""Reads off DuckDB's own syntax tree from which tables a statement draws its rows.

By the few facts that hold for every query: a join has no rows where one side has none, an outer one where the side it keeps
has none, `a in (nothing)` is never true, a union has rows where one of its parts has. Whatever is not known may have rows.
Not here: what that is for, and what it looks like (`sql_sources.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import duckdb
import msgspec

from dynsync_pipeline.sql_sources import Sources

_Scope = Mapping[str, Sources]  # the common table expressions that a part of a query sees
_Node = Mapping[str, Any]  # of the syntax tree


def read_off(connection: duckdb.DuckDBPyConnection, statements: Collection[str]) -> dict[str, Sources]:
    """The sources of each statement: of all at once, which is half the work of one by one.

    `connection` parses, and knows which functions are aggregates.
    """
    queries = {sql: _as_query(sql) for sql in statements}
    trees = _trees(connection, [query for query in queries.values() if query])
    aggregates = _aggregates(connection)
    return {sql: _query(trees[query], {}, aggregates) if query in trees else True for sql, query in queries.items()}


def _trees(connection: duckdb.DuckDBPyConnection, queries: list[str]) -> dict[str, _Node]:
    """The syntax tree of each of these queries; of what is no SQL there is none."""
    asked = "select query, json_serialize_sql(query) from (select unnest(?::varchar[]) as query)"
    told = connection.execute(asked, [queries]).fetchall() if queries else []
    trees = ((query, msgspec.json.decode(tree)) for query, tree in told)
    return {query: tree["statements"][0]["node"] for query, tree in trees if not tree["error"]}


def _as_query(sql: str) -> str | None:
    """A query that has rows where the statement does something; None where nothing is known of it."""
    text = _COMMENT.sub("", sql).strip()
    for shape, as_query in _AS_QUERY:
        query, n_found = shape.subn(as_query, text, count=1)
        if n_found:
            return query
    return None


# Of what an update is joined with, no more than the first is looked at, and nothing where what it sets is not simple.
_AS_QUERY = (
    (re.compile(r"\Acreate (?:or replace )?temp table \w+ as\s"), ""),
    (re.compile(r"\Ainsert into [\w.]+\s*(?:\([^)]*\)|by name)\s"), ""),
    (re.compile(r"\Adelete from ([\w.]+(?: (?!using\b|where\b)\w+)?)\s+using\s"), r"select 1 from \1, "),
    (re.compile(r"\Adelete from "), "select 1 from "),
    (re.compile(r"\Aupdate ([\w.]+)[^()]*?(?<!distinct)\sfrom ([\w.]+)[\s\S]*"), r"select 1 from \1, \2"),
    (re.compile(r"\Aupdate ([\w.]+)[\s\S]*"), r"select 1 from \1"),
)
_COMMENT = re.compile(r"--[^\n]*")


def _aggregates(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    if not _AGGREGATES:
        query = "select distinct function_name from duckdb_functions() where function_type = 'aggregate'"
        _AGGREGATES.append(frozenset(name for (name,) in connection.execute(query).fetchall()))
    return _AGGREGATES[0]


_AGGREGATES: list[frozenset[str]] = []


def _every(*parts: Sources) -> Sources:
    return _put_together("every", [part for part in parts if part is not True])


def _some(*parts: Sources) -> Sources:
    return True if True in parts else _put_together("some", parts)


def _put_together(kind: str, parts: Collection[Sources]) -> Sources:
    flat: list[Sources] = []
    for part in parts:
        inner = part[1:] if isinstance(part, list) and part[0] == kind else [part]
        flat += [each for each in inner if each not in flat]
    return [kind, *flat] if len(flat) > 1 else flat[0] if flat else True


def _query(node: _Node, scope: _Scope, aggregates: frozenset[str]) -> Sources:
    seen = dict(scope)
    for entry in node["cte_map"]["map"]:
        seen[entry["key"]] = _query(entry["value"]["query_node"], seen, aggregates)
    if node["type"] == "SET_OPERATION_NODE" and node["setop_type"] in ("UNION", "UNION_BY_NAME"):
        return _some(*(_query(child, seen, aggregates) for child in node["children"]))
    if node["type"] != "SELECT_NODE" or _makes_a_row_of_none(node, aggregates):
        return True
    return _every(_relation(node["from_table"], seen, aggregates), _condition(node["where_clause"], seen, aggregates))


def _makes_a_row_of_none(node: _Node, aggregates: frozenset[str]) -> bool:
    """Whether it is an aggregate over everything, such as a count, which has a row whatever it draws from."""
    if node["group_expressions"]:
        return [] in node["group_sets"]
    is_over_all = [any(name in aggregates for name in _functions(item)) for item in node["select_list"]]
    if node["aggregate_handling"] == "FORCE_AGGREGATES":  # group by all, which are those that are no aggregates
        return all(is_over_all)
    return any(is_over_all) or node["having"] is not None or bool(node["group_sets"])


def _functions(part: Any) -> Iterator[str]:
    """The functions that are called in an expression, subqueries and windows left out."""
    if isinstance(part, dict):
        if part.get("class") == "FUNCTION":
            yield part["function_name"]
        if part.get("class") not in ("SUBQUERY", "WINDOW"):
            for inner in part.values():
                yield from _functions(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _functions(inner)


def _relation(node: _Node, scope: _Scope, aggregates: frozenset[str]) -> Sources:
    match node["type"]:
        case "BASE_TABLE":
            return _named(".".join(filter(None, (node["schema_name"], node["table_name"]))), scope)
        case "SUBQUERY":
            return _query(node["subquery"]["node"], scope, aggregates)
        case "TABLE_FUNCTION" if node["function"]["function_name"].endswith(("_of", "_to", "side_by_side")):
            return _named(node["function"]["arguments"][0]["expression"]["literal"]["text"], scope)
        case "JOIN":
            left, right = (_relation(node[side], scope, aggregates) for side in ("left", "right"))
            return _joined(node["join_type"], left, right)
    return True


def _joined(kind: str, left: Sources, right: Sources) -> Sources:
    match kind:
        case "INNER" | "SEMI":  # a lateral part is a join like any other
            return _every(left, right)
        case "LEFT" | "ANTI":
            return left
        case "RIGHT":
            return right
        case "FULL":
            return _some(left, right)
    return True


def _named(name: str, scope: _Scope) -> Sources:
    return scope.get(name, name)


def _condition(node: _Node | None, scope: _Scope, aggregates: frozenset[str]) -> Sources:
    """Whether an expression may be true of any row."""
    match node:
        case {"type": "CONJUNCTION_AND", "children": children}:
            return _every(*(_condition(child, scope, aggregates) for child in children))
        case {"type": "CONJUNCTION_OR", "children": children}:
            return _some(*(_condition(child, scope, aggregates) for child in children))
        case {"type": "SUBQUERY", "subquery_type": "ANY" | "EXISTS", "subquery": subquery}:
            return _query(subquery["node"], scope, aggregates)
    return True
