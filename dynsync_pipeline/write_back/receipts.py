"""Receipts: what a remote system answered to each operation, stored as it comes and settled in one transaction.

A receipt is an observation. Mirror, link, base and ledger of a record move on it, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import duckdb
import msgspec

from dynsync_pipeline.errors import (
    ApiError,
    ChangedMeanwhile,
    ColumnUnknown,
    PlanStale,
    RateLimited,
    RecordMissing,
    RequestRefused,
    ServerFailed,
)
from dynsync_pipeline.model.records import PERSON_TYPES, RecordType
from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.connection import Warehouse, scalar
from dynsync_pipeline.warehouse.follow_map import move_base
from dynsync_pipeline.warehouse.mirrors import take_in_companies, take_in_dynamics, take_in_people
from dynsync_pipeline.warehouse.refused_columns import note_refused_column

# In this order, which the headers of the files are held against (docs/steps.md).
DAY_S = 86_400.0  # no gap grows past a day, whatever a system asks for
SETTLING = (
    "write_back/new_links",
    "write_back/answers",
    "write_back/settled_base",
    "write_back/settled_differences",
    "write_back/settled_undos",
    "write_back/seen_edits",
    "write_back/settled_ledger",
    "write_back/answered_refusals",
    "warehouse/report_refusals",
    "write_back/settled_backlog",
    "write_back/missing",
    "write_back/settled_errors",
    "write_back/settled_doubts",
    "write_back/settled_receipts",
)
RECOGNISING = ("write_back/recognise", "write_back/doubted")


@dataclass(frozen=True)
class PlannedWrite:
    """One operation of the committed plan, ready to send; `body` is a JSON object as text.

    `most_together`: how many may be in its request at most, where it failed with others before; `is_at_fault`: it failed alone.
    """

    operation_id: int
    record_type: str
    dynamics_id: str
    person_id: int | None
    company_key: str | None
    etag: str | None
    body: str
    most_together: int | None = None
    is_at_fault: bool = False

    def members(self, keys: Collection[str]) -> list[str]:
        """The names of what its body sets, the keys left out."""
        return [name for name in msgspec.json.decode(self.body, type=dict[str, msgspec.Raw]) if name not in keys]

    def without(self, names: Collection[str], keys: Collection[str]) -> PlannedWrite | None:
        """The same write less these members of its body; None where one is a key or none of it, or only keys were left."""
        members = msgspec.json.decode(self.body, type=dict[str, msgspec.Raw])
        if any(name in keys or name not in members for name in names) or not members.keys() - {*names, *keys}:
            return None
        return self.only(members.keys() - names)

    def only(self, names: Collection[str]) -> PlannedWrite:
        """The same write with no other members of its body than these."""
        members = msgspec.json.decode(self.body, type=dict[str, msgspec.Raw])
        kept = {name: value for name, value in members.items() if name in names}
        return replace(self, body=msgspec.json.encode(kept).decode())


@dataclass(frozen=True)
class Written:
    """Counts of one write-back step; `n_changed_meanwhile` records were edited after they were read (412), `n_waiting`
    operations wait for the calls of another day.

    `failure` says why some of the plan was not sent, or was sent with unknown outcome; None where all was answered.
    """

    n_companies: int = 0
    n_created: int = 0
    n_updated: int = 0
    n_refused: int = 0
    n_changed_meanwhile: int = 0
    n_waiting: int = 0
    failure: str | None = None

    def plus(self, later: Written) -> Written:
        """The sums of two rounds; what met an edit counts as of the later one."""
        return Written(
            self.n_companies + later.n_companies,
            self.n_created + later.n_created,
            self.n_updated + later.n_updated,
            self.n_refused + later.n_refused,
            later.n_changed_meanwhile,
            later.n_waiting,
            self.failure or later.failure,
        )


def planned_writes(warehouse: Warehouse, cycle_id: int, system: str, action: str) -> Iterator[PlannedWrite]:
    """The operations of this cycle's plan for one system that have not been sent, contacts before leads, a few at a time.

    Raises: PlanStale when the plan in the warehouse was made by another cycle.
    """
    last: tuple[str, int] = ("", 0)
    is_more = True
    while is_more:
        with warehouse.reading() as connection:
            rows = connection.execute(_PLANNED, [system, action, *last, AT_ONCE]).fetchall()
        if any(planned_in != cycle_id for planned_in, *_ in rows):
            raise PlanStale(
                "The plan at hand was made by an earlier cycle, from values that may have changed since.",
                next_step="Start the job sync_cycle, which reads both systems and plans anew before it writes.",
            )
        found = [PlannedWrite(*values) for _, *values in rows]
        yield from found
        is_more = len(found) == AT_ONCE
        if is_more:
            last = (found[-1].record_type, found[-1].operation_id)


AT_ONCE = 5_000  # of up to some kilobytes each: a first load has as many as people, and never all of them in memory


# What failed twice goes out in half the company it had.
_PLANNED = """
select
    cycle_id, operation_id, record_type, dynamics_id, person_id, company_key, etag, body,
    case when d.n_times > 1 then greatest(d.n_together // 2, 1) else d.n_together end, coalesce(d.is_at_fault, false)
from reconcile.operations
left join state.doubts d using (system, action, record_type, dynamics_id)
where system = $1 and action = $2 and sent_at is null
  and (record_type > $3 or (record_type = $3 and operation_id > $4))
order by record_type, operation_id
limit $5
"""


def mark_sent(warehouse: Warehouse, writes: Sequence[PlannedWrite], at: datetime, *, is_part: bool) -> None:
    """Note, before a request leaves, that these operations may from now on have been applied, whole or in part.

    `at` is told by the clock of the system that is written to, with a zone; the first time counts.
    """
    with warehouse.transaction() as connection:
        connection.execute(
            "update reconcile.operations set sent_at = coalesce(sent_at, ?), is_in_parts = ? "
            "where operation_id in (select unnest(?))",
            [at.astimezone(UTC).replace(tzinfo=None), is_part, [write.operation_id for write in writes]],
        )


def mark_unsent(warehouse: Warehouse, writes: Sequence[PlannedWrite]) -> None:
    """Note that nothing of these operations was applied."""
    with warehouse.transaction() as connection:
        connection.execute(
            "update reconcile.operations set sent_at = null where operation_id in (select unnest(?))",
            [[write.operation_id for write in writes]],
        )


def note_failure(warehouse: Warehouse, writes: Sequence[PlannedWrite], error: ApiError) -> None:
    """Note that a request with these operations failed, of which nobody knows whether they were applied."""
    with warehouse.transaction() as connection:
        connection.execute(
            "insert into reconcile.failed_operations (operation_id, n_together, code, message) select unnest(?), ?, ?, ?",
            [[write.operation_id for write in writes], len(writes), error.code or type(error).__name__, _told(error)],
        )


def unanswered_companies(warehouse: Warehouse) -> set[str]:
    """The keys of the companies of the plan that Marketo has not answered for: nobody can stand behind them for sure."""
    with warehouse.reading() as connection:
        rows = connection.execute(
            "select company_key from reconcile.operations where action = 'company' "
            "and operation_id not in (select operation_id from reconcile.receipts)"
        ).fetchall()
    return {row[0] for row in rows}


def note_receipts(
    connection: duckdb.DuckDBPyConnection,
    answers: Sequence[tuple[PlannedWrite, int | None, ApiError | None]],
    at: datetime,
) -> None:
    """Store what was answered at `at` (UTC without zone) to each operation: the person's id, or the error.

    Call it where the rows are landed.
    """
    import pyarrow as pa  # not before there are rows

    rows = [_receipt(write, person_id, error, at) for write, person_id, error in answers]
    connection.register("answered", pa.Table.from_pylist(rows, schema=pa.schema(_RECEIPT)))
    connection.execute("insert into reconcile.receipts by name from answered")
    connection.unregister("answered")
    for write, _, error in answers:
        _note_refused_column(connection, write, error)


def _note_refused_column(connection: duckdb.DuckDBPyConnection, write: PlannedWrite, error: ApiError | None) -> None:
    """A column that the sync's user may not write at all is refused to every record: from the next cycle on it is parked."""
    if isinstance(error, ColumnUnknown):
        # In Marketo people of both types and companies share their fields.
        of = tuple(RecordType) if error.system == "marketo" else (RecordType(write.record_type),)
        note_refused_column(connection, error, of)


_RECEIPT = {
    "operation_id": "int64",
    "outcome": "string",
    "code": "string",
    "message": "string",
    "field": "string",
    "person_id": "int64",
    "received_at": "timestamp[us]",
    "next_look_at": "timestamp[us]",
    "is_settled": "bool",
}


def _receipt(write: PlannedWrite, person_id: int | None, error: ApiError | None, now: datetime) -> dict[str, object]:
    receipt: dict[str, object] = {
        "operation_id": write.operation_id,
        "outcome": "applied",
        "person_id": person_id,
        "received_at": now,
        "is_settled": False,
    }
    if error is not None:
        receipt["outcome"] = _outcome(error)
        receipt["person_id"] = None
        receipt.update(code=error.code or type(error).__name__, message=_told(error), field=error.field)
        if error.retry_after_s:
            receipt["next_look_at"] = now + timedelta(seconds=min(error.retry_after_s, DAY_S))
    return receipt


def _outcome(error: ApiError) -> str:
    """Whether an operation met an edit, met nobody, has to wait, or was refused (R116)."""
    if isinstance(error, RecordMissing):
        return "missing"
    if isinstance(error, ChangedMeanwhile):
        return "changed_meanwhile"
    return "waiting" if isinstance(error, RateLimited | ServerFailed) else "refused"


def note_refused_field(
    connection: duckdb.DuckDBPyConnection, write: PlannedWrite, system: str, error: ApiError
) -> None:
    """Store that a field of this operation was refused and is set aside, while the rest is sent again (R116)."""
    connection.execute(
        "insert into reconcile.refused_fields (operation_id, field, code, message) "
        "select ?, coalesce((select field from reconcile.fields "
        "where ? = 'dynamics' and record_type = ? and dynamics_column = ?), ?), ?, ?",
        [
            write.operation_id,
            system,
            write.record_type,
            error.field,
            error.field,
            error.code or type(error).__name__,
            _told(error),
        ],
    )
    _note_refused_column(connection, write, error)


def _told(error: ApiError) -> str:
    """What the system said, and what to do: its own next step, or the one that ends every refusal of a value."""
    if error.next_step or not isinstance(error, RequestRefused):
        return str(error)
    return f"{str(error).rstrip('.')}. Correct the value on the side where it was entered; it is tried again then."


def settle_receipts(warehouse: Warehouse, system: str) -> Written:
    """Settle all receipts that are not yet; returns the counts of those from `system`."""
    with warehouse.transaction() as connection:
        if not scalar(connection, "select count(*) from reconcile.receipts where not is_settled"):
            return Written()
        counts = connection.execute(_COUNTS, [system]).fetchall()[0]
        for record_type in PERSON_TYPES:
            take_in_dynamics(connection, warehouse.now(), record_type, is_receipt=True)
        take_in_companies(connection, warehouse.now(), is_receipt=True)
        take_in_people(connection, warehouse.now(), is_receipt=True)
        run_steps(connection, SETTLING)
        move_base(connection)
    return Written(*counts)


_COUNTS = """
select
    count(*) filter (where action = 'company' and outcome = 'applied'),
    count(*) filter (where action = 'create' and outcome = 'applied'),
    count(*) filter (where action = 'update' and outcome = 'applied'),
    count(*) filter (where outcome = 'refused') + count(x.operation_id),
    count(*) filter (where outcome = 'changed_meanwhile')
from reconcile.receipts
join reconcile.operations using (operation_id)
left join (select distinct operation_id from reconcile.refused_fields) x using (operation_id)
where not is_settled and system = ?
"""


def recognise_own_writes(warehouse: Warehouse) -> int:
    """Give a receipt to what was sent before a cut and stands in the mirror, which must have been read again just now.

    Returns the number of operations found to be ours. The rest of the old plan is forgotten.
    """
    with warehouse.transaction() as connection:
        if not scalar(connection, "select count(*) from reconcile.operations"):
            return 0
        connection.execute("create or replace temp table this_moment (noted_at timestamp not null)")
        connection.execute("insert into this_moment (noted_at) values (?)", [warehouse.now()])
        run_steps(connection, RECOGNISING)
        n_found = scalar(connection, "select count(*) from recognised")
        connection.execute(
            "delete from reconcile.operations where operation_id not in (select operation_id from reconcile.receipts)"
        )
    settle_receipts(warehouse, "")
    with warehouse.transaction() as connection:
        connection.execute("delete from reconcile.operations")
    return n_found
