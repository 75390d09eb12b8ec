"""What the Dataverse Web API says, and how it is asked: text and bytes in, values out, no I/O.

Not here: error answers (`refusals.py`), `$batch` (`batch.py`), sending anything (`client.py`).
Source: docs/protocols/dataverse.md#reads, #change-tracking, #metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pyarrow as pa

from dynsync_pipeline.clients.rows import text_of, text_table
from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import Table

SYSTEM = "dynamics"


class Column(NamedTuple):
    """A column to read: its logical name, and the type the field map gives it."""

    name: str
    type: FieldType


@dataclass(frozen=True)
class ColumnMetadata:
    """What Dynamics says of a column; `options` maps option numbers to labels in the language of the sync's user.

    `precision`: decimal places. `time_behavior` of a DateTime: UserLocal, DateOnly or TimeZoneIndependent.
    """

    name: str
    attribute_type: str
    is_readable: bool
    is_updatable: bool
    is_creatable: bool
    is_secured: bool
    max_length: int | None = None
    precision: int | None = None
    time_behavior: str | None = None
    options: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableMetadata:
    """What Dynamics says of a table. Lookups stand in `columns` twice: by name and, as they are read, `_name_value`."""

    entity_set: str
    is_change_tracked: bool
    columns: Mapping[str, ColumnMetadata]


@dataclass(frozen=True)
class ChangesPage:
    """One page of a change-tracking read.

    `rows` has the text columns `id` (lower-case GUID), `etag` and the ones asked for; `cursor` goes on after it.
    """

    rows: pa.Table
    deleted_ids: tuple[str, ...]
    cursor: str
    is_last: bool


class RecordWrite(NamedTuple):
    """One PATCH: `body` is the text of a JSON object; `etag` None means create only, else only over that version."""

    id: str
    body: str
    etag: str | None


class WriteResult(NamedTuple):
    """What became of one write: the record afterwards (`id`, `etag`, the columns asked for, as text), or the error."""

    id: str
    row: dict[str, str | None] | None
    error: ApiError | None


@dataclass(frozen=True)
class LookedUp:
    """What Dynamics said of single records: the rows of those that are there, as `ChangesPage.rows`; the ids of those that do
    not exist, on its word; and by id the error of those of which it said anything else.
    """

    rows: pa.Table
    missing_ids: tuple[str, ...]
    unproven: Mapping[str, ApiError]


API_PATH = "/api/data/v9.2"
LARGEST_PAGE = 5000  # rows
IDS_PER_READ = 300  # 45 characters each in the URL, of 32,768
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# These arrive as JSON strings; all others as numbers or booleans, whose text is kept as it stands.
_STRING_TYPES = frozenset({FieldType.TEXT, FieldType.DATE, FieldType.DATETIME})


class Unreadable(ValueError):
    """A row is not what was asked for; the message names the column and no value."""


class _Envelope(msgspec.Struct):
    value: msgspec.Raw
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")
    delta_link: str | None = msgspec.field(default=None, name="@odata.deltaLink")


_envelope = msgspec.json.Decoder(_Envelope)
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def guid(text: str) -> str:
    """A GUID in lower case, safe to put into a URL. Raises: ValueError."""
    if not _GUID.fullmatch(text):
        raise ValueError("not a GUID")
    return text.lower()


def select_of(columns: Sequence[Column]) -> str:
    """The `$select` of these columns; id and etag always come along."""
    return "$select=" + ",".join(quote(column.name) for column in columns)


def records_query(table: Table, columns: Sequence[Column], ids: Sequence[str]) -> str:
    """The query that reads just these records, `IDS_PER_READ` at most. Raises: ValueError for an id that is no GUID."""
    listed = ",".join(f'"{guid(each)}"' for each in ids)
    wanted = f"Microsoft.Dynamics.CRM.In(PropertyName='{table.id_column}',PropertyValues=[{listed}])"
    return select_of(columns) + "&$filter=" + quote(wanted, safe="(),='")


def created_query(columns: Sequence[Column], start: str | None, end: str | None) -> str:
    """The query that reads what was created from `start` until before `end`, YYYY-MM-DDThh:mm:ssZ; None: no bound."""
    bounds = [f"createdon ge {start}" if start else "", f"createdon lt {end}" if end else ""]
    wanted = " and ".join(filter(None, bounds))
    return select_of(columns) + (f"&$filter={quote(wanted, safe=':')}" if wanted else "")


@dataclass(frozen=True)
class Rows:
    """The rows of one answer: live ones as text columns, deletions by id, and where to go on."""

    rows: pa.Table
    deleted_ids: tuple[str, ...]
    next_link: str | None
    delta_link: str | None


class RowReader:
    """Reads the rows of one table with one list of columns, whose names are unique.

    Strings are decoded by a struct made for that list, everything else is kept as the text on the wire. A column that
    was selected and is absent from a row is an error, never a null (R49), which would clear the other side.
    """

    def __init__(self, table: Table, columns: Sequence[Column]) -> None:
        self._id_column = table.id_column
        self._columns = tuple(columns)
        unset = msgspec.UNSET
        fields: list[tuple[str, Any, Any]] = [
            ("context", str | msgspec.UnsetType, msgspec.field(default=unset, name="@odata.context")),
            ("deleted_id", str | msgspec.UnsetType, msgspec.field(default=unset, name="id")),
            ("key", str | msgspec.UnsetType, msgspec.field(default=unset, name=table.id_column)),
            ("etag", str | msgspec.UnsetType, msgspec.field(default=unset, name="@odata.etag")),
        ]
        for number, column in enumerate(self._columns):
            kind: Any = str | None | msgspec.UnsetType if column.type in _STRING_TYPES else msgspec.Raw
            default: Any = unset if column.type in _STRING_TYPES else msgspec.Raw()
            fields.append((f"c{number}", kind, msgspec.field(default=default, name=column.name)))
        self._decoder = msgspec.json.Decoder(list[msgspec.defstruct("Row", fields, gc=False)])  # type: ignore[misc]

    @property
    def nothing(self) -> pa.Table:
        """A table of these columns without rows."""
        return text_table({name: [] for name in self._names})

    @property
    def _names(self) -> list[str]:
        return ["id", "etag", *(column.name for column in self._columns)]

    def read(self, body: bytes) -> Rows:
        """One answer with many rows. Raises: Unreadable, msgspec.DecodeError."""
        envelope = _envelope.decode(body)
        try:
            rows, gone = self._read_fast(envelope.value)
        except (msgspec.ValidationError, pa.ArrowException, AttributeError, TypeError, ValueError):
            rows, gone = self._read_slowly(envelope.value)
        return Rows(rows, gone, envelope.next_link, envelope.delta_link)

    def _read_fast(self, value: msgspec.Raw) -> tuple[pa.Table, tuple[str, ...]]:
        found: list[Any] = self._decoder.decode(value)
        live = [row for row in found if not _is_deletion(row.context)]
        gone = tuple(guid(row.deleted_id) for row in found if _is_deletion(row.context))
        columns: dict[str, list[str | None]] = {
            "id": [row.key.lower() for row in live],
            "etag": [row.etag for row in live],
        }
        for number, column in enumerate(self._columns):
            values = [getattr(row, f"c{number}") for row in live]
            columns[column.name] = values if column.type in _STRING_TYPES else [*map(_literal, values)]
        return text_table(columns), gone

    def read_one(self, body: bytes) -> dict[str, str | None]:
        """One record as `id`, `etag` and the columns. Raises: Unreadable, msgspec.DecodeError."""
        return self._row(_object.decode(body))

    def _read_slowly(self, value: msgspec.Raw) -> tuple[pa.Table, tuple[str, ...]]:
        """Rows with a value of another kind than the field map says, or faulty ones: finds out which."""
        found = _objects.decode(value)
        live = [self._row(row) for row in found if not _is_deletion(_context(row))]
        gone = tuple(guid(_text(row, "id") or "") for row in found if _is_deletion(_context(row)))
        return text_table({name: [row[name] for row in live] for name in self._names}), gone

    def _row(self, row: Mapping[str, msgspec.Raw]) -> dict[str, str | None]:
        key = _text(row, self._id_column)
        if key is None or not _GUID.fullmatch(key):
            raise Unreadable(f"a row has no {self._id_column}")
        return {"id": key.lower(), "etag": _text(row, "@odata.etag")} | {
            column.name: _text(row, column.name) for column in self._columns
        }


def _context(row: Mapping[str, msgspec.Raw]) -> str | None:
    return _text(row, "@odata.context") if "@odata.context" in row else None


def _is_deletion(context: object) -> bool:
    return isinstance(context, str) and context.endswith("$deletedEntity")


def _literal(raw: msgspec.Raw) -> str | None:
    value = bytes(raw)
    if value[:1] in b'"[{':  # also for the empty value of an absent column
        return _absent_or_text(value)
    return None if value == b"null" else value.decode("ascii")


def _absent_or_text(value: bytes) -> str | None:
    if not value:
        raise Unreadable("a column is absent")
    return text_of(value)


def _text(row: Mapping[str, msgspec.Raw], name: str) -> str | None:
    if name not in row:
        raise Unreadable(f"a row lacks the column {name}, which was asked for")
    try:
        return text_of(row[name])
    except ValueError:
        raise Unreadable(f"the value of {name} is no single value") from None
