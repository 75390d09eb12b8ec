"""The backlog by hour, of five days (R123). Not here: where it goes (`trend.py`), what is in it by age (`status.py`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dynsync_pipeline.look.reading import Row, select
from dynsync_pipeline.look.trend import Trend, trend_of

if TYPE_CHECKING:
    import duckdb

BLOCK_H = 4
HOURS = ("hour_at", "object", "n_least", "n_mean", "n_most", "n_last")


@dataclass(frozen=True)
class Backlog(Trend):
    """Records that are not settled, over the last five days, and their trend; times UTC without zone.

    day: least, mean and most of the last 24 hours by `object`. blocks: the same over all objects by four hours, from
    `begins_at`, newest last. hours: one row per hour and object, as in `backlog_hours`.
    """

    day: list[Row]
    blocks: list[Row]
    hours: list[Row]


def read_backlog(connection: duckdb.DuckDBPyConnection) -> Backlog:
    """The backlog as the snapshot tells it."""
    hours = select(connection, f"select {', '.join(HOURS)} from backlog_hours order by hour_at, object")
    return Backlog(
        **asdict(trend_of(hours)), day=select(connection, _DAY), blocks=select(connection, _BLOCKS), hours=hours
    )


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
