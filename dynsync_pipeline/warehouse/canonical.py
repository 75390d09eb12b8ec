"""The expressions that make the columns of what landed canonical (R45), by what the rows that landed hold.

What an expression over forty columns costs is mostly its planning, in each answer anew. So a column without a value takes none,
and of text only such with a character in it that has to go. Not here: what is canonical (`sql/macros.sql`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynsync_pipeline.model.field_map import OF_OPTIONS, FieldType
from dynsync_pipeline.warehouse.columns import quoted

if TYPE_CHECKING:
    import pyarrow as pa

_TO_GO = (b"\r", b"\0")  # what `canonical_text` looks for


def canonical(name: str, kind: FieldType, rows: pa.Table | None) -> str:
    """The canonical value of a column of `rows` (text as it was sent), or, where None, of whatever has such a column."""
    if rows is not None:
        column = rows.column(name)
        if column.null_count == len(column):
            return "null::varchar"
        if kind is FieldType.TEXT and not _holds_any(column):
            return f"canonical_plain_text({quoted(name)})"
    return f"canonical_{kind}({quoted(name)})"


def canonical_in_marketo(name: str, kind: FieldType, rows: pa.Table | None) -> str:
    """The same of a field that Marketo sent."""
    return canonical(name, kind_in_marketo(kind), rows)


def kind_in_marketo(kind: FieldType) -> FieldType:
    """What Marketo sends of a field of this type: of options their labels (R29, R33)."""
    return FieldType.TEXT if kind in OF_OPTIONS else kind


def _holds_any(column: pa.ChunkedArray) -> bool:
    """Whether a value may have one of `_TO_GO`: a part of a longer column has what the rest has, and only plain strings are
    looked at.
    """
    buffers = (buffer for chunk in column.chunks for buffer in chunk.buffers()[2:] if buffer is not None)
    return column.type != "string" or any(character in text for text in map(bytes, buffers) for character in _TO_GO)
