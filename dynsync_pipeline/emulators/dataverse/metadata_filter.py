"""`$filter` on definitions, which are JSON objects: complex members (`RequiredLevel/Value`), enum literals, texts."""

from __future__ import annotations

import operator
from typing import Any

from odata_query import ast

from dynsync_pipeline.emulators.dataverse.errors import bad_request
from dynsync_pipeline.emulators.dataverse.filters import full_name, parse_filter

TESTS = {ast.Eq: operator.eq, ast.NotEq: operator.ne}


def matches(text: str, aliases: dict[str, str], item: dict[str, Any]) -> bool:
    """Whether a definition satisfies a filter. Raises DataverseError 400 for one that cannot be served."""
    return _matches(parse_filter(text, aliases), item)


def _matches(node: Any, item: dict[str, Any]) -> bool:
    if isinstance(node, ast.BoolOp):
        left, right = _matches(node.left, item), _matches(node.right, item)
        return (left and right) if isinstance(node.op, ast.And) else (left or right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _matches(node.operand, item)
    if isinstance(node, ast.Compare) and type(node.comparator) in TESTS:
        return bool(TESTS[type(node.comparator)](_value(node.left, item), _value(node.right, item)))
    if isinstance(node, ast.Call) and node.func.name in ("contains", "startswith", "endswith"):
        whole, part = str(_value(node.args[0], item)), str(_value(node.args[1], item))
        tests = {"contains": part in whole, "startswith": whole.startswith(part), "endswith": whole.endswith(part)}
        return tests[node.func.name]
    raise bad_request("The $filter expression is not supported for metadata.")


def _value(node: Any, item: dict[str, Any]) -> object:
    if isinstance(node, ast.Attribute):
        owner = _value(node.owner, item)
        if not isinstance(owner, dict) or node.attr not in owner:
            raise bad_request(f"Could not find a property named '{node.attr}'.")
        return owner[node.attr]
    if isinstance(node, ast.Identifier):
        name = full_name(node)
        if name not in item:
            raise bad_request(f"Could not find a property named '{name}'.")
        return item[name]
    if isinstance(node, ast.Null):
        return None
    if isinstance(node, ast.GUID):
        return str(node.val).lower()
    if isinstance(node, ast.String | ast.Integer | ast.Float | ast.Boolean):
        return node.py_val
    raise bad_request("The $filter expression is not supported for metadata.")
