"""How the sync is doing at a moment (R118, R119, R123): what its rows come to. Not here: the rows (`publish/standing.py`), how it
is shown (`cli/status.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dynsync_pipeline.look.trend import Trend, trend_of
from dynsync_pipeline.publish.standing import Row, Standing, read_standing
from dynsync_pipeline.publish.status_file import told_standing

if TYPE_CHECKING:
    import duckdb

# Days that a system keeps what a reader has not seen yet: Dataverse its change tracking
# (organization.expirechangetrackingindays, 7 unless changed), Marketo its change feed and its list of deleted people.
CURSOR_LIVES = (
    ("Dynamics accounts", "dynamics_accounts", 7),
    ("Dynamics contacts", "dynamics_contacts", 7),
    ("Dynamics leads", "dynamics_leads", 7),
    ("Marketo changes", "marketo_people", 90),
    ("Marketo deletions", "marketo_people", 14),
)
DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Status:
    """Everything `dynsync status` tells; rows are by column name, times UTC without zone.

    backlog: one row per object (account, contact, lead; person is the Marketo side) with `n_inserts`,
    `oldest_insert_at`, `n_updates`, `oldest_update_at`. An insert is a Dynamics record without a person in Marketo; an
    update is a linked record or person with an edit on its own side that is not settled.
    approvals: what waits until somebody approves it, as `read_causes` has it.
    stale: how many people the filter keeps apart from their record, by its type (R90).
    back_fills: those that go on, as `read_back_fills` has them (R102).
    findings: what census and audit found in the last seven days, `n` by `finding_code`, `finding` and `last_found_at`.
    budget: the day of each system, as `budget_days` has it: calls and megabytes, used and forecast to its midnight (R126).
    last_hour: records synced per object and direction in the last full clock hour, which began at `hour_at`.
    """

    backlog: list[Row]
    hour_at: datetime
    last_hour: list[Row]
    last_cycle: Row | None
    last_success: Row | None
    calls: dict[str, int]
    budget: list[Row]
    cursors: list[Row]
    open_errors: dict[str, int]
    parked_fields: list[Row]
    approvals: list[Row]
    stale: dict[str, int]
    back_fills: list[Row]
    findings: list[Row]
    trend: Trend


def read_status(connection: duckdb.DuckDBPyConnection, at: datetime) -> Status:
    """The status at `at`, UTC without zone, as the snapshot tells it."""
    return status_of(read_standing(connection, at), at)


def told_status(snapshot: Path, at: datetime) -> Status | None:
    """The same as `status.json` tells it; None where it does not tell it of this snapshot."""
    standing = told_standing(snapshot, at)
    return None if standing is None else status_of(standing, at)


def status_of(standing: Standing, at: datetime) -> Status:
    """What these rows come to at `at`, which is no earlier than they were asked for."""
    hour_at = at.replace(minute=0, second=0, microsecond=0) - HOUR
    return Status(
        backlog=standing["backlog"],
        hour_at=hour_at,
        last_hour=_last_hour(standing["synced"], hour_at),
        last_cycle=next(iter(standing["last_cycle"]), None),
        last_success=next(iter(standing["last_success"]), None),
        calls=_calls(standing["calls"], at),
        budget=[row for row in standing["budget"] if row["ends_at"] > at],
        cursors=cursors_of(standing["cursors"], at),
        open_errors={row["state"]: row["n"] for row in standing["open_errors"]},
        parked_fields=standing["parked_fields"],
        approvals=standing["approvals"],
        stale={row["record_type"]: row["n"] for row in standing["stale"]},
        back_fills=standing["back_fills"],
        findings=_findings(standing["findings"], at),
        trend=trend_of(standing["backlog_hours"]),
    )


def _last_hour(synced: list[Row], hour_at: datetime) -> list[Row]:
    def most(record_type: str, direction: str) -> int:
        asked = (hour_at, record_type, direction)
        return max(
            (row["n"] for row in synced if (row["hour_at"], row["object"], row["direction"]) == asked), default=0
        )

    return [
        {
            "object": each,
            "n_to_marketo": most(each, "to_marketo"),
            "n_to_dynamics": most(each, "to_dynamics"),
        }
        for each in ("account", "contact", "lead")
    ]


def _calls(called: list[Row], at: datetime) -> dict[str, int]:
    """As the budget counts them, which trusts no clock that was far ahead."""
    counted = [row for row in called if at - DAY < row["called_at"] < at + DAY]
    return {system: sum(row[system] for row in counted) for system in ("dynamics", "marketo")}


def _findings(found: list[Row], at: datetime) -> list[Row]:
    kinds: dict[str, Row] = {}
    for row in found:
        if row["last_found_at"] > at - WEEK:
            kind = kinds.setdefault(
                row["finding_code"], {"finding_code": row["finding_code"], "finding": row["finding"], "n": 0}
            )
            kind |= {"n": kind["n"] + row["n"], "last_found_at": row["last_found_at"]}
    return list(kinds.values())


def cursors_of(streams: Iterable[Row], at: datetime) -> list[Row]:
    """When each reading last went on, when its system forgets where, and why it waits where it does; of rows of `cursors`."""
    moved = {row["stream"]: row for row in streams}
    return [
        {
            "what": what,
            "last_read_at": moved[stream]["moved_at"],
            "dies_at": (dies_at := min(moved[stream]["moved_at"], at) + timedelta(days=days)),
            "days_left": round((dies_at - at) / timedelta(days=1), 1),
            "is_loaded": moved[stream]["is_loaded"],
            "waits_because": moved[stream]["waits_because"],
        }
        for what, stream, days in CURSOR_LIVES
        if stream in moved
    ]
