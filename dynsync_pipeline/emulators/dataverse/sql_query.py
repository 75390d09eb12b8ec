"""`GET contacts?sql=…`: read-only SELECTs with joins, grouping and aggregates.

The text is cut into tokens and put together anew: only names of visible columns, known keywords and bound values reach
SQLite, so that nothing else can be asked of it. What the real endpoint refuses (`select *`, subqueries, `having`, `union`)
is refused here.
Source: docs/protocols/dataverse.md#paging, #microsofts-sdk.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field

from dynsync_pipeline.emulators.dataverse.call import Answer, Call
from dynsync_pipeline.emulators.dataverse.cookies import Cookie
from dynsync_pipeline.emulators.dataverse.errors import DataverseError
from dynsync_pipeline.emulators.dataverse.filters import known_column
from dynsync_pipeline.emulators.dataverse.reads import MAX_PAGE, page_body, query_without
from dynsync_pipeline.emulators.dataverse.rows import json_sql
from dynsync_pipeline.emulators.dataverse.schema import MONEY_SCALE, Column, Table

_TOKEN = re.compile(r"\s*('(?:[^']|'')*+'|\d+(?:\.\d+)?|\[?[A-Za-z_][\w]*\]?|<>|!=|<=|>=|[=<>(),.*])")
CLAUSES = ("select", "from", "where", "group", "order", "offset")
WORDS = frozenset(
    (
        "and", "or", "not", "like", "in", "is", "null", "between", "asc", "desc", "on", "as", "join", "inner", "left",
        "outer", "by", "distinct", "top", "rows", "row", "fetch", "next", "first", "only", "offset",
    )
)  # fmt: skip
FUNCTIONS = frozenset(("count", "sum", "avg", "min", "max"))
MAX_TOKENS = 2_000


@dataclass
class _Query:
    """A SELECT while it is taken apart: its clauses, the tables in reach, and the values bound so far."""

    call: Call
    clauses: dict[str, list[str]]
    tables: dict[str, Table] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    values: list[object] = field(default_factory=list)


def read(call: Call, text: str) -> Answer:
    """Answer a SELECT, 5,000 rows a page. Raises DataverseError 400 for what it cannot read, 403 for missing rights."""
    query = _Query(call, _clauses(_tokens(text)))
    source = _from(query)
    select, top = _select_head(query.clauses["select"])
    items = [_item(query, item) for item in _split(select)]
    query.aliases = {name: tokens for name, tokens in items if len(tokens) > 1 or tokens[0] != name}
    row, tail = _row(query, items), _tail(query, source)
    distinct = "distinct " if "distinct" in query.clauses["select"][:1] else ""
    cookie = Cookie.decode(call.options["$skiptoken"]) if "$skiptoken" in call.options else None
    skip, size = _window(query, top, cookie)
    try:
        rows = call.connection.execute(
            f"select {distinct}{row} {tail} limit ? offset ?", (*query.values, size + 1, skip)
        ).fetchall()
    except sqlite3.Error as error:
        raise _wrong(str(error)) from None
    links = {}
    if len(rows) > size and top is None and "offset" not in query.clauses:
        links["@odata.nextLink"] = _next_link(call, cookie, skip + size)
    table = next(iter(query.tables.values()))
    return Answer.json(page_body(call, table, [one[0] for one in rows[:size]], links, None, ""))


def _row(query: _Query, items: list[tuple[str, list[str]]]) -> str:
    """SQL of one row as JSON; its values are bound before those of the joins, which stand after it."""
    values_before, query.values = query.values, []
    members = [f"""'"{name}":' || {_output(query, tokens)}""" for name, tokens in items]
    query.values += values_before
    return "'{' || " + " || ',' || ".join(members) + " || '}'"


def _tail(query: _Query, source: str) -> str:
    """SQL from `from` on."""
    tail = f"from {source}"
    for clause, words in (("where", "where"), ("group", "group by"), ("order", "order by")):
        if clause in query.clauses:
            tail += f" {words} {_expression(query, _after_by(query, clause))}"
    return tail


def _after_by(query: _Query, clause: str) -> list[str]:
    tokens = query.clauses[clause]
    if clause == "where":
        return tokens
    if tokens[:1] != ["by"]:
        raise _wrong(f"'by' expected after '{clause}'")
    return tokens[1:]


def _window(query: _Query, top: int | None, cookie: Cookie | None) -> tuple[int, int]:
    """Rows to leave out and rows to give."""
    skip, size = _offset(query.clauses.get("offset", []))
    wanted = [number for number in (top, size) if number is not None]
    if cookie:
        start = cookie.state[0] if cookie.state else None
        if not isinstance(start, int) or not 0 <= start < 2**40:
            raise _wrong("the paging cookie does not fit")
        skip = start
    return skip, min([MAX_PAGE, *wanted[:1]])


def _next_link(call: Call, cookie: Cookie | None, skip: int) -> str:
    token = Cookie((cookie.page if cookie else 1) + 1, [skip]).encode()
    return f"{call.url}?{query_without(call.query, '$skiptoken')}$skiptoken={token}"


def _tokens(text: str) -> list[str]:
    """Keywords and names in lower case, literals as written. Raises DataverseError 400 for anything else."""
    tokens: list[str] = []
    at, text = 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match or len(tokens) > MAX_TOKENS:
            raise _wrong(f"unexpected text at position {at}")
        token = match[1]
        tokens.append(token if token[0] == "'" else token.strip("[]").lower())
        at = match.end()
    return tokens


def _clauses(tokens: list[str]) -> dict[str, list[str]]:
    """The tokens after each clause's first word."""
    clauses: dict[str, list[str]] = {}
    here: list[str] | None = None
    for token in tokens:
        if token in CLAUSES:
            if not _may_follow(token, clauses):
                raise _wrong(f"'{token}' is not supported here")
            here = clauses[token] = []
        elif here is None:
            raise _wrong("only SELECT is supported")
        else:
            here.append(token)
    if not clauses.get("select") or not clauses.get("from"):
        raise _wrong("a SELECT with a FROM was expected")
    return clauses


