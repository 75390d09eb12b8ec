"""The ledger's row of each cycle: begun when the lock is taken, ended whatever happens. A row left open was killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb

from dynsync_pipeline.warehouse.connection import scalar

COUNTS = (
    "n_accounts_read",
    "n_contacts_read",
    "n_leads_read",
    "n_people_read",
    "n_companies_written",
    "n_people_created",
    "n_people_updated",
    "n_records_updated",
    "n_collisions",
    "n_refused",
    "n_calls_dynamics",
    "n_calls_marketo",
)


def begin_cycle(connection: duckdb.DuckDBPyConnection) -> int:
    """Open the row of a new cycle and return its id; a row that a killed cycle left open is marked failed."""
    connection.execute(
        "update ledger.cycles set status = 'failed', message = 'It was killed; what it left is settled by the next cycle.' "
        "where status in ('running', 'loading')"
    )
    cycle_id = scalar(connection, "select coalesce(max(cycle_id), 0) + 1 from ledger.cycles")
    is_loaded = scalar(connection, "select count(*) from state.cursors where is_loaded") > 3
    names = "".join(f", {name}" for name in COUNTS)
    connection.execute(
        f"insert into ledger.cycles (cycle_id, started_at, status{names}) values (?, ?, ?{', 0' * len(COUNTS)})",
        [cycle_id, _now(), "running" if is_loaded else "loading"],
    )
    return cycle_id


def count(connection: duckdb.DuckDBPyConnection, cycle_id: int, counts: dict[str, int]) -> None:
    """Store figures of the running cycle; the names are those of `COUNTS`."""
    sets = ", ".join(f"{name} = ?" for name in counts)
    connection.execute(f"update ledger.cycles set {sets} where cycle_id = ?", [*counts.values(), cycle_id])


def end_cycle(
    connection: duckdb.DuckDBPyConnection, cycle_id: int, status: str, message: str | None, at: datetime | None = None
) -> None:
    """Close the row: `succeeded`, `failed` or `stopped_by_guard`, with the sentence that says why."""
    connection.execute(
        "update ledger.cycles set status = ?, message = ?, ended_at = ? where cycle_id = ?",
        [status, message, at or _now(), cycle_id],
    )


def calls_of_last_day(connection: duckdb.DuckDBPyConnection, system: str) -> int:
    """Calls that the cycles of the last 24 hours sent to `system`."""
    return scalar(
        connection,
        f"select coalesce(sum(n_calls_{system}), 0) from ledger.cycles where started_at > ?",
        [_now() - timedelta(hours=24)],
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
