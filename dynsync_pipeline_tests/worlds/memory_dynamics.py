"""Dynamics in memory, as its client shows it to a cycle. Not here: Dynamics over HTTP (`dynsync_pipeline/emulators`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa

from dynsync_pipeline.clients.dynamics.protocol import (
    ChangesPage,
    Column,
    ColumnMetadata,
    LookedUp,
    Owner,
    RecordWrite,
    TableMetadata,
    WriteResult,
)
from dynsync_pipeline.errors import (
    AccessDenied,
    AnswerUnreadable,
    ApiError,
    ChangedMeanwhile,
    ColumnUnknown,
    RecordExists,
    RecordMissing,
)
from dynsync_pipeline.model.field_map import OF_OPTIONS, FieldMap
from dynsync_pipeline.model.records import UNREAD, EntitySet, RecordType, Table, logical_name
from dynsync_pipeline.warehouse.columns import mirrored_columns
from dynsync_pipeline.warehouse.connection import utc_now
from dynsync_pipeline_tests.worlds.cuts import Steps
from dynsync_pipeline_tests.worlds.rows import (
    LABELS,
    Keeps,
    Refuses,
    Row,
    Values,
    as_is,
    refuse_nothing,
    sent_values,
    shown,
    table_of,
)

CHANGED_BY = "_modifiedby_value"


@dataclass
class MemoryDynamics:
    """Accounts, contacts and leads. `now` is the clock of Dynamics, `fields` says which columns there are, `keeps` spoils
    what is written, `refuses` refuses it, `fails` fails every write. `places` and `behaviors` are of the columns of that
    name in every table.
    """

    fields: FieldMap
    steps: Steps
    now: Callable[[], datetime] = utc_now
    hidden: set[str] = field(default_factory=set)  # columns that its metadata does not show
    refused: set[str] = field(default_factory=set)  # columns that its metadata shows and reads refuse
    rows: dict[tuple[RecordType, str], Row] = field(default_factory=dict)
    version: int = 0
    places: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)  # of the definitions of columns; else their names
    behaviors: dict[str, str] = field(default_factory=dict)
    zone: str | None = "Etc/UTC"  # of the sync's user
    options: dict[str, str] = field(default_factory=lambda: dict(LABELS))  # of every choice column
    contact_options: dict[str, str] | None = None  # of those of contacts, where they are others
    unreadable: dict[str, str] = field(default_factory=dict)  # ids of records, and the column that cannot be read
    forbidden: set[str] = field(default_factory=set)  # ids of records that one may not read
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)  # what its metadata says more of a column
    user_names: dict[str, str] = field(default_factory=dict)
    owner_rows: list[Owner] = field(default_factory=list)
    n_owners_read: int = 0
    owners_fail: ApiError | None = None
    counts_fail: ApiError | None = None
    keeps: Keeps = as_is
    refuses: Refuses = refuse_nothing
    fails: ApiError | None = None
    is_backwards: bool = False  # rows of an answer in the other order
    writes: list[tuple[str, Values]] = field(default_factory=list)
    tasks: dict[str, Values] = field(default_factory=dict)

    # -- what people do --------------------------------------------------------------------------------------------

    def put(self, record_type: RecordType, record_id: str, /, **values: str | None) -> None:
        """Somebody creates or edits a record."""
        self.version += 1
        row = self.rows.setdefault((record_type, record_id), Row({"createdon": "2020-01-01T00:00:00Z"}, 0))
        row.values.update({CHANGED_BY: "somebody", **values}, modifiedon=f"{self.now():%Y-%m-%dT%H:%M:%SZ}")
        row.version = self.version

    def delete(self, record_type: RecordType, record_id: str) -> None:
        """Somebody deletes a record."""
        self.version += 1
        self.rows[record_type, record_id] = Row({}, self.version, is_deleted=True)

    def is_there(self, record_type: RecordType, record_id: str) -> bool:
        """Whether there is such a record."""
        row = self.rows.get((record_type, record_id))
        return row is not None and not row.is_deleted

    # -- what a cycle asks, as `DynamicsClient` ----------------------------------------------------------------------

    def who_am_i(self) -> str:
        """As `DynamicsClient.who_am_i`."""
        return "sync"

    def table_metadata(self, table: Table) -> TableMetadata:
        """As `DynamicsClient.table_metadata`."""
        columns = {
            name: ColumnMetadata(
                logical_name(name), kind, is_creatable=True,
                **{"is_readable": True, "is_secured": False, "is_updatable": True} | self.limits.get(name, {}),
                metadata_id=self.ids.get(name, name), max_length=self.lengths.get(name),
                precision=self.places.get(name), time_behavior=self.behaviors.get(name),
                options=self._options_of(table) if kind in OF_OPTIONS else {},
            )
            for name, kind in mirrored_columns(self.fields, table.record_type).items()
            if name not in self.hidden
        }  # fmt: skip
        return TableMetadata(table.entity_set, is_change_tracked=True, columns=columns)

    def _options_of(self, table: Table) -> dict[int, str]:
        options = self.contact_options if table.record_type is RecordType.CONTACT else None
        return {int(number): label for number, label in (options or self.options).items()}

    def time_zone(self) -> str | None:
        """As `DynamicsClient.time_zone`."""
        return self.zone

    def users(self, name: str) -> list[str]:
        """As `DynamicsClient.users`; their e-mail addresses are their names."""
        return [user_id for user_id, found in self.user_names.items() if found == name]

    def record_counts(self, tables: Sequence[Table]) -> dict[RecordType, int]:
        """As `DynamicsClient.record_counts`."""
        if self.counts_fail is not None:
            raise self.counts_fail
        there = [kind for (kind, _), row in self.rows.items() if not row.is_deleted]
        return {table.record_type: there.count(table.record_type) for table in tables}

    def owners(self, since: str | None) -> list[Owner]:
        """As `DynamicsClient.owners`."""
        if self.owners_fail is not None:
            raise self.owners_fail
        found = [owner for owner in self.owner_rows if owner.modified_on >= (since or "")]
        self.n_owners_read += len(found)
        return found

    @property
    def advised_at_once(self) -> int | None:
        """It advises nothing."""
        return None

    def changes(self, table: Table, columns: Sequence[Column], cursor: str | None) -> Iterator[ChangesPage]:
        """As `DynamicsClient.changes`, in one page; the cursor is a version."""
        since = int(cursor or 0)
        self._refuse(table, columns)
        new = [(i, r) for (kind, i), r in self.rows.items() if kind is table.record_type and r.version > since]
        gone = tuple(i for i, row in new if row.is_deleted)
        rows = self._read(table, columns, [i for i, row in new if not row.is_deleted])
        yield ChangesPage(
            rows if rows.num_rows else None, () if cursor is None else gone, str(self.version), is_last=True
        )

    def records(self, table: EntitySet, columns: Sequence[Column], ids: Sequence[str]) -> pa.Table:
        """As `DynamicsClient.records`."""
        assert isinstance(table, Table)
        return self._read(table, columns, [i for i in ids if self.is_there(table.record_type, i)])

    def created_between(
        self, table: Table, columns: Sequence[Column], start: str | None, end: str | None
    ) -> Iterator[pa.Table]:
        """As `DynamicsClient.created_between`, in one page."""
        found = [
            i
            for (kind, i), row in self.rows.items()
            if kind is table.record_type
            and not row.is_deleted
            and _is_between(row.values["createdon"] or "", start, end)
        ]
        yield self._read(table, columns, found)

    def look_up(self, table: EntitySet, columns: Sequence[Column], ids: Sequence[str]) -> LookedUp:
        """As `DynamicsClient.look_up`; what is in `forbidden` answers that one may not read it."""
        if not isinstance(table, Table):
            found: list[Values] = [{"id": i, "etag": "W/1", "createdon": None} for i in ids if i in self.tasks]
            missing = tuple(i for i in ids if i not in self.tasks)
            return LookedUp(table_of(["id", "etag", "createdon"], found), missing, {})
        shown = [i for i in ids if i not in self.forbidden]
        missing = tuple(i for i in shown if not self.is_there(table.record_type, i))
        denied = AccessDenied("No right.", system="dynamics", request="GET", code="0x80040220", status=403)
        return LookedUp(self.records(table, columns, shown), missing, {i: denied for i in ids if i in self.forbidden})

    def write(self, table: EntitySet, columns: Sequence[Column], writes: Sequence[RecordWrite]) -> list[WriteResult]:
        """As `DynamicsClient.write`."""
        if self.fails is not None:
            raise self.fails
        results = []
        for write in writes:
            self.steps.step()
            results.append(self._write(table, columns, write) if isinstance(table, Table) else self._write_task(write))
        if writes:
            self.steps.step()
        return results

    def _write_task(self, write: RecordWrite) -> WriteResult:
        values = sent_values(json.loads(write.body, parse_int=str, parse_float=str))
        if write.id in self.tasks:
            exists = RecordExists("exists", system="dynamics", request="PATCH", code="0x80060892")
            return WriteResult(write.id, None, exists)
        if refusal := self.refuses(write.id, values):
            return WriteResult(write.id, None, refusal)
        self.tasks[write.id] = values
        return WriteResult(write.id, {"id": write.id, "etag": "W/1", "createdon": None}, None)

    def _write(self, table: Table, columns: Sequence[Column], write: RecordWrite) -> WriteResult:
        values = sent_values(json.loads(write.body, parse_int=str, parse_float=str))
        is_there = self.is_there(table.record_type, write.id)
        if write.etag is None and is_there:
            exists = RecordExists("exists", system="dynamics", request="PATCH", code="0x80060892")
            return WriteResult(write.id, None, exists)
        if write.etag is not None and not is_there:
            return WriteResult(write.id, None, RecordMissing("gone", system="dynamics", request="PATCH", code="404"))
        if is_there and write.etag not in ("*", f"W/{self.rows[table.record_type, write.id].version}"):
            error: ApiError = ChangedMeanwhile("412", system="dynamics", request="PATCH", code="0x80060882")
            return WriteResult(write.id, None, error)
        if refusal := self.refuses(write.id, values):
            return WriteResult(write.id, None, refusal)
        self.writes.append((write.id, values))
        kept = {name: self.keeps(name, self._rounded(name, value)) for name, value in values.items()}
        if owner := values.get("ownerid@odata.bind"):
            kept["_ownerid_value"] = owner.partition("(")[2].rstrip(")")
        self.put(table.record_type, write.id, **{CHANGED_BY: "sync"}, **kept)
        row = self._row(table, columns, write.id)
        if UNREAD in row:
            error = AnswerUnreadable("Taken, and not shown.", system="dynamics", request="PATCH")
            return WriteResult(write.id, None, error)
        return WriteResult(write.id, row, None)

    def _rounded(self, name: str, value: str | None) -> str | None:
        if value is None or name not in self.places:
            return value
        return str(Decimal(value).quantize(Decimal(1).scaleb(-self.places[name]), ROUND_HALF_UP))

    def _refuse(self, table: Table, columns: Sequence[Column]) -> None:
        if refused := [column.name for column in columns if column.name in self.refused]:
            raise ColumnUnknown(
                f"Could not find a property named '{refused[0]}'.",
                system="dynamics",
                request=f"GET /api/data/v9.2/{table.entity_set}",
                field=refused[0],
            )

    def _read(self, table: Table, columns: Sequence[Column], ids: Sequence[str]) -> pa.Table:
        rows = [self._row(table, columns, i) for i in (reversed(ids) if self.is_backwards else ids)]
        return table_of(["id", "etag", *(column.name for column in columns)], rows)

    def _row(self, table: Table, columns: Sequence[Column], record_id: str) -> Values:
        known = {CHANGED_BY, *mirrored_columns(self.fields, table.record_type)}
        if unknown := [column.name for column in columns if column.name not in known]:
            raise ColumnUnknown(f"No column {unknown[0]}.", system="dynamics", request=f"GET {table.entity_set}")
        self._refuse(table, columns)
        row = self.rows[table.record_type, record_id]
        values: Values = {"id": record_id, "etag": f"W/{row.version}"}
        values |= {column.name: row.values.get(column.name) for column in columns}
        return shown(values, self.unreadable.get(record_id))


def _is_between(created: str, start: str | None, end: str | None) -> bool:
    return (start is None or created >= start) and (end is None or created < end)
