"""How a day's calls and megabytes go: what was used since its midnight, and what it will be at the next (R126).

Not here: what may be sent (`clients/budget.py`), what waits when it gets short (`write_back/lanes.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb

from dynsync_pipeline.warehouse.connection import scalar
from dynsync_pipeline.warehouse.cycles import DAY, calls_of_last_day

# Marketo's counters begin anew at midnight in US Central; of Dynamics, whose window slides, the day of UTC is told.
ZONES = {"dynamics": ZoneInfo("UTC"), "marketo": ZoneInfo("America/Chicago")}
KEPT = timedelta(days=400)


def day_of(system: str, at: datetime) -> tuple[datetime, datetime]:
    """Begin and end of the system's day that `at` is in; all UTC without zone."""
    local = at.replace(tzinfo=UTC).astimezone(ZONES[system])
    begin = local.replace(hour=0, minute=0, second=0, microsecond=0)
    end = (begin + timedelta(days=1)).replace(
        tzinfo=ZONES[system]
    )  # the wall clock's next midnight, also when clocks change
    return begin.astimezone(UTC).replace(tzinfo=None), end.astimezone(UTC).replace(tzinfo=None)


def note_export(connection: duckdb.DuckDBPyConnection, at: datetime, size_bytes: int) -> None:
    """Note that the file of a bulk export was fetched `at`, UTC without zone."""
    connection.execute("insert into ledger.exports_read (read_at, n_bytes) values (?, ?)", [at, size_bytes])


def note_budget_days(
    connection: duckdb.DuckDBPyConnection, at: datetime, allowed: Mapping[str, int], reserve: float
) -> None:
    """Write the day's row of each system anew, `at` UTC without zone; call it at the end of a cycle.

    What the rest of the day takes is forecast from the last 24 hours, of which as many as there were cycles.
    """
    for system, n_allowed in allowed.items():
        begin, end = day_of(system, at)
        n_used = _calls_since(connection, system, begin, at)
        n_bytes = _bytes_since(connection, begin) if system == "marketo" else 0
        per_day = calls_of_last_day(connection, system, at) / max(_known(connection, at) / DAY, 1 / 24)
        share_left = (end - at) / DAY
        connection.execute("delete from ledger.budget_days where system = ? and begins_at = ?", [system, begin])
        connection.execute(
            "insert into ledger.budget_days "
            "(system, begins_at, ends_at, told_at, n_used, n_forecast, n_allowed, n_reserved, n_export_bytes, "
            "n_export_bytes_forecast) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                system, begin, end, at, n_used, n_used + round(per_day * share_left), n_allowed,
                reserved(n_allowed, reserve), n_bytes, n_bytes + _bytes_to_come(connection, n_bytes),
            ],
        )  # fmt: skip
    connection.execute("delete from ledger.budget_days where begins_at < ?", [at - KEPT])


def reserved(n_allowed: int, reserve: float) -> int:
    """The calls of a day that are kept for reading, collisions and consent."""
    return round(n_allowed * reserve)


def _known(connection: duckdb.DuckDBPyConnection, at: datetime) -> timedelta:
    """For how long before `at` there were cycles, a day at most."""
    first = connection.execute("select min(started_at) from ledger.cycles where started_at > ?", [at - DAY]).fetchall()
    return at - first[0][0] if first[0][0] else timedelta()


def _calls_since(connection: duckdb.DuckDBPyConnection, system: str, begin: datetime, at: datetime) -> int:
    return scalar(
        connection,
        f"select coalesce(sum(n_calls), 0) from (select n_calls_{system} as n_calls from ledger.cycles "
        "where started_at between $begin and $at union all select n_calls from ledger.calls_between "
        "where system = $system and called_at between $begin and $at)",
        {"begin": begin, "at": at, "system": system},
    )


def _bytes_since(connection: duckdb.DuckDBPyConnection, begin: datetime) -> int:
    return scalar(connection, "select coalesce(sum(n_bytes), 0) from ledger.exports_read where read_at >= ?", [begin])


def _bytes_to_come(connection: duckdb.DuckDBPyConnection, n_bytes: int) -> int:
    """What the windows of a load that is under way have yet to bring, as much each as those that were read."""
    rows = connection.execute(
        "select count(*) filter (where is_landed), count(*) filter (where not is_landed) from state.export_windows"
    ).fetchall()
    n_read, n_left = rows[0]
    return round(n_bytes / n_read * n_left) if n_read else 0
