"""Operations to Dynamics: conditional updates in batches, each record with its own receipt.

Not here: what to write (`reconcile/`), what follows from an answer (`sending.py`, `receipts.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby

from dynsync_pipeline.clients.dynamics.protocol import Column, RecordWrite
from dynsync_pipeline.clients.systems import Dynamics
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.model.records import TABLES, RecordType
from dynsync_pipeline.warehouse.columns import dynamics_columns
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.mirrors import land_dynamics
from dynsync_pipeline.write_back.batches import batches
from dynsync_pipeline.write_back.lanes import CallsLeft, waiting_operations
from dynsync_pipeline.write_back.receipts import PlannedWrite, Written, planned_writes, settle_receipts
from dynsync_pipeline.write_back.sending import Turn
from dynsync_pipeline.write_back.telling import counted, progress_of
from dynsync_pipeline.write_back.ways import Answer, Landing

MOST_RECORDS = 100
MOST_BYTES = 10_000_000


def write_records(
    warehouse: Warehouse, client: Dynamics, fields: FieldMap, cycle_id: int, left: CallsLeft, *, at_once: int
) -> Written:
    """Send this cycle's updates of contacts and leads, as far as there are calls `left` and `at_once` requests at a time; then
    settle their receipts.

    Every update carries `If-Match`, so an edit nobody has seen is never overwritten. The answer holds the record as
    Dynamics left it, which is what the mirror takes. Raises: PlanStale, StorageFailed.
    """
    turn = Turn(warehouse, "dynamics", client.now, min(at_once, client.advised_at_once or at_once))
    waiting = waiting_operations(warehouse, "dynamics", left)
    writes = (w for w in planned_writes(warehouse, cycle_id, "dynamics", "update") if w.operation_id not in waiting)
    updated = progress_of(warehouse, "dynamics", "update", "records updated in Dynamics", waiting)
    for record_type, of_type in groupby(writes, key=lambda write: write.record_type):
        way = _Updates(client, fields, RecordType(record_type))
        turn.send_all(way, counted(updated, batches(of_type, most_records=MOST_RECORDS, most_bytes=MOST_BYTES)))
    return replace(settle_receipts(warehouse, "dynamics"), n_waiting=len(waiting), failure=turn.told)


class _Updates:
    """Updates of the records of one table; their id stands in the address, so that a body has no keys."""

    kind = "records"
    keys: Collection[str] = ()

    def __init__(self, client: Dynamics, fields: FieldMap, record_type: RecordType) -> None:
        self._client = client
        self._fields = fields
        self._table = TABLES[record_type]
        self._columns = [Column(name, kind) for name, kind in dynamics_columns(fields, record_type).items()]

    def send(self, writes: Sequence[PlannedWrite]) -> list[Answer]:
        """One `$batch`."""
        results = self._client.write(
            self._table, self._columns, [RecordWrite(w.dynamics_id, w.body, w.etag) for w in writes]
        )
        return [Answer(result.error, None, result.row) for result in results]

    def observe(self, done: Sequence[tuple[PlannedWrite, Answer]]) -> Landing:
        """The records as the answers have them."""
        import pyarrow as pa  # not before there are rows

        rows = [answer.row for _, answer in done if answer.row is not None]
        names = ["id", "etag", *(column.name for column in self._columns)]
        found = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})
        return lambda connection: land_dynamics(connection, self._fields, self._table, found, [])
