"""The paging cookie of FetchXML: where a page ended, as XML that a client hands back in the attribute `paging-cookie`.

Not here: the cookie inside `$skiptoken` (`cookies.py`).
Source: docs/protocols/dataverse.md#fetchxml.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from dynsync_pipeline.emulators.dataverse.errors import DataverseError
from dynsync_pipeline.emulators.dataverse.reads import Order
from dynsync_pipeline.emulators.dataverse.schema import SQL_TYPES
from dynsync_pipeline.emulators.dataverse.values import stored_guid

_ESCAPED = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def encoded(page: int, orders: Sequence[Order], first: Sequence[object], last: Sequence[object]) -> str | None:
    """The annotation `fetchxmlpagingcookie` of a page that is not the last; None where a value cannot stand in XML."""
    members = "".join(
        f"<{order.column.name}{_attribute('last', order, end)}{_attribute('first', order, begin)} />"
        for order, begin, end in zip(orders, first, last, strict=True)
    )
    inner = f'<cookie page="{page}">{members}</cookie>'
    try:
        ElementTree.fromstring(inner)  # noqa: S314 of our own making
    except ElementTree.ParseError:
        return None
    twice = quote(quote(inner, safe=""), safe="")
    return f'<cookie pagenumber="{page + 1}" pagingcookie="{twice}" istracking="False" />'


def decoded(text: str, orders: Sequence[Order]) -> list[object]:
    """The values of the last row before a page, from a `paging-cookie`. Raises DataverseError 400."""
    try:
        root = None if "<!" in text else ElementTree.fromstring(text)  # noqa: S314 declarations are refused before
        if root is not None and root.tag == "cookie":
            return [_value(order, root.find(order.column.name)) for order in orders]
    except (ElementTree.ParseError, ValueError, RecursionError):
        pass
    raise DataverseError(400, "0x80040203", "Malformed XML in the Paging Cookie")


def _attribute(name: str, order: Order, value: object) -> str:
    if value is None:
        return f' {name}null="1"'
    text = f"{{{str(value).upper()}}}" if order.column.kind in ("guid", "lookup") else str(value)
    return f" {name}={quoteattr(text, _ESCAPED)}"


def _value(order: Order, element: ElementTree.Element | None) -> object:
    """A value as it is stored. Raises ValueError for what cannot be one of this column."""
    if element is not None and element.get("lastnull") == "1":
        return None
    text = element.get("last") if element is not None else None
    if text is None:
        raise ValueError(f"The cookie lacks {order.column.name}.")
    if order.column.kind in ("guid", "lookup"):
        guid = stored_guid(text)
        if guid is None:
            raise ValueError("The cookie holds no GUID.")
        return guid
    kind = SQL_TYPES.get(order.column.kind)
    if kind == "integer" and abs(int(text)) >= 2**63:
        raise ValueError("The cookie holds a number that no column holds.")
    return int(text) if kind == "integer" else float(text) if kind == "real" else text
