"""Operations to Marketo: companies and creates on their keys, updates on the id, each batch read back.

Not here: what to write (`reconcile/`), what an answer means for base and ledger (`receipts.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import duckdb

from dynsync_pipeline.clients.marketo.protocol import CompanyResult, PersonResult
from dynsync_pipeline.clients.systems import Marketo
from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_companies, land_people
from dynsync_pipeline.write_back.receipts import (
    PlannedWrite,
    Written,
    mark_sent,
    note_receipts,
    note_refused_field,
    planned_writes,
    settle_receipts,
)

Done = tuple[PlannedWrite, int | None]  # an applied operation, and Marketo's id of the person or company
Landing = Callable[[duckdb.DuckDBPyConnection], None]

MOST_RECORDS = 300
MOST_BYTES = 900_000  # of the 1 MB that Marketo takes, the rest is for the envelope


def write_people(warehouse: Warehouse, client: Marketo, columns: PersonColumns, cycle_id: int) -> Written:
    """Send this cycle's companies, creates and updates of people, in this order, then settle their receipts.

    Companies and creates upsert on a key, so that repeating one is harmless; updates go by id with `updateOnly`, so
    that one can never create. What Marketo made of the values is read back, and that is what the mirror takes.
    Raises: PlanStale; ApiError when a whole request failed, after which the next cycle finds out what was applied.
    """

    def company_batch(batch: list[PlannedWrite]) -> None:
        def observe(done: Sequence[Done]) -> Landing:
            names = [COMPANY_KEY, *columns.fields.company_fields]
            companies = client.companies([write.company_key or "" for write, _ in done], names)
            return lambda connection: land_companies(connection, columns.fields, companies)

        keys = (COMPANY_KEY,)
        _send(warehouse, batch, keys, lambda writes: client.sync_companies([w.body for w in writes]), observe)

    def person_batch(batch: list[PlannedWrite], action: str, lookup_field: str) -> None:
        def observe(done: Sequence[Done]) -> Landing:
            people = client.people("id", [str(person_id) for _, person_id in done], columns.names)
            return lambda connection: land_people(connection, columns, people)

        keys = ("id", columns.own.contact_id, columns.own.lead_id) if action == "updateOnly" else (lookup_field,)
        _send(
            warehouse,
            batch,
            keys,
            lambda writes: client.sync_people(action, lookup_field, [w.body for w in writes]),
            observe,
        )

    for batch in _batches(planned_writes(warehouse, cycle_id, "marketo", "company")):
        company_batch(batch)
    creates = planned_writes(warehouse, cycle_id, "marketo", "create")
    for record_type, key in ((RecordType.CONTACT, columns.own.contact_id), (RecordType.LEAD, columns.own.lead_id)):
        for batch in _batches([write for write in creates if write.record_type == record_type]):
            person_batch(batch, "createOrUpdate", key)
    for batch in _batches(planned_writes(warehouse, cycle_id, "marketo", "update")):
        person_batch(batch, "updateOnly", "id")
    return settle_receipts(warehouse, "marketo")


def _batches(writes: Sequence[PlannedWrite]) -> Iterator[list[PlannedWrite]]:
    batch: list[PlannedWrite] = []
    size_bytes = 0
    for write in writes:
        n_bytes = len(write.body.encode())
        if batch and (len(batch) == MOST_RECORDS or size_bytes + n_bytes > MOST_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(write)
        size_bytes += n_bytes
    if batch:
        yield batch


def _rest(write: PlannedWrite, error: ApiError | None, keys: Sequence[str]) -> PlannedWrite | None:
    """What is left to write without the field that the error names; None where it names none, or nothing is left."""
    return write.without(error.field, keys) if error and error.field else None


def _send(
    warehouse: Warehouse,
    batch: Sequence[PlannedWrite],
    keys: Sequence[str],
    sync: Callable[[Sequence[PlannedWrite]], Sequence[PersonResult | CompanyResult]],
    observe: Callable[[Sequence[Done]], Landing],
) -> None:
    """Send one batch, read back what was written, and store receipts and observations together.

    Where an answer names a field at fault, it is set aside and the rest of that record is sent again at once (R116).
    """
    mark_sent(warehouse, batch)
    pending = list(batch)
    while pending:
        results = list(zip(pending, sync(pending), strict=True))
        done = [(write, result.id) for write, result in results if result.error is None]
        land = observe(done) if done else None
        smaller = []
        with warehouse.transaction() as connection:
            answered: list[tuple[PlannedWrite, int | None, ApiError | None]] = []
            for write, result in results:
                rest = _rest(write, result.error, keys)
                if rest is not None and result.error is not None:
                    note_refused_field(connection, write, "marketo", result.error)
                    smaller.append(rest)
                else:
                    answered.append((write, None if write.company_key else result.id, result.error))
            note_receipts(connection, answered, warehouse.now())
            if land is not None:
                land(connection)
        pending = smaller
