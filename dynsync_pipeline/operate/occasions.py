"""What somebody has to know of, as of now: selects over the snapshot, and what the lock file says where it tells nothing.

An occasion lasts until it is mended. Its sentences name counts, fields and ids of cycles, and nobody's values.
Not here: who is told, how often, and by which way (`notify.py`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.look.status import cursors_of
from dynsync_pipeline.look.sync_errors import ErrorFilter, by_cause, name_them, read_errors
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.cycle_lock import read_cycle_lock
from dynsync_pipeline.warehouse.pause import read_pause

FAILED_TIMES = 3  # cycles that failed in a row; one alone is often a system's own trouble, and the next goes on
LONGEST_LAG = timedelta(hours=1)
SOON = timedelta(days=2)  # in which a cursor dies
RECENT = timedelta(days=1)
MOST_CAUSES = 10
MOST_NAMED = 5  # errors of a cause
NO_ACCESS = ("access_denied", "sign_in_refused")


@dataclass(frozen=True)
class Occasion:
    """One thing to be told: `code` is that of its kind, `what` a sentence, `next_step` another.

    `cause`: what tells it from another of its kind where its sentence quotes a system, which says it anew each time.
    """

    code: str
    what: str
    next_step: str
    cause: str | None = None

    @property
    def key(self) -> str:
        """Tells it from another of its kind: by its cause, or else by a sentence that differs in more than its numbers."""
        told = re.sub(r"[0-9.,]+", "", self.what) if self.cause is None else self.cause
        return f"{self.code} {zlib.crc32(told.encode()):08x}"


def kind_of(key: str) -> str:
    """The code of the kind of occasion that a key is of."""
    return key.partition(" ")[0]


def find_occasions(connection: duckdb.DuckDBPyConnection, settings: Settings, at: datetime) -> list[Occasion]:
    """What somebody has to know of at `at`, UTC without zone, the most urgent first; nothing of a sync that is paused."""
    if read_pause(settings.data_dir):
        return []
    cycles = select(connection, "from cycles where ended_at is not null order by cycle_id desc limit ?", [FAILED_TIMES])
    return [
        *_of_cycles(cycles),
        *_of_lag(connection, at),
        *_of_access(connection, at),
        *_of_cursors(connection, at),
        *_of_findings(connection, at),
        *_of_waiting(connection),
    ]


def without_snapshot(settings: Settings, at: datetime) -> list[Occasion]:
    """The same where no cycle has published anything yet."""
    lock = read_cycle_lock(settings.lock_file)
    if lock is None or lock.is_running or read_pause(settings.data_dir):
        return []
    began_at = lock.started_at.astimezone(UTC).replace(tzinfo=None)
    if at - began_at < LONGEST_LAG:
        return []
    return [Occasion("lag", "No cycle has succeeded yet, and none runs.", "`dynsync sync` says why.")]


def _of_cycles(cycles: list[Row]) -> Iterator[Occasion]:
    """How the last cycles ended, newest first."""
    if not cycles:
        return
    last = cycles[0]
    told = f"Cycle {last['cycle_id']}, which ended at {last['ended_at']:%Y-%m-%d %H:%M} UTC"
    if last["status"] == "stopped_by_guard":
        yield Occasion(
            "stopped_by_guard",
            f"{told}, was stopped before any write: {last['message']}",
            "docs/operate.md#when-a-guard-stops-a-cycle tells what to look at, and how to go on on purpose.",
        )
    elif last["failure_code"] in NO_ACCESS:
        yield Occasion(
            "access_lost",
            f"{told}, was refused: {last['message']}",
            "`dynsync check` tells what is missing.",
            cause=last["failure_code"],
        )
    elif len(cycles) == FAILED_TIMES and all(cycle["status"] == "failed" for cycle in cycles):
        yield Occasion(
            "cycles_failed",
            f"The last {FAILED_TIMES} cycles failed. {told}: {last['message']}",
            "The next cycle tries again by itself; `dynsync status` tells how it stands.",
            cause=last["failure_code"] or "",
        )


def _of_lag(connection: duckdb.DuckDBPyConnection, at: datetime) -> Iterator[Occasion]:
    (row,) = select(connection, "select max(ended_at) as ended_at from cycles where is_whole")
    if row["ended_at"] is not None and at - row["ended_at"] > LONGEST_LAG:
        yield Occasion(
            "lag",
            f"No cycle has succeeded since {row['ended_at']:%Y-%m-%d %H:%M} UTC.",
            "See whether Dagster's daemon runs; `dynsync sync` runs a cycle and says why it fails.",
        )


def _of_access(connection: duckdb.DuckDBPyConnection, at: datetime) -> Iterator[Occasion]:
    hidden = select(
        connection,
        "select system, count(*) as n, string_agg(distinct coalesce(record_type, 'person') || '.' || column_name, ', ' "
        "order by coalesce(record_type, 'person') || '.' || column_name) as names "
        "from schema_changes where change_code = 'column_hidden' and seen_at > ? group by system order by system",
        [at - RECENT],
    )
    for row in hidden:
        yield Occasion(
            "fields_hidden",
            f"{row['system'].capitalize()} does not let the sync read {row['n']:,} of its fields any more: {row['names']}. "
            "They are parked, and nothing is cleared.",
            "Give the sync's user the right to read them again; they join by themselves.",
        )


def _of_cursors(connection: duckdb.DuckDBPyConnection, at: datetime) -> Iterator[Occasion]:
    cursors = cursors_of(select(connection, "from cursors"), at)
    if waiting := [row for row in cursors if row["waits_because"]]:
        yield Occasion(
            "not_read",
            f"Not read: {', '.join(row['what'] for row in waiting)}.",
            "`dynsync status` tells what the system said.",
        )
    if dying := [row for row in cursors if row["days_left"] * timedelta(days=1) < SOON]:
        yield Occasion(
            "cursor_dying",
            f"{dying[0]['what']} were last read at {dying[0]['last_read_at']:%Y-%m-%d %H:%M} UTC: the system forgets in "
            f"{max(dying[0]['days_left'], 0):.1f} days what changed since, and then everything must be read again.",
            "Let a cycle succeed before that; `dynsync status` tells how it stands.",
        )


def _of_findings(connection: duckdb.DuckDBPyConnection, at: datetime) -> Iterator[Occasion]:
    found = select(
        connection,
        "select finding, count(*) as n from audit_findings where found_at > ? group by all order by finding",
        [at - RECENT],
    )
    if found:
        told = ", ".join(f"{row['n']:,} × {row['finding']}" for row in found)
        yield Occasion(
            "gap_found",
            f"In the last 24 hours census and audit found what no feed told: {told}.",
            "It is synced already; many of these mean that a feed cannot be trusted (docs/operate.md).",
        )


def _of_waiting(connection: duckdb.DuckDBPyConnection) -> Iterator[Occasion]:
    (row,) = select(connection, _REVIEWS)
    if row["n"]:
        yield Occasion(
            "reviews_wait",
            f"{row['n']:,} collisions wait for somebody's word, the oldest since {row['since']:%Y-%m-%d %H:%M} UTC.",
            "`dynsync review` lists them, and takes the decision.",
            cause=row["newest"],
        )
    (row,) = select(connection, _APPROVALS)
    if row["n"]:
        yield Occasion(
            "approvals_wait",
            f"{row['n_values']:,} values wait to be approved, of {row['n']:,} causes that reach many people, the oldest since "
            f"{row['since']:%Y-%m-%d %H:%M} UTC.",
            "`dynsync approve` lists them, and approves.",
            cause=row["newest"],
        )
    (row,) = select(connection, "select count(*) as n from merge_proposals where state = 'open'")
    if row["n"]:
        yield Occasion(
            "merges_wait",
            f"{row['n']:,} merges of people wait for somebody's word.",
            "`dynsync merge` lists them.",
        )


# What began to wait last tells these from what was told before: somebody new is to be asked, and more of the same is not.
_REVIEWS = """
select sum(n_values)::bigint as n, min(since) as since, max_by(newest, (since, newest)) as newest
from (
    select concat_ws(' ', record_type, field) as newest, count(*) as n_values, min(opened_at) as since
    from reviews where choice is null group by all
)
"""
_APPROVALS = """
select sum(n)::bigint as n, sum(n_values)::bigint as n_values, min(since) as since, max_by(newest, (since, newest)) as newest
from (
    select
        concat_ws(' ', cause, cause_name, record_type, direction) as newest, count(distinct approval_id) as n,
        count(*) as n_values, min(asked_at) as since
    from approvals where approved_at is null group by all
)
"""


def refusals_digest(connection: duckdb.DuckDBPyConnection, settings: Settings, *, with_values: bool) -> str | None:
    """What systems refuse and nobody has mended, by cause (R122); None where that is nothing.

    `with_values`: with names and refused values, which are personal data.
    """
    found = [row for row in read_errors(connection, ErrorFilter()) if row["state"] != "resolved"]
    if not found:
        return None
    causes = by_cause(name_them(connection, found, settings) if with_values else found)
    lines = [f"{len(found):,} writes are refused, by {len(causes):,} causes:"]
    for cause in causes[:MOST_CAUSES]:
        at = f" at {cause.field}" if cause.field else ""
        direction = cause.direction.removeprefix("to_").capitalize()
        lines.append(f"- {len(cause.rows):,} × {cause.code}{at}: {cause.operation} {cause.object} in {direction}")
        if with_values:
            lines += [_named(row) for row in cause.rows[:MOST_NAMED]]
    if len(causes) > MOST_CAUSES:
        lines.append(f"- and {len(causes) - MOST_CAUSES:,} more causes")
    return "\n".join([*lines, "`dynsync errors` shows records, values and what to do."])


def _named(row: Row) -> str:
    key = row["person_id_marketo"] or row["record_id_dynamics"]
    return f"  - {row['name'] or 'no name'} ({key}): {row['refused_value'] or 'empty'}"
