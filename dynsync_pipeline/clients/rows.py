"""JSON rows into Arrow text columns, without losing a digit.

Every value becomes text as the server wrote it: numbers keep each digit (an amount of 15 digits does not survive a
float), booleans are `true` and `false`, JSON null is null. Not here: what a value means (R45 is applied in `extract/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa

_text = msgspec.json.Decoder(str)
_NULL = b"null"


def text_of(raw: bytes | memoryview) -> str | None:
    """One JSON scalar as text. Raises: ValueError for an array or an object, msgspec.DecodeError for broken JSON."""
    value = bytes(raw)
    if value[:1] == b'"':
        return _text.decode(value)
    if value == _NULL:
        return None
    if value[:1] in b"[{":
        raise ValueError("not a single value")
    return value.decode("ascii")


def text_table(columns: Mapping[str, Sequence[str | None]]) -> pa.Table:
    """Columns as a table of Arrow strings. Raises: pa.ArrowException for anything but text and null."""
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
