"""Telling what became of requests: in the ledger and the person's activity log first, then in the store.

Not here: deciding it (`serving.py`, `on_records.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

import duckdb

from dynsync_pipeline.requests.store import Request, RequestStore
from dynsync_pipeline.sql_files import run_steps
from dynsync_pipeline.warehouse.connection import Warehouse

TELLING = ("requests/told_requests",)
FIRST_GAP, LONGEST_GAP = timedelta(seconds=30), timedelta(hours=1)


class End(NamedTuple):
    """How a request ends; `message` says why, where nothing was done."""

    request: Request
    outcome: str
    message: str | None = None
    field: str | None = None


class Telling:
    """Tells it in one turn. `is_in_cycle`: both systems were read just now. Raises: StorageFailed."""

    def __init__(self, warehouse: Warehouse, store: RequestStore, *, is_in_cycle: bool) -> None:
        self._warehouse = warehouse
        self._store = store
        self.is_in_cycle = is_in_cycle

    def begin(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Note in `this_serving` the moment of what is told, and the cycle that it belongs to: the one that runs, or ran last."""
        connection.execute(
            "create or replace temp table this_serving as "
            "select max(cycle_id) as cycle_id, ?::timestamp as served_at, ? as is_in_cycle from ledger.cycles",
            [self._warehouse.now(), self.is_in_cycle],
        )

    def end(self, ends: Sequence[End]) -> None:
        """Tell how requests ended: first the ledger, then the store, so that a cut between tells nothing twice."""
        if not ends:
            return
        with self._warehouse.transaction() as connection:
            self.begin(connection)
            self.tell(connection, ends)
        self.note(ends)

    def tell(self, connection: duckdb.DuckDBPyConnection, ends: Sequence[End]) -> None:
        """The first half of `end`, in the caller's transaction, which has begun."""
        connection.execute(_ENDED)
        for request, outcome, message, field in ends:
            connection.execute(
                "insert into ended_requests "
                "(request_id, kind, person_id, record_type, asked_at, door, outcome_code, field, message) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    *(request.request_id, request.kind, request.person_id, request.record_type.value),
                    *(request.asked_at, request.door, outcome, field, message),
                ],
            )
        run_steps(connection, TELLING)

    def note(self, ends: Sequence[End]) -> None:
        """The second half of `end`."""
        self._store.ended([(each.request.request_id, each.outcome, each.message, each.field) for each in ends])

    def put_off(self, requests: Iterable[Request], message: str) -> None:
        """Try these again later, with growing gaps; `message` says why."""
        for request in requests:
            gap = min(FIRST_GAP * 2 ** min(request.attempts, 10), LONGEST_GAP)
            self._store.put_off(request.request_id, self._warehouse.now() + gap, message)


_ENDED = """
create or replace temp table ended_requests (
    request_id varchar not null, kind varchar not null, person_id bigint not null, record_type varchar not null,
    asked_at timestamp not null, door varchar not null, outcome_code varchar not null, field varchar, message varchar
)
"""