def _may_follow(clause: str, clauses: dict[str, list[str]]) -> bool:
    """Whether a clause stands in its place: each once, in the order of SQL."""
    return all(CLAUSES.index(earlier) < CLAUSES.index(clause) for earlier in clauses)


def _from(query: _Query) -> str:
    """The from clause, its tables noted; the conditions of joins are translated once all tables are known."""
    parts: list[tuple[str, str, list[str]]] = []
    kind = ""
    for piece in _joined(query.clauses["from"]):
        if piece and piece[0] in JOIN_WORDS:
            kind = f"{kind} {piece[0]}".strip()
            piece = piece[1:]
        if not piece:
            continue
        if kind not in JOINS or (kind == "") != (not parts):
            raise _wrong(f"'{kind}' is not supported")
        name, alias, condition = _table(query, piece)
        parts.append((kind, f'"{name}" "{alias}"', condition))
        kind = ""
    return " ".join(f"{kind} {name}{_on(query, condition)}" for kind, name, condition in parts)


JOIN_WORDS = ("join", "inner", "left", "outer", ",")
JOINS = ("", ",", "join", "inner join", "left join", "left outer join")


def _joined(tokens: list[str]) -> list[list[str]]:
    """Cut before each word of a join."""
    pieces: list[list[str]] = [[]]
    for token in tokens:
        if token in JOIN_WORDS:
            pieces.append([token])
        else:
            pieces[-1].append(token)
    return pieces


def _on(query: _Query, condition: list[str]) -> str:
    return " on " + _expression(query, condition) if condition else ""


def _table(query: _Query, piece: list[str]) -> tuple[str, str, list[str]]:
    table = query.call.schema.tables.get(piece[0])
    if table is None:
        raise _wrong(f"there is no table '{piece[0][:60]}'")
    query.call.require("Read", table)
    rest = piece[2:] if piece[1:2] == ["as"] else piece[1:]
    alias = table.name
    if rest and rest[0] != "on":
        alias, rest = rest[0], rest[1:]
    if not alias.isidentifier() or alias in query.tables or (rest and rest[0] != "on"):
        raise _wrong(f"the table '{table.name}' cannot be read like that")
    query.tables[alias] = table
    return table.name, alias, rest[1:]


def _select_head(tokens: list[str]) -> tuple[list[str], int | None]:
    """The select list without DISTINCT and TOP, and the number after TOP."""
    rest = tokens[1:] if tokens[0] == "distinct" else tokens
    if rest[:1] != ["top"]:
        return rest, None
    rest = rest[1:]
    number = rest[1] if rest[:1] == ["("] else rest[0] if rest else ""
    rest = rest[3:] if rest[:1] == ["("] else rest[1:]
    if not number.isdigit() or int(number) > MAX_PAGE:
        raise _wrong("TOP needs a number up to 5000")
    return rest, int(number)


