"""Says in Spark's SQL what a query of our rule files says in DuckDB's. The one place that knows where the two differ.

sqlglot parses and writes; a macro is put in where it is called, as DuckDB does. What may stand in a query is listed below:
whatever is not is an error that names file and statement, because a construct that nobody looked at may mean something else
there. Not here: running anything (`on_spark.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp

from dynsync_pipeline.errors import SqlFileFailed
from dynsync_pipeline.sql_files import sql_file

Columns = Callable[[str], Sequence[str]]  # of a table, by the name that it has on Spark
Rule = Callable[[exp.Expr, Columns], exp.Expr]

# Nodes of sqlglot's tree that mean the same on both, once the rules below have been at them.
PLAIN = frozenset({
    "Select", "From", "Join", "Where", "Group", "Having", "With", "CTE", "Subquery", "Table", "TableAlias", "Union",
    "Star", "Column", "Identifier", "Alias", "Distinct", "Window", "WindowSpec", "WindowAlias", "Order", "Ordered",
    "Filter", "Lateral", "And", "Or", "Not", "Paren", "Is", "In", "Exists", "EQ", "NEQ", "LT", "LTE", "GT", "GTE", "Between",
    "NullSafeEQ", "NullSafeNEQ", "Case", "If", "Coalesce", "Nullif", "Add", "Sub", "Mul", "Neg", "IntDiv", "DPipe",
    "Literal", "Null", "Boolean", "Cast", "TryCast", "DataType", "DataTypeParam", "Interval", "Var", "Count", "Min",
    "Max", "LogicalAnd", "LogicalOr", "ArrayAgg", "RowNumber", "Lead", "Chr", "Left", "Trim", "Length", "StartsWith",
    "Substring", "Concat", "ConcatWs", "Replace", "Split", "RegexpReplace", "Year", "Array", "ArrayToString", "ArraySort",
    "Transform", "Lambda", "MapKeys", "TimestampTrunc",
})  # fmt: skip

# Functions of Spark's own that the rules below bring in.
OF_SPARK = frozenset(
    {
        *("arrays_zip", "inline", "try_element_at", "array_except", "size", "slice", "regexp_like", "array_sort"),
        *(
            "convert_timezone",
            "make_ym_interval",
            "timestampdiff",
            "date_format",
            "substr",
            "regexp_replace",
            "struct",
            "transform",
            "split",
            "lower",
            "array_join",
        ),
    }
)


@dataclass(frozen=True)
class Macro:
    """A macro of `warehouse/sql/macros.sql`, or one that makes a table: its parameters and what stands for a call."""

    parameters: tuple[str, ...]
    body: exp.Expr


class NotTranslated(Exception):
    """A construct that is not on the list; the text is what it is."""


def spark_query(sql: str, where: str, columns: Columns, tables: Mapping[str, Macro]) -> str:
    """A query of DuckDB as one of Spark's. `columns` lists those of a table, `tables` are the macros that make one.

    `where` names file and statement. Raises: SqlFileFailed for what is not on the list.
    """
    try:
        tree = parse(sql)
        tree = _with_macros(tree, {**_macros(), **tables})
        for rule in _RULES:
            tree = _said_otherwise(tree, rule, columns)
        _require_known(tree)
        return tree.sql(dialect="spark", comments=False)
    except (NotTranslated, sqlglot.errors.SqlglotError) as error:
        said = str(error) if isinstance(error, NotTranslated) else "sqlglot cannot read it"
        raise SqlFileFailed(
            f"{where} cannot be run on Spark: {said}.",
            statement=sql,
            next_step="Say it otherwise there, or teach dynsync_pipeline/engines/spark_sql.py what it means there, with a test.",
        ) from None


def parse(sql: str) -> exp.Expr:
    """The tree of one statement; calls of macros keep apart from functions that sqlglot knows by the same name."""
    marked = _CALL.sub(lambda found: f"{_MACRO}{found[0]}", sql)
    return sqlglot.parse_one(marked, read="duckdb")


def only_chooses(sql: str) -> bool:
    """Whether a query shows rows of a table as they are: to store them would be a copy."""
    tree = parse(sql)
    if tree.find(exp.With, exp.Union, exp.Group):
        return False
    return tree.is_star or not tree.find(exp.Join)


def spark_name(table: str) -> str:
    """`state.links` is `state_links` there: a temporary view has no schema."""
    return table.replace(".", "_")


_MACRO = "macro_"
_DEFINED = re.compile(r"create or replace temp macro (\w+)\(([^)]*)\) as\s(.*?);(?=\s*(?:--|create|\Z))", re.DOTALL)


@lru_cache
def _texts() -> dict[str, tuple[tuple[str, ...], str]]:
    text = re.sub(r"--[^\n]*", "", sql_file("warehouse/macros").text)
    return {
        name: (tuple(filter(None, (each.strip() for each in given.split(",")))), body)
        for name, given, body in _DEFINED.findall(text)
    }


_CALL = re.compile(rf"\b({'|'.join(_texts())})(?=\()")


@lru_cache
def _macros() -> dict[str, Macro]:
    return {
        name: Macro(parameters, parse(f"select {body}").expressions[0])
        for name, (parameters, body) in _texts().items()
        if not body.lstrip().startswith("table")
    }


# -- macros ---------------------------------------------------------------------------------------------------------------------


def _with_macros(tree: exp.Expr, macros: Mapping[str, Macro]) -> exp.Expr:
    """Every call replaced by what it stands for, what is given put in for the parameters."""

    def expanded(node: exp.Expr) -> exp.Expr:
        name = node.name.removeprefix(_MACRO).lower() if isinstance(node, exp.Anonymous) else ""
        if name not in macros:
            return node
        macro = macros[name]
        given = dict(zip(macro.parameters, node.expressions, strict=True))
        body = _with_macros(macro.body.copy().transform(_put_in, given), macros)
        return body if isinstance(body, exp.Query) else exp.Paren(this=body)

    found = tree.transform(expanded)
    for table in found.find_all(exp.Table):
        if isinstance(table.this, exp.Query):  # a macro that makes a table
            table.replace(exp.Subquery(this=table.this, alias=table.args.get("alias")))
    return found


def _put_in(node: exp.Expr, given: Mapping[str, exp.Expr]) -> exp.Expr:
    """What is given for a parameter; where that is a row, such as `known` in `known.labels`, its alias."""
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Anonymous) and node.this.name == "query_table":
        return exp.Table(
            this=exp.to_identifier(given[node.this.expressions[0].name].name), alias=node.args.get("alias")
        )
    if not isinstance(node, exp.Column):
        return node
    if node.table in given:
        row = given[node.table]
        return exp.column(node.this.copy(), table=row.name)
    if not node.table and node.name in given:
        return given[node.name].copy()
    return node


# -- what is said otherwise -----------------------------------------------------------------------------------------------------


def _said_otherwise(tree: exp.Expr, rule: Rule, columns: Columns) -> exp.Expr:
    """The tree with each node as the rule has it, the innermost first."""
    for node in reversed(list(tree.walk())):
        said = rule(node, columns)
        if said is not node and node is tree:
            tree = said
        elif said is not node:
            node.replace(said)
    return tree


def _table(node: exp.Expr, columns: Columns) -> exp.Expr:
    if isinstance(node, exp.Table) and node.db:
        return exp.Table(this=exp.to_identifier(f"{node.db}_{node.name}"), alias=node.args.get("alias"))
    return node


def _row(node: exp.Expr, columns: Columns) -> exp.Expr:
    """`k as held` over a table `k` is its whole row."""
    select = node.find_ancestor(exp.Select) if isinstance(node, exp.Column) and not node.table else None
    if select is None or not isinstance(node.parent, exp.Alias):
        return node
    tables = {table.alias for table in select.find_all(exp.Table) if table.parent_select is select and table.alias}
    if node.name not in tables:
        return node
    return exp.Anonymous(this="struct", expressions=[exp.Column(this=exp.Star(), table=exp.to_identifier(node.name))])


def _hash(node: exp.Expr, columns: Columns) -> exp.Expr:
    """A row's hash is compared with that of others. Spark's skips nulls, so `('a', null)` and `(null, 'a')` would be one row:
    there the row itself is compared, null by null.
    """
    if not (isinstance(node, exp.Anonymous) and node.name.lower() == "hash"):
        return node
    (stars,) = node.expressions
    inner, select = stars.find(exp.Columns), node.find_ancestor(exp.Select)
    if inner is None or select is None:
        raise NotTranslated("hash() of anything but columns(*)")
    left_out = {each.name for each in inner.this.args.get("except_") or inner.this.args.get("except") or ()}
    names = [name for name in columns(select.args["from_"].this.name) if name not in left_out]
    # By name: two sides may have theirs in another order.
    return exp.Anonymous(this="struct", expressions=[exp.column(name, quoted=True) for name in sorted(names)])


def _unnest(node: exp.Expr, columns: Columns) -> exp.Expr:
    """Several `unnest(list) as name` beside each other are rows of all of them, element by element."""
    if not isinstance(node, exp.Select):
        return node
    made = [each for each in node.expressions if isinstance(each, exp.Alias) and isinstance(each.this, _UNNESTS)]
    if not made:
        return node
    lists = [each.this.expressions[0] if isinstance(each.this, exp.Unnest) else each.this.this for each in made]
    zipped = exp.Anonymous(this="inline", expressions=[exp.Anonymous(this="arrays_zip", expressions=lists)])
    names = [exp.to_identifier(each.alias) for each in made]
    lateral = exp.Lateral(this=zipped, view=True, alias=exp.TableAlias(this=exp.to_identifier("each"), columns=names))
    node.set("expressions", [exp.column(e.alias, "each") if e in made else e for e in node.expressions])
    node.append("laterals", lateral)
    return node


_UNNESTS = (exp.Unnest, exp.Explode)


def _function(node: exp.Expr, columns: Columns) -> exp.Expr:
    if not isinstance(node, exp.Anonymous) or node.name.lower() not in _FUNCTIONS:
        return node
    if isinstance(node.parent, exp.Anonymous) and node.parent.name.lower() == node.name.lower() == "timezone":
        return node  # the outer one says what becomes of both
    return _FUNCTIONS[node.name.lower()](*node.expressions)


def _called(name: str, *given: exp.Expr | str | int) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=[exp.convert(each) for each in given])


def _all_in(lists: exp.Expr, wanted: exp.Expr) -> exp.Expr:
    """Null where either is null, on both."""
    return exp.EQ(this=_called("size", _called("array_except", wanted, lists)), expression=exp.Literal.number(0))


def _in_zone(zone: exp.Expr, moment: exp.Expr) -> exp.Expr:
    """`timezone('UTC', timezone(zone, local))` is the UTC time of a local one, and the other way round; both without a zone."""
    if not (isinstance(moment, exp.Anonymous) and moment.name.lower() == "timezone"):
        raise NotTranslated("timezone() of anything but a timezone(), which would make a time with a zone")
    source, time = moment.expressions
    return _called("convert_timezone", source, zone, time)


_FUNCTIONS: dict[str, Callable[..., exp.Expr]] = {
    "list_has_all": _all_in,
    "array_has_all": _all_in,
    "to_years": lambda years: _called("make_ym_interval", years),
    "timezone": _in_zone,
    "list_slice": lambda values, first, last: _called(
        "slice", values, first, exp.Literal.number(int(last.name) - int(first.name) + 1)
    ),
}


def _operator(node: exp.Expr, columns: Columns) -> exp.Expr:
    match node:
        case exp.Bracket():  # of a map: nothing where it has no such key
            (key,) = node.expressions
            if isinstance(key, exp.Slice) or key.is_number:
                raise NotTranslated("a slice or a place in brackets")
            return _called("try_element_at", node.this, key)
        case exp.DateDiff():  # DuckDB counts the borders between two times, Spark whole units
            unit = node.text("unit").upper()
            if unit != "SECOND":
                raise NotTranslated(f"date_diff of {unit.lower()}s")
            moments = [exp.TimestampTrunc(this=each, unit=exp.var(unit)) for each in (node.expression, node.this)]
            return exp.Anonymous(this="timestampdiff", expressions=[exp.var(unit), *moments])
        case exp.TimeToStr():
            if node.text("format") != "%Y-%m-%dT%H:%M:%SZ":
                raise NotTranslated("strftime of another form than a canonical time")
            return _called("date_format", node.this, "yyyy-MM-dd'T'HH:mm:ss'Z'")
        case exp.RegexpFullMatch():
            return _called("regexp_like", node.this, f"\\A(?:{node.expression.name})\\z")
        case exp.TryCast() if node.to.is_type(exp.DataType.Type.DECIMAL, exp.DataType.Type.DOUBLE):
            digits = _called("regexp_replace", node.this, "(?<=[0-9])_(?=[0-9])", "")  # 1_000 is a number to DuckDB
            node.set("this", digits)  # a new node would be written as a cast that fails
        case exp.Lower():  # a sigma at the end of a word is another letter to Spark; sign by sign it is not
            return _lowered(node.this)
    return node


def _lowered(text: exp.Expr) -> exp.Expr:
    """Of the one capital whose small letter is two signs, a dotted I, DuckDB keeps the first."""
    signs = exp.Anonymous(this="split", expressions=[text, exp.Literal.string("")])
    first = _called("substr", exp.Anonymous(this="lower", expressions=[exp.column("sign")]), 1, 1)
    each = exp.Lambda(this=first, expressions=[exp.to_identifier("sign")])
    lowered = exp.Anonymous(this="transform", expressions=[signs, each])
    return exp.Anonymous(this="array_join", expressions=[lowered, exp.Literal.string("")])


_RULES: tuple[Rule, ...] = (_table, _row, _hash, _unnest, _operator, _function)


def _require_known(tree: exp.Expr) -> None:
    for node in tree.walk():
        kind = type(node).__name__
        if isinstance(node, exp.Union) and node.args.get("by_name"):
            raise NotTranslated("a union by name has no such order of columns there")
        if isinstance(node, exp.Add | exp.Sub | exp.Mul) and any(map(_is_decimal, (node.left, node.right))):
            raise NotTranslated("arithmetic of decimals has other places there")
        if isinstance(node, exp.IntDiv) and not node.expression.is_number:
            raise NotTranslated("a division by what may be zero, which is null to DuckDB, is an error there")
        if isinstance(node, exp.Anonymous):
            if node.name.lower() not in OF_SPARK:
                raise NotTranslated(f"the function {node.name.lower()} is not known to mean the same there")
        elif kind not in PLAIN:
            raise NotTranslated(f"{kind} is not known to mean the same there")


def _is_decimal(node: exp.Expr) -> bool:
    return isinstance(node, exp.Cast) and node.to.is_type(exp.DataType.Type.DECIMAL)
