"""The backlog by hour, and where it is going (R123). Not here: what is in it by object and age (`status.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from dynsync_pipeline.look.reading import Row, select

LOOK_BACK = timedelta(hours=6)
BLOCK_H = 4
HOURS = ("hour_at", "object", "n_least", "n_mean", "n_most", "n_last")


@dataclass(frozen=True)
class Backlog:
    """Records that are not settled, over the last five days; times UTC without zone.

    n_now: at the last look. n_before: at the last look of the hour six hours before that, None where nobody looked.
    is_growing: whether there are more than then. clear_in: how long they last at the pace of these six hours; None where
    they do not get fewer, or none are left.
    day: least, mean and most of the last 24 hours by `object`. blocks: the same over all objects by four hours, from
    `begins_at`, newest last. hours: one row per hour and object, as in `backlog_hours`.
    """

    n_now: int
    n_before: int | None
    is_growing: bool
    clear_in: timedelta | None
    day: list[Row]
    blocks: list[Row]
    hours: list[Row]


def read_backlog(connection: duckdb.DuckDBPyConnection) -> Backlog:
    """The backlog as the snapshot tells it."""
    hours = select(connection, f"select {', '.join(HOURS)} from backlog_hours order by hour_at, object")
    last_at = max((row["hour_at"] for row in hours), default=None)
    n_now = _at(hours, last_at) or 0
    n_before = _at(hours, last_at - LOOK_BACK) if last_at else None
    return Backlog(
        n_now,
        n_before,
        is_growing=n_before is not None and n_now > n_before,
        clear_in=LOOK_BACK * (n_now / (n_before - n_now)) if n_before is not None and 0 < n_now < n_before else None,
        day=select(connection, _DAY),
        blocks=select(connection, _BLOCKS),
        hours=hours,
    )


def _at(hours: list[Row], hour_at: datetime | None) -> int | None:
    """How many there were at the end of an hour, None where nobody looked in it."""
    found = [row["n_last"] for row in hours if row["hour_at"] == hour_at]
    return sum(found) if found else None


_DAY = """
select object, min(n_least) as n_least, avg(n_mean) as n_mean, max(n_most) as n_most
from backlog_hours
where hour_at > (select max(hour_at) from backlog_hours) - interval 24 hour
group by object order by object
"""
_BLOCKS = f"""
with hours as (
    select hour_at, sum(n_least) as n_least, sum(n_mean) as n_mean, sum(n_most) as n_most from backlog_hours group by hour_at
)
select
    time_bucket(interval {BLOCK_H} hour, hour_at) as begins_at,
    min(n_least)::bigint as n_least, avg(n_mean) as n_mean, max(n_most)::bigint as n_most
from hours group by begins_at order by begins_at
"""
