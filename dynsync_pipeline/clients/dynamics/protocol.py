"""What the Dataverse Web API says, and how it is asked: text and bytes in, values out, no I/O.

Not here: error answers (`refusals.py`), `$batch` (`batch.py`), sending anything (`client.py`).
Source: docs/protocols/dataverse.md#reads, #change-tracking, #metadata.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import msgspec

from dynsync_pipeline.clients.pages import MOST_UNREAD, PageSpoiled
from dynsync_pipeline.clients.pieces import FAULTS, members, rows_of, told_once, what_is_wrong
from dynsync_pipeline.clients.rows import Unreadable, literal_column, rows_table, text_column, text_of, text_of_column
from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.model.field_map import FieldType
from dynsync_pipeline.model.records import UNREAD, EntitySet

if TYPE_CHECKING:
    import pyarrow as pa

SYSTEM = "dynamics"


class Owner(NamedTuple):
    """A user or team, which may own records; `modified_on` is as Dynamics tells it, UTC."""

    id: str
    is_team: bool
    name: str | None
    email: str | None
    is_enabled: bool
    modified_on: str


class Column(NamedTuple):
    """A column to read: its logical name, and the type the field map gives it."""

    name: str
    type: FieldType


@dataclass(frozen=True)
class ColumnMetadata:
    """What Dynamics says of a column; `options` maps option numbers to labels in the language of the sync's user.

    `metadata_id`: another one means another column of the same name. `max_length`: UTF-16 units. `is_required`: the system
    takes no null. `is_business_required`: people must fill it, the API takes a null.
    `precision`: decimal places. `time_behavior` of a
    DateTime: UserLocal, DateOnly or TimeZoneIndependent.
    """

    name: str
    attribute_type: str
    is_readable: bool
    is_updatable: bool
    is_creatable: bool
    is_secured: bool
    metadata_id: str | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    is_required: bool = False
    is_business_required: bool = False
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

    `rows` has the text columns `id` (lower-case GUID), `etag`, the ones asked for, and `UNREAD` where one
    cannot be read; None where the page has none, as in a quiet cycle, which needs no Arrow. `cursor` goes on after it.
    """

    rows: pa.Table | None
    deleted_ids: tuple[str, ...]
    cursor: str
    is_last: bool

    @property
    def n_rows(self) -> int:
        """How many rows it has, deletions aside."""
        return 0 if self.rows is None else int(self.rows.num_rows)


class RecordWrite(NamedTuple):
    """One PATCH: `body` is the text of a JSON object; `etag` None means create only, `*` only what is there, else only over
    that version.
    """

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
ROWS_TURNED = 250
IDS_PER_READ = 300  # 45 characters each in the URL, of 32,768
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# How values arrive, by the field map's type; an amount is kept as the text it is, because a float loses digits.
_ARRIVES_AS: Mapping[FieldType, Any] = {
    FieldType.TEXT: str,
    FieldType.DATE: str,
    FieldType.DATETIME: str,
    FieldType.CHOICES: str,
    FieldType.CHOICE: int,
    FieldType.INTEGER: int,
    FieldType.BOOLEAN: bool,
}


class _Envelope(msgspec.Struct):
    value: msgspec.Raw
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")
    delta_link: str | None = msgspec.field(default=None, name="@odata.deltaLink")


_envelope = msgspec.json.Decoder(_Envelope)


def guid(text: str) -> str:
    """A GUID in lower case, safe to put into a URL. Raises: ValueError."""
    if not _GUID.fullmatch(text):
        raise ValueError("not a GUID")
    return text.lower()


def select_of(columns: Sequence[Column]) -> str:
    """The `$select` of these columns; id and etag always come along."""
    return "$select=" + ",".join(quote(column.name) for column in columns)


def records_query(table: EntitySet, columns: Sequence[Column], ids: Sequence[str]) -> str:
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
    """The rows of an answer: live ones as text columns (None: none), deletions by id, where to go on; `content` is their JSON."""

    rows: pa.Table | None
    deleted_ids: tuple[str, ...]
    next_link: str | None
    delta_link: str | None
    content: bytes

    @property
    def n_rows(self) -> int:
        """How many rows the answer has, deletions included."""
        return len(self.deleted_ids) + (0 if self.rows is None else int(self.rows.num_rows))


