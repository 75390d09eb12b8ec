"""Operations to Marketo: creates on the key field, updates on the id, each batch read back. Not here: what to write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import PersonColumns, land_people
from dynsync_pipeline.write_back.receipts import (
    PlannedWrite,
    Written,
    mark_sent,
    note_receipts,
    planned_writes,
    settle_receipts,
)

MOST_RECORDS = 300
MOST_BYTES = 900_000  # of the 1 MB that Marketo takes, the rest is for the envelope


def write_people(warehouse: Warehouse, client: MarketoClient, columns: PersonColumns, cycle_id: int) -> Written:
    """Send this cycle's creates and updates of people, then settle their receipts.

    Creates upsert on the key field, so that repeating one is harmless; updates go by id with `updateOnly`, so that one
    can never create. What Marketo made of the values is read back, and that is what the mirror takes.
    Raises: PlanStale; ApiError when a whole request failed, after which the next cycle finds out what was applied.
    """
    creates = planned_writes(warehouse, cycle_id, "marketo", "create")
    for record_type, key in ((RecordType.CONTACT, columns.contact_id), (RecordType.LEAD, columns.lead_id)):
        for batch in _batches([write for write in creates if write.record_type == record_type]):
            _send(warehouse, client, columns, batch, "createOrUpdate", key)
    for batch in _batches(planned_writes(warehouse, cycle_id, "marketo", "update")):
        _send(warehouse, client, columns, batch, "updateOnly", "id")
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


def _send(
    warehouse: Warehouse,
    client: MarketoClient,
    columns: PersonColumns,
    batch: Sequence[PlannedWrite],
    action: str,
    lookup_field: str,
) -> None:
    mark_sent(warehouse, batch)
    results = client.sync_people(action, lookup_field, [write.body for write in batch])
    written_ids = [str(result.id) for result in results if result.error is None]
    people = client.people("id", written_ids, columns.names) if written_ids else None
    with warehouse.transaction() as connection:
        note_receipts(
            connection, [(write, result.id, result.error) for write, result in zip(batch, results, strict=True)]
        )
        if people is not None:
            land_people(connection, columns, people)
