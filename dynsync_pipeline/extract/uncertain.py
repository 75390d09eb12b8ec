"""After a cut: reads again what has an operation that was sent and has no receipt. Next: `write_back/receipts.py`."""

from __future__ import annotations

from datetime import UTC, timedelta

from dynsync_pipeline.clients.dynamics.protocol import Column
from dynsync_pipeline.clients.systems import Dynamics, Marketo
from dynsync_pipeline.extract.feed import Feed
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import (
    COMPANY_KEY,
    PersonColumns,
    land_companies,
    land_dynamics,
    land_people,
    take_in_companies,
    take_in_dynamics,
    take_in_people,
)

OVERLAP = timedelta(minutes=10)
CLOCKS_APART = timedelta(seconds=2)  # ours and Marketo's; Marketo tells whole seconds
VERSION_MISMATCH = "0x80060882"


def reread_uncertain(
    warehouse: Warehouse, dynamics: Dynamics, marketo: Marketo, fields: FieldMap, columns: PersonColumns
) -> int:
    """Bring the mirror of those records up to date; returns how many operations are uncertain. Raises: ApiError."""
    with warehouse.reading() as connection:
        uncertain = connection.execute(
            "select system, action, record_type, dynamics_id, person_id, company_key from reconcile.operations "
            "where sent_at is not null and operation_id not in (select operation_id from reconcile.receipts)"
        ).fetchall()
    for record_type in PERSON_TYPES:
        ids = [row[3] for row in uncertain if row[0] == "dynamics" and row[2] == record_type]
        if ids:
            table = TABLES[record_type]
            wanted = [Column(name, kind) for name, kind in dynamics_columns(fields, record_type).items()]
            rows = dynamics.records(table, wanted, ids)
            with warehouse.transaction() as connection:
                land_dynamics(connection, fields, table, rows, [])
    person_ids = [str(row[4]) for row in uncertain if row[0] == "marketo" and row[1] == "update"]
    lookups = [("id", person_ids)]
    for record_type, key in ((RecordType.CONTACT, columns.contact_id), (RecordType.LEAD, columns.lead_id)):
        lookups.append(
            (key, [row[3] for row in uncertain if row[0] == "marketo" and row[1] == "create" and row[2] == record_type])
        )
    for filter_type, values in lookups:
        people = marketo.people(filter_type, values, columns.names) if values else None
        if people is not None:
            with warehouse.transaction() as connection:
                land_people(connection, columns, people)
    company_keys = [row[5] for row in uncertain if row[5] is not None]
    if company_keys:
        companies = marketo.companies(company_keys, [COMPANY_KEY, *fields.company_fields])
        with warehouse.transaction() as connection:
            land_companies(connection, fields, companies)
    if person_ids or any(row[1] == "create" for row in uncertain):
        _land_feed(warehouse, marketo, columns)
    if uncertain:
        with warehouse.transaction() as connection:
            for record_type in PERSON_TYPES:
                take_in_dynamics(connection, record_type)
            take_in_companies(connection, is_receipt=True)
            take_in_people(connection)
    return len(uncertain)


def _land_feed(warehouse: Warehouse, marketo: Marketo, columns: PersonColumns) -> None:
    """What the feed tells since the first uncertain write: whether our values stood there before somebody's edit."""
    with warehouse.reading() as connection:
        rows = connection.execute(
            "select min(sent_at) from reconcile.operations "
            "where sent_at is not null and operation_id not in (select operation_id from reconcile.receipts)"
        ).fetchall()
        seen = {row[0] for row in connection.execute("select guid from state.feed_seen").fetchall()}
    since = rows[0][0].replace(tzinfo=UTC) - OVERLAP
    feed = Feed(columns, seen)  # what was read before our write left is none of it
    for page in marketo.changes(marketo.start_of_feed(since).token, columns.names):
        for change in page.items:
            if change.at >= since + OVERLAP - CLOCKS_APART:
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
                "select distinct dynamics_id from state.unsettled where record_type = ? and reason = ?",
                [record_type, f"waiting: {VERSION_MISMATCH}"],
            ).fetchall()
        if rows:
            wanted = [Column(name, kind) for name, kind in dynamics_columns(fields, record_type).items()]
            found = dynamics.records(TABLES[record_type], wanted, [row[0] for row in rows])
            with warehouse.transaction() as connection:
                land_dynamics(connection, fields, TABLES[record_type], found, [])
                take_in_dynamics(connection, record_type)
