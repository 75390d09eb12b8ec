"""The ledger's row of each cycle: begun when the lock is taken, ended whatever happens. A row left open was killed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import duckdb

from dynsync_pipeline.errors import DynSyncError, GuardStopped
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
    "n_waiting",
    "n_calls_dynamics",
    "n_calls_marketo",
)
DAY = timedelta(hours=24)
SHARE = 0.5  # of the calls that a day has left, for what is read beside the feeds
MOST_CALLS = 200  # of these in one cycle, which is 60,000 people

UNFORESEEN = "Something that DynSync did not expect ended it; the log tells what. The next cycle goes on from there."
NOT_ALL_WRITTEN = "Everything was read, but not everything written; the next cycle goes on with what is left."


@dataclass(frozen=True)
class CycleEnd:
    """How a cycle ended, `at` UTC without zone; `message` says why, or what to do.

    `failure_code` is the kind of what ended it, where something did.
    `is_whole`: all of its steps ran, and it succeeded.
    """

    cycle_id: int
    at: datetime
    status: Literal["succeeded", "failed", "stopped_by_guard"]
    message: str | None
    is_whole: bool
    failure_code: str | None = None


def ended(cycle_id: int, at: datetime, *, is_whole: bool, failures: Sequence[str]) -> CycleEnd:
    """The end of a cycle whose steps ran to their ends, all of them or some; `at` is UTC without zone.

    With `failures`, why some of the plan was not written, it is a failed one.
    """
    if failures:
        return CycleEnd(cycle_id, at, "failed", f"{NOT_ALL_WRITTEN} {' '.join(failures)}", False, "not_all_written")
    return CycleEnd(cycle_id, at, "succeeded", None if is_whole else "Only some of the steps ran.", is_whole)


def failed(cycle_id: int, at: datetime, error: BaseException) -> CycleEnd:
    """The end of a cycle that `error` ended; one of ours tells its sentence, of any other the log tells more."""
    message = str(error) if isinstance(error, DynSyncError) else UNFORESEEN
    status: Literal["stopped_by_guard", "failed"] = "stopped_by_guard" if isinstance(error, GuardStopped) else "failed"
    code = _words(type(error).__name__) if isinstance(error, DynSyncError) else "unforeseen"
    return CycleEnd(cycle_id, at, status, message, False, code)


def _words(name: str) -> str:
    """AccessDenied as access_denied."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def begin_cycle(connection: duckdb.DuckDBPyConnection, at: datetime, *, is_shadow: bool = False) -> int:
    """Open the row of a new cycle and return its id; a row that a killed cycle left open is marked failed.

    Nobody waits for a time that a clock noted which was set back since. `at` is UTC without zone.
    """
    connection.execute(
        "update state.unsettled set next_look_at = $at "
        "where next_look_at < never() and (since > $at or next_look_at > $at + interval 1 day)",
        {"at": at},
    )
    connection.execute(
        "update ledger.cycles set status = 'failed', failure_code = 'killed', "
        "message = 'It was killed; what it left is settled by the next cycle.' "
        "where status in ('running', 'loading')"
    )
    cycle_id = scalar(connection, "select coalesce(max(cycle_id), 0) + 1 from ledger.cycles")
    is_loaded = (
        scalar(connection, "select count(*) from state.cursors where is_loaded and not starts_with(stream, 'census_')")
        > 3
    )
    names = "".join(f", {name}" for name in COUNTS)
    connection.execute(
        f"insert into ledger.cycles (cycle_id, started_at, status, is_whole, is_shadow{names}) "
        f"values (?, ?, ?, false, ?{', 0' * len(COUNTS)})",
        [cycle_id, at, "running" if is_loaded else "loading", is_shadow],
    )
    return cycle_id


def count(connection: duckdb.DuckDBPyConnection, cycle_id: int, counts: Mapping[str, int]) -> None:
    """Store figures of the running cycle, whose names are those of `COUNTS`."""
    sets = ", ".join(f"{name} = ?" for name in counts)
    connection.execute(f"update ledger.cycles set {sets} where cycle_id = ?", [*counts.values(), cycle_id])


def n_collisions(connection: duckdb.DuckDBPyConnection, cycle_id: int) -> int:
    """How many collisions a cycle has settled by now, as its ledger has them."""
    return scalar(connection, "select count(*) from ledger.collisions where cycle_id = ?", [cycle_id])


def end_cycle(connection: duckdb.DuckDBPyConnection, end: CycleEnd) -> None:
    """Close the row of a cycle."""
    connection.execute(
        "update ledger.cycles set status = ?, failure_code = ?, message = ?, is_whole = ?, ended_at = ? where cycle_id = ?",
        [end.status, end.failure_code, end.message, end.is_whole, end.at, end.cycle_id],
    )


def calls_of_last_day(connection: duckdb.DuckDBPyConnection, system: str, at: datetime) -> int:
    """Calls of the 24 hours before `at` (UTC without zone) to `system`: those of cycles, and those between them.

    Where the clock was set back, cycles of up to a day ahead count too; one that was further ahead tells nothing of today.
    """
    return scalar(
        connection,
        f"select coalesce(sum(n_calls), 0) from ("
        f"select n_calls_{system} as n_calls from ledger.cycles where started_at between $start and $end "
        f"union all select n_calls from ledger.calls_between where system = $system and called_at between $start and $end)",
        {"start": at - DAY, "end": at + DAY, "system": system},
    )


def calls_due(n_calls_left: int, elapsed: timedelta) -> int:
    """How many calls may be made beside the feeds, of those that the day has left, so long after the last ones."""
    return min(math.floor(SHARE * n_calls_left * (min(abs(elapsed), DAY) / DAY)), MOST_CALLS)


def usual_duration(connection: duckdb.DuckDBPyConnection) -> timedelta:
    """How long the last ten whole cycles took, in the middle; nothing where there was none."""
    rows = connection.execute(
        "select median(ended_at - started_at) from (select ended_at, started_at from ledger.cycles where is_whole "
        "order by cycle_id desc limit 10)"
    ).fetchall()
    return rows[0][0] or timedelta()


def count_between(connection: duckdb.DuckDBPyConnection, at: datetime, calls: Mapping[str, int]) -> None:
    """Store the calls to each system that were sent between two cycles, `at` UTC without zone; those of long ago go."""
    connection.execute("delete from ledger.calls_between where called_at < ?", [at - 2 * DAY])
    connection.execute(
        "insert into ledger.calls_between (called_at, system, n_calls) select ?, unnest(?::varchar[]), unnest(?::bigint[])",
        [at, list(calls), list(calls.values())],
    )


def failure_of_last_cycle(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Why the last cycle that ended was a failed one; None if it succeeded, or there is none."""
    rows = connection.execute(
        "select status, message from ledger.cycles where ended_at is not null order by cycle_id desc limit 1"
    ).fetchall()
    return str(rows[0][1]) if rows and rows[0][0] != "succeeded" else None
