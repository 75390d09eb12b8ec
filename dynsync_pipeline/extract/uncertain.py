"""After a cut: reads again what has an operation that was sent and has no receipt. Next: `write_back/receipts.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.clients.systems import Dynamics, Marketo
from dynsync_pipeline.extract.feed import Feed
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import (
    PersonColumns,
    land_companies,
    land_dynamics,
    land_people,
    take_in_companies,
    take_in_dynamics,
    take_in_people,
)

if TYPE_CHECKING:
    import pyarrow as pa

OVERLAP = timedelta(minutes=10)
SERVERS_APART = timedelta(seconds=2)  # the clocks of one system's servers; they tell whole seconds
_CHANGED_BY = "_modifiedby_value"


class _Uncertain(NamedTuple):
    """An operation that was sent and of which nobody knows what became of it."""

    system: str
    action: str
    record_type: str
    dynamics_id: str | None
    person_id: int | None
    company_key: str | None
    sent_at: datetime

    @property
    def is_of_person(self) -> bool:
        """Whether it writes to a person in Marketo."""
        return self.system == "marketo" and self.action != "company"


def reread_uncertain(
    warehouse: Warehouse, dynamics: Dynamics, marketo: Marketo, fields: FieldMap, columns: PersonColumns
) -> int:
    """Bring the mirror of those records up to date; returns how many operations are uncertain. Raises: ApiError."""
    with warehouse.reading() as connection:
        uncertain = [_Uncertain(*row) for row in connection.execute(_UNCERTAIN).fetchall()]
    if not uncertain:
        return 0
    _land_records(warehouse, dynamics, fields, [row for row in uncertain if row.system == "dynamics"])
    for filter_type, values in _lookups(uncertain, columns).items():
        _land_people(warehouse, marketo, columns, filter_type, values)
    _land_companies(warehouse, marketo, fields, [row.company_key for row in uncertain if row.company_key is not None])
    if of_people := [row.sent_at for row in uncertain if row.is_of_person]:
        _land_feed(warehouse, marketo, columns, min(of_people).replace(tzinfo=UTC))
    _take_in(warehouse)
    return len(uncertain)


_UNCERTAIN = """
select system, action, record_type, dynamics_id, person_id, company_key, sent_at from reconcile.operations
where sent_at is not null and operation_id not in (select operation_id from reconcile.receipts)
"""


def _lookups(uncertain: Sequence[_Uncertain], columns: PersonColumns) -> dict[str, list[str]]:
    """What to look people up by: updates by their id, creates, whose id nobody knows yet, by their Dynamics record's."""
    values: dict[str, list[str]] = {"id": [], columns.own.contact_id: [], columns.own.lead_id: []}
    for row in filter(attrgetter("is_of_person"), uncertain):
        if row.action == "update":
            values["id"].append(str(row.person_id))
        else:
            is_contact = row.record_type == RecordType.CONTACT
            values[columns.own.contact_id if is_contact else columns.own.lead_id].append(row.dynamics_id or "")
    return values


def _take_in(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        for record_type in PERSON_TYPES:
            take_in_dynamics(connection, warehouse.now(), record_type)
        take_in_companies(connection, warehouse.now(), is_receipt=True)
        take_in_people(connection, warehouse.now())


def _land_records(warehouse: Warehouse, dynamics: Dynamics, fields: FieldMap, written: Sequence[_Uncertain]) -> None:
    """The records, and which of them nobody changed after the sync's own user."""
    if not written:
        return
    us = dynamics.who_am_i()
    found = {}
    for record_type in PERSON_TYPES:
        ids = [row.dynamics_id or "" for row in written if row.record_type == record_type]
        found[record_type] = _read_records(dynamics, fields, record_type, ids)
    with warehouse.transaction() as connection:
        connection.execute("delete from inbox.last_changed_by_us")
        for record_type, rows in found.items():
            land_dynamics(connection, fields, TABLES[record_type], rows, [])
            _note_changed_by(connection, us, record_type, rows)


def _note_changed_by(connection: duckdb.DuckDBPyConnection, us: str, record_type: RecordType, rows: pa.Table) -> None:
    authors = zip(rows.column("id").to_pylist(), rows.column(_CHANGED_BY).to_pylist(), strict=True)
    ours = [record_id for record_id, author in authors if author is not None and author.lower() == us]
    connection.execute(
        "insert into inbox.last_changed_by_us (record_type, dynamics_id) select ?, unnest(?::varchar[])",
        [record_type, ours],
    )


def _read_records(dynamics: Dynamics, fields: FieldMap, record_type: RecordType, ids: Sequence[str]) -> pa.Table:
    wanted = [Column(name, kind) for name, kind in dynamics_columns(fields, record_type).items()]
    return dynamics.records(TABLES[record_type], wanted, ids)


def _land_people(
    warehouse: Warehouse, marketo: Marketo, columns: PersonColumns, filter_type: str, values: Sequence[str]
) -> None:
    if not values:
        return
    people = marketo.people(filter_type, values, columns.names)
    with warehouse.transaction() as connection:
        land_people(connection, columns, people)


def _land_companies(warehouse: Warehouse, marketo: Marketo, fields: FieldMap, keys: Sequence[str]) -> None:
    if not keys:
        return
    companies = marketo.companies(keys, [COMPANY_KEY, *fields.company_fields])
    with warehouse.transaction() as connection:
        land_companies(connection, fields, companies)


def _land_feed(warehouse: Warehouse, marketo: Marketo, columns: PersonColumns, sent_at: datetime) -> None:
    """What the feed tells since the first uncertain write left, by Marketo's clock: whether our values stood there before
    somebody's edit.
    """
    with warehouse.reading() as connection:
        seen = {row[0] for row in connection.execute("select guid from state.feed_seen").fetchall()}
    feed = Feed(columns, seen)  # what was read before our write left is none of it
    for page in marketo.changes(marketo.start_of_feed(sent_at - OVERLAP).token, columns.told):
        for change in page.items:
            if change.at >= sent_at - SERVERS_APART:
                feed.add(change.guid, change.person_id, change.at, change.field, change.old_value, change.new_value)
    with warehouse.transaction() as connection:
        connection.execute("delete from inbox.feed_after_cut")
        feed.land_after_cut(connection)


def reread_changed_meanwhile(warehouse: Warehouse, dynamics: Dynamics, fields: FieldMap) -> None:
    """Read again the records whose update met an edit that nobody had seen (412), so that they can be settled again.

    Raises: ApiError.
    """
    for record_type in PERSON_TYPES:
        with warehouse.reading() as connection:
            rows = connection.execute(
                "select distinct dynamics_id from state.unsettled where record_type = ? and reason_code = 'changed_meanwhile'",
                [record_type],
            ).fetchall()
        if rows:
            found = _read_records(dynamics, fields, record_type, [row[0] for row in rows])
            with warehouse.transaction() as connection:
                land_dynamics(connection, fields, TABLES[record_type], found, [])
                take_in_dynamics(connection, warehouse.now(), record_type)