def _item(query: _Query, tokens: list[str]) -> tuple[str, list[str]]:
    """The name and the expression of one selected thing."""
    if not tokens or ("*" in tokens and tokens[:4] != ["count", "(", "*", ")"]):
        raise _wrong("name the columns; * is not supported")
    name, tokens = _named(tokens)
    if not name.isidentifier():
        raise _wrong("a selected value has no name")
    return _wire_name(query, name, tokens), tokens


def _wire_name(query: _Query, name: str, tokens: list[str]) -> str:
    """A lookup without a name of its own goes by its name on the wire."""
    if tokens[0] in FUNCTIONS:
        return name
    column, _ = _column(query, tokens)
    return column.wire_name if name == column.name else name


def _named(tokens: list[str]) -> tuple[str, list[str]]:
    """The name that a selected thing is given, or goes by, and the tokens without it."""
    if len(tokens) > 2 and tokens[-2] == "as":
        return tokens[-1], tokens[:-2]
    if len(tokens) > 1 and tokens[-1].isidentifier() and tokens[-2] != ".":
        return tokens[-1], tokens[:-1]
    return tokens[-1] if tokens[-1].isidentifier() else tokens[0], tokens


def _output(query: _Query, tokens: list[str]) -> str:
    """SQL of a selected thing as JSON text."""
    if tokens[0] in FUNCTIONS:
        return f"json_quote({_expression(query, tokens)})"
    column, alias = _column(query, tokens)
    return json_sql(column, f'"{alias}".{column.sql}')


def _expression(query: _Query, tokens: list[str]) -> str:
    """Tokens as SQL: names checked and quoted, literals bound, everything else from the lists above."""
    out: list[str] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token[0] == "'" or token[0].isdigit():
            query.values.append(_literal(token))
            out.append("?")
        elif token in WORDS or not token.isidentifier() or (token in FUNCTIONS and tokens[i + 1 : i + 2] == ["("]):
            out.append(token)
        elif token in query.aliases and tokens[i + 1 : i + 2] != ["."]:
            out.append(f"({_expression(query, query.aliases[token])})")
        else:
            width = 3 if tokens[i + 1 : i + 2] == ["."] else 1
            column, alias = _column(query, tokens[i : i + width])
            out.append(_value(column, f'"{alias}".{column.sql}'))
            i += width - 1
        i += 1
    return " ".join(out)


def _literal(token: str) -> object:
    if token[0] == "'":
        return token[1:-1].replace("''", "'")
    return float(token) if "." in token else int(token)


def _value(column: Column, sql: str) -> str:
    if column.kind in ("text", "memo"):
        return f"{sql} collate nocase"
    return f"({sql} / {MONEY_SCALE}.0)" if column.kind == "money" else sql


def _column(query: _Query, tokens: list[str]) -> tuple[Column, str]:
    """The column that `name` or `alias.name` stands for, and its table's alias."""
    scope = query.tables
    if len(tokens) == 3 and tokens[1] == ".":
        scope = {tokens[0]: query.tables[tokens[0]]} if tokens[0] in query.tables else {}
    elif len(tokens) != 1:
        raise _wrong(f"unexpected '{' '.join(tokens)[:60]}'")
    name = tokens[-1]
    found = [(alias, table) for alias, table in scope.items() if name in table.columns or name in table.by_wire_name]
    if len(found) != 1:
        raise _wrong(f"the column '{'.'.join(tokens[::2])[:100]}' is {'ambiguous' if found else 'unknown'}")
    alias, table = found[0]
    column = table.columns.get(name) or table.by_wire_name[name]
    return known_column(query.call, table, column.wire_name), alias


def _offset(tokens: list[str]) -> tuple[int, int | None]:
    """`5 rows fetch next 10 rows only` as (5, 10)."""
    match = re.fullmatch(
        r"(\d{1,9}) rows?(?: fetch (?:next|first) (\d{1,9}) rows? only)?", " ".join(tokens) or "0 rows"
    )
    if not match:
        raise _wrong("OFFSET was not understood")
    return int(match[1]), int(match[2]) if match[2] else None


def _split(tokens: list[str]) -> list[list[str]]:
    """Cut at commas outside of parentheses."""
    parts: list[list[str]] = [[]]
    depth = 0
    for word in tokens:
        depth += (word == "(") - (word == ")")
        if word == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _wrong(reason: str) -> DataverseError:
    return DataverseError(400, "0x80040203", f"The SQL query cannot be served: {reason}.")
