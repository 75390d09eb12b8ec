"""JSON rows into Arrow text columns, without losing a digit.

Every value becomes text as the server wrote it: numbers keep each digit (an amount of 15 digits does not survive a
float), booleans are `true` and `false`, JSON null is null. Not here: what a value means (R45 is applied in `extract/`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from dynsync_pipeline.model.records import UNREAD

if TYPE_CHECKING:
    import pyarrow as pa

_text = msgspec.json.Decoder(str)
_NULL = b"null"
_LITERAL = re.compile(rb"true|false|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Unreadable(ValueError):
    """Something is not what was asked for; the message names the column and no value, `column` the one at fault."""

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.column = column


def text_of(raw: bytes | memoryview) -> str | None:
    """One JSON scalar as text. Raises: ValueError: Unreadable for anything else, msgspec.DecodeError for a broken string."""
    value = bytes(raw)
    if value[:1] == b'"':
        return _text.decode(value)
    if value == _NULL:
        return None
    if not _LITERAL.fullmatch(value):
        raise Unreadable("it is no single value" if value[:1] in b"[{" else "it is no value of JSON")
    return value.decode("ascii")


def rows_table(names: Sequence[str], rows: Sequence[Mapping[str, str | None]]) -> pa.Table:
    """Rows as a table of these columns, null where a row lacks one; with the column `UNREAD` where a row has it."""
    import pyarrow as pa  # not before there are rows

    unread = [UNREAD] if any(UNREAD in row for row in rows) else []
    return pa.table({name: text_column([row.get(name) for row in rows]) for name in [*names, *unread]})


def all_rows(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of several tables of the same columns, `UNREAD` aside."""
    import pyarrow as pa  # not before there are rows

    return pa.concat_tables(tables, promote_options="default")


def text_column(values: Sequence[str | None]) -> pa.Array:
    """Texts as Arrow strings. Raises: pa.ArrowException for anything but text and null."""
    import pyarrow as pa  # not before there are rows

    # Of the first list that Arrow is given it wants to know whether it is one of pandas, and imports that, for half a second. A
    # cycle without changes has no list to give.
    return pa.array(values, pa.string()) if values else pa.nulls(0, pa.string())


_ARROW = {str: "string", int: "int64", bool: "bool"}


def text_of_column(values: Sequence[object], kind: type) -> pa.Array:
    """Decoded values of a `kind` (text, whole number or boolean) and nulls as they stand on the wire.

    Raises: pa.ArrowException where one is absent, OverflowError for a number beyond 64 bits.
    """
    import pyarrow as pa  # not before there are rows

    held = pa.array(values, _ARROW[kind])
    return held if kind is str else held.cast(pa.string())


def literal_column(raw: Sequence[msgspec.Raw]) -> pa.Array:
    """JSON numbers and nulls as they stand on the wire. Raises: Unreadable where one is missing or something else.

    No loop of Python's: a table's first read has millions of them.
    """
    import pyarrow as pa  # not before there are rows
    import pyarrow.compute as pc

    values = pa.array(list(map(bytes, raw)), pa.binary())
    if pc.any(pc.match_substring_regex(values, _NO_LITERAL)).as_py():
        raise Unreadable("a value is absent, or of another kind")
    return pc.if_else(pc.equal(values, _NULL), None, values).cast(pa.string())


_NO_LITERAL = r'^(?:$|["\[{])'