class RowReader:
    """Reads the rows of one table with one list of columns, whose names are unique.

    A struct made for that list decodes whole pages; what it does not take is read piece by piece, as the text on the wire. A
    column that was selected and is absent from a row is an error, never a null (R49), which would clear the other side.
    """

    def __init__(self, table: EntitySet, columns: Sequence[Column]) -> None:
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
            kind = _ARRIVES_AS.get(column.type)
            expected, default = (
                (msgspec.Raw, msgspec.Raw()) if kind is None else (kind | None | msgspec.UnsetType, unset)
            )
            fields.append((f"c{number}", expected, msgspec.field(default=default, name=column.name)))
        self._decoder = msgspec.json.Decoder(list[msgspec.defstruct("Row", fields, gc=False)])  # type: ignore[misc]

    @property
    def _names(self) -> list[str]:
        return ["id", "etag", *(column.name for column in self._columns)]

    def read(self, body: bytes, leads_to: Callable[[str], None] = lambda _: None) -> Rows:
        """One answer with many rows; a row that cannot be read has its id, if that is told, and why (R116).

        `leads_to` is told of the next page before the rows of this one are read.

        Raises: PageSpoiled where its rows cannot be told from each other; Unreadable if it is no such answer, or where so
        many rows cannot be read that none of them is at fault.
        """
        try:
            envelope = _envelope.decode(body)
        except FAULTS:
            envelope = _envelope_of_pieces(body)
        if envelope.next_link is not None:
            leads_to(envelope.next_link)
        value = bytes(envelope.value)
        try:
            rows, gone = self._read_fast(value)
        except (*FAULTS, AttributeError, TypeError, OverflowError):
            rows, gone = self._read_slowly(value)
        return Rows(rows, gone, envelope.next_link, envelope.delta_link, value)

    def read_alone(self, body: bytes, *, is_tracked: bool) -> Rows:
        """An answer to a request for one row, which cannot be cut from what stands around it; as `read`.

        Raises: Unreadable where it is cut before its link (of which a page of changes always has one), or has more rows.
        """
        next_link, delta_link = _link_of(body, "@odata.nextLink"), _link_of(body, "@odata.deltaLink")
        is_whole = (next_link is None) != (delta_link is None) if is_tracked else body.rstrip().endswith(b"}")
        if not is_whole or body.count(b'"%s"' % self._id_column.encode()) > 1:
            raise Unreadable("it is cut short or garbled")
        row = self._unread(body, "it is cut short or garbled", "the only row of the answer")
        return Rows(self.table([row]), (), next_link, delta_link, body)

    def table(self, rows: Sequence[Mapping[str, str | None]]) -> pa.Table:
        """Rows of `read_one` and `unread` as `Rows.rows`."""
        return rows_table(self._names, rows)

    def _read_fast(self, value: bytes) -> tuple[pa.Table | None, tuple[str, ...]]:
        """All rows at once, column by column. Raises: what `FAULTS` holds, where a single value is not as it should be."""
        found: list[Any] = self._decoder.decode(value)
        live = [row for row in found if row.context is msgspec.UNSET or not _is_deletion(row.context)]
        gone: tuple[str, ...] = ()
        if len(live) < len(found):
            gone = tuple(guid(row.deleted_id) for row in found if _is_deletion(row.context))
        if not live:
            return None, gone
        import pyarrow as pa  # not before there are rows

        _, _, keys, etags, *values = _turned(live)
        columns = {"id": _guids(keys), "etag": text_column(etags)}
        for column, held in zip(self._columns, values, strict=True):
            kind = _ARRIVES_AS.get(column.type)
            columns[column.name] = literal_column(held) if kind is None else text_of_column(held, kind)
        return pa.table(columns), gone

    def read_one(self, body: bytes) -> dict[str, str | None]:
        """One record as `id`, `etag` and the columns. Raises: ValueError."""
        return self._row(members(body))

    def _read_slowly(self, value: bytes) -> tuple[pa.Table | None, tuple[str, ...]]:
        """Rows with a value of another kind than the field map says, or faulty ones: each by itself."""
        live: list[dict[str, str | None]] = []
        gone: list[str] = []
        faults: list[Exception] = []
        for number, piece in enumerate(rows_of(value, self._id_column), start=1):
            try:
                row = members(piece)
                if _is_deletion(_context(row)):
                    gone.append(guid(_text(row, "id") or ""))
                else:
                    live.append(self._row(row))
            except FAULTS as fault:
                faults.append(fault)
                live.append(self._unread(piece, what_is_wrong(fault), f"row {number} of the answer"))
        if len(faults) > MOST_UNREAD:
            columns = {getattr(fault, "column", None) for fault in faults}
            raise Unreadable(
                f"{len(faults)} of {len(live)} rows cannot be read, so the fault is no single row's: "
                f"{what_is_wrong(faults[0])}",
                column=columns.pop() if len(columns) == 1 else None,
            )
        return self.table(live) if live else None, tuple(gone)

    def _unread(self, piece: bytes, why: str, place: str) -> dict[str, str | None]:
        """A row that cannot be read: its id, if its bytes tell one, and why."""
        name = "id" if b"$deletedEntity" in piece else self._id_column
        key = told_once(piece, name, "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
        return {"id": key.lower(), UNREAD: why} if key else {UNREAD: f"{place}: {why}"}

    def _row(self, row: Mapping[str, bytes]) -> dict[str, str | None]:
        key = _text(row, self._id_column)
        if key is None or not _GUID.fullmatch(key):
            raise Unreadable(f"it has no {self._id_column}")
        return {"id": key.lower(), "etag": _text(row, "@odata.etag")} | {
            column.name: _text(row, column.name) for column in self._columns
        }


def _link_of(body: bytes, name: str) -> str | None:
    link = told_once(body, name, r'[^"\s]+')
    return None if link is None else text_of(f'"{link}"'.encode())


def _envelope_of_pieces(body: bytes) -> _Envelope:
    """The envelope around rows of which one is bad. Raises: PageSpoiled, Unreadable, msgspec.DecodeError."""
    try:
        found = members(body)
    except Unreadable:
        if body.lstrip().startswith(b"{") and (b'"value"' in body or b'"@odata.' in body):
            raise PageSpoiled from None
        raise
    rows = found.pop("value", b"")
    if not rows.startswith(b"["):
        raise Unreadable("it has no rows")
    links = {name: text for name, text in found.items() if name in ("@odata.nextLink", "@odata.deltaLink")}
    envelope = _envelope.decode(
        b"{%s}" % b",".join([b'"value":[]', *(b'"%s":%s' % (name.encode(), text) for name, text in links.items())])
    )
    envelope.value = msgspec.Raw(rows)
    return envelope


def _context(row: Mapping[str, bytes]) -> str | None:
    return _text(row, "@odata.context") if "@odata.context" in row else None


def _is_deletion(context: object) -> bool:
    return isinstance(context, str) and context.endswith("$deletedEntity")


def _turned(rows: Sequence[Any]) -> list[list[Any]]:
    """Structs of one kind, at least one, as a list for each of their fields.

    A few at a time: thousands of tuples at once are out of the processor's caches when they are read, and set Python's collector
    of garbage going, which looks at whatever the process holds.
    """
    columns: list[list[Any]] = [[] for _ in rows[0].__struct_fields__]
    for start in range(0, len(rows), ROWS_TURNED):
        some = map(msgspec.structs.astuple, rows[start : start + ROWS_TURNED])
        for column, values in zip(columns, zip(*some, strict=True), strict=True):
            column += values
    return columns


def _guids(keys: Sequence[str]) -> pa.Array:
    """Keys in lower case. Raises: Unreadable if one is no GUID; pa.ArrowException if one is no text."""
    import pyarrow.compute as pc  # not before there are rows

    found = pc.utf8_lower(text_column(keys))
    if not pc.all(pc.match_substring_regex(found, f"^{_GUID.pattern}$"), skip_nulls=False).as_py():
        raise Unreadable("a key is no GUID")
    return found


def _text(row: Mapping[str, bytes], name: str) -> str | None:
    if name not in row:
        raise Unreadable(f"it lacks the column {name}, which was asked for", name)
    try:
        return text_of(row[name])
    except FAULTS as fault:
        raise Unreadable(f"the value of {name}: {what_is_wrong(fault)}", name) from None
