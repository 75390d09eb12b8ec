"""`$filter` and `$orderby` to SQL with bound parameters. The grammar is odata-query's; the meaning is Dataverse's.

Text compares case-insensitively, `ne` includes nulls, and `contains`, `startswith`, `endswith` know LIKE's wildcards.
Not here: paging.
Source: docs/protocols/dataverse.md#query-options.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

from dynsync_pipeline.emulators.dataverse import filter_functions
from dynsync_pipeline.emulators.dataverse.call import Call
from dynsync_pipeline.emulators.dataverse.errors import DataverseError, bad_request, no_such_property
from dynsync_pipeline.emulators.dataverse.schema import EDM_TYPES, Column, Table
from dynsync_pipeline.emulators.dataverse.values import money, stored_guid, stored_time

COMPARISONS = {ast.Eq: "is", ast.NotEq: "is not", ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<="}
MIRRORED = {ast.Gt: ast.Lt, ast.Lt: ast.Gt, ast.GtE: ast.LtE, ast.LtE: ast.GtE}
OPERATOR_NAMES = {
    ast.Eq: "Equal", ast.NotEq: "NotEqual", ast.Gt: "GreaterThan", ast.GtE: "GreaterThanOrEqual",
    ast.Lt: "LessThan", ast.LtE: "LessThanOrEqual",
}  # fmt: skip
MAX_DEPTH = 60
_PIECES = re.compile(
    r"""('(?:[^']|'')*+')|(\[(?:"(?:[^"\\]|\\.)*+"|'(?:[^']|'')*+'|[^\[\]"'])*+\])|Microsoft\.Dynamics\.CRM\.\w+(?=')|(@\w+)"""
)


@dataclass
class Condition:
    """SQL of a condition on rows of one table, and the values bound to its marks."""

    sql: str
    values: list[object] = field(default_factory=list)


def parse_filter(text: str, aliases: dict[str, str]) -> Any:
    """The syntax tree of a `$filter`. Raises DataverseError 400 if it is none."""

    def prepare(match: re.Match[str]) -> str:
        quoted, bracketed, alias = match.groups()
        if bracketed:
            # Lists of values are JSON, which the grammar does not know: handed on as one text.
            return "'" + bracketed.replace("'", "''") + "'"
        if alias:
            if alias not in aliases:
                raise bad_request(f"The parameter alias '{alias}' has no value.")
            return aliases[alias]
        return quoted or ""

    prepared = _PIECES.sub(prepare, text.strip())
    try:
        return ODataParser().parse(ODataLexer().tokenize(prepared))
    except (ODataException, ValueError, AttributeError, TypeError, RecursionError, NotImplementedError) as error:
        # The grammar's author lets some malformed texts fail with an AttributeError or TypeError.
        raise bad_request(f"Syntax error at position 0 in '{text[:200]}'. ({type(error).__name__})") from None


def filter_sql(call: Call, table: Table, text: str, alias: str = "t") -> Condition:
    """The condition a `$filter` stands for. Raises DataverseError 400."""
    tree = parse_filter(text, call.aliases)
    if tree is None:
        raise bad_request("Syntax error: expression expected at position 0 in ''.")
    builder = _Builder(call)
    return Condition(builder.condition(tree, {"": (table, alias)}, 0), builder.values)


def order_sql(call: Call, table: Table, text: str) -> list[tuple[Column, bool]]:
    """The columns of `$orderby` and whether each descends. Raises DataverseError 400."""
    order = []
    for part in text.split(","):
        words = part.split()
        if not words or len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
            raise bad_request(f"Syntax error in the $orderby expression '{text[:200]}'.")
        order.append((known_column(call, table, words[0]), words[-1] == "desc"))
    return order


def known_column(call: Call, table: Table, name: str) -> Column:
    """A column by its wire name, if this user may use it in conditions. Raises DataverseError 400 or 403."""
    column = table.by_wire_name.get(name)
    if column is None or not call.visible(column):
        raise no_such_property(name, table.name)
    if not call.may_see(column):
        raise DataverseError(
            403, "0x8004f506", f"Query contains secured attribute '{name}' of '{table.name}' without access."
        )
    return column


def path_sql(call: Call, table: Table, path: str) -> tuple[Column, Table, str]:
    """The column that `statecode` or `primarycontactid/fullname` leads to, its table, and SQL of its value.

    Raises DataverseError 400 or 403.
    """
    first, *further = path.split("/")
    node: Any = ast.Identifier(first)
    for name in further:
        node = ast.Attribute(node, name)
    column, sql = _Builder(call).path(node, {"": (table, "t")})
    far = table
    for name in (first, *further)[:-1]:
        far = call.schema.tables[far.navigations[name][1].table]
    return column, far, sql


Scope = dict[str, tuple[Table, str]]


TEXT_PATTERNS = {"contains": "%{}%", "startswith": "{}%", "endswith": "%{}"}


class _Builder:
    """Walks a syntax tree and collects bound values in the order of their marks."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.values: list[object] = []
        self.n_aliases = 0

    def condition(self, node: Any, scope: Scope, depth: int) -> str:
        """SQL of a boolean expression; its value may be null, which counts as false."""
        if depth > MAX_DEPTH:
            raise bad_request("The $filter expression is nested too deeply.")
        if isinstance(node, ast.BoolOp):
            word = " and " if isinstance(node.op, ast.And) else " or "
            return _balanced([self.condition(part, scope, depth + 1) for part in _chain(node)], word)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"(not coalesce({self.condition(node.operand, scope, depth + 1)}, 0))"
        if isinstance(node, ast.Compare) and type(node.comparator) in COMPARISONS:
            return self._comparison(node, scope)
        if isinstance(node, ast.Call):
            return self._function(node, scope)
        if isinstance(node, ast.CollectionLambda):
            return self._lambda(node, scope, depth)
        raise bad_request("The $filter expression must evaluate to a single boolean value.")

    def _comparison(self, node: Any, scope: Scope) -> str:
        left, right = node.left, node.right
        comparator: Any = type(node.comparator)
        if not _is_path(left) and _is_path(right):
            left, right = right, left
            comparator = MIRRORED.get(comparator, comparator)
        if not _is_path(left):
            raise bad_request("A comparison needs a property on one side.")
        column, sql = self.path(left, scope)
        operator = COMPARISONS[comparator]
        if _is_path(right):
            other, other_sql = self.path(right, scope)
            if EDM_TYPES[other.kind] != EDM_TYPES[column.kind]:
                raise _incompatible(column, EDM_TYPES[other.kind], OPERATOR_NAMES[comparator])
            return f"({sql} {operator} {other_sql})"
        value = literal(column, right, OPERATOR_NAMES[comparator])
        if value is None and comparator not in (ast.Eq, ast.NotEq):
            return "(0)"
        return f"({self.compared(column, sql, operator, value)})"

    def compared(self, column: Column, sql: str, operator: str, value: object) -> str:
        """SQL comparing a column with a value, text without regard to case."""
        self.values.append(value)
        if operator == "is" and value is not None:
            # Partial indexes on lookups serve `=` alone.
            operator = "="
        if not isinstance(value, str) or column.kind not in ("text", "memo", "choices"):
            return f"{sql} {operator} ?"
        if value.isascii():
            return f"{sql} {operator} ? collate nocase"
        return f"fold({sql}) {operator} fold(?)"

    def path(self, node: Any, scope: Scope) -> tuple[Column, str]:
        """The column a path leads to, and SQL of its value."""
        names = _names(node)
        if names[0] in scope and len(names) > 1:
            table, alias = scope[names.pop(0)]
        else:
            table, alias = scope[""]
        if len(names) == 1:
            column = known_column(self.call, table, names[0])
            return column, f"{alias}.{column.sql}"
        if len(names) > 3 or names[0] not in table.navigations:
            raise no_such_property(names[0], table.name)
        lookup, target = table.navigations[names[0]]
        far = self.call.schema.tables[target.table]
        self.n_aliases += 1
        far_alias = f"n{self.n_aliases}"
        column, sql = self._path_from(names[1:], far, far_alias)
        return column, (
            f'(select {sql} from "{far.name}" {far_alias} where {far_alias}."{far.primary_id}" = {alias}.{lookup.sql}'
            + (f" and {alias}.{lookup.type_sql} = '{far.name}')" if lookup.polymorphic else ")")
        )

    def _path_from(self, names: list[str], table: Table, alias: str) -> tuple[Column, str]:
        node: Any = ast.Identifier(names[0])
        for name in names[1:]:
            node = ast.Attribute(node, name)
        return self.path(node, {"": (table, alias)})

    def _function(self, node: Any, scope: Scope) -> str:
        name = full_name(node.func)
        if name in TEXT_PATTERNS:
            return self._text_function(name, node.args, scope)
        if name.startswith("Microsoft.Dynamics.CRM."):
            return self._crm_function(name.removeprefix("Microsoft.Dynamics.CRM."), node.args, scope)
        raise bad_request(f"An unknown function with name '{name}' was found.")

    def _text_function(self, name: str, args: list[Any], scope: Scope) -> str:
        path, text = args
        if not _is_path(path) or not isinstance(text, ast.String):
            raise bad_request(f"The function '{name}' needs a property and a text.")
        column, sql = self.path(path, scope)
        if column.kind not in ("text", "memo"):
            raise _incompatible(column, "Edm.String", name)
        self.values.append(TEXT_PATTERNS[name].format(text.val))
        return f"dv_like({sql}, ?)"

    def _crm_function(self, name: str, args: list[Any], scope: Scope) -> str:
        given: dict[str, Any] = {}
        for arg in args:
            if not isinstance(arg, ast.NamedParam):
                raise bad_request(f"The parameters of Microsoft.Dynamics.CRM.{name} must be named.")
            given[arg.name.name] = arg.param
        subject = given.get("PropertyName")
        if not isinstance(subject, ast.String):
            raise bad_request(f"Microsoft.Dynamics.CRM.{name} needs the parameter PropertyName, in quotes.")
        table, alias = scope[""]
        column = known_column(self.call, table, subject.val)
        sql, values = filter_functions.condition(
            name, column, f"{alias}.{column.sql}", given, self.call.user.user_id, self.call.store.now()
        )
        self.values.extend(values)
        return f"({sql})"

    def _lambda(self, node: Any, scope: Scope, depth: int) -> str:
        table, alias = scope[""]
        name = node.owner.name if isinstance(node.owner, ast.Identifier) else ""
        collections = self.call.schema.collections(table.name)
        if name not in collections:
            raise no_such_property(name, table.name)
        far, lookup, _ = collections[name]
        self.n_aliases += 1
        far_alias = f"n{self.n_aliases}"
        joined = f'{far_alias}.{lookup.sql} = {alias}."{table.primary_id}"'
        if lookup.polymorphic:
            joined += f" and {far_alias}.{lookup.type_sql} = '{table.name}'"
        exists = f'exists (select 1 from "{far.name}" {far_alias} where {joined}'
        if node.lambda_ is None:
            return f"{exists})"
        inner = self.condition(
            node.lambda_.expression,
            {**scope, "": (far, far_alias), node.lambda_.identifier.name: (far, far_alias)},
            depth + 1,
        )
        if isinstance(node.operator, ast.All):
            return f"(not {exists} and not coalesce({inner}, 0)))"
        return f"{exists} and {inner})"


def literal(column: Column, node: Any, operator: str) -> object:
    """The stored form of a literal compared with a column. Raises DataverseError 400 if the types do not fit."""
    kind = column.kind
    if isinstance(node, ast.Null):
        return None
    read = _READERS.get(kind)
    value = read(node) if read else None
    if value is None:
        raise _incompatible(column, _edm_type(node), operator)
    return value


def _text(node: Any) -> object:
    return node.val if isinstance(node, ast.String) else None


def _number(node: Any) -> object:
    if not isinstance(node, ast.Integer | ast.Float) or len(node.val) > 30:
        return None
    value = Decimal(node.val)
    # Beyond 64 bits SQLite compares as a float, which orders them right all the same.
    return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)


def _money(node: Any) -> object:
    if not isinstance(node, ast.Integer | ast.Float) or len(node.val) > 30:
        return None
    scaled = Decimal(node.val).scaleb(4)
    return money(Decimal(node.val)) if abs(scaled) < 2**63 else float(scaled)


def _boolean(node: Any) -> object:
    return int(node.val.lower() == "true") if isinstance(node, ast.Boolean) else None


def _guid(node: Any) -> object:
    return stored_guid(node.val) if isinstance(node, ast.GUID | ast.String) else None


def _time(node: Any) -> object:
    return stored_time(node.val) if isinstance(node, ast.DateTime | ast.Date) else None


def _date(node: Any) -> object:
    return node.val if isinstance(node, ast.Date) else None


_READERS: dict[str, Callable[[Any], object]] = {
    "text": _text, "memo": _text, "choices": _text, "integer": _number, "bigint": _number, "decimal": _number,
    "choice": _number, "state": _number, "status": _number, "money": _money, "boolean": _boolean, "guid": _guid,
    "lookup": _guid, "datetime": _time, "date": _date,
}  # fmt: skip
_EDM_OF_NODE = {
    ast.String: "Edm.String", ast.Integer: "Edm.Int32", ast.Float: "Edm.Decimal", ast.Boolean: "Edm.Boolean",
    ast.GUID: "Edm.Guid", ast.DateTime: "Edm.DateTimeOffset", ast.Date: "Edm.Date",
}  # fmt: skip


def _edm_type(node: Any) -> str:
    return _EDM_OF_NODE.get(type(node), "an expression")


def _incompatible(column: Column, found: str, operator: str) -> DataverseError:
    return bad_request(
        f"A binary operator with incompatible types was detected. Found operand types '{EDM_TYPES[column.kind]}' and "
        f"'{found}' for operator kind '{operator}'."
    )


def full_name(identifier: Any) -> str:
    """An identifier with its namespace."""
    return ".".join((*identifier.namespace, identifier.name))


def _is_path(node: Any) -> bool:
    return isinstance(node, ast.Identifier | ast.Attribute)


def _names(node: Any) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, str(node.attr))
        node = node.owner
    if not isinstance(node, ast.Identifier):
        raise bad_request("A property path was expected.")
    return [full_name(node), *names]


def _chain(node: Any) -> list[Any]:
    """The operands of `a and b and c`, without recursion: hundreds of them are common."""
    parts: list[Any] = []
    operator = type(node.op)
    while isinstance(node, ast.BoolOp) and type(node.op) is operator:
        parts.append(node.right)
        node = node.left
    parts.append(node)
    return parts[::-1]


def _balanced(parts: list[str], word: str) -> str:
    """Join conditions as a balanced tree, for SQLite limits the depth of an expression."""
    if len(parts) <= 2:
        return f"({word.join(parts)})"
    half = len(parts) // 2
    return f"({_balanced(parts[:half], word)}{word}{_balanced(parts[half:], word)})"
