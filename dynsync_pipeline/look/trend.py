"""Whether the backlog gets more or less (R123). Not here: its hours (`backlog.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

LOOK_BACK = timedelta(hours=6)


@dataclass(frozen=True)
class Trend:
    """Where the number of records that are not settled goes.

    n_now: at the last look. n_before: at the last look of the hour six hours before that, None where nobody looked.
    is_growing: whether there are more than then. clear_in: how long they last at the pace of these six hours; None where
    they do not get fewer, or none are left.
    """

    n_now: int
    n_before: int | None
    is_growing: bool
    clear_in: timedelta | None


def trend_of(hours: Iterable[Mapping[str, Any]]) -> Trend:
    """The trend by rows with `hour_at` (UTC without zone) and `n_last`, several an hour or one."""
    counted: dict[datetime, int] = {}
    for row in hours:
        counted[row["hour_at"]] = counted.get(row["hour_at"], 0) + row["n_last"]
    last_at = max(counted, default=None)
    n_now = counted[last_at] if last_at else 0
    n_before = counted.get(last_at - LOOK_BACK) if last_at else None
    return Trend(
        n_now,
        n_before,
        is_growing=n_before is not None and n_now > n_before,
        clear_in=LOOK_BACK * (n_now / (n_before - n_now)) if n_before is not None and 0 < n_now < n_before else None,
    )
