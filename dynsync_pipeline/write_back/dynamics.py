"""Operations to Dynamics: conditional updates in batches, each record with its own receipt. Not here: what to write."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from dynsync_pipeline.clients.dynamics.protocol import Column, RecordWrite, WriteResult
from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.errors import ApiError
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import PERSON_TYPES, TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import land_dynamics
from dynsync_pipeline.write_back.receipts import (
    PlannedWrite,
    Written,
    mark_sent,
    note_receipts,
    note_refused_field,
    planned_writes,
    settle_receipts,
)

BATCH = 100


def write_records(warehouse: Warehouse, client: Dynamics, fields: FieldMap, cycle_id: int) -> Written:
    """Send this cycle's updates of contacts and leads, then settle their receipts.

    Every update carries `If-Match`, so an edit nobody has seen is never overwritten. The answer holds the record as
    Dynamics left it, which is what the mirror takes. Raises: PlanStale; ApiError when a whole request failed, after
    which the next cycle finds out what was applied.
    """
    writes = planned_writes(warehouse, cycle_id, "dynamics", "update")
    for record_type in PERSON_TYPES:
        of_type = [write for write in writes if write.record_type == record_type]
        for first in range(0, len(of_type), BATCH):
            _send(warehouse, client, fields, record_type, of_type[first : first + BATCH])
    return settle_receipts(warehouse, "dynamics")


def _rest(write: PlannedWrite, error: ApiError | None) -> PlannedWrite | None:
    """What is left to write without the field that the error names; None where it names none, or nothing is left."""
    return write.without(error.field) if error and error.field else None


def _send(
    warehouse: Warehouse,
    client: Dynamics,
    fields: FieldMap,
    record_type: RecordType,
    batch: Sequence[PlannedWrite],
) -> None:
    """Send one batch; where an answer names a field at fault, set it aside and send the rest of that record again."""
    table = TABLES[record_type]
    columns = [Column(name, kind) for name, kind in dynamics_columns(fields, record_type).items()]
    mark_sent(warehouse, batch)
    pending = list(batch)
    while pending:
        results = client.write(table, columns, [RecordWrite(w.dynamics_id, w.body, w.etag) for w in pending])
        answered, smaller = [], []
        with warehouse.transaction() as connection:
            for write, result in zip(pending, results, strict=True):
                rest = _rest(write, result.error)
                if rest is None or result.error is None:
                    answered.append((write, write.person_id, result.error))
                else:
                    note_refused_field(connection, write, "dynamics", result.error)
                    smaller.append(rest)
            note_receipts(connection, answered, warehouse.now())
            land_dynamics(connection, fields, table, _rows(columns, results), [])
        pending = smaller


def _rows(columns: Sequence[Column], results: Sequence[WriteResult]) -> pa.Table:
    rows = [result.row for result in results if result.row is not None]
    names = ["id", "etag", *(column.name for column in columns)]
    return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})
