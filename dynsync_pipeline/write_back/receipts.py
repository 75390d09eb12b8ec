"""Receipts: what a remote system answered to each operation, stored as it comes and settled in one transaction.

A receipt is an observation. Mirror, link, base and ledger of a record move on it, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import duckdb
import pyarrow as pa

from dynsync_pipeline.errors import ApiError, ChangedMeanwhile, PlanStale, RateLimited, ServerFailed
from dynsync_pipeline.model.records import PERSON_TYPES
from dynsync_pipeline.warehouse.columns import move_base
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.mirrors import take_in_dynamics, take_in_people


@dataclass(frozen=True)
class PlannedWrite:
    """One operation of the committed plan, ready to send; `body` is a JSON object as text."""

    operation_id: int
    record_type: str
    dynamics_id: str
    person_id: int | None
    etag: str | None
    body: str


@dataclass(frozen=True)
class Written:
    """Counts of one write-back step."""

    n_created: int = 0
    n_updated: int = 0
    n_refused: int = 0


def planned_writes(warehouse: Warehouse, cycle_id: int, system: str, action: str) -> list[PlannedWrite]:
    """The operations of this cycle's plan for one system that have not been sent.

    Raises: PlanStale when the plan in the warehouse was made by another cycle.
    """
    with warehouse.reading() as connection:
        n_stale = scalar(connection, "select count(*) from reconcile.operations where cycle_id <> ?", [cycle_id])
        if n_stale:
            raise PlanStale(
                "The plan at hand was made by an earlier cycle, from values that may have changed since.",
                next_step="Start the job sync_cycle, which reads both systems and plans anew before it writes.",
            )
        rows = connection.execute(
            "select operation_id, record_type, dynamics_id, person_id, etag, body from reconcile.operations "
            "where system = ? and action = ? and sent_at is null order by operation_id",
            [system, action],
        ).fetchall()
    return [PlannedWrite(*row) for row in rows]


def mark_sent(warehouse: Warehouse, writes: Sequence[PlannedWrite]) -> None:
    """Note, before the request leaves, that these operations may from now on have been applied."""
    with warehouse.transaction() as connection:
        connection.execute(
            "update reconcile.operations set sent_at = now() at time zone 'UTC' where operation_id in (select unnest(?))",
            [[write.operation_id for write in writes]],
        )


def note_receipts(
    connection: duckdb.DuckDBPyConnection, answers: Sequence[tuple[PlannedWrite, int | None, ApiError | None]]
) -> None:
    """Store what was answered to each operation: the person's id, or the error. Call it where the rows are landed."""
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [_receipt(write, person_id, error, now) for write, person_id, error in answers]
    connection.register("answered", pa.Table.from_pylist(rows, schema=_RECEIPT))
    connection.execute("insert into reconcile.receipts by name from answered")
    connection.unregister("answered")


_RECEIPT = pa.schema(
    {
        "operation_id": pa.int64(),
        "outcome": pa.string(),
        "code": pa.string(),
        "message": pa.string(),
        "field": pa.string(),
        "person_id": pa.int64(),
        "received_at": pa.timestamp("us"),
        "next_look_at": pa.timestamp("us"),
        "is_settled": pa.bool_(),
    }
)


def _receipt(write: PlannedWrite, person_id: int | None, error: ApiError | None, now: datetime) -> dict[str, object]:
    receipt: dict[str, object] = {
        "operation_id": write.operation_id,
        "outcome": "applied",
        "person_id": person_id,
        "received_at": now,
        "is_settled": False,
    }
    if error is not None:
        is_passing = isinstance(error, RateLimited | ServerFailed | ChangedMeanwhile)
        receipt["outcome"] = "waiting" if is_passing else "refused"
        receipt["person_id"] = None
        receipt.update(code=error.code or type(error).__name__, message=str(error), field=error.field)
        if error.retry_after_s:
            receipt["next_look_at"] = now + timedelta(seconds=error.retry_after_s)
    return receipt


def settle_receipts(warehouse: Warehouse, system: str) -> Written:
    """Settle all receipts that are not yet; returns the counts of this cycle's receipts from `system`."""
    with warehouse.transaction() as connection:
        counts = connection.execute(
            "select count(*) filter (where action = 'create' and outcome = 'applied'), "
            "count(*) filter (where action = 'update' and outcome = 'applied'), "
            "count(*) filter (where outcome = 'refused') "
            "from reconcile.receipts join reconcile.operations using (operation_id) where not is_settled and system = ?",
            [system],
        ).fetchall()[0]
        for record_type in PERSON_TYPES:
            take_in_dynamics(connection, record_type)
        take_in_people(connection)
        connection.execute(_sql("settle"))
        move_base(connection)
    return Written(*counts)


def recognise_own_writes(warehouse: Warehouse) -> int:
    """Give a receipt to what was sent before a cut and stands in the mirror, which must have been read again just now.

    Returns the number of operations found to be ours. The rest of the old plan is forgotten.
    """
    with warehouse.transaction() as connection:
        before = scalar(connection, "select count(*) from reconcile.receipts")
        connection.execute(_sql("recognise"))
        n_found = scalar(connection, "select count(*) from reconcile.receipts") - before
    settle_receipts(warehouse, "")
    with warehouse.transaction() as connection:
        connection.execute("delete from reconcile.operations")
    return n_found


def _sql(name: str) -> str:
    return files("dynsync_pipeline.write_back").joinpath("sql", f"{name}.sql").read_text("utf-8")
