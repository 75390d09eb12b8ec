"""`$filter` on definitions, which are JSON objects: complex members (`RequiredLevel/Value`), enum literals, texts."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from odata_query import ast

from dynsync_pipeline.emulators.dataverse.errors import bad_request
from dynsync_pipeline.emulators.dataverse.filters import full_name, parse_filter

TESTS = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "contains": operator.contains,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


def matches(text: str, aliases: dict[str, str], item: dict[str, Any]) -> bool:
    """Whether a definition satisfies a filter. Raises DataverseError 400 for one that cannot be served."""
    return _matches(parse_filter(text, aliases), item)


def _matches(node: Any, item: dict[str, Any]) -> bool:
    if isinstance(node, ast.BoolOp):
        both = (_matches(node.left, item), _matches(node.right, item))
        return all(both) if isinstance(node.op, ast.And) else any(both)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _matches(node.operand, item)
    if isinstance(node, ast.Compare) and type(node.comparator) in TESTS:
        return bool(TESTS[type(node.comparator)](_value(node.left, item), _value(node.right, item)))
    if isinstance(node, ast.Call) and node.func.name in TEXT_TESTS:
        whole, part = str(_value(node.args[0], item)), str(_value(node.args[1], item))
        return TEXT_TESTS[node.func.name](whole, part)
    raise bad_request("The $filter expression is not supported for metadata.")


def _value(node: Any, item: dict[str, Any]) -> object:
    if isinstance(node, ast.Attribute):
        return _member(_value(node.owner, item), node.attr)
    if isinstance(node, ast.Identifier):
        return _member(item, full_name(node))
    if isinstance(node, ast.Null):
        return None
    if isinstance(node, ast.GUID):
        return str(node.val).lower()
    if isinstance(node, ast.String | ast.Integer | ast.Float | ast.Boolean):
        return node.py_val
    raise bad_request("The $filter expression is not supported for metadata.")


def _member(owner: object, name: str) -> object:
    if not isinstance(owner, dict) or name not in owner:
        raise bad_request(f"Could not find a property named '{name}'.")
    return owner[name]
